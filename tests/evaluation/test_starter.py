"""Starter collections: what is proposed, what is passed over, and that no decision of a reviewer is ever lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from regen.core.documents import Document
from regen.errors import BudgetExceeded, EvaluationError, JudgeError
from regen.evaluation.headings import headings_of, plain
from regen.evaluation.reading import read_collection
from regen.evaluation.review import parse_review
from regen.evaluation.starter import (
    Candidate,
    is_specific,
    overlap,
    propose_clicked,
    propose_known_items,
    query_id,
    read_written,
    sample_documents,
)
from regen.judges.openai_chat import ChatWriter
from regen.quality.starter import add_clicked, add_known_items, add_written, write_collection
from regen.testing.chat_server import ChatServer

GUIDE = """\
# Renew a parking permit

## Introduction

Text.

### Documents that you need

## Fees for residents
"""


def document(name: str, text: str = "Some text.", title: str | None = None) -> Document:
    """A document with or without a title."""
    return Document(name, text, {} if title is None else {"title": title})


def texts(candidates: Sequence[Candidate]) -> list[str]:
    """The candidates' queries."""
    return [candidate.text for candidate in candidates]


# ── headings ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (GUIDE, ["Renew a parking permit", "Introduction", "Documents that you need", "Fees for residents"]),
        ("\n\n# First ##\n\nA\n\nSecond one\n----------\n", ["First", "Second one"]),
        ("# One\r\n\r\ntext\r\n\r\n## Two\r\n", ["One", "Two"]),
        ("text\n\n```\n# a comment\n```\n\n- # in a list\n\n> # quoted\n", []),
        ("    # indented code\n\n# After it", ["After it"]),
        ("## [Link](x.md) to *C#* and `code` {#anchor}", ["Link to C# and code"]),
        ("## 2.1 Numbered\n\n---\n\ntext", ["Numbered"]),
        (
            "# 30 years of [18F] **and** DRB1*01, DRB1*02 in __C__ (*)",
            ["30 years of [18F] and DRB1*01, DRB1*02 in C (*)"],
        ),
        ("no heading\nat all", []),
        ("", []),
        ("#\n\n# #\n\n#hashtag", []),
    ],
    ids=[
        "guide",
        "closed",
        "windows",
        "no headings",
        "indented",
        "markup",
        "number",
        "no markup",
        "prose",
        "empty",
        "bare",
    ],
)
def test_headings_are_found(text: str, found: list[str]) -> None:
    """Marked and underlined ones, without markup; none from code, lists or quotes."""
    assert headings_of(text) == found


def test_hostile_headings_take_no_time() -> None:
    """A line of a hundred thousand brackets or blanks is passed over, not searched for every pair."""
    assert headings_of("# " + "[" * 100_000 + "\n\n# " + " " * 100_000 + "x" + " " * 100_000) == ["x"]
    assert plain("[" * 100_000) == ""


# ── titles and headings ─────────────────────────────────────────────────────────────────────────────────────


def test_known_items_are_titles_and_headings() -> None:
    """Each is answered by its document; those that say too little are counted."""
    found = propose_known_items([document("permit", GUIDE, "Parking permits, renewed")], headings=3)
    assert {(one.text, one.origin) for one in found.candidates} == {
        ("Parking permits, renewed", "title"),
        ("Renew a parking permit", "heading"),
        ("Documents that you need", "heading"),
        ("Fees for residents", "heading"),
    }
    assert all(one.documents == {"permit": 1} for one in found.candidates)
    assert found.candidates[0].origin == "title"
    assert found.notes == ("1 titles and headings say too little or too much",)


@pytest.mark.parametrize(
    ("text", "specific"),
    [
        ("Introduction", False),
        ("Getting started", False),
        ("Chapter 12: overview", False),
        ("The 2 of the", False),
        ("2024-05-01", False),
        ("Permit", False),
        ("Parking permit", True),
        ("Installation of heat pumps", True),
        ("word " * 30, False),
        ("", False),
    ],
)
def test_what_is_specific(text: str, specific: bool) -> None:
    """Two telling words at least; what stands in every document says nothing."""
    assert is_specific(text) is specific


def test_headings_of_many_documents_are_left_out() -> None:
    """A heading that three documents carry names none of them; one that two carry has two answers."""
    shared = "# Fees for residents\n\n## Heat pump noise\n"
    pages = [document("a", shared), document("b", shared), document("c", "# Fees for residents")]
    found = propose_known_items(pages)
    assert [(one.text, dict(one.documents)) for one in found.candidates] == [("Heat pump noise", {"a": 1, "b": 1})]
    assert found.notes == ("1 titles and headings are carried by more than 2 documents",)


def test_drawing_follows_the_seed() -> None:
    """One seed draws the same in any order of the documents, another one otherwise; no document dominates."""
    pages = [document(f"d{n}", "".join(f"# Subject {n} paragraph {m} here\n\n" for m in range(9))) for n in range(30)]
    first = propose_known_items(pages, limit=20)
    assert texts(propose_known_items(pages[::-1], limit=20).candidates) == texts(first.candidates)
    assert texts(propose_known_items(pages, limit=20, seed="other").candidates) != texts(first.candidates)
    every = propose_known_items(pages, limit=1000, headings=2).candidates
    assert len(every) == 60
    assert len({document for one in every for document in one.documents}) == 30
    assert "40 titles and headings exceed the limit of 20" in first.notes
    assert propose_known_items(pages, headings=0).candidates == ()


def test_real_documents_give_queries(real_data: Path) -> None:
    """Scifact's titles become a collection whose answers are their own documents."""
    records = map(json.loads, (real_data / "scifact" / "corpus.jsonl").read_text().splitlines())
    pages = [document(record["_id"], record["text"], record["title"]) for record in records]
    titles = {page.id: page.metadata["title"] for page in pages}
    found = propose_known_items(pages, limit=200)
    assert len(found.candidates) == 200
    assert all(" ".join(titles[doc].split()) == one.text for one in found.candidates for doc in one.documents)


# ── written queries ─────────────────────────────────────────────────────────────────────────────────────────

TEXT = "The night ferry leaves pier three at ten and carries bicycles free of charge. Dogs need a ticket."


@pytest.mark.parametrize(
    ("query", "share"),
    [
        ("When does the last boat go?", 0.0),
        ("the night ferry leaves pier three at ten", 1.0),
        ("Which bus meets the night ferry leaves pier", 5 / 8),
        ("carries bicycles free charge of", 0.0),
        ("Ferry, pier: THREE", 0.0),
        ("pier three at", 1.0),
        ("", 0.0),
    ],
)
def test_copied_words_are_counted(query: str, share: float) -> None:
    """Runs of four words that the text has too, whatever their case; single shared words are no copy."""
    assert overlap(query, TEXT) == pytest.approx(share)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("The night ferry leaves pier three at ten?", "copied more than 50% of their words from the document"),
        ("Sure! Here it is:\nWhen does the boat go?", "were not one line"),
        ("", "were not one line"),
        ("Ferry?", "had fewer than 3 or more than 24 words"),
        ("why " * 30, "had fewer than 3 or more than 24 words"),
    ],
    ids=["copied", "chatty", "empty", "short", "long"],
)
def test_writings_of_no_use_are_told(answer: str, reason: str) -> None:
    """A query that repeats its document finds it by any method, and measures nothing."""
    assert read_written(answer, document("ferry", TEXT)) == reason
    good = read_written(' "When does the last boat go?" \n', document("ferry", TEXT))
    assert good == Candidate("When does the last boat go?", {"ferry": 1}, "written", "0% of its words copied")


def test_documents_are_drawn_without_holding_them() -> None:
    """The sample is that of the seed, independent of order; documents without text are none."""
    pages = [document(f"d{number}") for number in range(50)] + [document("empty", "  ")]
    first = [one.id for one in sample_documents(pages, 10)]
    assert first == [one.id for one in sample_documents(reversed(pages), 10)]
    assert first != [one.id for one in sample_documents(pages, 10, "other")]
    assert len(sample_documents(iter(pages), 100)) == 50


class Scripted:
    """A writer that answers in a row: texts, or errors to raise."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers, self.asked = list(answers), list[str]()

    def write(self, instructions: str, text: str) -> str:
        """The next answer."""
        self.asked.append(text)
        answer = self.answers.pop(0) if self.answers else f"What is said about subject {text.rsplit(maxsplit=1)[-1]}"
        if isinstance(answer, Exception):
            raise answer
        return answer


PAGES = [document(f"d{number}", f"Everything there is to know of {number}") for number in range(12)]


def test_written_queries_go_into_the_review(tmp_path: Path) -> None:
    """One a document; those of no use are counted and replaced; a second call asks nothing more."""
    review, writer = tmp_path / "review.jsonl", Scripted("too short", "Two\nlines")
    report = add_written(review, PAGES, writer, count=5)
    assert (report.added, report.states["pending"], len(writer.asked)) == (5, 5, 7)
    assert report.notes == (
        "1 written queries had fewer than 3 or more than 24 words",
        "1 written queries were not one line",
    )
    again = Scripted()
    assert add_written(review, PAGES, again, count=5).added == 0
    assert add_written(review, PAGES, again, count=6).added == 1
    assert len(again.asked) == 1
    assert add_written(review, PAGES, again, count=12).added == 6
    assert len(again.asked) == 7


def test_what_was_paid_for_is_kept(tmp_path: Path) -> None:
    """A budget that is used up, or a writer that is gone, loses none of the queries written before."""
    report = add_written(
        tmp_path / "a.jsonl", PAGES, Scripted("A fine first query", BudgetExceeded("no money")), count=5
    )
    assert report.added == 1
    assert report.notes == ("4 more were wanted, but no money",)
    gone = Scripted("A fine first query", *[JudgeError("gone")] * 3)
    with pytest.raises(JudgeError, match="gone"):
        add_written(tmp_path / "b.jsonl", PAGES, gone, count=5)
    assert len((tmp_path / "b.jsonl").read_text().splitlines()) == 1
    now_and_then = Scripted(JudgeError("odd"), JudgeError("odd"), "A fine first query", JudgeError("odd"))
    once = add_written(tmp_path / "c.jsonl", PAGES, now_and_then, count=5)
    assert (once.added, once.notes) == (5, ("3 written queries failed",))


def test_a_real_endpoint_writes(tmp_path: Path) -> None:
    """The writer behind a chat API: instructions as instructions, the document as data."""
    with ChatServer() as server, ChatWriter.from_name("openai/test-model", base_url=server.base_url) as writer:
        server.reply = lambda messages: "Where do bees go in winter?"
        assert add_written(tmp_path / "r.jsonl", PAGES, writer, count=1).added == 1
        system, user = server.requests[0].body["messages"]
        assert "never an\ninstruction" in system["content"]
        assert user["content"].splitlines()[1].startswith("Everything there is to know of")


# ── clicks ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Search:
    """One search of a usage log."""

    text: str
    returned: tuple[str, ...]
    clicked: tuple[str, ...] = ()


def test_clicks_are_weak_judgments() -> None:
    """Searches of the same words count together; the note tells how often a document was clicked, and at which rank."""
    log = [
        Search("Parking  permit", ("a", "b", "c"), ("b",)),
        Search("parking permit", ("b", "a"), ("b", "b", "zzz")),
        Search("PARKING PERMIT?", ("a", "b"), ("a", "zzz")),
        Search("bins", ("d",), ("d",)),
        Search("???", ("d",), ("d",)),
    ]
    found = propose_clicked(log)
    [candidate] = found.candidates
    assert (candidate.text, candidate.documents, candidate.origin) == ("Parking permit", {"b": 1}, "clicked")
    assert candidate.note == "b: 2 of 3 clicked it, at rank 1.7"
    assert set(found.notes) == {
        "1 queries of the log have no word",
        "1 queries of the log have no document that was clicked often enough",
    }


def test_a_document_clicked_rarely_is_no_answer() -> None:
    """Two clicks of twenty times shown are an accident; of five they are not."""
    often = [Search("heat pump", ("a",))] * 18 + [Search("heat pump", ("a",), ("a",))] * 2
    assert propose_clicked(often).candidates == ()
    assert texts(propose_clicked(often[15:]).candidates) == ["heat pump"]
    assert texts(propose_clicked(often, min_share=0.1).candidates) == ["heat pump"]


def test_the_most_asked_come_first() -> None:
    """The limit keeps what most people asked, and says how many it left out."""
    log = [Search(f"query {n}", ("a",), ("a",)) for n in range(5) for _ in range(2 + n)]
    found = propose_clicked(log, limit=2)
    assert texts(found.candidates) == ["query 4", "query 3"]
    assert found.notes == ("3 queries of the log exceed the limit of 2",)


# ── the review file ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def review(tmp_path: Path) -> Path:
    """A review file with three proposals."""
    path = tmp_path / "eval" / "review.jsonl"
    pages = [document(name, title=f"{name} permit renewal") for name in ("parking", "fishing", "building")]
    assert add_known_items(path, pages).added == 3
    return path


def edit(path: Path, number: int, change: Callable[[dict[str, object]], dict[str, object]]) -> None:
    """Change one line of a file as a person would."""
    lines = path.read_text().splitlines()
    lines[number] = json.dumps(change(json.loads(lines[number])))
    path.write_text("\n".join(lines))  # an editor that ends no last line


def test_no_decision_is_ever_lost(review: Path) -> None:
    """Whatever is proposed again, the lines that are there stay byte for byte; new ones come after them."""
    edit(review, 0, lambda line: line | {"state": "accepted", "mine": "a note of my own"})
    edit(review, 1, lambda line: line | {"state": "edited", "query": "where do I renew it"})
    edit(review, 2, lambda line: line | {"state": "rejected"})
    with review.open("a") as file:
        file.write('\n{"query": "added by hand", "documents": ["parking"]}')
    before = review.read_bytes()
    pages = [document(name, title=f"{name} permit renewal") for name in ("building", "parking", "fishing", "hunting")]
    report = add_known_items(review, pages)
    after = review.read_bytes()
    assert after.startswith(before + b"\n")
    assert json.loads(after.splitlines()[-1])["query"] == "hunting permit renewal"
    assert (report.added, report.known) == (1, 3)
    assert report.states == {"pending": 1, "accepted": 2, "rejected": 1, "edited": 1}
    clicked = [Search("Added by HAND", ("x",), ("x",)), Search("where do I renew it", ("x",), ("x",))] * 2
    assert add_clicked(review, clicked).added == 0
    assert review.read_bytes() == after


def test_accepted_queries_become_a_collection(review: Path, tmp_path: Path) -> None:
    """Readable as any judged collection, with the origin as a slice; pending and rejected ones stay out."""
    edit(review, 0, lambda line: line | {"state": "accepted", "tags": ["lang=en"], "principals": ["team:city"]})
    edit(
        review,
        1,
        lambda line: line | {"state": "edited", "query": "where do I renew it", "documents": {"b": 2, "c": 0}},
    )
    with review.open("a") as file:
        file.write('\n{"query": "added by hand", "documents": ["parking"]}\n')
    first = json.loads(review.read_text().splitlines()[0])
    report = write_collection(review, tmp_path / "collection")
    assert report.count == 3
    collection = read_collection("c", *(path.read_bytes().splitlines() for path in (report.queries, report.qrels)))
    assert collection.problems == ()
    assert {query.text for query in collection.queries} == {first["query"], "where do I renew it", "added by hand"}
    assert set(collection.slices()) == {"all", "lang=en", "origin=title", "origin=added"}
    assert collection.queries[0].principals == ("team:city",)
    assert collection.queries[0].id == first["id"] == query_id(first["query"])
    assert collection.qrels[query_id("added by hand")] == {"parking": 1}
    assert {"b": 2, "c": 0} in collection.qrels.values()
    assert report.notes == ("1 query is not reviewed yet, and not in the collection.", "Origins: 1 added, 2 title.")


def test_a_forgotten_state_is_told(review: Path, tmp_path: Path) -> None:
    """A line whose text was changed but not its state is not silently left out."""
    edit(review, 0, lambda line: line | {"query": "how do I renew it"})
    edit(review, 1, lambda line: line | {"state": "accepted"})
    notes = write_collection(review, tmp_path).notes
    assert notes[0] == (
        '1 query is still pending although the text was changed: \'how do I renew it\'. Set "state" to "edited".'
    )


def test_nothing_accepted_is_no_collection(review: Path, tmp_path: Path) -> None:
    """Proposals alone are no judgments: nothing is written before somebody has looked."""
    with pytest.raises(EvaluationError, match="no query is accepted yet"):
        write_collection(review, tmp_path / "collection")
    assert not (tmp_path / "collection").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: no JSON"),
        ('"text"', "line 2: str, not an object"),
        ('{"documents": ["a"]}', "line 2: no query"),
        ('{"query": "x y", "state": "done"}', "\"state\" is 'done'"),
        ('{"query": "x y", "origin": "dreamt"}', "\"origin\" is 'dreamt'"),
        ('{"query": "x y"}', "the query 'x y' is accepted, but names no relevant document"),
        ('{"query": "x y", "state": "edited", "documents": {"a": 0}}', "is edited, but names no relevant document"),
        ('{"query": "x y", "documents": "a"}', "\"documents\" is 'a'"),
        ('{"query": "x y", "documents": {"a": 0.5}}', "the grade of 'a' is 0.5"),
        ('{"query": "x y", "documents": ["a\\tb"]}', "a document with the id 'a\\tb'"),
        ('{"query": "x y", "documents": ["a"], "tags": "t"}', "\"tags\" is 't'"),
        ('{"query": "First QUERY", "documents": ["a"]}', "query 'First QUERY'"),
    ],
    ids=["json", "text", "no query", "state", "origin", "no document", "grade 0", "documents", "grade", "tab", "tags",
         "twice"],
)  # fmt: skip
def test_wrong_lines_are_told(line: str, message: str) -> None:
    """With the line's number, what was found and what is valid; nothing is guessed about a decision."""
    with pytest.raises(EvaluationError) as caught:
        parse_review(['{"query": "first query", "documents": ["a"]}', line], "review.jsonl")
    assert message in caught.value.message
    assert "review.jsonl, line 2" in caught.value.message
