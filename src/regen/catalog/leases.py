"""Leases with fencing tokens: one writer at a time, and a late former owner cannot commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from regen.catalog import schema
from regen.catalog.database import Database, allocate
from regen.catalog.sets import among
from regen.errors import CatalogBusy, LeaseLost
from regen.ports.placements import Lease, Range

_leases = schema.leases.c
_LEASE: Final = (_leases.name, _leases.owner, _leases.token, _leases.expires_at)
NOBODY: Final = ""
"""The owner of a range that nobody holds."""


class Leases(Database):
    """Statements on ``leases``."""

    def acquire(self, name: str, owner: str, *, at: float, seconds: float, dead: str | None = None) -> Lease:
        """Take a lease that is free, expired or already ours, or of an owner known to be dead."""
        with self.writing("lease") as connection:
            held = connection.execute(select(_leases.owner, _leases.expires_at).where(_leases.name == name)).fetchone()
            if held is not None and held[0] != owner and held[1] > at and held[0] != dead:
                raise CatalogBusy(
                    f"{name} is being written by {held[0]}",
                    hint=f"wait for it to finish; should it be dead, its lease runs out in {held[1] - at:.0f} s",
                )
            token = allocate(connection, "lease", 1)
            connection.execute(delete(schema.leases).where(_leases.name == name))
            connection.execute(
                insert(schema.leases).values(name=name, owner=owner, token=token, expires_at=at + seconds)
            )
            return Lease(name, owner, token, at + seconds)

    def holder(self, name: str) -> Lease | None:
        """Who holds a lease, expired or not."""
        with self.glancing() as connection:
            row = connection.execute(select(*_LEASE).where(_leases.name == name)).fetchone()
        return None if row is None else Lease(*row)

    def leases(self) -> list[Lease]:
        """All leases, expired ones and ranges that somebody holds included, by name."""
        held = select(*_LEASE).where(_leases.owner != NOBODY).order_by(_leases.name)
        with self.glancing() as connection:
            return [Lease(*row) for row in connection.execute(held)]

    def renew(self, lease: Lease, *, at: float, seconds: float) -> Lease:
        """Extend our lease."""
        with self.writing() as connection:
            require(connection, lease)
            connection.execute(update(schema.leases).where(_leases.name == lease.name).values(expires_at=at + seconds))
        return replace(lease, expires_at=at + seconds)

    def release(self, lease: Lease) -> None:
        """Give a lease back; does nothing if it is not ours any more."""
        with self.writing() as connection:
            connection.execute(delete(schema.leases).where(_leases.name == lease.name, _leases.token == lease.token))
            if isinstance(lease, Range):
                free_texts(connection, lease)


def free_texts(connection: Connection, held: Range, text_keys: Sequence[int] | None = None) -> None:
    """Give the right to embed these texts, or (None) all that the range's holder has reserved, back."""
    claims = schema.text_claims.c
    mine = claims.token == held.token
    if text_keys is not None:
        mine &= (claims.generation == held.generation) & among(claims.text_key, text_keys)
    connection.execute(delete(schema.text_claims).where(mine))


def require(connection: Connection, lease: Lease) -> None:
    """Check, within a write transaction, that a lease has not been taken over. Raises LeaseLost.

    Until the transaction ends nobody can take it over; its owner's other transactions, renewals included, go on.
    """
    mine = select(_leases.token).where(_leases.name == lease.name).with_for_update(read=True, key_share=True)
    token = connection.execute(mine).scalar()
    if token != lease.token:
        raise LeaseLost(f"the lease on {lease.name} was taken over; nothing was committed under the old one")
