"""Reprocessing: exactly these documents are chunked and embedded anew, as if nothing were held of them.

For documents that search finds badly though their text has not changed. The vectors that generations and caches hold of
their texts are what is in doubt, so none of them is taken; a text that several generations of one space need is still
sent to the model once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from regen.core.results import Progress, SyncResult
from regen.engine.allocations import fewer_collections
from regen.errors import NotFound
from regen.ports import Vector, Vectors
from regen.ports.catalog import Catalog, Generation

if TYPE_CHECKING:
    from collections.abc import Callable

    from regen.engine.writing import WriteSide

SHOWN = 3


@dataclass(slots=True)
class FreshVectors:
    """The vectors made in this run, by space and text: the only ones that it takes. A VectorCache; safe for threads."""

    _made: dict[tuple[str, str], Vector] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def get_many(self, space: str, texts: Sequence[str]) -> dict[int, Vector]:
        """Those that this run has made already, by position in ``texts``."""
        with self._lock:
            found = {at: self._made.get((space, text)) for at, text in enumerate(texts)}
        return {at: vector for at, vector in found.items() if vector is not None}

    def put_many(self, space: str, texts: Sequence[str], vectors: Vectors) -> None:
        """Keep what was just made."""
        with self._lock:
            self._made.update(((space, text), vector) for text, vector in zip(texts, vectors, strict=True))

    def close(self) -> None:
        """Nothing to release."""


def reprocess(writer: WriteSide, ids: Sequence[str], progress: Callable[[Progress], None] | None = None) -> SyncResult:
    """Chunk and embed these documents anew in every complete generation; readers see the old chunks until then.

    What else waits is brought in step first, in the ordinary, cheaper way. Dead letters are left to ``retry``, and the
    notes say how many. What goes wrong with one generation is raised when the others have had their turn; run again, it
    goes on. Raises NotFound for ids that are not in the index.
    """
    wanted = list(dict.fromkeys(ids))
    _require_known(writer.catalog, wanted)
    fresh, failures = FreshVectors(), list[Exception]()
    with writer.recorded("reprocess") as (result, account), fewer_collections():
        for generation in writer.followers():
            try:
                with writer.lease(generation) as lease:
                    if not writer.is_current(generation):
                        continue
                    upto = writer.reconcile_into(result, account, writer.fresh(generation), lease, progress)
                    if writer.catalog.demand_rewrite(generation.number, _placeable(writer.catalog, generation, wanted)):
                        again = writer.fresh(generation)
                        writer.reconcile_into(result, account, again, lease, progress, upto=upto, anew=fresh)
            except Exception as error:  # noqa: BLE001 - raised below
                failures.append(error)
        if failures:
            raise failures[0]
        result.notes += _left_out(writer, wanted)
    return result


def _require_known(catalog: Catalog, ids: Sequence[str]) -> None:
    known = catalog.known(ids)
    strange = [doc_id for doc_id in ids if doc_id not in known or known[doc_id].deleted]
    if strange:
        named = ", ".join(map(repr, strange[:SHOWN])) + (", …" if len(strange) > SHOWN else "")
        raise NotFound(
            f"{len(strange):,} of {len(ids):,} documents are not in the index: {named}",
            hint="ids are written as search and `regen history` show them; nothing was embedded",
        )


def _placeable(catalog: Catalog, generation: Generation, ids: Sequence[str]) -> list[str]:
    """Without dead letters: they are not taken up before ``retry`` says so, and a mark on them would stay."""
    buried = set(catalog.buried(generation.number))
    return [doc_id for doc_id in ids if doc_id not in buried]


def _left_out(writer: WriteSide, ids: Sequence[str]) -> list[str]:
    buried = {doc_id for item in writer.followers() for doc_id in writer.catalog.buried(item.number)}
    left = [doc_id for doc_id in ids if doc_id in buried]
    return [f"{len(left):,} of these documents are dead letters: `regen retry` tries them again"] if left else []
