"""An independent judge: it knows which calls began and returned when, and so what a search may and must find.

Per document the calls that write it are taken for writes of one register: a search may see what was written by any call
that began before the search ended, unless another write, begun after that call was over, had returned before the search
began. Calls that failed, or whose process died, may have had their effect or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from regen.core.documents import UNRESTRICTED, Unrestricted, may_see
from regen.core.results import Hit, SearchResult
from regen.testing.schedules.documents import RECIPES, document, texts

PRINCIPALS: Final[dict[str, frozenset[str] | Unrestricted]] = {
    "all": UNRESTRICTED,
    "ann": frozenset({"ann"}),
    "bob": frozenset({"bob"}),
    "nobody": frozenset(),
}


@dataclass(slots=True)
class Write:
    """One call's write of one document: to one of these versions (None: deleted)."""

    versions: set[int | None]
    begun: int
    over: int | None = None
    returned: bool = False


@dataclass(slots=True)
class Switched:
    """The alias points at this generation since then."""

    live: int
    at: int


@dataclass(slots=True)
class Judge:
    """Notes what happens, and says what is wrong. Times are numbers of events."""

    recipes: dict[int, str] = field(default_factory=dict)
    complete: dict[int, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    now: int = 0
    version: int = 0
    _writes: dict[str, list[Write]] = field(default_factory=dict)
    _open_reads: dict[str, list[Write]] = field(default_factory=dict)
    _switches: list[Switched] = field(default_factory=list)

    # ── what happens ────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, wanted: Mapping[str, int | None], *, sourced: bool = False) -> list[tuple[str, Write]]:
        """A call begins that will write these; ``sourced``: whatever the source has while it is under way."""
        self.now += 1
        writes = [(doc_id, Write({version}, self.now)) for doc_id, version in wanted.items()]
        for doc_id, write in writes:
            self._writes.setdefault(doc_id, []).append(write)
            if sourced:
                self._open_reads.setdefault(doc_id, []).append(write)
        return writes

    def end(self, writes: Iterable[tuple[str, Write]], *, returned: bool) -> None:
        """That call is over."""
        self.now += 1
        for doc_id, write in writes:
            write.over, write.returned = self.now, returned
            if write in self._open_reads.get(doc_id, ()):
                self._open_reads[doc_id].remove(write)

    def edited(self, doc_id: str, version: int | None) -> None:
        """The source has changed: whoever reads it may find this."""
        for write in self._open_reads.get(doc_id, ()):
            write.versions.add(version)

    def switched(self, expected: int, live: int) -> None:
        """The alias was moved (I7): by somebody who knew where it was, and to a generation that was complete."""
        self.now += 1
        if expected != self.version:
            self.problems.append(f"I7: a switch to {live} was based on version {expected}, and {self.version} is there")
        if live not in self.complete:
            self.problems.append(f"I7: generation {live} went live unfinished")
        self.version += 1
        self._switches.append(Switched(live, self.now))

    @property
    def live(self) -> int:
        """Where the alias points."""
        return self._switches[-1].live

    def documents(self) -> list[str]:
        """All that were ever written."""
        return sorted(self._writes)

    # ── what may be ─────────────────────────────────────────────────────────────────────────────────────────

    def legal(self, doc_id: str, since: int, until: int) -> set[int | None]:
        """The versions that a search between two events may see."""
        never = Write({None}, 0, 0, returned=True)
        writes = [never, *(write for write in self._writes.get(doc_id, ()) if write.begun < until)]
        sure = [write.begun for write in writes if write.returned and write.over is not None and write.over <= since]
        last = max(sure)
        return {one for write in writes if write.over is None or write.over >= last for one in write.versions}

    def search(self, who: str, number: int | None, result: SearchResult, since: int, *, blind: bool) -> None:
        """Judge an answer to a search that began at ``since``; ``blind``: the store withheld something."""
        self.now += 1
        told = f"search({who}, {number})"
        lives = [one.live for one in self._switches if one.at > since]
        before = [one.live for one in self._switches if one.at <= since]
        if result.generation not in ([number] if number else [*before[-1:], *lives]):
            self.problems.append(
                f"I7: {told} was answered by {result.generation}; live was {before[-1:]}, then {lives}"
            )
        if any(hit.generation != result.generation for hit in result):
            self.problems.append(f"I7: {told} mixes generations")
        complete = self.complete.get(result.generation, self.now) <= since
        found: dict[str, list[Hit]] = {}
        for hit in result:
            found.setdefault(hit.doc_id, []).append(hit)
        for doc_id in sorted(found.keys() | self._writes.keys()):
            legal = self.legal(doc_id, since, self.now)
            wrong = self._wrong(doc_id, found.get(doc_id, []), legal, PRINCIPALS[who], result.generation,
                                complete=complete, blind=blind)  # fmt: skip
            if wrong:
                self.problems.append(f"{wrong} ({told} of generation {result.generation}: {doc_id}, legal {legal})")

    def _wrong(
        self,
        doc_id: str,
        hits: list[Hit],
        legal: set[int | None],
        principals: frozenset[str] | Unrestricted,
        number: int,
        *,
        complete: bool,
        blind: bool,
    ) -> str | None:
        """What is wrong with what was found of one document."""
        visible = [one for one in legal if one is not None and may_see(document(doc_id, one).access, principals)]
        if hits and not visible:
            return "I3: found what is deleted or not to be seen"
        if len({hit.chunk_id for hit in hits}) < len(hits):
            return "I5: found a chunk twice"
        if hits and not any(hits[0].metadata == document(doc_id, one).metadata for one in legal if one is not None):
            return f"I3: found with metadata {hits[0].metadata}"
        if not complete:
            return None  # what a backfill has not come to yet is of whatever revision it was placed at
        chunking = RECIPES[self.recipes[number]][1]
        whole = [texts(doc_id, one, chunking) for one in visible]
        seen = frozenset(hit.text for hit in hits)
        if hits and not any(seen == wanted or (blind and seen < wanted) for wanted in whole):
            return f"I2: found {sorted(seen)}"
        if (
            not hits
            and not blind
            and len(visible) == len(legal)
            and len({_facets(doc_id, one) for one in visible}) == 1
        ):
            return "I5: not found"
        return None


def _facets(doc_id: str, version: int) -> Any:
    about = document(doc_id, version)
    return repr((about.metadata, about.access))
