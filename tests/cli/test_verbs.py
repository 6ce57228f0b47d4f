"""Every verb on a small real project: its JSON, its effect, its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from regen.cli.app import app
from regen.config import load_settings
from regen.index import Index

if TYPE_CHECKING:
    from tests.cli.conftest import Project

COUNTS = {"added", "updated", "metadata_updated", "access_updated", "deleted", "unchanged", "failed"}
SYNC_KEYS = {"documents", "chunks", "embedded_texts", "tokens", "cost_usd", "seconds", "generation"}
STEP_KEYS = {"action", "reason", "documents", "chunks", "texts_to_embed", "tokens", "cost_usd", "seconds"}
STATUS_KEYS = {"alias", "live", "generations", "freshness", "cost_usd", "dead_letters"}
VERIFY_KEYS = {"missing", "orphans", "stale", "mixed_space", "wrong_payload", "repaired", "consistent"}


def require_sync_shape(data: dict[str, Any]) -> None:
    """The keys of DESIGN.md section 9."""
    assert data.keys() >= SYNC_KEYS
    assert data["documents"].keys() >= COUNTS
    assert data["chunks"].keys() >= {"written", "reused", "deleted"}


def test_sync(project: Project) -> None:
    """The first sync adds all, the second finds nothing, an edit embeds only what changed."""
    first = project.json("sync")
    require_sync_shape(first)
    assert first["documents"]["added"] == first["embedded_texts"] == project.size
    second = project.json("sync")
    assert (second["documents"]["unchanged"], second["embedded_texts"]) == (project.size, 0)
    project.write("backup.md", "# Backups\n\nNo copy is made any more.\n")
    assert project.json("sync")["documents"]["updated"] == 1
    assert "Nothing changed: 4 documents in step" in project.run("sync").out


def test_plan_and_apply_a_file(project: Project) -> None:
    """A plan that was written is applied exactly; a second time it is stale, with exit code 4."""
    file = project.root / "plan.json"
    data = project.json("plan", "--out", str(file))
    assert data.keys() >= {"steps", "totals", "strategy", "generation", "catalog_revision"}
    assert data["generation"].keys() == {"from", "to"}
    assert data["totals"]["texts_to_embed"] == project.size
    assert all(step.keys() >= STEP_KEYS for step in data["steps"])
    assert json.loads(file.read_text()) == data
    applied = project.json("apply", str(file), "--yes")
    require_sync_shape(applied)
    assert applied["embedded_texts"] == data["totals"]["texts_to_embed"]
    error = project.json("apply", str(file), "--yes", code=4)["error"]
    assert error["type"] == "StalePlan"
    assert "regen plan" in error["hint"]


def test_plan_check_tells_by_exit_code(synced: Project) -> None:
    """``plan --check`` is 0 in step and 3 when something would change; the source going on is not an error."""
    assert synced.json("plan", "--check")["steps"] == []
    synced.write("new.md", "# New\n\nSomething new.\n")
    answer = synced.run("plan", "--check", code=3)
    assert "place_documents" in answer.out
    assert "Error" not in answer.err


def test_apply_asks_first(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --yes and without a terminal nothing is done; with one, the answer counts."""
    answer = project.run("apply", code=2)
    assert "--yes" in answer.err
    assert "place_documents" in answer.err
    assert answer.out == ""
    monkeypatch.setattr("regen.cli.session.Session.confirm", lambda _self, question, hint: False)
    assert "Nothing was applied" in project.run("apply", code=1).err
    monkeypatch.setattr("regen.cli.session.Session.confirm", lambda _self, question, hint: True)
    assert project.json("apply")["documents"]["added"] == project.size


@pytest.mark.parametrize("content", ["", "[]", '{"version": 9}', '{"version": 1}', "not json"])
def test_a_file_that_is_no_plan(project: Project, content: str) -> None:
    """A damaged plan is an error before anything is touched."""
    file = project.root / "plan.json"
    file.write_text(content)
    assert "plan" in project.json("apply", str(file), "--yes", code=1)["error"]["message"]
    assert "cannot be read" in project.json("apply", "missing.json", "--yes", code=1)["error"]["message"]


def test_search(synced: Project) -> None:
    """Hits carry what scripts rely on; conditions, principals and -k narrow them."""
    data = synced.json("search", "a copy of every disk", "-k", "2")
    assert data.keys() >= {"generation", "space", "hits"}
    assert "explanation" not in data
    assert data["hits"][0]["doc_id"] == "backup.md"
    assert data["hits"][0].keys() >= {
        "doc_id", "chunk_id", "score", "text", "metadata", "revision", "generation",
    }  # fmt: skip
    assert len(data["hits"]) == 2
    found = synced.json("search", "Rechnung", "--where", "year>=2022", "--where", "lang in de,fr")["hits"]
    assert [hit["doc_id"] for hit in found] == ["invoice.md"]
    assert synced.json("search", "x", "--explain")["explanation"]["route"] == "live"


def test_search_as_someone(synced: Project) -> None:
    """The public sees public documents; --as sees its own; --unrestricted sees all."""

    def seen(*options: str) -> set[str]:
        return {hit["doc_id"] for hit in synced.json("search", "salaries money", *options)["hits"]}

    assert "backup.md" in seen()
    assert "salary.md" not in seen()
    assert "salary.md" not in seen("--as", "team:other")
    assert "salary.md" in seen("--as", "team:other", "--as", "team:people")
    assert "salary.md" in seen("--unrestricted")
    assert "do not go together" in synced.json("search", "x", "--as", "a", "--unrestricted", code=2)["error"]["message"]


def test_search_before_the_first_sync(project: Project) -> None:
    """Nothing to search yet is an error with the remedy."""
    assert "regen sync" in project.json("search", "x", code=1)["error"]["hint"]


def test_status_history_and_restore(synced: Project) -> None:
    """A document is brought back as it was; status and history tell of it."""
    assert synced.json("status").keys() >= STATUS_KEYS
    assert "✓ handbook: in step" in synced.run("status").out
    synced.write("backup.md", "# Backups\n\nThey were abolished.\n")
    synced.json("sync")
    changes = synced.json("history", "backup.md")["changes"]
    assert [change["kind"] for change in changes] == ["content", "added"]
    restored = synced.json("restore", "backup.md", "--revision", str(changes[1]["revision"]))
    require_sync_shape(restored)
    hit = synced.json("search", "a copy of every disk", "-k", "1")["hits"][0]
    assert (hit["doc_id"], "abolished" in hit["text"]) == ("backup.md", False)
    assert len(synced.json("history", "--limit", "2")["changes"]) == 2
    assert synced.json("restore", "nope", "--revision", "1", code=1)["error"]["type"] == "NotFound"


def test_failures_are_told_and_retried(synced: Project) -> None:
    """A document that cannot be read is told by sync and status with its reason, and retry picks it up."""
    (synced.root / "docs/bad.md").write_bytes(b"\xff\xfe\x00bad")
    answer = synced.run("sync")
    assert "except 1 document" in answer.out
    assert "bad.md: " in answer.out
    assert [letter["doc_id"] for letter in synced.json("status")["dead_letters"]] == ["bad.md"]
    synced.write("bad.md", "# Good\n\nReadable now.\n")
    retried = synced.json("retry")
    require_sync_shape(retried)
    assert (retried["documents"]["added"], retried["documents"]["failed"]) == (1, 0)
    assert synced.json("status")["dead_letters"] == []


def test_verify_gc_and_replay(synced: Project) -> None:
    """Upkeep verbs answer in their shapes, and find what was damaged from outside."""
    assert synced.json("verify").keys() >= VERIFY_KEYS
    assert synced.json("verify")["consistent"] is True
    with Index(
        embedder="hashing/64", root=synced.root, store="lancedb://.regen/vectors", catalog="sqlite:///.regen/catalog.db"
    ) as index:
        store = index._store
        collection = store.collections()[0]
        store.delete(collection, next(iter(store.scan(collection))).ids[:1])
    found = synced.json("verify", code=1)
    assert (found["missing"], found["consistent"]) == (1, False)
    repaired = synced.json("verify", "--repair")
    assert (repaired["repaired"], repaired["consistent"]) == (1, True)
    assert synced.json("gc", "--now").keys() >= {"points", "contents", "changes", "tombstones", "maintenance"}
    require_sync_shape(synced.json("replay", "--since", "1h"))
    assert "future" in synced.json("replay", "--since", "2999-01-01", code=2)["error"]["message"]


def test_mass_delete_asks_for_the_option(synced: Project) -> None:
    """A source that lost most of its documents stops, until it is said to be meant."""
    for number in range(12):
        synced.write(f"{number}.md", f"# Page {number}\n\nText of page {number}.\n")
    synced.json("sync")
    for number in range(12):
        (synced.root / f"docs/{number}.md").unlink()
    error = synced.json("sync", code=1)["error"]
    assert error["type"] == "MassDelete"
    assert "--allow-mass-delete" in error["hint"]
    assert synced.json("plan", code=1)["error"]["type"] == "MassDelete"
    assert synced.json("sync", "--allow-mass-delete")["documents"]["deleted"] == 12


def test_doctor(project: Project) -> None:
    """Doctor is 0 when all is well and 1 with what to do when it is not; it changes nothing."""
    data = project.json("doctor")
    assert data["healthy"] is True
    assert {"name", "passed", "detail", "hint"} <= data["findings"][0].keys()
    (project.root / "docs/bad.md").write_bytes(b"\xff\xfe\x00bad")
    answer = project.run("doctor", code=1)
    assert "✗" in answer.out
    assert "Error" not in answer.err


def test_init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What init writes is a project that syncs; it never replaces a file unasked."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "handbook").mkdir()
    (tmp_path / "handbook/a.md").write_text("# A\n\nText.\n")
    runner = CliRunner()
    result = runner.invoke(app, ["init", "handbook", "--json"])
    assert json.loads(result.stdout)["source"] == {"kind": "files", "path": "handbook", "glob": "**/*.md"}
    assert load_settings("regen.yaml").alias == "handbook"
    again = runner.invoke(app, ["init", "handbook"])
    assert again.exit_code == 1
    assert "--force" in again.stderr
    assert runner.invoke(app, ["init", "handbook", "--force"]).exit_code == 0
    assert runner.invoke(app, ["init", "https://example.org", "--force"]).exit_code == 2


def test_missing_and_wrong_configuration(project: Project) -> None:
    """A configuration error is exit code 1, with its place and a hint, in JSON too."""
    (project.root / "regen.yaml").write_text(project.config.replace("model:", "modle:"))
    error = project.json("status", code=1)["error"]
    assert error["type"] == "ConfigError"
    assert "embedding.modle is not a known key" in error["message"]
    (project.root / "regen.yaml").unlink()
    answer = project.run("status", code=1)
    assert "there is no" in answer.err
    assert "regen init" in answer.err
    assert answer.out == ""


def test_usage_errors_are_2() -> None:
    """What Typer refuses and what a verb refuses have the same exit code."""
    for arguments in (["nope"], ["search"], ["search", "x", "-k", "0"], ["restore", "a"], ["sync", "--nope"]):
        assert CliRunner().invoke(app, arguments).exit_code == 2


def test_an_interrupt_is_one_line_and_130(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends without a traceback."""

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Index, "sync", interrupted)
    answer = project.run("sync", code=130)
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("Interrupted")


def test_an_unexpected_error_is_told_without_traceback(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect is one error message; --debug and REGEN_DEBUG show where it comes from."""

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("postgresql://me:hunter2@host is gone")

    monkeypatch.setattr(Index, "status", broken)
    answer = project.run("status", code=1)
    assert "unexpected RuntimeError" in answer.err
    assert "Traceback" not in answer.err
    shown = project.run("status", "--debug", code=1)
    assert "Traceback" in shown.err
    assert "hunter2" not in answer.err + shown.err
    monkeypatch.setenv("REGEN_DEBUG", "1")
    assert "Traceback" in project.run("status", code=1).err


def test_version() -> None:
    """The version can be asked for."""
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("regen 0.")


def test_help_loads_nothing_heavy() -> None:
    """Help is quick because no vendor is imported before a verb runs."""
    heavy = {"numpy", "lancedb", "pyarrow", "sqlalchemy", "pydantic", "wordllama", "regen.index", "regen.config"}
    code = f"import sys, regen.cli.app; sys.exit(', '.join(sorted({heavy} & set(sys.modules))) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_without_unicode_is_served_too(project: Project) -> None:
    """Marks are spelt in letters where the encoding lacks them."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-c", "from regen.cli import main; main()", "sync"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=project.root, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ok In step at revision 4 | generation 1")


def test_watch_follows_a_folder(synced: Project) -> None:
    """A save is answered by a line of JSON; the first Ctrl-C ends well."""
    command = [sys.executable, "-c", "from regen.cli import main; main()", "sync", "--watch", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=synced.root
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["documents"]["unchanged"] == synced.size
        time.sleep(1)  # until the folder is watched
        synced.write("reset.md", "# Reset a password\n\nAsk the help desk.\n")
        changed = json.loads(process.stdout.readline())
        assert changed["documents"]["updated"] == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    assert synced.json("sync")["documents"]["unchanged"] == synced.size


FLAKY = """\
from regen.embedders.hashing import HashingEmbedder
class Flaky(HashingEmbedder):
    failed = False
    def __init__(self):
        super().__init__(16)
    def embed_documents(self, texts):
        if not Flaky.failed:
            Flaky.failed = True
            raise ConnectionError("gone for a moment")
        return super().embed_documents(texts)
"""


def test_a_retry_is_no_part_of_the_answer(tmp_path: Path) -> None:
    """It is told on standard error: what a script reads on standard output is one JSON object."""
    pytest.importorskip("structlog")  # by which retries would be told otherwise, on standard output
    (tmp_path / "flaky.py").write_text(FLAKY)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.md").write_text("a text")
    (tmp_path / "regen.yaml").write_text(
        "version: 1\nsource: {kind: files, path: docs}\nembedding: {model: 'python:flaky:Flaky'}\nstore: {url: 'memory://'}\n"
    )
    command = [sys.executable, "-c", "from regen.cli import main; main()", "sync", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["documents"]["added"] == 1
    assert "retry" in done.stderr
