"""A real upgrade and a real downgrade are told apart, on published collections, through the index's own verbs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import regen
from regen.cli.app import app
from regen.core.results import Progress
from regen.errors import EvaluationError, GateNotMet
from regen.evaluation.outcome import Evaluation, Verdict

HASHING, SMALL, MIDDLE, LARGE = (
    "hashing/64",
    "wordllama/l2-supercat-64",
    "wordllama/l2-supercat-128",
    "wordllama/l2-supercat-256",
)
MODELS = (HASHING, SMALL, MIDDLE, LARGE)
BETTER = {"measure": "nDCG@10", "min_lift": 0.0}
DOCUMENTS, QUERIES = 500, 80
"""So much of a collection is enough for the differences that are tested by default."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A copy of an index with one generation for each model, and its judged queries."""

    root: Path

    def number(self, model: str) -> int:
        """The generation that a model built."""
        return MODELS.index(model) + 1

    def open(self, *, queries: int | None = None, gate: Sequence[dict[str, Any]] = (BETTER,)) -> regen.Index:
        """The index, judged by the first so many queries."""
        kept = "qrels.tsv"
        if queries is not None:
            kept = f"qrels-{queries}.tsv"
            head, *rows = (self.root / "qrels.tsv").read_text().splitlines()
            first = list(dict.fromkeys(row.split("\t")[0] for row in rows))[:queries]
            rows = [row for row in rows if row.split("\t")[0] in first]
            (self.root / kept).write_text("\n".join([head, *rows]) + "\n")
        self.configure(LARGE, qrels=kept, gate=gate)
        return regen.open(self.root / "regen.yaml")

    def configure(self, model: str, *, qrels: str = "qrels.tsv", gate: Sequence[dict[str, Any]] = (BETTER,)) -> None:
        """Write regen.yaml."""
        config = {
            "version": 1,
            "source": {"kind": "jsonl", "path": "corpus.jsonl"},
            "text": "{title}\n{text}",
            "chunking": {"kind": "whole", "max_tokens": 512},
            "embedding": {"model": model},
            "store": {"url": "lancedb://vectors"},
            "catalog": {"url": "sqlite:///catalog.db"},
            "evaluation": {
                "collections": [{"name": "published", "queries": "queries.jsonl", "qrels": qrels}],
                "measures": ["nDCG@10"],
                "searches": 10,
            },
            "gate": list(gate),
        }
        (self.root / "regen.yaml").write_text(yaml.safe_dump(config))

    def run(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Run a verb with --json; its exit code must be as expected."""
        done = CliRunner().invoke(app, [*arguments, "--json", "--config", str(self.root / "regen.yaml")])
        assert done.exit_code == code, (done.stdout, done.exception)
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found

    def verdict(self, model: str, against: str, queries: int | None = None) -> Evaluation:
        """One model's generation judged beside another's."""
        with self.open(queries=queries) as index:
            return index.evaluate(self.number(model), against=self.number(against))


def write_part(data: Path, root: Path, documents: int | None, queries: int | None) -> None:
    """A part of a collection: so many queries, what is judged of them, and so many documents in all."""
    head, *rows = (data / "qrels.tsv").read_text().splitlines()
    asked = list(dict.fromkeys(row.split("\t")[0] for row in rows))[:queries]
    rows = [row for row in rows if row.split("\t")[0] in asked]
    judged = {row.split("\t")[1] for row in rows}
    lines = (data / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    named = [(str(json.loads(line)["_id"]), line) for line in lines]
    named.sort(key=lambda item: item[0] not in judged)
    chosen = [line for name, line in named[:documents] if name]
    (root / "corpus.jsonl").write_text("\n".join(chosen) + "\n", encoding="utf-8")
    (root / "qrels.tsv").write_text("\n".join([head, *rows]) + "\n")
    shutil.copyfile(data / "queries.jsonl", root / "queries.jsonl")


def build(data: Path, root: Path, *, documents: int | None = DOCUMENTS, queries: int | None = QUERIES) -> Upgrade:
    """Index a part of a collection by every model; the first one's generation is live."""
    write_part(data, root, documents, queries)
    made = Upgrade(root)
    for model in MODELS:
        made.configure(model)
        with regen.open(root / "regen.yaml") as index:
            index.sync() if model == MODELS[0] else index.apply()
    return made


@pytest.fixture(scope="module")
def built(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Upgrade:
    """A part of scifact, never evaluated."""
    return build(real_data / "scifact", tmp_path_factory.mktemp("scifact"))


@pytest.fixture(scope="module")
def scifact(built: Upgrade, tmp_path_factory: pytest.TempPathFactory) -> Upgrade:
    """A copy in which nothing is changed but what evaluations leave."""
    return Upgrade(Path(shutil.copytree(built.root, tmp_path_factory.mktemp("evaluated") / "index")))


@pytest.fixture
def upgrade(built: Upgrade, tmp_path: Path) -> Upgrade:
    """A copy that may be changed."""
    return Upgrade(Path(shutil.copytree(built.root, tmp_path / "index")))


# ── verdicts ────────────────────────────────────────────────────────────────────────────────────────────────

WAYS = [(LARGE, SMALL, "promote"), (SMALL, LARGE, "hold"), (LARGE, HASHING, "promote"), (HASHING, LARGE, "hold")]


def named(ways: Iterable[tuple[str, str, str]]) -> list[str]:
    """The ids of ways, for pytest."""
    return [f"{new.rpartition('/')[2]}-after-{old.rpartition('/')[2]}" for new, old, _ in ways]


@pytest.mark.parametrize(("model", "against", "wanted"), WAYS, ids=named(WAYS))
def test_each_way_on_a_part_of_scifact(scifact: Upgrade, model: str, against: str, wanted: Verdict) -> None:
    """The better model is let through, the worse one held, by intervals on the right side of zero."""
    found = scifact.verdict(model, against)
    assert found.verdict == wanted, found.reasons
    (row,) = [item for item in found.comparisons if item.condition]
    assert (row.queries, row.slice) == (QUERIES, "all")
    assert (row.ci_low > 0) if wanted == "promote" else (row.ci_high < 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scifact", "cranfield"])
def test_each_way_on_whole_collections(real_data: Path, tmp_path: Path, name: str) -> None:
    """All documents and all judged queries of two collections: every verdict is the right one."""
    whole = build(real_data / name, tmp_path, documents=None, queries=None)
    found = {(model, against): whole.verdict(model, against) for model, against, _ in WAYS}
    assert {way: item.verdict for way, item in found.items()} == {(new, old): wanted for new, old, wanted in WAYS}
    if name == "scifact":  # the published figures of this model
        row = found[LARGE, SMALL].comparisons[0]
        assert (round(row.baseline, 3), round(row.candidate, 3)) == (0.372, 0.511)


def test_twenty_queries_cannot_tell_a_small_difference(scifact: Upgrade) -> None:
    """From 128 to 256 dimensions little changes: too few queries say so, and how many more would settle it."""
    found = scifact.verdict(LARGE, MIDDLE, queries=20)
    assert found.verdict == "cannot_tell"
    (row,) = [item for item in found.comparisons if item.condition]
    assert row.ci_low <= 0 <= row.ci_high
    assert row.needed is None or row.needed > 0
    assert row.min_detectable > abs(row.delta)


def test_progress_is_shown(scifact: Upgrade) -> None:
    """Every query of both generations is reported, in queries."""
    seen: list[Progress] = []
    with scifact.open(queries=10) as index:
        index.evaluate(4, against=2, progress=seen.append)
    last = [item for item in seen if item.stage == "evaluate"][-1]
    assert (last.done, last.total, last.unit) == (20, 20, "queries")


# ── promotion ───────────────────────────────────────────────────────────────────────────────────────────────


def test_promote_there_and_not_back(upgrade: Upgrade) -> None:
    """The gate lets the better model through, and refuses the worse one afterwards; searches stay where they are."""
    with upgrade.open() as index:
        done = index.promote(4)
        assert (done.live, done.forced) == (4, False)
        assert done.evaluation is not None
        with pytest.raises(GateNotMet, match="the gate says hold"):
            index.promote(1)
        assert index.search("a mechanism of disease").generation == 4


def test_exit_codes_and_a_forced_promotion(upgrade: Upgrade) -> None:
    """Scripts see 3; --force wants a reason, which history keeps with that the gate was overruled."""
    upgrade.open().close()
    upgrade.run("promote", "4")
    assert upgrade.run("evaluate", "1", code=3)["verdict"] == "hold"
    assert upgrade.run("promote", "1", code=3)["error"]["type"] == "GateNotMet"
    refused = upgrade.run("promote", "1", "--force", code=1)["error"]
    assert "needs a reason" in refused["message"]
    forced = upgrade.run("promote", "1", "--force", "--reason", "the large model is down")
    assert (forced["live"], forced["forced"]) == (1, True)
    newest = upgrade.run("history")["switches"][0]
    assert (newest["live"], newest["forced"], newest["reason"]) == (1, True, "the large model is down")
    shown = CliRunner().invoke(app, ["history", "--config", str(upgrade.root / "regen.yaml")]).stdout
    assert "the large model is down (gate overruled)" in shown


def test_apply_promotes_only_through_the_gate(upgrade: Upgrade) -> None:
    """Where it is not met the exit code is 3 and what is built stays ready; the next apply switches once it is met."""
    upgrade.configure(LARGE, gate=[{"measure": "nDCG@10", "min": 0.99}])
    assert upgrade.run("apply", "--yes", "--promote", code=3)["error"]["type"] == "GateNotMet"
    assert {item["number"]: item["state"] for item in upgrade.run("status")["generations"]}[4] == "ready"
    upgrade.configure(LARGE)
    upgrade.run("apply", "--yes", "--promote")
    newest = upgrade.run("history")["switches"][0]
    assert (newest["live"], newest["forced"], newest["reason"]) == (4, False, "apply was asked to")


def test_status_tells_of_the_last_evaluation(upgrade: Upgrade) -> None:
    """Before the first there is none; then its verdict and age; a fallen floor of the live generation is an alarm."""
    upgrade.open().close()
    assert upgrade.run("status")["evaluation"] is None
    upgrade.run("evaluate", "4")
    status = upgrade.run("status")
    assert (status["evaluation"]["generation"], status["evaluation"]["verdict"]) == (4, "promote")
    assert status["evaluation"]["age_seconds"] >= 0
    assert status["alarms"] == []
    upgrade.configure(LARGE, gate=[{"measure": "nDCG@10", "min": 0.99}])
    upgrade.run("evaluate", "1", code=3)
    (alarm,) = upgrade.run("status")["alarms"]
    assert "nDCG@10 on published" in alarm
    shown = CliRunner().invoke(app, ["status", "--config", str(upgrade.root / "regen.yaml")]).stdout
    assert "alarm: nDCG@10 on published" in shown
    assert "generation 1 alone: hold" in shown


# ── bad input ───────────────────────────────────────────────────────────────────────────────────────────────


def evaluated(upgrade: Upgrade, **options: Any) -> Evaluation:
    """The large model beside the hashing one."""
    with upgrade.open(**options) as index:
        return index.evaluate(4)


def test_judgments_of_documents_that_are_not_there(upgrade: Upgrade) -> None:
    """They are reported with counts, and stay judged: what is not there counts as not found."""
    with (upgrade.root / "qrels.tsv").open("a") as qrels:
        first = (upgrade.root / "qrels.tsv").read_text().splitlines()[1].split("\t")[0]
        qrels.write(f"{first}\tno-such-document\t1\n{first}\tnor-this\t1\n")
    found = evaluated(upgrade)
    assert any("2 of" in text and "are not in the index" in text for text in found.problems), found.problems


def test_queries_without_judgments(upgrade: Upgrade) -> None:
    """They are counted and left out of every mean."""
    found = evaluated(upgrade, queries=30)
    assert any("without judgments" in text for text in found.problems)
    assert {item.queries for item in found.comparisons} == {30}


def test_duplicates(upgrade: Upgrade) -> None:
    """The same judgment twice is reported; the same query twice, with another text, is an error that names the line."""
    line = (upgrade.root / "qrels.tsv").read_text().splitlines()[1]
    with (upgrade.root / "qrels.tsv").open("a") as qrels:
        qrels.write(line + "\n")
    assert any("twice" in text or "again" in text or "duplicate" in text for text in evaluated(upgrade).problems)
    asked = json.loads((upgrade.root / "queries.jsonl").read_text().splitlines()[0])
    with (upgrade.root / "queries.jsonl").open("a") as queries:
        queries.write(json.dumps({**asked, "text": "something else"}) + "\n")
    with pytest.raises(EvaluationError, match=str(asked["_id"])):
        evaluated(upgrade)


def test_an_empty_slice(upgrade: Upgrade) -> None:
    """A slice that no judged query carries is an error that lists those there are; nothing is judged silently."""
    with pytest.raises(EvaluationError, match="slice 'lang=de' is empty"):
        evaluated(upgrade, gate=[{**BETTER, "slice": "lang=de"}])


def test_a_collection_that_is_too_small_for_its_gate(upgrade: Upgrade) -> None:
    """Three judged queries can show nothing: the gate says so, and nothing is promoted."""
    with upgrade.open(queries=3) as index:
        found = index.evaluate(4)
        assert found.verdict == "cannot_tell"
        assert any("too few" in reason for reason in found.reasons)
        with pytest.raises(GateNotMet, match="cannot tell"):
            index.promote(4)
