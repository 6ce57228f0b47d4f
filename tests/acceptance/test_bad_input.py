"""Bad input: each gets an error that teaches, or a dead letter, and nothing that is indexed is lost."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest

import regen
from regen import Chunking, Document, Index, Limits
from regen.embedders.hashing import HashingEmbedder
from regen.engine.lease import new_owner
from regen.errors import (
    BudgetExceeded,
    CatalogBusy,
    CatalogError,
    CollectionMissing,
    ConfigError,
    DuplicateDocument,
    EmbedderContract,
    EmbedderError,
    RateLimited,
    RegenError,
    SchemaMismatch,
    SourceError,
    SpaceMismatch,
    StoreError,
    TextRejected,
)
from regen.ports import Payload, Points
from regen.sources.files import FilesSource
from regen.sources.jsonl import JsonlSource
from regen.testing.faulty import FaultyEmbedder

Worlds: TypeAlias = Callable[..., Any]
"""Makes a World (see conftest.py) from documents and an index's settings."""
FLAT = Chunking("whole")
PATIENCE = 60.0


def letters(index: Index) -> dict[str, str]:
    """Dead letters: document to reason."""
    return {letter.doc_id: letter.reason for letter in index.status().dead_letters}


def good(count: int = 3) -> list[Document]:
    """Documents with nothing wrong."""
    return [Document(f"good{i}", f"plain words number{i}") for i in range(count)]


def on_files(folder: Path, **more: Any) -> Index:
    """An index over a folder of files."""
    return Index(
        embedder=HashingEmbedder(64), store="memory://", catalog="sqlite://", source=FilesSource(folder), **more
    )


# ── documents ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.write_bytes(b"caf\xe9 au lait"), "utf-8"),
        (lambda path: (path.unlink(), path.symlink_to(path.name)), "symbolic links"),
        (lambda path: path.write_text("---\ntitle: [unclosed\n---\ntext"), "front matter"),
    ],
    ids=["invalid UTF-8", "unreadable", "broken front matter"],
)
def test_a_file_that_cannot_be_read_keeps_its_old_text(tmp_path: Path, spoil: Callable[..., Any], reason: str) -> None:
    """What was indexed of it stays searchable, the others go on, and mending the file mends the index."""
    (tmp_path / "spoilt.md").write_text("the original words")
    (tmp_path / "other.md").write_text("first version")
    with on_files(tmp_path) as index:
        index.sync()
        spoil(tmp_path / "spoilt.md")
        (tmp_path / "other.md").write_text("second version")
        result = index.sync()
        assert (result.documents.failed, result.documents.updated, result.documents.deleted) == (1, 1, 0)
        assert reason in letters(index)["spoilt.md"].lower()
        assert index.search("original words", k=1)[0].doc_id == "spoilt.md"
        assert index.search("second version", k=1)[0].text == "second version"
        (tmp_path / "spoilt.md").unlink()
        (tmp_path / "spoilt.md").write_text("mended words")
        assert index.sync().documents.updated == 1
        assert letters(index) == {}
        assert index.status().freshness.failed == 0
        assert index.search("mended words", k=1)[0].text == "mended words"


def test_a_folder_that_is_gone_is_an_error_not_a_deletion(tmp_path: Path) -> None:
    """An unmounted volume stops the sync; every document stays."""
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("some words")
    with on_files(folder) as index:
        index.sync()
        folder.rename(tmp_path / "elsewhere")
        with pytest.raises(SourceError, match="docs"):
            index.sync()
        assert index.search("some words", k=1)[0].doc_id == "a.md"


def test_a_document_that_became_empty(worlds: Worlds) -> None:
    """Its old text is found no more, a dead letter says why, and text makes it whole again."""
    world = worlds(Document("a", "words that vanish"), *good(), chunking=FLAT)
    world.index.sync()
    world.put(Document("a", " \n\t"), Document("never", ""))
    result = world.index.sync()
    assert (result.documents.failed, result.chunks.deleted) == (2, 1)
    assert letters(world.index) == dict.fromkeys(("a", "never"), "the document has no text to embed")
    assert "a" not in world.found("words that vanish")
    world.assert_sound()
    assert world.index.sync().documents.failed == 0  # told once, not by every run
    world.put(Document("a", "new words"), Document("never", "at last"))
    assert world.index.sync().documents.updated == 2
    assert letters(world.index) == {}
    assert {"a", "never"} <= set(world.found("new words"))


def test_an_empty_document_with_a_title_is_found_by_it(worlds: Worlds) -> None:
    """A template that adds a title leaves something to embed."""
    world = worlds(Document("a", "", {"title": "Only a title"}), text="{title}\n{text}")
    assert world.index.sync().documents.failed == 0
    assert world.found("only a title") == ["a"]


def test_a_missing_key_of_the_template(worlds: Worlds) -> None:
    """The reason names the key, the template and what to do; a title mends it."""
    world = worlds(Document("untitled", "words"), Document("b", "words", {"title": "B"}), text="{title}\n{text}")
    assert world.index.sync().documents.failed == 1
    reason = letters(world.index)["untitled"]
    assert "'title'" in reason
    assert "'{title}\\n{text}'" in reason
    assert "Hint: add the key to the document, or take it out of `text:`" in reason
    assert world.found("words") == ["b"]
    world.put(Document("untitled", "words", {"title": "Now titled"}))
    world.index.sync()
    assert letters(world.index) == {}
    assert set(world.found("words")) == {"untitled", "b"}


ODD: dict[str, tuple[Any, str]] = {
    "no text": (Document("odd", None), "text is NoneType, not a string"),  # type: ignore[arg-type]
    "bytes": (Document("odd", b"x"), "text is bytes, not a string"),  # type: ignore[arg-type]
    "lone surrogate": (Document("odd", "x\ud800"), "surrogates not allowed"),
    "an object": (Document("odd", "x", {"a": object()}), "metadata must hold JSON values"),
    "number as key": (Document("odd", "x", {1: 2}), "metadata must hold JSON values"),  # type: ignore[dict-item]
    "a huge number": (Document("odd", "x", {"a": 2**70}), "64-bit"),
    "a list": (Document("odd", "x", ["a"]), "metadata is list, not a dictionary"),  # type: ignore[arg-type]
    "access as text": (Document("odd", "x", access="team"), "Hint: write a list: ['team']"),
    "access of numbers": (Document("odd", "x", access=[1]), "a list of strings is valid"),  # type: ignore[list-item]
}


@pytest.mark.parametrize("name", ODD)
def test_a_document_of_an_odd_form_is_a_dead_letter(worlds: Worlds, name: str) -> None:
    """It never enters the log, the documents beside it do, and a proper one takes its place."""
    document, reason = ODD[name]
    world = worlds()
    result = world.index.upsert([document, *good()])
    assert (result.documents.added, result.documents.failed) == (3, 1)
    assert reason in letters(world.index)["odd"]
    assert len(world.found("plain words")) == 3
    assert world.index.upsert([Document("odd", "in order now")]).documents.added == 1
    assert letters(world.index) == {}
    world.assert_sound()


@pytest.mark.parametrize("doc_id", ["", 5, None, "x\ud800", "nul\0nul"], ids=repr)
def test_an_id_that_cannot_be_kept(worlds: Worlds, doc_id: Any) -> None:
    """There is no name for a dead letter: the call is refused, and nothing of it is logged."""
    world = worlds()
    world.index.upsert(good())
    before = world.dump()
    with pytest.raises(ConfigError, match="document id"):
        world.index.upsert([Document("new", "x"), Document(doc_id, "x")])
    with pytest.raises(ConfigError, match="document id"):
        world.index.delete(["good0", doc_id])
    assert world.dump() == before


def test_one_for_many_is_told(worlds: Worlds) -> None:
    """A single document or id where several are meant is an error; a text is no list of one-letter ids."""
    world = worlds(Document("a", "x"))
    world.index.sync()
    with pytest.raises(ConfigError, match=r"Hint: write index.upsert\(\[document\]\)"):
        world.index.upsert(Document("b", "x"))
    with pytest.raises(ConfigError, match=r"Hint: write index.delete\(\['a'\]\)"):
        world.index.delete("a")
    assert world.found("x") == ["a"]


def test_duplicate_ids_stop_the_scan(worlds: Worlds, tmp_path: Path) -> None:
    """One id twice, near or far apart, is an error that names it; nothing is deleted for it."""
    lines = [f'{{"_id": "d{i}", "text": "words {i}"}}' for i in range(2_500)]
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join(lines))
    index = Index(embedder="hashing/64", store="memory://", catalog="sqlite://", source=JsonlSource(path))
    index.sync()
    for at in (1, 2_400):
        path.write_text("\n".join([*lines[: at + 1], lines[0].replace("words", "other"), *lines[at + 1 :]]))
        with pytest.raises(SourceError, match="d0"):
            index.sync()
    assert index.verify().points == 2_500
    world = worlds()
    with pytest.raises(DuplicateDocument, match=r"'push' delivered document id 'same' twice.*\nHint: ids must be uni"):
        world.index.upsert([Document("same", "1"), Document("same", "2")])


# ── large documents ─────────────────────────────────────────────────────────────────────────────────────────

LARGE = """
import resource, sys
import regen
from regen import Chunking, Document, Limits
from regen.embedders.hashing import HashingEmbedder

size, limit, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
words = [f"word{i * 7919 % 100_003}" for i in range(9_000)]
paragraph = "\\n\\n".join(" ".join(words[i : i + 60]) for i in range(0, len(words), 60))
text = "\\n\\n".join(f"{i} {paragraph}" for i in range(size // len(paragraph) + 1))[:size]
index = regen.Index(embedder=HashingEmbedder(64), store="lancedb://v", catalog="sqlite:///c.db", root=folder,
                    limits=Limits(max_document_bytes=limit), chunking=Chunking("markdown", max_tokens=256))
result = index.upsert([Document("large", text), Document("small", "a small document")])
print(result.documents.failed, result.chunks.written, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def load_large(size: int, limit: int, folder: Path) -> tuple[int, int, int]:
    """Index one large document in a process of its own: (failed, chunks, peak memory in MiB)."""
    done = subprocess.run(
        [sys.executable, "-c", LARGE, str(size), str(limit), str(folder)], capture_output=True, text=True, check=True
    )
    failed, chunks, peak = done.stdout.split()
    return int(failed), int(chunks), int(peak)


def test_fifty_megabytes_are_a_dead_letter(worlds: Worlds) -> None:
    """By default a document that large is refused with its size, the limit and what to do; the others go on."""
    world = worlds(Document("large", "x " * 25_000_000), *good())
    result = world.index.sync()
    assert (result.documents.added, result.documents.failed) == (3, 1)
    assert letters(world.index)["large"] == (
        "the text has 50,000,000 bytes; the limit is 20,000,000\n"
        "Hint: split the document, or raise limits.max_document_bytes"
    )


def test_fifty_megabytes_in_a_file_are_a_dead_letter(tmp_path: Path) -> None:
    """A file that large is not even read."""
    with (tmp_path / "large.md").open("wb") as file:
        file.truncate(50_000_000)
    (tmp_path / "small.md").write_text("small words")
    with on_files(tmp_path) as index:
        result = index.sync()
        assert (result.documents.added, result.documents.failed) == (1, 1)
        assert "50,000,000" in letters(index)["large.md"]


def test_fifty_megabytes_with_a_raised_limit(tmp_path: Path) -> None:
    """They are indexed, in memory that is a small multiple of the text."""
    small, large = tmp_path / "small", tmp_path / "large"
    small.mkdir()
    large.mkdir()
    _, few, base = load_large(100_000, 100_000_000, small)
    failed, chunks, peak = load_large(50_000_000, 100_000_000, large)
    assert failed == 0
    assert chunks > 300 * few > 3_000
    assert peak - base < 15 * 50, f"{peak - base} MiB more than for a small text"


# ── the model ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("wrong_count", r"embed_documents of 4 texts returned .*\(3, 64\); expected .*\(4, 64\)\nHint: one vector"),
        ("wrong_dimensions", r"returned .*\(4, 63\); expected .*\(4, 64\)\nHint: info.dimensions says 64"),
    ],
)
def test_a_model_that_breaks_its_contract_stops_the_run(worlds: Worlds, fault: Any, told: str) -> None:
    """No answer of it can be trusted: nothing is written, what was indexed stays, and the next run completes."""
    world = worlds(Document("old", "older words"), chunking=FLAT)
    world.index.sync()
    world.put(*good(4))
    world.fail(lambda _call, texts: fault)
    with pytest.raises(EmbedderContract, match=told):
        world.index.sync()
    world.mend()
    assert world.found("older words") == ["old"]
    assert world.index.status().freshness.pending == 4
    assert world.index.sync().embedded_texts == 4
    world.assert_sound()


@pytest.mark.parametrize(
    ("fault", "reason"), [("nan", "contains NaN"), ("infinity", "contains infinity"), ("zero", "is a zero vector")]
)
def test_an_unusable_vector_condemns_one_text(worlds: Worlds, fault: Any, reason: str) -> None:
    """The others of the same call are placed, and retry places it when the model is mended."""
    world = worlds(*good(4), chunking=FLAT)
    world.fail(lambda _call, _texts: fault)
    result = world.index.sync()
    assert (result.documents.failed, result.chunks.written, result.embedded_texts) == (1, 3, 4)
    assert letters(world.index) == {"good0": f"the model's vector {reason}"}
    world.mend()
    assert world.index.sync().embedded_texts == 0  # a dead letter waits for retry
    assert world.index.retry().embedded_texts == 1
    assert letters(world.index) == {}
    assert "good0" in world.found("number0")
    world.assert_sound()


def test_a_poisoned_text_is_found_among_hundreds(worlds: Worlds) -> None:
    """A refused call is bisected to the bad text; a document is placed wholly or not at all; retry counts attempts."""
    documents = [Document(f"d{i:03}", f"paragraph number{i}") for i in range(300)]
    documents[77] = Document("d077", "POISON in a document")
    world = worlds(*documents, chunking=FLAT)

    def refuse(_call: int, texts: Sequence[str]) -> Exception | None:
        return TextRejected("content policy") if any("POISON" in text for text in texts) else None

    world.fail(refuse)
    result = world.index.sync()
    assert (result.documents.failed, result.chunks.written) == (1, 299)
    assert letters(world.index) == {"d077": "the model rejected the text: TextRejected: content policy"}
    assert len(world.embedder.calls) <= 2 * 9 + 1, "halves, not one by one"
    assert world.index.retry().documents.failed == 1
    assert [letter.attempts for letter in world.index.status().dead_letters] == [2]
    world.mend()
    assert world.index.retry().embedded_texts == 1
    assert letters(world.index) == {}
    assert world.index.status().freshness.failed == 0
    world.assert_sound()


def test_a_poisoned_edit_leaves_the_old_revision(worlds: Worlds) -> None:
    """Readers keep the last good text, and it is told as failed; the next good edit needs no retry."""
    world = worlds(Document("a", "good words"), chunking=FLAT)
    world.index.sync()
    world.fail(lambda _call, texts: ValueError("bad token") if any("POISON" in text for text in texts) else None)
    world.put(Document("a", "POISON words"))
    assert world.index.sync().documents.failed == 1
    assert [hit.text for hit in world.index.search("words", k=3)] == ["good words"]
    world.put(Document("a", "better words"))
    assert world.index.sync().documents.failed == 0
    assert letters(world.index) == {}
    assert [hit.text for hit in world.index.search("words", k=3)] == ["better words"]


def test_a_model_that_always_refuses_stops_the_run(worlds: Worlds) -> None:
    """Not thousands of dead letters but one error; nothing is lost, and the mended model completes."""
    world = worlds(*good(40), chunking=FLAT)
    world.fail(lambda _call, _texts: ValueError("model not loaded"))
    with pytest.raises(EmbedderError, match="accepted none: ValueError: model not loaded") as caught:
        world.index.sync()
    assert "regen doctor" in str(caught.value)
    assert len(letters(world.index)) <= 8
    world.mend()
    assert world.index.retry().chunks.written == 40
    world.assert_sound()


def test_a_provider_that_asks_to_wait_is_waited_for(worlds: Worlds) -> None:
    """A rate limit is retried without a dead letter, and each text is counted once."""
    world = worlds(*good(3), chunking=FLAT)
    world.fail(lambda call, _texts: RateLimited("slow down", retry_after=0.01) if call < 2 else None)
    assert world.index.sync().embedded_texts == 3
    assert len(world.texts_since(0)) == 9  # three calls of three texts
    assert letters(world.index) == {}


def test_a_provider_that_never_lets_us_in(worlds: Worlds) -> None:
    """After the set number of attempts the run stops with the provider's words; the next one completes."""
    world = worlds(*good(3), chunking=FLAT, limits=Limits(retry_attempts=2))
    world.fail(lambda _call, _texts: RateLimited("quota of today is used up", retry_after=0.01))
    with pytest.raises(RateLimited, match="quota of today is used up") as caught:
        world.index.sync()
    assert caught.value.retryable
    world.mend()
    assert world.index.sync().embedded_texts == 3


def test_the_budget_stops_before_it_is_passed(worlds: Worlds) -> None:
    """The call that would pass it is not made, what was paid for is kept, and nothing is paid for twice."""
    settings = {"embedding": {"price_per_million_tokens": 1_000.0}, "chunking": FLAT}  # ten cents a document
    world = worlds(Document("cheap", "word"), limits=Limits(budget_usd=2.05, batch_documents=10), **settings)
    world.index.sync()

    def bought() -> list[str]:
        return [text for text in world.texts_since(0) if len(text) > 20]

    world.put(*(Document(f"d{i:03}", " ".join(f"word{i}" for _ in range(100))) for i in range(50)))
    assert world.index.plan().totals.cost_usd == pytest.approx(5.0)
    told = r"would cost \$1.0000 and pass the budget of \$2.05 \(spent: \$2.0000\)\nHint: raise limits.budget_usd"
    with pytest.raises(BudgetExceeded, match=told):
        world.index.sync()
    assert len(bought()) == 20
    assert len(world.found("word0")) == 1 + 20
    world.open(limits=Limits(budget_usd=10.0))
    assert world.index.plan().totals.cost_usd == pytest.approx(3.0)
    result = world.index.sync()
    assert (result.embedded_texts, result.cost_usd) == (30, pytest.approx(3.0))
    assert len(bought()) == len(set(bought())) == 50
    world.assert_sound()


@pytest.mark.parametrize("concurrency", [1, 4])
def test_what_was_paid_for_is_kept_even_of_a_half_done_batch(worlds: Worlds, concurrency: int) -> None:
    """When the model fails after some calls of one batch, their documents are placed and not paid for again."""
    model = Small()
    world = worlds(*good(40), embedder=model, chunking=FLAT, limits=Limits(retry_attempts=1, concurrency=concurrency))
    world.fail(lambda call, _texts: ConnectionError("cable cut") if call == 5 else None)
    with pytest.raises(EmbedderError, match="cable cut"):
        world.index.sync()
    paid = len(world.embedder.texts) - 4
    assert paid >= 20
    assert world.index.status().freshness.pending == 40 - paid
    assert letters(world.index) == {}
    world.mend()
    assert world.index.sync().embedded_texts == 40 - paid
    world.assert_sound()


class Small(HashingEmbedder):
    """A model that takes four texts a call."""

    def __init__(self) -> None:
        super().__init__(64)
        self._info = replace(self._info, max_batch_texts=4)


def test_request_limits_are_kept(lance_worlds: Worlds) -> None:
    """A limit of two requests a minute lets the probe and one call through and makes the next one wait its turn."""
    world = lance_worlds(*good(2), chunking=FLAT, limits=Limits(requests_per_minute=2))
    assert world.index.sync().embedded_texts == 2
    calls = len(world.embedder.calls)
    world.put(Document("third", "more words"))
    waiting = threading.Thread(target=world.index.sync, daemon=True)
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()
    assert len(world.embedder.calls) == calls


# ── spaces ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_vector_of_another_space_is_never_compared(worlds: Worlds) -> None:
    """Neither without a space, nor with a foreign one, nor with other dimensions; the error names both (I1)."""
    world = worlds(*good(), chunking=FLAT)
    world.index.sync()
    own, foreign = world.index.recipe.space, regen.Index(
        embedder="hashing/64-1", store="memory://", catalog="sqlite://"
    ).recipe.space  # fmt: skip
    vector = HashingEmbedder(64).embed_query("number1")
    assert world.index.search(vector.tolist(), space=own, k=1)[0].doc_id == "good1"
    with pytest.raises(SpaceMismatch, match=f"must say of which space.*\nHint: pass space='{own}'"):
        world.index.search(vector.tolist())
    with pytest.raises(SpaceMismatch, match=f"of space {foreign}, the generation of space {own}"):
        world.index.search(vector.tolist(), space=foreign)
    with pytest.raises(SpaceMismatch, match=rf"shape \(3,\); space {own} has 64 dimensions"):
        world.index.search([0.1, 0.2, 0.3], space=own)
    with pytest.raises(ConfigError, match="no vector"):
        world.index.search(["a"] * 64, space=own)
    with pytest.raises(ConfigError, match="NaN"):
        world.index.search([float("nan")] * 64, space=own)


@pytest.mark.parametrize("name", ["hashing/64-1", "hashing/32"])
def test_another_model_behind_the_same_catalog(worlds: Worlds, name: str) -> None:
    """The generation keeps being searched and written with the model it was built by, and says so."""
    world = worlds(*good(), chunking=FLAT)
    world.embedder = HashingEmbedder(64)
    world.open()
    world.index.sync()
    space = world.index.recipe.space
    world.embedder = HashingEmbedder.from_name(name)
    other = world.open()
    assert other.recipe.space != space
    other.upsert([Document("new", "plain words beside")])
    hits = other.search("plain words beside", k=1)
    assert (hits.space, hits[0].doc_id, hits[0].score) == (space, "new", pytest.approx(1.0))
    assert any("model '" in note for note in other.status().notes)
    world.assert_sound()


def test_a_model_that_changed_behind_its_name(worlds: Worlds) -> None:
    """Another revision than the generation's cannot serve it: both spaces are named."""

    class Renewed(HashingEmbedder):
        def __init__(self, revision: str) -> None:
            super().__init__(64)
            self._info = replace(self._info, name="python:nowhere:Model", revision=revision)

    world = worlds(*good(), chunking=FLAT)
    world.embedder = Renewed("1")
    world.open()
    world.index.sync()
    space = world.index.recipe.space
    world.embedder = Renewed("2")
    world.open()
    with pytest.raises(RegenError) as caught:
        world.index.search("words")
    assert space in str(caught.value) or "nowhere" in str(caught.value)


# ── settings ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("chunkign: {kind: whole}", "chunking"),
        ("limits: {budget: 5}", "budget_usd"),
        ("source: {kind: files, path: docs, globb: x}", "glob"),
        ("embedding: {model: wordlama/l2-supercat-64}", "wordllama"),
        ("store: {url: 'lancdb://x'}", "lancedb"),
    ],
)
def test_an_unknown_name_in_the_configuration_is_told_with_what_is_valid(tmp_path: Path, line: str, told: str) -> None:
    """A typing error names the place and the nearest valid word, before anything is made."""
    base = {"source": "source: {kind: files, path: docs}", "embedding": "embedding: {model: hashing/64}"}
    base[line.partition(":")[0]] = line
    (tmp_path / "docs").mkdir()
    (tmp_path / "regen.yaml").write_text("version: 1\n" + "\n".join(base.values()) + "\n")
    with pytest.raises(ConfigError, match=told) as caught:
        regen.open(tmp_path / "regen.yaml")
    assert "Hint" in str(caught.value)
    assert not (tmp_path / ".regen").exists()


# ── store and catalog ───────────────────────────────────────────────────────────────────────────────────────


def test_a_collection_dropped_behind_our_back(worlds: Worlds) -> None:
    """Search says what is gone and what to do, verify finds everything missing, repair brings it back."""
    world = worlds(*good(5), chunking=FLAT)
    world.index.sync()
    world.index._store.drop(world.index._writer.live_or_newest().collection)
    with pytest.raises(CollectionMissing, match="regen_default_g1"):
        world.index.search("plain")
    found = world.index.verify()
    assert (found.missing, found.consistent) == (5, False)
    repaired = world.index.verify(repair=True)
    assert (repaired.consistent, repaired.points) == (True, 5)
    assert len(world.found("plain words")) == 5


def test_points_changed_behind_our_back(worlds: Worlds) -> None:
    """Lost, foreign and altered points are counted apart, never returned, and mended."""
    world = worlds(*good(5), chunking=FLAT)
    world.index.sync()
    store, collection = world.index._store, world.index._writer.live_or_newest().collection
    page = next(store.scan(collection))
    _, vectors = store.fetch(collection, [page.ids[0]])
    alien = page.payload
    one = Payload(
        alien.chunk_id[:1], [alien.token[0] + 7], alien.doc_id[:1], ["planted words"], [0], alien.revision[:1], [{}],
        [None], {key: values[:1] for key, values in alien.audit.items()},
    )  # fmt: skip
    store.upsert(collection, Points(["f" * 32], vectors, one))
    store.delete(collection, [page.ids[1]])
    found = world.index.verify()
    assert (found.missing, found.orphans) == (1, 1)
    assert "planted words" not in {hit.text for hit in world.index.search("planted words", k=10)}
    assert world.index.verify(repair=True).consistent
    assert len(world.found("plain words")) == 5


def test_a_catalog_of_a_newer_schema(tmp_path: Path) -> None:
    """It is not touched, and the error says both versions and to upgrade."""
    Index(embedder="hashing/64", store="memory://", catalog="sqlite:///c.db", root=tmp_path).close()
    with sqlite3.connect(tmp_path / "c.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(SchemaMismatch, match=r"schema 9999.*schema 0\d+.*\nHint: .*upgrade regen"):
        Index(embedder="hashing/64", store="memory://", catalog="sqlite:///c.db", root=tmp_path)


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to look at" * 100, b"\0" * 4096])
def test_a_catalog_file_that_is_no_catalog(tmp_path: Path, content: bytes) -> None:
    """A file of something else is an error of the catalog, not a traceback of its driver."""
    (tmp_path / "c.db").write_bytes(content)
    with pytest.raises(CatalogError, match="catalog"):
        Index(embedder="hashing/64", store="memory://", catalog="sqlite:///c.db", root=tmp_path)


def test_a_second_writer_waits_and_then_names_the_first(worlds: Worlds) -> None:
    """Another process that holds the lease is named; search goes on meanwhile; afterwards the same call works."""
    world = worlds(*good(), limits=Limits(lease_wait=0.2))
    world.index.sync()
    owner = "elsewhere:4711:abc"
    world.index._catalog.acquire("index default", owner, at=time.time(), seconds=60)
    world.put(Document("new", "new words"))
    with pytest.raises(CatalogBusy, match=f"index default is being written by {owner}\nHint: wait for it") as caught:
        world.index.sync()
    assert caught.value.retryable
    assert len(world.found("plain words")) == 3
    lease = world.index._catalog.holder("index default")
    world.index._catalog.release(lease)
    assert world.index.sync().documents.added == 1


def test_a_dead_writers_lease_is_taken_over_at_once(worlds: Worlds) -> None:
    """A process of this host that died does not make the next one wait for its lease to run out."""
    world = worlds(*good(), limits=Limits(lease_wait=0.2))
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    host = new_owner().partition(":")[0]
    owner = f"{host}:{int(gone.stdout)}:abc"
    world.index._catalog.acquire("index default", owner, at=time.time(), seconds=600)
    assert world.index.sync().documents.added == 3


SECOND = """
import sys
from regen import Document, Index, Limits
index = Index(embedder="hashing/64", store="lancedb://vectors", catalog="sqlite:///catalog.db", root=sys.argv[1],
              limits=Limits(lease_wait=60))
for i in range(int(sys.argv[3])):
    index.upsert([Document(f"{sys.argv[2]}-{i}", f"words of {sys.argv[2]} number {i}")])
"""


def test_two_processes_write_one_index(tmp_path: Path) -> None:
    """They take turns, and what both wrote is there, once."""
    writers = [
        subprocess.Popen([sys.executable, "-c", SECOND, str(tmp_path), name, "5"], stderr=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=PATIENCE)
        assert writer.returncode == 0, errors
    with Index(
        embedder="hashing/64", store="lancedb://vectors", catalog="sqlite:///catalog.db", root=tmp_path
    ) as index:
        report = index.verify()
        assert (report.points, report.consistent) == (10, True)
        assert len(index._writer.current()) == 1


# ── a full disk ─────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Callable[[int], None]]:
    """A file system of that size on the folder; call what is yielded to give it another size."""
    folder.mkdir()

    def mount(*options: str) -> None:
        subprocess.run(["mount", *options, str(folder)], check=True, capture_output=True)

    try:
        mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small file system cannot be mounted here (that takes root): {error}")
    try:
        yield lambda size: mount("-o", f"remount,size={size}m")
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
@pytest.mark.parametrize("megabytes", [1, 2, 4])
def test_a_full_disk_loses_nothing(tmp_path: Path, megabytes: int) -> None:
    """The run stops with an error that says so; with space again the same call completes, equal to a clean run."""
    documents = [Document(f"d{i}", os.urandom(700).hex()) for i in range(3_000)]
    first = good(20)
    disk = tmp_path / "disk"

    def make(root: Path) -> Index:
        limits = Limits(batch_documents=200)
        return Index(
            embedder=HashingEmbedder(64), store="lancedb://v", catalog="sqlite:///c.db", root=root, limits=limits,
            chunking=FLAT,
        )  # fmt: skip

    with small_disk(disk, megabytes) as resize:
        index = make(disk)
        index.upsert(first)
        with pytest.raises((StoreError, CatalogError), match=r"(?i)full|space|disk") as caught:
            index.upsert(documents)
        assert "Hint" in str(caught.value)
        assert len(index.search("plain words", k=20)) == 20
        resize(200)
        index.upsert(documents)
        report = index.verify()
        assert (report.consistent, report.points) == (True, 3_020), report.details
        index.gc(now=True)
        clean = make(tmp_path / "clean")
        clean.upsert(first + documents)
        for query in ("plain words", documents[5].text):
            ours, theirs = index.search(query, k=10), clean.search(query, k=10)
            assert [(hit.chunk_id, hit.text) for hit in ours] == [(hit.chunk_id, hit.text) for hit in theirs]
        index.close()
        clean.close()


def test_the_faulty_model_is_one_of_ours() -> None:
    """The tests above fail on purpose through the shipped fault injector, which passes everything else through."""
    faulty = FaultyEmbedder(HashingEmbedder(8), lambda _call, _texts: None)
    assert faulty.embed_documents(["a"]).shape == (1, 8)
