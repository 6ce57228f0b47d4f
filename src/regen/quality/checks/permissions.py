"""Permissions hold: nobody sees more than the access lists say, and everybody finds what is theirs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np

from regen.core.documents import Principal
from regen.evaluation.lines import counted
from regen.evaluation.outcome import CheckResult
from regen.ports.auditing import DocumentFacts
from regen.quality.checks.context import Context
from regen.quality.checks.held import Held, held, look_for, stands
from regen.quality.checks.telling import examples, failed, passed

NAME = "permissions"
LISTS: Final = 25
"""How many distinct access lists, and how many principals, are looked at; of more than that a random part."""
COMBINATIONS: Final = 4

Caller: TypeAlias = frozenset[Principal]


@dataclass(slots=True)
class _Findings:
    """Documents by what is wrong, each with the caller that it went wrong for."""

    leaked: dict[str, Caller] = field(default_factory=dict)
    held_back: dict[str, Caller] = field(default_factory=dict)
    hidden: dict[str, Caller] = field(default_factory=dict)
    searches: int = 0


def permissions(context: Context) -> CheckResult:
    """Nobody, each principal and a few combinations search for what they may see and for what they may not.

    Every hit is judged by the access list in the catalog, independently of the fence. What the store lets through
    though it is another's fails too: an application that asks the store without the fence would see it.
    """
    subject, catalog = context.candidate, context.catalog
    lists = catalog.access_lists(LISTS, seed=context.seed)
    if not lists:
        return passed(NAME, "every document is public")
    points = {doc: item for doc, item in held(subject, [item.doc_id for item in lists]).items() if item.usable}
    lists = [item for item in lists if item.doc_id in points]
    callers = _callers(lists, context.seed)
    found = _Findings()
    for at, caller in enumerate(callers):
        _ask(context, caller, _wanted(lists, caller, at), points, found)
    return _judged(context, found, len(lists), len(callers))


def _callers(lists: Sequence[DocumentFacts], seed: int) -> list[Caller]:
    """Nobody, every principal that occurs (of many a part), and combinations of two and three of them."""
    draw = random.Random(seed)  # noqa: S311 - a sample, not a secret
    principals = sorted({name for item in lists for name in item.access or ()})
    if len(principals) > LISTS:
        principals = draw.sample(principals, LISTS)
    callers = [frozenset[Principal](), *(frozenset([name]) for name in principals)]
    for size in (2, 3):
        if len(principals) > size:
            callers += [frozenset(draw.sample(principals, size)) for _ in range(COMBINATIONS // 2)]
    return list(dict.fromkeys(callers))


def _sees(caller: Caller, access: Sequence[Principal] | None) -> bool:
    """What an access list says, read anew: no line of this is shared with the fence."""
    return access is None or any(name in caller for name in access)


def _wanted(lists: Sequence[DocumentFacts], caller: Caller, turn: int) -> list[DocumentFacts]:
    """One document of the caller's and one of somebody else's; which of them changes from turn to turn."""
    own = [item for item in lists if _sees(caller, item.access)]
    other = [item for item in lists if not _sees(caller, item.access)]
    return [some[turn % len(some)] for some in (own, other) if some]


def _ask(
    context: Context,
    caller: Caller,
    wanted: Sequence[DocumentFacts],
    points: dict[str, Held],
    found: _Findings,
) -> None:
    for facts in wanted:
        held_here = points[facts.doc_id]
        row = int(np.flatnonzero(held_here.vectors.any(axis=1))[0])
        answer = look_for(context.candidate, held_here, held_here.vectors[row], context.k, principals=caller)
        found.searches += 1
        seen = {hit.doc_id: hit.revision for hit in answer.result.hits}
        for doc_id, item in context.catalog.facts(list(seen)).items():
            if not _sees(caller, item.access) and item.revision == seen[doc_id]:  # else it was changed just now
                found.leaked[doc_id] = caller
        if answer.result.explanation.dropped.get("access") and not context.is_followed():
            found.held_back[facts.doc_id] = caller
        if not answer.found and _sees(caller, facts.access) and stands(context, facts, held_here):
            found.hidden[facts.doc_id] = caller


def _judged(context: Context, found: _Findings, lists: int, callers: int) -> CheckResult:
    told = f"{counted(lists, 'access list')}, asked by {counted(callers, 'caller')}"
    problems, hints = [], []
    if found.leaked:
        problems.append(f"searches show documents that the caller may not see: {_who(found.leaked)}")
        hints.append("do not promote: readers would see what is not theirs")
    if found.held_back:
        problems.append(f"the store lets others' documents through, held back by the fence: {_who(found.held_back)}")
        hints.append("`regen verify --repair` brings the store's access lists in step")
    if len(found.hidden) > context.misses_allowed(found.searches):
        problems.append(f"callers do not find their own documents: {_who(found.hidden)}")
        hints.append("`regen verify --repair` brings the store's access lists in step")
    if not problems:
        return passed(NAME, f"{told}: {counted(found.searches, 'search', 'searches')}, nothing leaked, nothing hidden")
    documents = [*found.leaked, *found.held_back, *found.hidden]
    return failed(NAME, [f"{told}: {problems[0]}", *problems[1:]], "; ".join(dict.fromkeys(hints)), documents)


def _who(found: dict[str, Caller]) -> str:
    first = next(iter(found))
    return f"{examples(list(found))}, {first!r} as {sorted(found[first]) or 'nobody'}"
