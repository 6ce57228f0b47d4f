"""A connection is lost just when the server has committed: what was taken must not stay taken by who does not know it.

Each commit of a call is the one in its turn. Whoever comes next finds nothing in the way, and the end is a clean run's.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from tests.workers.fleet import Place, assert_as_clean, documents, log_only

from regen.errors import CatalogUnreachable, StoreUnreachable
from regen.index import Index
from regen.testing.proxy import Proxy

LOST = (CatalogUnreachable, StoreUnreachable)


def held(place: Place) -> list[str]:
    """The leases that are there, seen by another owner."""
    with place.index() as index:
        return [lease.name for lease in index._catalog.leases()]


def call(index: Index, verb: str, number: int) -> None:
    """What is interrupted: a push, or what a worker does for somebody else's."""
    if verb == "upsert":
        index.upsert(documents(1, number))
    else:
        log_only(index, *documents(1, number))
        index.work(until_idle=True)


@pytest.mark.parametrize("verb", ["upsert", "work"])
def test_no_lease_outlives_a_lost_answer(
    network: tuple[Proxy, str], postgres_url: str, tmp_path: Path, verb: str
) -> None:
    """Whether the call goes on or fails; and what it was to do is done by the next."""
    proxy, url = network
    place = Place(tmp_path, catalog=postgres_url)
    with place.index() as index:
        index.upsert(documents(1))
    number = 0
    for number in range(1, 100):
        with Place(tmp_path, catalog=url).index() as index:
            proxy.lose_answer(b"COMMIT", number - 1)
            with suppress(*LOST):
                call(index, verb, number)
        assert held(place) == [], f"commit {number}"
        if not proxy.answer_lost:
            break
    assert 5 < number < 99
    with place.index() as index:
        index.upsert(documents(number + 1))
    assert_as_clean(place, documents(number + 1), tmp_path)
