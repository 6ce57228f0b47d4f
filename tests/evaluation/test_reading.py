"""Queries and judgments as people and collections write them: accepted forms, and what is said of the others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from regen.errors import EvaluationError
from regen.evaluation.judged import JudgedQuery
from regen.evaluation.measures import MEASURES, check_measures
from regen.evaluation.qrels import read_qrels
from regen.evaluation.queries import read_queries
from regen.evaluation.reading import read_collection


def lines(*records: dict[str, Any]) -> list[str]:
    """Records as JSON lines."""
    return [json.dumps(record) + "\n" for record in records]


def one(**record: Any) -> JudgedQuery:
    """The query that one JSON record is read as."""
    (query,) = read_queries(lines({"_id": "1", "text": "t", **record})).queries
    return query


def test_beir_queries_carry_tags_principals_and_freshness() -> None:
    """Every key that regen reads arrives, and those of others do no harm."""
    read = read_queries(
        lines(
            {"_id": "q1", "text": " reset my password ", "orig_id": 7},
            {"_id": 2, "text": "pay", "tags": ["hr", "hr"], "principals": ["team:people"], "fresh": True},
            {"_id": "q3", "text": "leave", "metadata": {"lang": "de", "n": 3, "ok": True}, "as": "ann"},
        )
    )
    assert read.queries == (
        JudgedQuery("q1", "reset my password"),
        JudgedQuery("2", "pay", ("hr",), ("team:people",), fresh=True),
        JudgedQuery("q3", "leave", ("lang=de", "n=3", "ok=true"), ("ann",)),
    )
    assert read.problems == ()


@pytest.mark.parametrize(
    ("given", "tags"),
    [
        (["de", "howto"], ("de", "howto")),
        ("de", ("de",)),
        ({"lang": "de", "topic": ["pay", "leave"]}, ("lang=de", "topic=pay", "topic=leave")),
        ({"year": 2024}, ("year=2024",)),
        ([], ()),
        (None, ()),
    ],
    ids=repr,
)
@pytest.mark.parametrize("key", ["tags", "metadata"])
def test_tags_may_be_a_list_or_an_object(key: str, given: Any, tags: tuple[str, ...]) -> None:
    """Both keys take both forms; a plain word stays, a pair becomes key=value."""
    if key == "metadata" and isinstance(given, str):
        given = [given]
    assert one(**{key: given}).tags == tags


@pytest.mark.parametrize(
    "record",
    [
        {"fresh": True}, {"freshness_sensitive": True}, {"tags": ["freshness_sensitive"]}, {"tags": ["fresh"]},
        {"metadata": {"fresh": True}}, {"metadata": {"freshness_sensitive": True}},
    ],
    ids=repr,
)  # fmt: skip
def test_a_query_can_be_marked_freshness_sensitive(record: dict[str, Any]) -> None:
    """Each spelling of the mark is understood, and its absence too."""
    assert one(**record).fresh
    assert not one().fresh
    assert not one(fresh=False, metadata={"fresh": False}).fresh


def test_the_public_is_not_the_same_as_nobody_said() -> None:
    """An empty list of principals is kept apart from none."""
    assert one(principals=[]).principals == ()
    assert one(principals=None).principals is None
    assert one().principals is None


def test_topics_are_two_columns() -> None:
    """A TREC-like list is read with and without a header, with a byte order mark and blank lines."""
    expected = (JudgedQuery("1", "reset password"), JudgedQuery("q2", "pay"))
    assert read_queries(["\ufeff1\treset password\r\n", "\n", "q2\tpay"]).queries == expected
    assert read_queries([b"\xef\xbb\xbfqid\ttext\n", b"1\treset password\n", b"q2\tpay\n"]).queries == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (['{"_id": "1", "text": "a"}', '{"_id": "1", "text": "b"}'], r"queries, line 2: query id '1' again, after.* 1"),
        (["1\ta", "1\tb"], r"line 2: query id '1' again"),
        (['{"_id": "1"}'], r"line 1: query '1' has no text"),
        (['{"_id": "1", "text": "  "}'], r"query '1' has the text '  '"),
        (["1\t "], r"query '1' has the text"),
        (['{"_id": "1", "text": 5}'], r"query '1' has the text 5"),
        (['{"text": "a"}'], r'no "_id"'),
        (['{"_id": "", "text": "a"}'], r"an empty query id"),
        (['{"_id": true, "text": "a"}'], r'"_id" is True'),
        (['{"_id": "1", "text": "a"'], r"line 1: no JSON"),
        (["1\ta", '{"_id": "2", "text": "b"}'], r"line 2: another form"),
        (["how do I pay"], r"line 1: 1 column parted by tabs"),
        (["1\ta\tb"], r"3 columns"),
        (['{"_id": "1", "text": "a", "tags": [["x"]]}'], r'"tags" is \[\[\'x\'\]\]'),
        (['{"_id": "1", "text": "a", "tags": [""]}'], r'"tags" is'),
        (['{"_id": "1", "text": "a", "metadata": 5}'], r'"metadata" is 5'),
        (['{"_id": "1", "text": "a", "principals": [1]}'], r'"principals" is \[1\]'),
        (['{"_id": "1", "text": "a", "principals": [""]}'], r'"principals" is'),
        (['{"_id": "1", "text": "a", "principals": ["x"], "as": "y"}'], r"one of the two keys"),
        (['{"_id": "1", "text": "a", "fresh": "yes"}'], r'"fresh" is \'yes\''),
        (['{"_id": "1", "text": "\\ud800"}'], r"half of a character"),
        (["1\t\udcff"], r"line 1: bytes that are not UTF-8"),
        ([b"1\ta\n", b"2\t\xff\n"], r"line 2: bytes that are not UTF-8"),
        (["1\ta\0"], r"a NUL character"),
        (["[" * 100_000], r"line 1: 1 column"),
        (['{"a":' * 100_000], r"line 1: no JSON"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_query_is_named(given: list[str | bytes], said: str) -> None:
    """The error gives the file, the line, what was found and what is valid."""
    with pytest.raises(EvaluationError, match=said) as raised:
        read_queries(given)
    assert "Valid: " in str(raised.value)


def test_metadata_that_would_slice_every_query_apart_is_reported() -> None:
    """A link or a narrative per query makes no slices; a language does; nothing is dropped without a word."""
    read = read_queries(
        lines(
            *(
                {"_id": str(n), "text": "t", "metadata": {"url": f"u{n}", "lang": "de", "why": "x" * 65, "at": {}}}
                for n in range(21)
            )
        ),
        "q.jsonl",
    )
    assert {query.tags for query in read.queries} == {("lang=de",)}
    assert len(read.problems) == 1
    assert read.problems[0].startswith("q.jsonl: metadata that cannot make slices")
    assert all(repr(key) in read.problems[0] for key in ("url", "why", "at"))


def test_metadata_with_many_values_makes_slices_when_queries_share_them() -> None:
    """More than twenty values are slices where two queries or more have each, and are none where few do."""
    shared = lines(*({"_id": str(n), "text": "t", "metadata": {"topic": n % 22}} for n in range(44)))
    assert read_queries(shared).queries[23].tags == ("topic=1",)
    assert read_queries(shared).problems == ()
    assert len(read_queries(shared[:43]).problems) == 1


def test_a_misspelt_key_is_reported() -> None:
    """A key that regen does not read, but nearly, is named with what is meant: principals above all."""
    read = read_queries(lines({"_id": "1", "text": "t", "principal": ["a"], "subject": "s"}))
    assert read.problems == ("queries: 1 query has the key 'principal', which is not read. Is 'principals' meant?",)


def test_lost_characters_are_reported() -> None:
    """A text that an earlier conversion damaged is kept and named."""
    read = read_queries(["1\tna\ufffdve"])
    assert read.queries[0].text == "na\ufffdve"
    assert "U+FFFD" in read.problems[0]


JUDGED = {"q1": {"d1": 2, "d 2": 0}, "q2": {"d1": -1}}


@pytest.mark.parametrize(
    "text",
    [
        "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td 2\t0\nq2\td1\t-1\n",
        "q1\td1\t2\nq1\td 2\t0\nq2\td1\t-1",
        "q1\t0\td1\t2\r\nq1\tQ0\td 2\t0\r\n\r\nq2\t0\td1\t-1\r\n",
        "\ufeffqid\titer\tdocid\trel\nq1\t0\td1\t2\nq1\t0\td 2\t0\nq2\t0\td1\t-1\n",
    ],
    ids=["beir", "beir-bare", "trec-tabs", "trec-header"],
)
def test_judgments_are_read_in_every_form(text: str) -> None:
    """BEIR and TREC, with and without a header, give the same judgments."""
    read = read_qrels(text.splitlines(keepends=True))
    assert read.qrels == JUDGED
    assert read.problems == ()


def test_trec_judgments_may_be_parted_by_blanks() -> None:
    """TREC's own files are, and those of three columns may be."""
    assert read_qrels(["1 0 d1  2 ", "1 0 d2 0"]).qrels == {"1": {"d1": 2, "d2": 0}}
    assert read_qrels([b"1 184 2 \n", b"1 29 -1 \n"]).qrels == {"1": {"184": 2, "29": -1}}


def test_equal_judgments_count_once_and_are_reported() -> None:
    """The same line twice is harmless, and said."""
    read = read_qrels(["q1\td1\t1", "q1\td2\t1", "q1\td1\t1", "q1\td1\t1"], "qrels.tsv")
    assert read.qrels == {"q1": {"d1": 1, "d2": 1}}
    (report,) = read.problems
    assert report.startswith("qrels.tsv: 2 judgments given again with the same grade, first in line 3: ")
    assert report.endswith("query 'q1', document 'd1'. Each counts once.")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ["q1\td1\t1", "q1\td2\t1", "q1\td1\t2"],
            r"line 3: query 'q1' and document 'd1' are judged 2, but 1 in line 1",
        ),
        (["q1\td1\t1.0"], r"the grade '1.0'"),
        (["q1\td1\tyes"], r"the grade 'yes'"),
        (["q1\td1\t1_0"], r"the grade '1_0'"),
        (["q1\td1\t99999"], r"the grade '99999'"),
        (["q1\td1\t"], r"the grade ''"),
        (["q1\t\t1"], r"an empty query or document id"),
        (["q1 0 d1 1", "q1 d2 1"], r"line 2: 3 columns after lines with 4"),
        (["q1,d1,1"], r"(?s)1 column.*parted by commas"),
        (["q1 0 my document 1"], r"(?s)5 columns.*part the columns by tabs"),
        (["q1\td1\t1", "query-id\tcorpus-id\tscore"], r"line 2: the grade 'score'"),
        ([b"q1\td\xe9\t1\n"], r"line 1: bytes that are not UTF-8"),
    ],
)
def test_a_line_that_is_no_judgment_is_named(given: list[str | bytes], said: str) -> None:
    """Conflicts, grades that are no numbers and broken columns are errors with the line and what is valid."""
    with pytest.raises(EvaluationError, match=said) as raised:
        read_qrels(given)
    assert "Valid: " in str(raised.value)


def test_a_collection_names_problems_of_both_files() -> None:
    """What either file, and the two together, have to say stands in the collection's problems."""
    found = read_collection(
        "demo",
        ["1\tpay", "2\tlea\ufffde"],
        ["1\td1\t1", "1\td1\t1", "9\td1\t1"],
        queries_file="q.tsv",
        qrels_file="r.tsv",
    )
    assert found.qrels == {"1": {"d1": 1}}
    assert [problem.split(":")[0] for problem in found.problems] == ["q.tsv", "r.tsv", "demo", "demo"]


@pytest.mark.parametrize(
    ("name", "queries", "judged", "judgments", "problems"),
    [("scifact", 300, 300, 339, 0), ("cranfield", 225, 225, 1837, 0), ("medquad-liveqa", 104, 103, 2245, 2)],
)
def test_real_collections_are_read_whole(
    real_data: Path, name: str, queries: int, judged: int, judgments: int, problems: int
) -> None:
    """The counts are those of the collections' own description; medquad's gaps are reported."""
    with (real_data / name / "queries.jsonl").open("rb") as asked, (real_data / name / "qrels.tsv").open() as qrels:
        found = read_collection(name, asked, qrels)
    assert len(found.queries) == queries
    assert len(found.judged) == judged
    assert sum(map(len, found.qrels.values())) == judgments
    assert len(found.problems) == problems


def test_the_documented_examples_are_read() -> None:
    """What the page shows can be copied: its blocks make a collection without a problem."""
    page = (Path(__file__).parents[2] / "docs" / "concepts" / "judged-collections.md").read_text("utf-8")
    blocks = [block.splitlines() for block in re.findall(r"```(?:json|tsv|text)\n(.*?)```", page, re.DOTALL)]
    asked, topics, beir, trec = blocks
    found = read_collection("docs", asked, beir)
    assert list(found.slices()) == ["all", "lang=de", "topic=pay"]
    assert found.qrels["q1"] == {"help/password.md": 2, "help/login.md": 1, "help/vpn.md": 0}
    assert found.queries[2].principals == ("team:people",)
    assert found.queries[2].fresh
    assert len(found.problems) == 2  # q3 is judged in TREC's form, below
    assert read_qrels(trec).qrels == {"q3": {"hr/bands-2025.md": 1}}
    assert read_queries(topics).queries == (JudgedQuery("q1", "how do I reset my password"),)


def test_the_documented_measures_are_measures() -> None:
    """Every name in the page's table can be asked for."""
    page = (Path(__file__).parents[2] / "docs" / "concepts" / "judged-collections.md").read_text("utf-8")
    rows = page.partition("## Measures")[2].partition("`P(rel=2)@5`")[0]
    names = [name for row in re.findall(r"^\| (`.*?) \|", rows, re.MULTILINE) for name in re.findall(r"`(.*?)`", row)]
    assert len(names) > 10
    check_measures([*names, "P(rel=2)@5"])
    assert {name.partition("@")[0] for name in names} == set(MEASURES)
