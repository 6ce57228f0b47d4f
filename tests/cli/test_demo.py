"""The demo is a check: it passes on documents that work, and fails loudly when search does not follow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from regen.cli.app import app
from regen.core.results import SyncResult
from regen.engine.writing import WriteSide
from regen.index import Index
from regen.ports.catalog import Generation

SUBJECTS = ["bread", "rivers", "chess", "volcanoes", "bicycles", "clouds", "violins", "spiders"]
CHANGES = ["edit", "rename", "delete", "metadata", "access", "restore", "sync"]
UPGRADE = [
    "queries", "plan", "build", "evaluate", "promote", "edit more", "rollback", "forward", "refuse", "consider",
]  # fmt: skip
STEPS = ["index", *CHANGES, *UPGRADE, "verify"]


def page(subject: str) -> str:
    """A document of several chunks."""
    section = "\n\n".join(
        f"## {subject.title()}, part {part}\n\n" + f"Here is what people say about {subject} in chapter {part}. " * 12
        for part in range(1, 5)
    )
    return f"# All about {subject}\n\n{section}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of Markdown, beside which the demo runs."""
    monkeypatch.chdir(tmp_path)
    docs = tmp_path / "docs"
    (docs / "deep").mkdir(parents=True)
    for subject in SUBJECTS:
        (docs / "deep" / f"{subject}.md").write_bytes(page(subject).replace("\n", "\r\n").encode())
    return docs


def run(*arguments: str) -> Result:
    """Run the demo."""
    return CliRunner().invoke(app, ["demo", *arguments])


def test_a_folder_of_ones_own(folder: Path) -> None:
    """Every step is played on a copy, every expectation holds, and the folder is as it was."""
    before = {path: path.read_bytes() for path in folder.rglob("*.md")}
    result = run(str(folder), "--json")
    data = json.loads(result.stdout)
    failed = [check["text"] for step in data["steps"] for check in step["checks"] if not check["passed"]]
    assert (result.exit_code, failed) == (0, [])
    assert [step["step"] for step in data["steps"]] == STEPS
    # Every step checks something, so that none can pass by doing nothing.
    assert all(step["checks"] for step in data["steps"])
    costs = {step["step"]: step["cost"]["embedded_texts"] for step in data["steps"] if step["cost"]}
    assert costs["edit"] >= 1
    assert costs["index"] >= costs["build"] > 4 * len(SUBJECTS)
    assert {costs[name] for name in ("rename", "delete", "metadata", "access", "sync")} == {0}
    assert {path: path.read_bytes() for path in folder.rglob("*.md")} == before


def test_it_is_readable_and_leaves_a_project(folder: Path) -> None:
    """The text names each step; afterwards the verbs work on what it left, and it may run again."""
    for _ in range(2):
        result = run(str(folder))
        assert result.exit_code == 0, result.output
    assert all(f"  {name} " in result.stdout for name in STEPS)
    assert "expectations held" in result.stdout
    assert max(map(len, result.stdout.splitlines()[3:])) <= 120
    found = CliRunner().invoke(app, ["search", "volcanoes", "--json", "--config", ".demo/regen.yaml", "--unrestricted"])
    assert "volcanoes" in json.loads(found.stdout)["hits"][0]["doc_id"]
    told = CliRunner().invoke(app, ["status", "--json", "--config", ".demo/regen.yaml"])
    status = json.loads(told.stdout)
    assert (status["live"], status["notes"]) == (2, [])
    assert [item["state"] for item in status["generations"]] == ["retained", "live"]


def test_a_judged_collection(folder: Path) -> None:
    """A folder in BEIR's form is measured by its own queries; where these cannot tell, the gate is overruled aloud."""
    beir = folder.parent / "beir"
    beir.mkdir()
    texts = {f"{subject}-{part}": f"{subject} in chapter {part}. " * 8 for subject in SUBJECTS for part in range(4)}
    records = [json.dumps({"_id": name, "title": name, "text": text}) for name, text in texts.items()]
    (beir / "corpus.jsonl").write_text("\n".join(records))
    asked = [json.dumps({"_id": subject, "text": subject}) for subject in SUBJECTS]
    (beir / "queries.jsonl").write_text("\n".join(asked))
    rows = [f"{subject}\t{subject}-{part}\t1" for subject in SUBJECTS for part in range(2)]
    (beir / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]))
    before = {path: path.read_bytes() for path in beir.iterdir()}
    data = json.loads(run(str(beir), "--json").stdout)
    assert data["passed"], [check for step in data["steps"] for check in step["checks"] if not check["passed"]]
    steps = {step["step"]: step for step in data["steps"]}
    assert "16 judgments" in steps["queries"]["done"]
    assert f"on {len(SUBJECTS)} judged queries" in steps["evaluate"]["told"][0]
    assert any("--force" in check["text"] for check in steps["promote"]["checks"])
    assert (folder.parent / ".demo/evaluation.html").read_text().startswith("<!DOCTYPE html>")
    assert {path: path.read_bytes() for path in beir.iterdir()} == before


def test_lost_edits_are_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a retained generation is not kept in step, going back loses an edit: the demo says so and exits with 1."""
    real = WriteSide.followers

    def only_live(self: WriteSide) -> list[Generation]:
        live = self.catalog.route(self.alias).live
        return [item for item in real(self) if live is None or item.number == live]

    monkeypatch.setattr(WriteSide, "followers", only_live)
    result = run(str(folder))
    assert result.exit_code == 1
    assert "EXPECTATION FAILED: the edit made after the switch is NOT FOUND" in result.stdout


def test_an_expectation_that_does_not_hold_fails_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a sync does nothing, search does not follow: the demo says so and exits with 1."""
    real, calls = Index.sync, []

    def lazy(self: Index, **options: object) -> SyncResult:
        calls.append(options)
        return real(self) if len(calls) == 1 else SyncResult()

    monkeypatch.setattr(Index, "sync", lazy)
    result = run(str(folder))
    assert result.exit_code == 1
    assert "EXPECTATION FAILED" in result.stdout
    assert "did not hold" in result.stdout


def test_plain_text_has_no_front_matter(folder: Path) -> None:
    """What plain text cannot carry is skipped, and said so."""
    for path in folder.rglob("*.md"):
        path.rename(path.with_suffix(".txt"))
    result = run(str(folder))
    assert result.exit_code == 0, result.output
    assert "plain text carries neither" in result.stdout


def test_it_never_removes_a_folder_that_it_did_not_make(folder: Path) -> None:
    """A .demo of the user's own is an error, not a loss."""
    (folder.parent / ".demo").mkdir()
    (folder.parent / ".demo/mine.txt").write_text("precious")
    result = run(str(folder))
    assert result.exit_code == 1
    assert "no demo has made it" in result.stderr
    assert (folder.parent / ".demo/mine.txt").read_text() == "precious"


def test_too_little_to_play_with(folder: Path) -> None:
    """A folder without enough documents, or none at all, is told in words."""
    for path in list(folder.rglob("*.md"))[4:]:
        path.unlink()
    assert "at least 5 documents" in run(str(folder)).stderr
    assert "not a folder" in run(str(folder / "nope")).stderr
