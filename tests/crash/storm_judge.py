"""Judges what a storm's searchers were shown by what its writers had noted: I1, I2, I3, I7, and nothing missing."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.crash.storm_actors import ACTORS, read_notes

from regen.ports.catalog import Generation, Switch

_PART: Final = re.compile(r"Now (\S+) version (\d+) part (\d+) of (\d+)")
_SLACK: Final = 30.0
"""Seconds that a switch may be under way: it notes the time at which it begins."""


@dataclass(slots=True)
class Change:
    """What a document was to become. ``done`` is infinite while nobody knows whether it did."""

    version: int
    state: str
    begin: float
    done: float = float("inf")


def changes_of(root: Path) -> dict[str, list[Change]]:
    """All documents' changes, in order."""
    found: dict[str, list[Change]] = defaultdict(list)
    for actor in ACTORS:
        for line in read_notes(root / f"notes-{actor}"):
            if "begin" in line and "doc" in line:
                found[line["doc"]].append(Change(line["version"], line["state"], line["begin"]))
            elif "done" in line:
                found[line["doc"]][-1].done = line["done"]
    return found


def possible(changes: Sequence[Change], begin: float, end: float) -> list[Change]:
    """What a document may have been at any moment of a time: what was done before, or was under way since."""
    settled = max((at for at, change in enumerate(changes) if change.done <= begin), default=None)
    under_way = [change for change in changes[0 if settled is None else settled + 1 :] if change.begin < end]
    return [Change(0, "gone", 0.0) if settled is None else changes[settled], *under_way]


@dataclass(frozen=True, slots=True)
class Judge:
    """Knows what was written, and which generations there were."""

    changes: dict[str, list[Change]]
    generations: Sequence[Generation]
    switches: Sequence[Switch]

    def searches(self, root: Path) -> tuple[int, int, list[str]]:
        """How many searches were answered, how many hits they had, and what was wrong."""
        count, hits, wrong = 0, 0, []
        for actor in ACTORS:
            for line in read_notes(root / f"notes-{actor}"):
                if "hits" in line:
                    count, hits = count + 1, hits + len(line["hits"])
                    wrong += [f"{actor}: {told}" for told in self.judge(line, everything=actor.endswith("all"))]
        return count, hits, wrong

    def judge(self, line: dict[str, Any], *, everything: bool) -> Iterator[str]:
        """What is wrong with one search."""
        yield from self._route(line)
        shown: dict[str, set[tuple[int, int, int]]] = defaultdict(set)
        revisions: dict[str, set[int]] = defaultdict(set)
        for doc_id, text, _, revision in line["hits"]:
            revisions[doc_id].add(revision)
            shown[doc_id] |= {(int(v), int(part), int(of)) for d, v, part, of in _PART.findall(text) if d == doc_id}
        for doc_id, changes in self.changes.items():
            may_be = possible(changes, line["begin"], line["end"])
            visible = {one.version for one in may_be if one.state == "public" or (everything and one.state == "team")}
            versions = {version for version, _, _ in shown[doc_id]}
            if len(versions) > 1 or len(revisions[doc_id]) > 1:
                yield f"I2: {doc_id} is shown in versions {versions}, revisions {revisions[doc_id]}"
            elif not versions <= visible:
                yield f"I3: {doc_id} is shown in version {versions}, while it may be {may_be}"
            elif not versions and len(visible) == len(may_be):
                yield f"missing: {doc_id}, which is {may_be}"
            elif any(len(shown[doc_id]) != of for _, _, of in shown[doc_id]):
                yield f"I2: of {doc_id} only {sorted(shown[doc_id])} is shown"

    def _route(self, line: dict[str, Any]) -> Iterator[str]:
        number = line["generation"]
        if {generation for _, _, generation, _ in line["hits"]} - {number}:
            yield f"I7: hits of another generation than {number}"
        generation = next((item for item in self.generations if item.number == number), None)
        if generation is None or generation.recipe.space != line["space"]:
            yield f"I1: generation {number} is not of space {line['space']}"
        if not any(start <= line["end"] and line["begin"] <= end + _SLACK for start, end in self._live(number)):
            yield f"I7: generation {number} was not live"

    def _live(self, number: int) -> Iterator[tuple[float, float]]:
        ordered = sorted(self.switches, key=lambda switch: switch.version)
        ends = [*(switch.switched_at for switch in ordered[1:]), float("inf")]
        for switch, end in zip(ordered, ends, strict=True):
            if switch.live == number:
                yield switch.switched_at, end
