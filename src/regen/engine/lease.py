"""Holding the writer lease: taken over at once from a dead process of this host, renewed while work goes on."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from regen.errors import CatalogBusy, CatalogUnreachable, LeaseLost
from regen.ports.catalog import Catalog
from regen.ports.placements import Lease

LEASE_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.05
_ours: set[str] = set()


def new_owner() -> str:
    """A name for one owner: host, process and a nonce, so that a re-used process id is told apart."""
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    _ours.add(owner)
    return owner


def is_dead(owner: str) -> bool:
    """Whether an owner is known to be dead: a process of this host that no longer runs."""
    host, _, rest = owner.partition(":")
    pid, _, _ = rest.partition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    if int(pid) == os.getpid():
        return owner not in _ours
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _is_zombie(int(pid))


def known_dead(owners: Iterable[str]) -> list[str]:
    """Those of some owners that are known to be dead; an empty one is nobody."""
    return sorted({owner for owner in owners if owner and is_dead(owner)})


def _is_zombie(pid: int) -> bool:
    """Whether a process has ended but its parent has not asked for its exit status yet (Linux tells in /proc)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except (OSError, IndexError):
        return False


class HeldLease:
    """A lease that renews itself in the background until released."""

    def __init__(self, catalog: Catalog, lease: Lease, seconds: float) -> None:
        self._catalog, self._seconds = catalog, seconds
        self.lease = lease
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="regen-lease", daemon=True)
        self._thread.start()

    def _renew(self) -> None:
        while not self._stop.wait(self._seconds / 3):
            try:
                self.lease = self._catalog.renew(self.lease, at=time.time(), seconds=self._seconds)
            except LeaseLost:
                return  # the next commit finds out by itself, and says so
            except (CatalogBusy, CatalogUnreachable):
                continue

    def require(self) -> None:
        """Renew now. Raises LeaseLost when somebody has taken the lease over: what was read under it may be old."""
        self.lease = self._catalog.renew(self.lease, at=time.time(), seconds=self._seconds)

    def release(self) -> None:
        """Stop renewing and give the lease back."""
        self._stop.set()
        self._thread.join()
        self._catalog.release(self.lease)


@contextmanager
def writer_lease(
    catalog: Catalog, name: str, owner: str, *, wait: float, seconds: float = LEASE_SECONDS
) -> Iterator[HeldLease]:
    """Hold the writer lease ``name``, waiting up to ``wait`` seconds for it. Raises CatalogBusy, naming the owner."""
    held = HeldLease(catalog, _acquire(catalog, name, owner, wait, seconds), seconds)
    try:
        yield held
    finally:
        held.release()


def _acquire(catalog: Catalog, name: str, owner: str, wait: float, seconds: float) -> Lease:
    deadline = time.monotonic() + wait
    while True:
        holder = catalog.holder(name)
        dead = holder.owner if holder is not None and is_dead(holder.owner) else None
        try:
            return catalog.acquire(name, owner, at=time.time(), seconds=seconds, dead=dead)
        except CatalogBusy:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
