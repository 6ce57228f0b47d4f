"""No check is red without a reason: on healthy indexes of every kind, tiny ones and odd ones all pass."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.quality.conftest import Makers, check, context, document, failing, sentence

from regen import Chunking, Document, Index
from regen.embedders.hashing import HashingEmbedder
from regen.embedders.wordllama import WordLlamaEmbedder
from regen.errors import ConfigError, EvaluationError, StoreError
from regen.evaluation.judged import JudgedCollection, JudgedQuery
from regen.evaluation.known import KnownQuery
from regen.quality.checks import CHECKS, run_checks
from regen.quality.settings import EvaluationSettings

LONG = Document("long", " ".join(sentence(number) for number in range(400)))
CORPORA: dict[str, list[Document]] = {
    "one document": [document(1)],
    "empty texts": [Document("a", ""), Document("b", " \n"), document(1)],
    "only empty texts": [Document("a", "")],
    "all private": [document(number, access=["ann"]) for number in range(5)],
    "for nobody": [document(number, access=[]) for number in range(5)],
    "equal texts": [Document(f"d{number}", "The same words everywhere.") for number in range(40)],
    "equal texts, many owners": [
        Document(f"d{number}", "The same words everywhere.", access=[f"u{number % 30}"]) for number in range(60)
    ],
    "longer than the chunk": [LONG, document(1)],
    "one word": [Document("a", "x"), Document("b", "y"), Document("c", "x y")],
    "hostile": [Document("'; --", "a\0b \ud7ff 😀"), Document("%", "_" * 3_000), Document(" ", "\u200b \u00a0")],
    "many lists": [document(number, access=[f"u{number}", f"t{number % 3}"]) for number in range(60)],
}  # fmt: skip


@pytest.mark.parametrize("name", CORPORA)
def test_odd_corpora(make: Makers, name: str) -> None:
    """Nothing fails, before a change is made and after the past is forgotten."""
    index = make(*CORPORA[name])
    assert failing(index) == {}
    index.delete([CORPORA[name][0].id])
    assert failing(index) == {}
    index.gc(now=True)
    assert failing(index) == {}


@pytest.mark.parametrize(
    "recipe",
    [
        {"chunking": Chunking("whole")},
        {"chunking": Chunking("sentences", 8)},
        {"metric": "dot", "embedding": {"normalize": False}},
        {"metric": "l2"},
        {"embedding": {"precision": "float16"}},
        {"embedding": {"precision": "int8"}},
        {"embedding": {"precision": "binary"}},
        {"embedding": {"document_prefix": "passage: ", "query_prefix": "query: "}},
        {"text": "{title}\n{text}"},
    ],
    ids=["whole", "sentences", "dot", "l2", "float16", "int8", "binary", "prefixes", "template"],
)
def test_recipes(make: Makers, recipe: dict[str, Any]) -> None:
    """Every way of making vectors is judged by its own scores."""
    documents = [document(number, metadata={"title": f"T {number}"}) for number in range(30)]
    index = make(*documents, Document("untitled", "Nothing above this text."), **recipe)
    assert failing(index) == {}


def test_a_real_model(make: Makers) -> None:
    """Truncated vectors and a model of meaning."""
    index = make(*(document(number) for number in range(20)), embedder=WordLlamaEmbedder(64))
    assert failing(index) == {}


def test_an_index_without_documents(make: Makers) -> None:
    """There is nothing to look at, and each check says so."""
    index = make()
    index.sync()
    found = run_checks(context(index))
    assert all(item.passed for item in found)
    details = {item.name: item.detail for item in found}
    assert details["recent_documents"] == "there are no documents"
    assert details["deleted_documents"] == "no deletion is on record"
    assert details["permissions"] == "every document is public"
    assert details["index_recall"] == "there are no points"


def test_a_candidate_beside_the_live_generation(make: Makers) -> None:
    """Two generations, dead letters in both, deletions and edits since."""
    documents = [document(number, access=["t"] if number % 2 else None) for number in range(15)]
    make(*documents, Document("blank", " ")).close()
    index = make(embedder=HashingEmbedder(96), models={"hashing/64": HashingEmbedder(64)})
    index.apply()
    index.upsert([document(3, 5), document(40)])
    index.delete(["d1", "d40"])
    assert failing(index, 2, baseline=1) == {}
    assert failing(index, 1) == {}


def test_a_promotion_runs_them(make: Makers) -> None:
    """What the gate keeps of an evaluation holds every check by its name."""
    make(*(document(number) for number in range(3))).close()
    index = make(embedder=HashingEmbedder(96), models={"hashing/64": HashingEmbedder(64)})
    index.apply()
    found = index.evaluate()
    assert [item.name for item in found.checks][: len(CHECKS)] == list(CHECKS)
    assert index.promote().live == 2


def test_a_retained_generation_out_of_reach_is_reported(make: Makers) -> None:
    """A model that is gone is no reason to refuse another generation, but it is said."""
    make(*(document(number) for number in range(3)), embedder=Named()).close()
    index = make(embedder=HashingEmbedder(96), models={"python:gone:Model": Named()})
    index.apply()
    index.promote()
    index.close()
    index = make(embedder=HashingEmbedder(96))
    found = {item.name: item for item in index.evaluate().checks}
    assert not found["reachable"].passed
    assert not found["reachable"].gates
    assert "generation 1" in found["reachable"].detail


class Named(HashingEmbedder):
    """A model that no name finds."""

    def __init__(self) -> None:
        super().__init__(64)
        self._info = replace(self._info, name="python:gone:Model")


def test_known_queries_share_ranks(make: Makers) -> None:
    """Of documents with equal text any may be returned: each is within the first rank."""
    index = make(*CORPORA["equal texts"], document(100))
    known = [KnownQuery("the same words everywhere", (f"d{number}",), 1) for number in (0, 17, 39)]
    assert check(index, "known_queries", known=known).passed
    assert not check(index, "known_queries", known=[KnownQuery("the same words everywhere", ("d100",), 3)]).passed


def test_a_check_without_material_says_so(make: Makers) -> None:
    """No known queries, no marked ones."""
    index = make(document(1))
    assert "no known queries" in check(index, "known_queries").detail
    unmarked = JudgedCollection("c", (JudgedQuery("q", "x"),), {"q": {"d1": 1}})
    assert "no query is marked" in check(index, "current_preferred", collections=[unmarked]).detail


def test_unknown_checks_are_refused(make_in_memory: Makers) -> None:
    """A misspelt name is an error that lists the valid ones."""
    with pytest.raises(ConfigError, match="no check 'coverge'"):
        run_checks(context(make_in_memory(document(1))), ["coverge"])


def test_what_changes_meanwhile_is_looked_at_again(make_in_memory: Makers) -> None:
    """A check that fails while documents are written runs again; one that fails on what stands still does not."""
    index = make_in_memory(document(1))
    looked = context(index)
    runs: list[int] = []

    def flaky(_: object) -> Any:
        runs.append(1)
        if len(runs) == 1:
            index.upsert([document(2)])
            raise StoreError("too early")
        return check(index, "coverage")

    def steady(_: object) -> Any:
        runs.append(1)
        raise StoreError("always")

    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(CHECKS, "searches", flaky)
        assert run_checks(looked, ["searches"])[0].passed
        assert len(runs) == 2
        patched.setitem(CHECKS, "searches", steady)
        assert not run_checks(looked, ["searches"])[0].passed
        assert len(runs) == 3


def test_while_documents_are_written(make: Makers) -> None:
    """Edits, deletions and permissions that change under way turn no check red."""
    index = make(*(document(number, access=["t"] if number % 3 else None) for number in range(30)))
    stop = threading.Event()

    def edit() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            index.upsert([document(turn % 30, 1 + turn % 3, access=["t"] if turn % 2 else None)])
            index.delete([f"d{(turn * 7) % 30}"])

    writer = threading.Thread(target=edit)
    writer.start()
    try:
        found = [failing(index, sample=20, texts=5) for _ in range(4)]
    finally:
        stop.set()
        writer.join()
    assert found == [{}] * 4


WHO = st.lists(st.sampled_from(["ann", "bob", "team"]), max_size=2) | st.none()
TEXT = st.integers(0, 12).map(sentence) | st.sampled_from(["", "  ", "same words", "same words\n\nand more of them"])
EDIT = st.tuples(st.sampled_from(["put", "put", "put", "delete", "gc"]), st.integers(0, 7), TEXT, WHO)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(EDIT, max_size=15))
def test_random_edits(edits: list[tuple[str, int, str, list[str] | None]]) -> None:
    """Whatever was put, deleted and forgotten, a healthy index passes."""
    with (
        TemporaryDirectory() as folder,
        Index(embedder=HashingEmbedder(32), store="memory://", catalog="sqlite://", root=Path(folder)) as index,
    ):
        index.upsert([document(20)])
        for verb, number, text, access in edits:
            if verb == "put":
                index.upsert([Document(f"d{number}", text, access=access)])
            elif verb == "delete":
                index.delete([f"d{number}"])
            else:
                index.gc(now=True)
        assert failing(index) == {}


def test_known_queries_are_read_from_their_file(make_in_memory: Makers) -> None:
    """The evaluation reads them; a file that is not there is an error that names it."""
    file = make_in_memory.folder / "known.jsonl"
    file.write_text(json.dumps({"query": document(1).text, "documents": ["d3"], "within": 1}))
    index = make_in_memory(*(document(number) for number in range(5)), evaluation=EvaluationSettings(known=file))
    found = {item.name: item for item in index.evaluate().checks}
    assert not found["known_queries"].passed
    file.write_text(json.dumps({"query": document(1).text, "documents": ["d1"], "within": 1}))
    assert index.evaluate().met
    file.unlink()
    with pytest.raises(EvaluationError, match=r"known\.jsonl"):
        index.evaluate()


def test_every_check_is_documented() -> None:
    """The page names each check, and no other."""
    page = (Path(__file__).parents[2] / "docs/concepts/checks.md").read_text(encoding="utf-8")
    table = page.partition("| check | fails when |")[2].partition("\n\n")[0]
    assert [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")] == list(CHECKS)
