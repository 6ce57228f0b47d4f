"""Who may call a service, and what operators did."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Row, insert, or_, select, update

from regen.catalog import schema
from regen.catalog.database import Database
from regen.errors import ConfigError, NotFound
from regen.ports.service import ApiKey, Audited

_keys, _audit = schema.api_keys.c, schema.audit.c


class Callers(Database):
    """Statements on ``api_keys`` and ``audit``."""

    def api_keys(self) -> list[ApiKey]:
        """All keys there ever were, oldest first."""
        with self.glancing() as connection:
            found = connection.execute(select(schema.api_keys).order_by(_keys.created_at, _keys.id))
            return [_key(row) for row in found]

    def add_api_key(self, key: ApiKey) -> None:
        """Keep a new key."""
        with self.writing("revision") as connection:
            same = select(_keys.id).where(_keys.name == key.name, _keys.revoked_at.is_(None))
            if connection.execute(same).first() is not None:
                raise ConfigError(
                    f"there is a key named {key.name!r} already",
                    hint=f"choose another name, or end that one first: `regen keys revoke {key.name}`",
                )
            connection.execute(
                insert(schema.api_keys).values(
                    id=key.id,
                    name=key.name,
                    digest=key.digest,
                    scopes=_json(key.scopes),
                    principals=_json(key.principals),
                    per_second=key.per_second,
                    created_at=key.created_at,
                    created_by=key.created_by,
                    expires_at=key.expires_at,
                    revoked_at=key.revoked_at,
                )
            )

    def revoke_api_key(self, name: str, *, at: float) -> ApiKey:
        """Let a key open nothing any more."""
        valid = (or_(_keys.name == name, _keys.id == name), _keys.revoked_at.is_(None))
        with self.writing() as connection:
            changed = update(schema.api_keys).where(*valid).values(revoked_at=at).returning(*schema.api_keys.c)
            row = connection.execute(changed).first()
        if row is None:
            names = [key.name for key in self.api_keys() if key.revoked_at is None]
            raise NotFound(f"there is no valid key {name!r}", hint=f"there are: {', '.join(names) or 'none'}")
        return _key(row)

    def audit(self, entry: Audited) -> None:
        """Add an entry to the audit log."""
        with self.writing() as connection:
            connection.execute(
                insert(schema.audit).values(
                    at=entry.at,
                    actor=entry.actor,
                    action=entry.action,
                    details=_json(entry.details),
                    origin=entry.origin,
                    outcome=entry.outcome,
                )
            )

    def audited(self, limit: int = 50, *, before: int | None = None) -> list[Audited]:
        """The audit log, newest first."""
        statement = select(
            _audit.at, _audit.actor, _audit.action, _audit.details, _audit.origin, _audit.outcome, _audit.id
        ).order_by(_audit.id.desc())
        if before is not None:
            statement = statement.where(_audit.id < before)
        with self.glancing() as connection:
            found = connection.execute(statement.limit(limit))
            return [Audited(*row[:3], orjson.loads(row[3]), *row[4:]) for row in found]


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        row.id, row.name, bytes(row.digest), tuple(orjson.loads(row.scopes)), tuple(orjson.loads(row.principals)),
        row.created_at, row.created_by, row.per_second, row.expires_at, row.revoked_at,
    )  # fmt: skip


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()
