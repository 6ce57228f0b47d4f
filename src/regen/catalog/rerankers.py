"""What the catalog remembers of rerankers: how searches fared with them, and whether they help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import and_, case, select

from regen.catalog import schema
from regen.catalog.bulk import Merging
from regen.catalog.database import Database
from regen.ports.reranking import KeptReranker, RerankCounts

_kept = schema.rerankers.c
_COUNTED = ("reranked", "skipped", "timeouts", "failures")
_JUDGED = ("helps", "fingerprint", "judged_at", "result")
_KEY = ("alias", "model")
_FAULT = ("last_error", "failed_at")
_COUNT = Merging(
    schema.rerankers,
    (*_KEY, *_COUNTED, *_FAULT),
    _KEY,
    lambda new: (
        {name: _kept[name] + new[name] for name in _COUNTED}
        | {name: case((new.failed_at.is_(None), _kept[name]), else_=new[name]) for name in _FAULT}
    ),
)
_JUDGE = Merging(schema.rerankers, (*_KEY, *_JUDGED), _KEY, lambda new: {name: new[name] for name in _JUDGED})


class Rerankers(Database):
    """Statements on ``rerankers``."""

    def reranker(self, alias: str, model: str) -> KeptReranker | None:
        """What is known of a reranker."""
        columns = [_kept[name] for name in (*_COUNTED, "last_error", "failed_at", *_JUDGED)]
        statement = select(*columns).where(and_(_kept.alias == alias, _kept.model == model))
        with self.glancing() as connection:
            row = connection.execute(statement).first()
        if row is None:
            return None
        *counted, helps, fingerprint, judged_at, result = row
        return KeptReranker(RerankCounts(*counted), helps, fingerprint, judged_at, orjson.loads(result))

    def count_reranking(self, alias: str, model: str, counts: RerankCounts) -> None:
        """Add to a reranker's counts."""
        with self.writing() as connection:
            _COUNT.run(connection, [(alias, model, *(getattr(counts, name) for name in (*_COUNTED, *_FAULT)))])

    def judge_reranker(
        self, alias: str, model: str, *, helps: bool, fingerprint: str, at: float, result: Mapping[str, Any]
    ) -> None:
        """Keep what judging a reranker found."""
        with self.writing() as connection:
            _JUDGE.run(connection, [(alias, model, helps, fingerprint, at, orjson.dumps(dict(result)).decode())])
