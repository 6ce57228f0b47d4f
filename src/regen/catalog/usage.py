"""What documents are asked for: the order in which a backfill takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, func, not_, or_, select, true

from regen.catalog import schema
from regen.catalog.bulk import Merging
from regen.catalog.database import Database, rows
from regen.core.priority import HASHES, KEYS, MULTIPLIER, Cut, Tier

_docs, _usage = schema.documents.c, schema.usage.c
_COLUMNS = ("doc_key", "queries", "flagged")
_COUNT = Merging(schema.usage, _COLUMNS, ("doc_key",), lambda new: {"queries": _usage.queries + new.queries})
_FLAG = Merging(schema.usage, _COLUMNS, ("doc_key",), lambda new: {"flagged": new.flagged})


class Usage(Database):
    """Statements on ``usage``."""

    def count_queries(self, returned: Mapping[str, int]) -> None:
        """Add how often documents were returned by searches."""
        with self.writing() as connection:
            known = rows(
                connection, select(_docs.doc_id, _docs.doc_key).where(self.among(_docs.doc_id, list(returned)))
            )
            _COUNT.run(connection, sorted((key, returned[doc_id], False) for doc_id, key in known))

    def flag(self, ids: Sequence[str], *, flagged: bool) -> int:
        """Mark documents, or take the mark back."""
        with self.writing() as connection:
            known = rows(connection, select(_docs.doc_key).where(self.among(_docs.doc_id, ids)))
            _FLAG.run(connection, sorted((row[0], 0, flagged) for row in known))
            return len(known)

    def most_queried(self, share: float) -> int:
        """The number of queries that the most queried share of the living documents reach."""
        with self.reading() as connection:
            alive = connection.execute(select(func.count()).where(_docs.deleted.is_(False))).scalar_one()
            place = max(0, int(alive * share) - 1)
            statement = select(_usage.queries).order_by(_usage.queries.desc()).limit(1).offset(place)
            return max(1, connection.execute(statement).scalar() or 1)


def in_cut(cut: Cut) -> ColumnElement[bool]:
    """The condition of one pass, on ``documents`` joined (outer) with ``usage``."""
    conditions: dict[Tier, Any] = {
        "queried": func.coalesce(_usage.queries, 0) >= cut.min_queries,
        "recent": func.coalesce(_docs.source_time, _docs.changed_at) >= cut.changed_since,
        "flagged": func.coalesce(_usage.flagged, False),
        "rest": true(),
    }
    wanted = conditions[cut.tier]
    if cut.before:
        wanted = and_(wanted, not_(or_(*(conditions[tier] for tier in cut.before))))
    return wanted if cut.share >= 1.0 else and_(wanted, _docs.doc_key % KEYS * MULTIPLIER % HASHES < cut.below)
