"""Verify and garbage collection: what catalog and store say, compared; what nothing names, removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from regen.core.chunks import point_id, unpack
from regen.core.fields import kept
from regen.core.results import Progress, VerifyReport
from regen.errors import CollectionMissing
from regen.ports import Store, StoredPayload
from regen.ports.catalog import Catalog, CatalogReader, Generation
from regen.ports.placements import FenceEntry

MAX_DETAILS: Final = 20
DELETE_POINTS: Final = 5_000


@dataclass(slots=True)
class Differences:
    """What verify found: points to delete, and documents whose points must be written anew."""

    report: VerifyReport
    to_delete: list[str] = field(default_factory=list)
    to_rewrite: set[str] = field(default_factory=set)
    collection_missing: bool = False


@dataclass(frozen=True, slots=True)
class _Expected:
    """What the catalog says a point should carry."""

    chunk_id: str
    entry: FenceEntry


def compare(
    generation: Generation, store: Store, reader: CatalogReader, progress: Callable[[Progress], None] | None = None
) -> Differences:
    """Compare every placement with every point of one generation; nothing is changed.

    Memory: about 150 bytes a chunk. Call it while no writer is at work, else what is under way looks like orphans.
    """
    report = VerifyReport(generation=generation.number)
    found = Differences(report)
    expected = _expected(generation, reader)
    report.stale = reader.counts(generation.number).pending
    try:
        for page in store.scan(generation.collection):
            report.points += len(page.ids)
            _compare_page(page, expected, generation, found)
            if progress:
                progress(Progress("verify", report.points, None, "points"))
    except CollectionMissing:
        found.collection_missing = True
        _note(report, f"collection {generation.collection} is not in the store")
    for wanted in expected.values():
        if isinstance(wanted, str):
            continue  # it was there
        report.missing += 1
        found.to_rewrite.add(wanted.entry.doc_id)
        _note(report, f"missing: a chunk of {wanted.entry.doc_id}")
    report.consistent = not (
        report.missing or report.orphans or report.stale or report.mixed_space or report.wrong_payload
    )
    return found


def _expected(generation: Generation, reader: CatalogReader) -> dict[str, _Expected | str]:
    """What every point should carry, by its id. Once it was seen there is the document's id in its place."""
    expected: dict[str, _Expected | str] = {}
    for page in reader.placements(generation.number):
        for entry, placement in page:
            for chunk, token in unpack(placement.chunks):
                expected[point_id(chunk, token)] = _Expected(chunk.hex(), entry)
    return expected


def _compare_page(
    page: StoredPayload, expected: dict[str, _Expected | str], generation: Generation, found: Differences
) -> None:
    payload, report = page.payload, found.report
    spaces = payload.audit.get("space", [None] * len(page.ids))
    for row, point in enumerate(page.ids):
        wanted = expected.get(point)
        if wanted is None:
            report.orphans += 1
            found.to_delete.append(point)
            _note(report, f"orphan: a point of {payload.doc_id[row]} that nothing names")
            continue
        if isinstance(wanted, str):
            report.orphans += 1
            found.to_rewrite.add(wanted)  # new points take the place of both: a store deletes every copy of an id
            _note(report, f"doubled: a point of {wanted} is there more than once")
            continue
        expected[point] = wanted.entry.doc_id
        if spaces[row] is not None and spaces[row] != generation.recipe.space:
            report.mixed_space += 1
            found.to_delete.append(point)
            found.to_rewrite.add(wanted.entry.doc_id)
            _note(report, f"mixed space: {wanted.entry.doc_id} has a vector of space {spaces[row]}")
        elif (problem := _wrong(page, row, wanted, generation.fields)) is not None:
            report.wrong_payload += 1
            found.to_rewrite.add(wanted.entry.doc_id)
            _note(report, f"wrong payload: {wanted.entry.doc_id}: {problem}")


def _wrong(page: StoredPayload, row: int, wanted: _Expected, generation_fields: dict[str, str]) -> str | None:
    payload, entry = page.payload, wanted.entry
    if payload.doc_id[row] != entry.doc_id or payload.chunk_id[row] != wanted.chunk_id:
        return f"it claims to be of {payload.doc_id[row]}"
    if not entry.current:
        return None  # a text that waits for its successor keeps the payload that was its own
    access = None if entry.access is None else orjson.loads(entry.access)
    held = payload.access[row]
    if (held is None) != (access is None) or (access is not None and sorted(held or []) != access):
        return "its access list is not the catalog's"
    fields: Any = generation_fields
    if payload.metadata[row] != kept(orjson.loads(entry.metadata), fields):
        return "its metadata is not the catalog's"
    return None


def _note(report: VerifyReport, text: str) -> None:
    if len(report.details) < MAX_DETAILS:
        report.details.append(text)
    elif len(report.details) == MAX_DETAILS:
        report.details.append("… and more")


def apply_repair(
    found: Differences, generation: Generation, store: Store, catalog: Catalog, require_lease: Callable[[], None]
) -> int:
    """Delete what nothing names, mark what must be written anew (reconcile does it). Returns what was mended.

    ``require_lease`` raises LeaseLost when the generation's lease is not ours any more, see :func:`collect_orphans`.
    """
    for part in _parts(found.to_delete, DELETE_POINTS):
        require_lease()
        store.delete(generation.collection, part)
    marked = 0
    for part in _parts(sorted(found.to_rewrite), DELETE_POINTS):
        marked += catalog.demand_rewrite(generation.number, part)
    return len(found.to_delete) + marked


def collect_orphans(
    generation: Generation, store: Store, reader: CatalogReader, require_lease: Callable[[], None]
) -> int:
    """Delete points that nothing names: what a power cut or another program left. Returns how many.

    ``require_lease`` raises LeaseLost when the generation's lease is not ours any more: somebody else may then have
    written what looks like an orphan to us. While it is ours nobody has, and no id comes back: what was an orphan then
    may be deleted however late.
    """
    expected = _expected(generation, reader)
    removed = 0
    for page in store.scan(generation.collection):
        orphans = [point for point in page.ids if point not in expected]
        if orphans:
            require_lease()
            store.delete(generation.collection, orphans)
            removed += len(orphans)
    return removed


def _parts(items: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
