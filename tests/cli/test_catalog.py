"""regen catalog copy."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from regen.catalog.postgres import open_catalog as open_postgres
from regen.catalog.sqlite import open_catalog
from regen.cli.app import app
from regen.testing.catalog_cases import log, numbered


def run(folder: Path, *words: str) -> tuple[int, str]:
    """Exit code and standard output of a verb in a folder."""
    result = CliRunner().invoke(app, [*words, "--config", str(folder / "regen.yaml"), "--json"])
    return result.exit_code, result.stdout


def test_a_catalog_is_copied_to_postgresql(tmp_path: Path, postgres_url: str) -> None:
    """The answer counts each table's rows, and the copy is what the original was."""
    origin = open_catalog("sqlite:///catalog.db", tmp_path)
    log(origin, *numbered(3))
    origin.close()
    code, told = run(tmp_path, "catalog", "copy", "sqlite:///catalog.db", postgres_url)
    answer = json.loads(told)
    assert (code, answer["tables"]["documents"], answer["tables"]["changes"]) == (0, 3, 3)
    assert answer["rows"] == sum(answer["tables"].values())
    copy = open_postgres(postgres_url)
    assert (copy.alive(), copy.head()) == (3, 3)
    copy.close()
    assert run(tmp_path, "catalog", "copy", "sqlite:///catalog.db", postgres_url)[0] == 1, "it is not empty any more"


def test_a_catalog_that_is_not_there(tmp_path: Path) -> None:
    """It is named, and none is made by looking for it."""
    assert run(tmp_path, "catalog", "copy", "sqlite:///none.db", "sqlite:///new.db")[0] == 1
    assert list(tmp_path.iterdir()) == []
