"""Queries for a team that has none: proposed from documents, a language model and a usage log, for people to review.

Every proposal is a *weak* label. A known-item query of a title is answered by the document that carries it, but it is
easier than what users ask, and other documents may answer it too. What a click says is biased by position: who sees
ten results clicks the upper ones. So nothing proposed here counts before somebody has accepted it, and each query
keeps where it came from as a tag (``origin=title``), so that a report shows the origins apart.

All is deterministic: what is drawn, is drawn by the order of digests of a seed and the document's id.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, Literal, Protocol, TypeAlias

from regen.core.documents import Document
from regen.core.words import content_words, is_number, words_of
from regen.evaluation.headings import headings_of

Origin: TypeAlias = Literal["title", "heading", "written", "clicked", "added"]
ORIGINS: Final = ("title", "heading", "written", "clicked", "added")
MAX_DOCUMENTS: Final = 2
"""A title or heading that more documents carry names none of them."""
MIN_WORDS: Final = 2
MAX_WORDS: Final = 24
HEADINGS: Final = 2
"""Headings proposed for one document at most."""
_GENERIC: Final = frozenset(
    words_of(
        """
        about abstract acknowledgement acknowledgements acknowledgments advanced appendix background basic
        basics changelog chapter conclusion conclusions content contents contributing discussion documentation
        example examples faq feature features general getting guide home index info information install
        installation intro introduction license links method methods misc next note notes option options other
        overview page part preface quick quickstart readme reference references related release resources
        result results section see setup start started step summary table tip tips title todo topics
        troubleshooting tutorial untitled usage use using version welcome
        """
    )
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A proposed query: its text, the documents that answer it with their grades, and where it comes from."""

    text: str
    documents: Mapping[str, int]
    origin: Origin
    note: str = ""

    @property
    def id(self) -> str:
        """The same for the same words, whatever their case and spacing, in every run."""
        return query_id(self.text)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Candidates, and what was passed over and why: every number is said, none is silent."""

    candidates: tuple[Candidate, ...]
    notes: tuple[str, ...] = ()


def query_id(text: str) -> str:
    """The id of a query's text: ``q-`` and 12 hexadecimal digits."""
    return "q-" + blake2b(" ".join(words_of(text)).encode("utf-8", "replace"), digest_size=6).hexdigest()


def draw_order(seed: str, name: str) -> bytes:
    """The key by which a seed puts names in order, equally on every machine."""
    return blake2b(f"{seed}\0{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()


# ── titles and headings ─────────────────────────────────────────────────────────────────────────────────────


def propose_known_items(
    documents: Iterable[Document],
    *,
    limit: int = 100,
    seed: str = "regen",
    title_key: str = "title",
    headings: int = HEADINGS,
    max_documents: int = MAX_DOCUMENTS,
) -> Proposal:
    """Known-item queries: what a document's title and headings say is asked, and the document is the answer.

    Left out are texts that say too little (fewer than two words that are not generic, such as "Introduction"), and
    those that more than ``max_documents`` documents carry. At most ``headings`` of a document are taken, 0 for none.
    Of all that is left ``limit`` are drawn, titles before headings. Only titles and headings are held in memory.
    """
    found: dict[str, _Shared] = {}
    passed = Counter[str]()
    for document in documents:
        for origin, text in _texts(document, title_key, headings=headings > 0):
            if not is_specific(text):
                passed["say too little or too much"] += 1
                continue
            shared = found.setdefault(query_id(text), _Shared(text, origin))
            shared.documents.setdefault(document.id)
            if origin == "title":
                shared.origin = "title"
    specific = {key: shared for key, shared in found.items() if len(shared.documents) <= max_documents}
    passed[f"are carried by more than {max_documents} documents"] = len(found) - len(specific)
    chosen = _few_headings(specific, headings, seed)
    passed["exceed the headings wanted of one document"] = len(specific) - len(chosen)
    chosen.sort(key=lambda shared: (shared.origin != "title", draw_order(seed, query_id(shared.text))))
    passed[f"exceed the limit of {limit}"] = max(0, len(chosen) - limit)
    candidates = [Candidate(one.text, dict.fromkeys(one.documents, 1), one.origin) for one in chosen[:limit]]
    return Proposal(tuple(candidates), _passed_over(passed, "titles and headings"))


def is_specific(text: str) -> bool:
    """Whether a title or heading says enough to be asked for: at least two telling words, and not a whole paragraph."""
    words = words_of(text)
    telling = [word for word in content_words(text) if not is_number(word) and len(word) > 1]
    return len(words) <= MAX_WORDS and len({word for word in telling if word not in _GENERIC_STEMS}) >= MIN_WORDS


@dataclass(slots=True)
class _Shared:
    """A text, and the documents that carry it in the order in which they came (a dictionary keeps it)."""

    text: str
    origin: Origin
    documents: dict[str, None] = field(default_factory=dict)


_GENERIC_STEMS: Final = frozenset(stem for word in _GENERIC for stem in (word, *content_words(word)))


def _texts(document: Document, title_key: str, *, headings: bool) -> Iterator[tuple[Origin, str]]:
    title = document.metadata.get(title_key)
    if isinstance(title, str) and title.strip():
        yield "title", " ".join(title.split())
    if headings:
        for text in headings_of(document.text):
            yield "heading", text


def _few_headings(specific: Mapping[str, _Shared], headings: int, seed: str) -> list[_Shared]:
    """All titles, and of each document so many headings as are wanted, drawn by the seed."""
    taken = Counter[str]()
    chosen = [shared for shared in specific.values() if shared.origin == "title"]
    others = [(draw_order(seed, key), shared) for key, shared in specific.items() if shared.origin != "title"]
    for _, shared in sorted(others, key=lambda pair: pair[0]):
        if all(taken[document] < headings for document in shared.documents):
            taken.update(list(shared.documents))  # a mapping would be taken as counts
            chosen.append(shared)
    return chosen


# ── queries that a model writes ─────────────────────────────────────────────────────────────────────────────

WRITE_QUERY: Final = """\
You write search queries for testing a search engine. Write one question or search query, in the language of the text,
that a person might type who needs what this text says but has never seen it. The text must answer it. Ask for something
that this text says and few others would. Use your own words instead of the text's where you can. Do not mention "the
text" or "the document". Answer with the query alone, on one line, at most 20 words."""
MAX_OVERLAP: Final = 0.5
RUN: Final = 4
"""So many words in a row that also stand in the document are taken as copied."""
EXCERPT: Final = 4000
"""Characters of a document that a writer is shown."""


def sample_documents(documents: Iterable[Document], count: int, seed: str = "regen") -> list[Document]:
    """So many documents with text, drawn by the seed, in the order drawn; no more are held in memory at once."""
    keyed = ((draw_order(seed, document.id), document) for document in documents if document.text.strip())
    return [document for _, document in heapq.nsmallest(count, keyed, key=lambda pair: pair[0])]


def overlap(query: str, text: str) -> float:
    """The share of a query's words that were copied: that lie in runs of four or more words that the text has too.

    A query of fewer words counts as one run.
    """
    words = words_of(query)
    run = min(RUN, len(words))
    if not run:
        return 0.0
    there = words_of(text)
    held = {tuple(there[start : start + run]) for start in range(len(there) - run + 1)}
    copied = set[int]()
    for start in range(len(words) - run + 1):
        if tuple(words[start : start + run]) in held:
            copied.update(range(start, start + run))
    return len(copied) / len(words)


def read_written(answer: str, document: Document, max_overlap: float = MAX_OVERLAP) -> Candidate | str:
    """The query that a model has written about a document, or why it is none."""
    lines = [line.strip() for line in answer.strip().splitlines() if line.strip()]
    if len(lines) != 1:
        return "were not one line"
    text = lines[0].strip("\"'“”„«»` ").removeprefix("Query:").removeprefix("Question:").strip()
    words = words_of(text)
    if not MIN_WORDS < len(words) <= MAX_WORDS:
        return f"had fewer than {MIN_WORDS + 1} or more than {MAX_WORDS} words"
    share = overlap(text, document.text)
    if share > max_overlap:
        return f"copied more than {max_overlap:.0%} of their words from the document"
    return Candidate(text, {document.id: 1}, "written", f"{share:.0%} of its words copied")


# ── what users asked and clicked ────────────────────────────────────────────────────────────────────────────


class UsageRecord(Protocol):
    """One search of a usage log: what was asked, which documents were returned (best first) and which were clicked."""

    @property
    def text(self) -> str:
        """The query."""
        ...

    @property
    def returned(self) -> tuple[str, ...]:
        """Document ids, best first."""
        ...

    @property
    def clicked(self) -> tuple[str, ...]:
        """Document ids."""
        ...


@dataclass(slots=True)
class _Asked:
    text: str
    searches: int = 0
    clicks: Counter[str] = field(default_factory=Counter)
    ranks: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))


def propose_clicked(
    records: Iterable[UsageRecord], *, limit: int = 100, min_clicks: int = 2, min_share: float = 0.2
) -> Proposal:
    """What users asked, with what they clicked as its answers: the most asked first.

    Searches of the same words are taken together. A document counts as an answer when at least ``min_clicks`` searches
    clicked it, and at least ``min_share`` of those that returned it. A click is weak: people click what stands high, so
    the note says at which rank it stood, and what nobody was shown could not be clicked. A click on a document that the
    search did not return is not counted.
    """
    asked: dict[str, _Asked] = {}
    passed = Counter[str]()
    for record in records:
        if not words_of(record.text):
            passed["have no word"] += 1
            continue
        _count(asked.setdefault(query_id(record.text), _Asked(" ".join(record.text.split()))), record)
    found = []
    for one in asked.values():
        documents = [doc for doc in one.clicks if _is_answer(one, doc, min_clicks, min_share)]
        if documents:
            found.append((one, documents))
        else:
            passed["have no document that was clicked often enough"] += 1
    found.sort(key=lambda pair: (-pair[0].searches, query_id(pair[0].text)))
    passed[f"exceed the limit of {limit}"] = max(0, len(found) - limit)
    candidates = [Candidate(one.text, dict.fromkeys(documents, 1), "clicked", _told(one, documents))
                  for one, documents in found[:limit]]  # fmt: skip
    return Proposal(tuple(candidates), _passed_over(passed, "queries of the log"))


def _count(asked: _Asked, record: UsageRecord) -> None:
    asked.searches += 1
    ranks = {document: rank for rank, document in reversed(list(enumerate(record.returned, 1)))}
    for document, rank in ranks.items():
        asked.ranks[document].append(rank)
    asked.clicks.update({document for document in record.clicked if document in ranks})


def _is_answer(asked: _Asked, document: str, min_clicks: int, min_share: float) -> bool:
    clicks = asked.clicks[document]
    return clicks >= min_clicks and clicks >= min_share * len(asked.ranks[document])


def _told(asked: _Asked, documents: list[str]) -> str:
    told = []
    for document in documents:
        ranks = asked.ranks[document]
        told.append(
            f"{document}: {asked.clicks[document]} of {len(ranks)} clicked it, at rank {sum(ranks) / len(ranks):.1f}"
        )
    return "; ".join(told)


def _passed_over(passed: Counter[str], what: str) -> tuple[str, ...]:
    return tuple(f"{count:,} {what} {why}" for why, count in passed.items() if count)
