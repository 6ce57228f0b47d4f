"""A small real project, and a way to run verbs on it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from regen.cli.app import app

CONFIG = """\
version: 1
alias: handbook
source: {kind: files, path: docs, glob: "**/*.md"}
chunking: {kind: markdown, max_tokens: 64}
embedding: {model: hashing/64}
store: {url: "lancedb://.regen/vectors"}
catalog: {url: "sqlite:///.regen/catalog.db"}
"""
DOCUMENTS = {
    "reset.md": "---\nlang: en\nyear: 2021\n---\n# Reset a password\n\nClick the link in the mail.\n",
    "invoice.md": "---\nlang: de\nyear: 2024\n---\n# Rechnung\n\nEine Rechnung wird per Post verschickt.\n",
    "salary.md": "---\naccess: [team:people]\n---\n# Salaries\n\nWho earns how much money each month.\n",
    "backup.md": "# Backups\n\nEvery night a copy of every disk is made.\n",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What one run gave: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        """The one JSON object on standard output."""
        lines = self.out.splitlines()
        assert len(lines) == 1, self.out
        found = json.loads(lines[0])
        assert isinstance(found, dict)
        return found


@dataclass(frozen=True, slots=True)
class Project:
    """A project folder in which verbs run."""

    root: Path
    config: str = CONFIG
    size: int = len(DOCUMENTS)

    def run(self, *arguments: str, code: int = 0, text: str | None = None) -> Answer:
        """Run a verb with this project's configuration; its exit code must be as expected."""
        result = CliRunner().invoke(app, [*arguments, "--config", str(self.root / "regen.yaml")], input=text)
        answer = Answer(result.exit_code, result.stdout, result.stderr)
        assert answer.code == code, (answer, result.exception)
        return answer

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Run a verb with --json."""
        return self.run(*arguments, "--json", code=code).data

    def write(self, name: str, text: str) -> None:
        """Write a document."""
        (self.root / "docs" / name).write_text(text, encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Four documents and a configuration, nothing indexed yet."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "regen.yaml").write_text(CONFIG)
    made = Project(tmp_path)
    for name, text in DOCUMENTS.items():
        made.write(name, text)
    return made


@pytest.fixture
def synced(project: Project) -> Project:
    """The project, indexed."""
    assert project.json("sync")["documents"]["added"] == project.size
    return project
