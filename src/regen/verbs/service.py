"""The verbs of a service: take documents now and bring them in step in the background, keys, and who acts."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regen.core import keys
from regen.core.backlog import Accepted, Backlog
from regen.core.documents import Document
from regen.core.results import DocumentCounts, SyncResult
from regen.engine import acting
from regen.engine.lease import is_dead, new_owner
from regen.engine.scan import require_ids
from regen.engine.writing import WriteSide
from regen.errors import ConfigError
from regen.ports.catalog import SOURCE_STAGE, Catalog
from regen.ports.service import ApiKey, Audited, ServiceRecords


class ServiceVerbs:
    """What a server asks of an index, beside what everybody does."""

    alias: str
    _catalog: Catalog
    _writer: WriteSide
    _root: Path

    def _log_pushed(self, documents: list[Document]) -> DocumentCounts:
        raise NotImplementedError

    def _rollout_notes(self) -> list[str]:
        raise NotImplementedError

    @property
    def root(self) -> Path:
        """The folder from which relative paths start."""
        return self._root

    @property
    def records(self) -> ServiceRecords:
        """What a service keeps in the catalog: runs that were asked for, answers, the audit log."""
        return self._catalog

    def accept(self, documents: Iterable[Document], deleted: Collection[str] = ()) -> Accepted:
        """Log documents and deletions, and return: deletions and revoked access hold from now on (I3).

        The rest is searchable once :meth:`catch_up` has run, here or in another process. Raises as ``upsert`` does.
        """
        pushed, gone = list(documents), list(deleted)
        require_ids(gone)
        with self._writer.appending():
            counts = self._log_pushed(pushed) if pushed else DocumentCounts()
            if gone:
                self._catalog.unearth(SOURCE_STAGE, gone)
                counts.deleted += self._catalog.tombstone(gone, at=time.time())
            return Accepted(self._catalog.head(), counts)

    def catch_up(self) -> SyncResult:
        """Bring every current generation in step with the change log, whoever wrote it; no source is looked at."""
        result = self._writer.run("upsert", DocumentCounts)
        result.notes += self._rollout_notes()
        return result

    def backlog(self) -> Backlog:
        """What is logged, and what of it is searchable."""
        current = self._writer.current()
        complete = [item for item in current if item.state != "building"] or current[:1]
        live = self._catalog.route(self.alias).live
        at = {item.number: item.watermark for item in complete}
        return Backlog(self._catalog.head(), at.get(live, 0) if live is not None else 0, min(at.values(), default=0))

    def new_owner(self) -> str:
        """A name for whoever does runs in this process."""
        return new_owner()

    def is_gone(self, owner: str) -> bool:
        """Whether the process of such a name is known to have ended."""
        return is_dead(owner)

    # ── who calls ───────────────────────────────────────────────────────────────────────────────────────────

    def create_key(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        principals: Sequence[str] = (),
        per_second: float | None = None,
        expires_in: float | None = None,
    ) -> tuple[str, ApiKey]:
        """A new API key: the key itself, which is told this once, and what is kept of it. Raises ConfigError."""
        strange = sorted(set(scopes) - set(keys.SCOPES))
        if strange or not scopes:
            raise ConfigError(
                f"{', '.join(strange)} is no scope" if strange else "a key without a scope opens nothing",
                hint=f"valid are {', '.join(keys.SCOPES)}",
            )
        if not name.strip() or name != name.strip() or len(name) > 100:
            raise ConfigError(f"a key cannot be named {name!r}", hint="say who uses it: `web-frontend`")
        now, key_id, secret = time.time(), secrets.token_hex(keys.ID_BYTES), secrets.token_urlsafe(keys.SECRET_BYTES)
        ordered = tuple(scope for scope in keys.SCOPES if scope in scopes)
        expires = None if expires_in is None else now + expires_in
        made = ApiKey(
            key_id, name, keys.digest_of(secret), ordered, tuple(dict.fromkeys(principals)), now, acting.actor(),
            per_second, expires,
        )  # fmt: skip
        self._catalog.add_api_key(made)
        return keys.spell(key_id, secret), made

    def api_keys(self) -> list[ApiKey]:
        """All keys there ever were, oldest first."""
        return self._catalog.api_keys()

    def revoke_key(self, name: str) -> ApiKey:
        """Let a key, by its name or id, open nothing any more. Raises NotFound."""
        return self._catalog.revoke_api_key(name, at=time.time())

    @contextmanager
    def acting_as(self, name: str) -> Iterator[None]:
        """Do what the block does in somebody's name: the alias's history shows it."""
        with acting.acting_as(name):
            yield

    def audit(
        self, action: str, /, *, actor: str | None = None, origin: str = "", outcome: str, **details: Any
    ) -> None:
        """Add what an operator did to the audit log."""
        self._catalog.audit(Audited(time.time(), actor or acting.actor(), action, details, origin, outcome))

    def audited(self, limit: int = 50, *, before: int | None = None) -> list[Audited]:
        """The audit log, newest first; with ``before`` what is older than the entry of that id."""
        return self._catalog.audited(limit, before=before)
