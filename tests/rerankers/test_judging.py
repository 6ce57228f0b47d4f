"""A reranker is judged by searches with and without it; one that does not surely help is off, in every process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import regen
from regen.cli.app import app
from regen.cli.exits import ExitCode
from regen.errors import ConfigError, NotFound, RerankerError
from regen.evaluation.judged import JudgedQuery, assemble
from regen.quality.settings import EvaluationSettings

QUERIES = 40
LONG = 10_000.0


class Oracle:
    """Knows the answers: a text ``answer i`` is best for query i. ``wrong``: worst; ``blind``: all tie."""

    name = "oracle"

    def __init__(self, kind: str = "right") -> None:
        self.kind, self.calls = kind, 0
        self.fails: Callable[[int], bool] = lambda _: False

    def rerank(self, query: str, texts: list[str]) -> list[float]:
        """Whether the text ends in the query's number."""
        self.calls += 1
        wanted = query.rsplit(maxsplit=1)[-1]
        if self.fails(int(wanted) if wanted.isdigit() else 0):
            raise RuntimeError("not today")
        right = [float(text.split()[-1] == wanted) for text in texts]
        return {"right": right, "wrong": [-one for one in right], "blind": [0.0] * len(texts)}[self.kind]


def judged() -> EvaluationSettings:
    """Queries that the store answers in an order of its own, each with one right document."""
    queries = [JudgedQuery(f"q{n}", f"password question {n}") for n in range(QUERIES)]
    collection = assemble("support", queries, {f"q{n}": {f"d{n}": 1} for n in range(QUERIES)})
    return EvaluationSettings(collections=[collection])


def opened(model: object, root: Path, **rerank: Any) -> regen.Index:
    """An index of forty documents, each of which answers one query."""
    index = regen.Index(
        embedder="hashing/16", store="lancedb://vectors", catalog="sqlite:///catalog.db", root=root,
        evaluation=judged(), rerank={"model": model, "budget_ms": LONG, **rerank},
    )  # fmt: skip
    index.upsert([regen.Document(f"d{n}", f"password text of answer {n}") for n in range(QUERIES)])
    return index


def reranked(index: regen.Index) -> bool:
    """Whether a search is reranked."""
    done = index.search("password question 7").explanation.rerank
    assert done is not None
    return done.skipped is None


def test_one_that_helps_stays_on(tmp_path: Path) -> None:
    """Means with and without it, the gate's own test, and what it took; the judgement is kept."""
    with opened(Oracle(), tmp_path) as index:
        found = index.judge_reranker()
        assert found.helps
        assert found.reranked["nDCG@10"] > found.without["nDCG@10"] + 0.2
        assert found.reranked["R@100"] == found.without["R@100"], "reranking loses no candidate"
        (row,) = [row for row in found.comparisons if row.measure == "nDCG@10"]
        assert row.ci_low > 0
        assert (found.queries, found.depth, found.failures, found.generation) == (QUERIES, QUERIES, 0, 1)
        stats = index.rerank_stats()
        assert stats is not None
        assert (stats.active, stats.reason) == (True, "it helps on the judged queries")
        assert reranked(index)


@pytest.mark.parametrize(("kind", "told"), [("wrong", "is not met"), ("blind", "no query's value changed")])
def test_one_that_does_not_help_is_off_everywhere(tmp_path: Path, kind: str, told: str) -> None:
    """Worse, or no different: from then on searches ask for no more than they need, and say why."""
    oracle = Oracle(kind)
    with opened(oracle, tmp_path) as index, opened(oracle, tmp_path) as other:
        assert reranked(other)
        assert not index.judge_reranker().helps
        calls = oracle.calls
        assert not reranked(index)
        found = index.search("password question 7", 3)
        assert found.explanation.candidates == 3
        assert found.explanation.fallback is None, "that was decided, it is no accident"
        assert "switched off: " in str(found.explanation.rerank and found.explanation.rerank.skipped)
        assert oracle.calls == calls
        assert any("is off" in note and told in note for note in index.status().notes)
        record = other._reader.reranking.record  # type: ignore[union-attr]
        record._clock = lambda: 1e12
        assert not reranked(other), "another process learns it when it looks again"
    with opened(oracle, tmp_path) as later:
        assert not reranked(later)


def test_other_settings_are_another_question(tmp_path: Path) -> None:
    """A judgement is about model, options, depth and top: with others the reranker is used until it is judged again."""
    with opened(Oracle("wrong"), tmp_path) as index:
        index.judge_reranker()
    with opened(Oracle("wrong"), tmp_path, budget_ms=LONG / 2) as index:
        assert not reranked(index), "how long it may take changes nothing about its use"
    with opened(Oracle("wrong"), tmp_path, depth=20) as index:
        assert reranked(index)
    with opened(Oracle(), tmp_path) as index:
        assert index.judge_reranker().helps
        assert reranked(index), "judged anew, it may come back"


def test_too_few_queries_to_tell_count_as_no(tmp_path: Path) -> None:
    """Five queries cannot show anything: it is off, and the reason says what is lacking."""
    oracle = Oracle()
    with opened(oracle, tmp_path) as index:
        few = judged().judged()[0]
        some = assemble("few", few.queries[:5], {f"q{n}": {f"d{n}": 1} for n in range(5)})
        index._evaluation = EvaluationSettings(collections=[some])
        found = index.judge_reranker()
        assert not found.helps
        assert "too few" in found.reason


def test_one_that_cannot_keep_the_budget_is_off(tmp_path: Path) -> None:
    """However well it orders: what does not fit is never used."""
    with opened(Oracle(), tmp_path, budget_ms=1e-6) as index:
        found = index.judge_reranker()
        assert not found.helps
        assert found.reason == "1e-06 ms allow it fewer than two texts"
        assert "judged with 2 texts a query" in found.notes[0]


def test_failures_while_judging(tmp_path: Path) -> None:
    """A query that it fails for keeps its order, as it would for a user; when all fail, there is nothing to judge."""
    oracle = Oracle()
    with opened(oracle, tmp_path) as index:
        oracle.fails = lambda query: query >= 30
        found = index.judge_reranker()
        assert (found.helps, found.failures) == (True, 10)
        assert "failed for 10 queries" in found.notes[-1]
        oracle.fails = lambda query: query >= 3
        assert not index.judge_reranker().helps, "three queries show nothing"
        oracle.fails = lambda _: True
        with pytest.raises(RerankerError, match="not today"):
            index.judge_reranker()


def test_an_evaluation_judges_it(tmp_path: Path) -> None:
    """Nobody need ask: off after the next evaluation, judged once, and anew when settings or what is live change."""
    oracle = Oracle("wrong")
    with opened(oracle, tmp_path) as index:
        assert reranked(index)
        (told,) = [note for note in index.evaluate().notes if "reranking" in note]
        assert "is switched off" in told
        assert not reranked(index)
        calls = oracle.calls
        assert not [note for note in index.evaluate().notes if "reranking" in note]
        assert oracle.calls == calls
    with opened(Oracle(), tmp_path) as index:
        assert not reranked(index), "the same settings"
    with opened(Oracle(), tmp_path, depth=30) as index:
        assert any("helps" in note for note in index.evaluate().notes)
        assert reranked(index)
    with regen.Index(
        embedder="hashing/24", store="lancedb://vectors", catalog="sqlite:///catalog.db", root=tmp_path,
        evaluation=judged(), rerank={"model": Oracle("wrong"), "budget_ms": LONG, "depth": 30},
    ) as index:  # fmt: skip
        index.apply()
        index.promote(force=True, reason="only to have another one live")
        assert any("is switched off" in note for note in index.evaluate().notes)


def test_an_evaluation_outlives_a_reranker_that_fails(tmp_path: Path) -> None:
    """It fails for every query: the evaluation is what it is without, and says so."""
    oracle = Oracle()
    oracle.fails = lambda _: True
    with opened(oracle, tmp_path) as index:
        found = index.evaluate()
        assert "the reranker could not be judged: " in found.notes[-1]
        assert "not today" in found.notes[-1]


def test_what_cannot_be_judged(tmp_path: Path) -> None:
    """No reranker, no judged queries, nothing live: each says what to do."""
    plain = regen.Index(embedder="hashing/8", store="memory://", catalog="sqlite://")
    with plain, pytest.raises(ConfigError, match="no reranker is configured"):
        plain.judge_reranker()
    with regen.Index(embedder="hashing/8", store="memory://", catalog="sqlite://", rerank={"model": Oracle()}) as index:
        with pytest.raises(ConfigError, match="nothing to judge a reranker on"):
            index.judge_reranker()
        index._evaluation = judged()
        with pytest.raises(NotFound, match="is not live yet"):
            index.judge_reranker()


# ── the command line ────────────────────────────────────────────────────────────────────────────────────────

CONFIG = """\
version: 1
source: {kind: jsonl, path: docs.jsonl}
chunking: {kind: whole}
embedding: {model: hashing/16}
store: {url: "lancedb://vectors"}
evaluation: {collections: [{name: support, queries: queries.jsonl, qrels: qrels.tsv}]}
rerank: {model: "python:rerank_oracle_%s:Mine", budget_ms: 10000}
"""
MODULE = """\
class Mine:
    name = "mine"
    def rerank(self, query, texts):
        return [%s(text.split()[-1] == query.split()[-1]) for text in texts]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with documents, judged queries and a reranker of its own."""
    monkeypatch.chdir(tmp_path)
    documents = [{"id": f"d{n}", "text": f"password text of answer {n}"} for n in range(QUERIES)]
    Path("docs.jsonl").write_text("\n".join(map(json.dumps, documents)))
    queries = [{"_id": f"q{n}", "text": f"password question {n}"} for n in range(QUERIES)]
    Path("queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    rows = ["query-id\tcorpus-id\tscore", *(f"q{n}\td{n}\t1" for n in range(QUERIES))]
    Path("qrels.tsv").write_text("\n".join(rows))
    return tmp_path


def run(*words: str) -> tuple[int, Any]:
    """A verb's exit code and JSON."""
    result = CliRunner().invoke(app, [*words, "--json"])
    return result.exit_code, json.loads(result.stdout)


@pytest.mark.parametrize(("sign", "helps"), [("+", True), ("-", False)], ids=["right", "wrong"])
def test_evaluate_rerank(project: Path, sign: str, helps: bool) -> None:
    """Exit code 0 for one that helps, 3 for one that is switched off; search and status show which it is."""
    name = "right" if helps else "wrong"
    Path("regen.yaml").write_text(CONFIG % name)
    Path(f"rerank_oracle_{name}.py").write_text(MODULE % sign)
    assert run("sync")[0] == 0
    code, found = run("evaluate", "--rerank")
    assert (code, found["helps"]) == ((0, True) if helps else (ExitCode.CHANGES, False))
    assert (found["reranked"]["nDCG@10"] > found["without"]["nDCG@10"]) is helps
    _, searched = run("search", "password question 7", "--explain")
    assert (searched["explanation"]["rerank"]["skipped"] is None) is helps
    assert (searched["hits"][0]["doc_id"] == "d7") or not helps
    assert run("search", "password question 7", "--explain", "--no-rerank")[1]["explanation"]["rerank"] is None
    _, status = run("status")
    assert status["reranking"]["active"] is helps
    shown = CliRunner().invoke(app, ["evaluate", "--rerank"]).stdout
    assert ("helps: searches are reranked" in shown) is helps
    assert "nDCG@10" in shown
    told = CliRunner().invoke(app, ["search", "password question 7", "--explain"]).stdout
    assert ("8 texts in" in told or "16 texts in" in told) if helps else "not reranked: switched off" in told


def test_evaluate_rerank_goes_with_no_other_option(project: Path) -> None:
    """It is about the live generation: naming another one is a mistake, and is told."""
    Path("regen.yaml").write_text(CONFIG % "x")
    code, found = run("evaluate", "1", "--rerank")
    assert code == ExitCode.USAGE
    assert "goes with no other option" in found["error"]["message"]
