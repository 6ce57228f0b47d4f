"""Scanning several sources together: whose each document is, what moves between them, and what one of them lacks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import combinations

from regen.core.changes import Candidate, State, classify, state_of
from regen.core.results import DocumentCounts
from regen.engine.scan import Scanner, add_outcome, change_key, claimed, is_of, log_scan
from regen.errors import RegenError
from regen.ports import PartialSource
from regen.ports.catalog import SOURCE_STAGE, Catalog


@dataclass(slots=True)
class Scanned:
    """What became of a scan of several sources: those that were scanned well, and why the others were not."""

    counts: DocumentCounts = field(default_factory=DocumentCounts)
    well: list[str] = field(default_factory=list)
    failed: list[tuple[str, Exception]] = field(default_factory=list)

    def raise_failures(self) -> None:
        """Raise the first failure, saying which sources are in step in spite of it."""
        if not self.failed:
            return
        name, error = self.failed[0]
        others = [f"source {other!r}: {getattr(failure, 'message', failure)}" for other, failure in self.failed[1:]]
        if isinstance(error, RegenError) and (self.well or others):
            well = [f"the others were read: {', '.join(self.well)}"] if self.well else []
            error.message = "; ".join([f"source {name!r}: {error.message}", *others, *well])
        raise error


def log_all(
    scanners: Sequence[Scanner], catalog: Catalog, *, allow_mass_delete: bool, only: set[bytes] | None = None
) -> Scanned:
    """Bring sources into the change log; what fails with one holds no other up. With ``only``, exactly these changes.

    What a source lacks is deleted when all have been scanned: by then it is known whether it has moved to another one.
    """
    scanned = Scanned()
    gone: dict[str, list[str]] = {}
    for scanner in scanners:
        name = scanner.source.name
        try:
            unmet = log_scan(scanner, catalog, scanned.counts, only)
            gone[name] = _only(scanner.vanished(allow_mass_delete=allow_mass_delete), only)
        except Exception as error:  # noqa: BLE001 - raised by ``raise_failures``, when the others had their turn
            scanned.failed.append((name, error))
            continue
        if unmet and scanner.source.full:
            catalog.unearth(SOURCE_STAGE, unmet)  # neither delivered nor refused again: gone
        scanned.well.append(name)
    for scanner in scanners:
        _settle_claims(scanner, catalog, gone, scanned, only)
    ids = [doc_id for vanished in gone.values() for doc_id in vanished]
    scanned.counts.deleted += catalog.tombstone(ids, at=time.time()) if ids else 0
    return scanned


def _only(ids: list[str], only: set[bytes] | None) -> list[str]:
    return ids if only is None else [doc_id for doc_id in ids if change_key(doc_id, None) in only]


def _settle_claims(
    scanner: Scanner,
    catalog: Catalog,
    gone: dict[str, list[str]],
    scanned: Scanned,
    only: set[bytes] | None,
) -> None:
    """Take over documents that their former source no longer has; the others are refused."""
    moved, refused = settled(scanner, gone)
    if only is not None:
        moved = [item for item in moved if change_key(item.document.id, item.fingerprint) in only]
    name = scanner.source.name
    if moved:
        outcome = catalog.log(name, moved, content_keys=scanner.content_keys, at=time.time())
        for kind in outcome.outcomes:
            add_outcome(scanned.counts, kind)
        taken = {item.document.id for item in moved}
        for owner, ids in gone.items():
            gone[owner] = [doc_id for doc_id in ids if doc_id not in taken]
    if refused and name in scanned.well:
        scanned.well.remove(name)
        scanned.failed.append((name, claimed(name, refused)))


def settled(scanner: Scanner, gone: Mapping[str, Sequence[str]]) -> tuple[list[Candidate], list[tuple[str, str]]]:
    """Which claimed documents their owners no longer have, and (owner, id) of those that they do.

    ``gone`` is what the sources that were scanned lack; a source that was not is asked, if it can deliver by id.
    """
    by_owner: dict[str, list[Candidate]] = {}
    for owner, item in scanner.claims:
        by_owner.setdefault(owner, []).append(item)
    moved: list[Candidate] = []
    refused: list[tuple[str, str]] = []
    for owner, items in by_owner.items():
        lacking = _lacking(owner, [item.document.id for item in items], scanner, gone)
        moved += [item for item in items if item.document.id in lacking]
        refused += [(owner, item.document.id) for item in items if item.document.id not in lacking]
    return moved, refused


def _lacking(owner: str, ids: Sequence[str], scanner: Scanner, gone: Mapping[str, Sequence[str]]) -> set[str]:
    if owner in gone:
        lacking = set(gone[owner])
        known = scanner.reader.known(ids)
        return {doc_id for doc_id in ids if doc_id in lacking or not is_of(known[doc_id], scanner.others)}
    source = scanner.others[owner]
    if not isinstance(source, PartialSource):
        return set()
    return set(source.read(ids)[1])


@dataclass(slots=True)
class ScanPlan:
    """What a dry scan found: classified candidates go to ``visit``; here are the counts and what has vanished."""

    counts: DocumentCounts
    vanished: list[str]
    digest: str
    changes: set[bytes]
    revision: int


def dry_scan(
    scanners: Sequence[Scanner], *, allow_mass_delete: bool, visit: Callable[[Candidate, State, str], None]
) -> ScanPlan:
    """The same decisions as :func:`log_all`, with nothing written; ``visit`` sees each real change."""
    counts, changes = DocumentCounts(), set[bytes]()
    gone: dict[str, list[str]] = {}

    def judge(scanner: Scanner, candidates: Sequence[Candidate]) -> None:
        old = scanner.reader.states([item.document.id for item in candidates]) if candidates else {}
        for item in candidates:
            state, before = item.state or state_of(item.document), old.get(item.document.id)
            kind = classify(before, state, scanner.content_keys)
            add_outcome(counts, kind)
            changes.add(change_key(item.document.id, item.fingerprint))
            if kind != "unchanged":
                visit(item, state, kind)

    for scanner in scanners:
        for observed in scanner.observe():
            counts.unchanged += observed.unchanged
            counts.failed += len(observed.failed)
            judge(scanner, observed.candidates)
        gone[scanner.source.name] = scanner.vanished(allow_mass_delete=allow_mass_delete)
    for former, scanner in combinations(scanners, 2):
        if both := set(scanner.fresh).intersection(former.fresh):
            raise claimed(scanner.source.name, [(former.source.name, doc_id) for doc_id in sorted(both)])
    for scanner in scanners:
        moved, refused = settled(scanner, gone)
        if refused:
            raise claimed(scanner.source.name, refused)
        judge(scanner, moved)
        taken = {item.document.id for item in moved}
        gone = {owner: [doc_id for doc_id in ids if doc_id not in taken] for owner, ids in gone.items()}
    vanished = [doc_id for ids in gone.values() for doc_id in ids]
    counts.deleted = len(vanished)
    changes.update(change_key(doc_id, None) for doc_id in vanished)
    digest = blake2b(b"".join(sorted(changes)), digest_size=16).hexdigest()
    return ScanPlan(counts, vanished, digest, changes, scanners[0].reader.head())
