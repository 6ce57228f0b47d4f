"""What the catalog remembers of rerankers: how searches fared with them, and whether they help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import and_, case, select
from sqlalchemy.dialects import sqlite

from regen.catalog import schema
from regen.catalog.database import Database
from regen.ports.reranking import KeptReranker, RerankCounts

_kept = schema.rerankers.c
_COUNTED = ("reranked", "skipped", "timeouts", "failures")
_KEY = ["alias", "model"]
_COUNT = sqlite.insert(schema.rerankers)
_NEW = _COUNT.excluded
_COUNT = _COUNT.on_conflict_do_update(
    index_elements=_KEY,
    set_={name: _kept[name] + _NEW[name] for name in _COUNTED}
    | {name: case((_NEW.failed_at.is_(None), _kept[name]), else_=_NEW[name]) for name in ("last_error", "failed_at")},
)
_JUDGED = ("helps", "fingerprint", "judged_at", "result")
_JUDGE = sqlite.insert(schema.rerankers)
_JUDGE = _JUDGE.on_conflict_do_update(index_elements=_KEY, set_={name: _JUDGE.excluded[name] for name in _JUDGED})


class Rerankers(Database):
    """Statements on ``rerankers``."""

    def reranker(self, alias: str, model: str) -> KeptReranker | None:
        """What is known of a reranker."""
        columns = [_kept[name] for name in (*_COUNTED, "last_error", "failed_at", *_JUDGED)]
        statement = select(*columns).where(and_(_kept.alias == alias, _kept.model == model))
        with self.reading() as connection:
            row = connection.execute(statement).first()
        if row is None:
            return None
        *counted, helps, fingerprint, judged_at, result = row
        return KeptReranker(RerankCounts(*counted), helps, fingerprint, judged_at, orjson.loads(result))

    def count_reranking(self, alias: str, model: str, counts: RerankCounts) -> None:
        """Add to a reranker's counts."""
        added = {name: getattr(counts, name) for name in (*_COUNTED, "last_error", "failed_at")}
        with self.writing() as connection:
            connection.execute(_COUNT, [{"alias": alias, "model": model, **added}])

    def judge_reranker(
        self, alias: str, model: str, *, helps: bool, fingerprint: str, at: float, result: Mapping[str, Any]
    ) -> None:
        """Keep what judging a reranker found."""
        found = {
            "helps": helps,
            "fingerprint": fingerprint,
            "judged_at": at,
            "result": orjson.dumps(dict(result)).decode(),
        }
        with self.writing() as connection:
            connection.execute(_JUDGE, [{"alias": alias, "model": model, **found}])
