"""Catalog and vectors in one PostgreSQL: what a change writes to both is there as a whole or not at all."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.generations import Held, assert_same, contents, document
from tests.acceptance.one_database import Observer
from tests.acceptance.test_postgres import SMALL, Place, place

from regen import Chunking, Document
from regen.embedders.hashing import HashingEmbedder
from regen.engine import lease
from regen.errors import LeaseLost, StoreError
from regen.index import Index
from regen.postgres import Address
from regen.registry import make_catalog, make_store
from regen.testing.faults import CrashAt, Crashed, FailAt, Steps

__all__ = ["place"]
TWO = Chunking("sentences", 32)


def stepped(place: Place, steps: Steps, **settings: Any) -> Index:
    """An index whose catalog and store tell of every step."""
    index = place.index(catalog=steps.wrap(make_catalog(place.url, Path()), "catalog"), **settings)
    index._stores.configured = steps.wrap(index._stores.configured, "store")
    return index


def change(place: Place, index: Index) -> None:
    """One of each: a new document, an edited text, other metadata, another access list, a deletion."""
    place.source.put(Document("d0", "All new. The other one stays.", {"lang": "en"}), document(1, lang="xx", team=3),
                     Document("d2", document(2).text, document(2).metadata, ["team"]), document(40))  # fmt: skip
    place.source.documents.pop("d3", None)
    index.sync()


def clean(place: Place, folder: Path, chunking: Chunking = SMALL) -> Held:
    """What an index elsewhere, from nothing, makes of the present documents."""
    with Index(
        embedder=HashingEmbedder(64), chunking=chunking, store="memory://", catalog="sqlite://", source=place.source,
        root=folder,
    ) as index:  # fmt: skip
        index.sync()
        return contents(index, 1)


def test_nothing_is_noted_beforehand_and_nothing_is_left(place: Place, tmp_path: Path) -> None:
    """No intent, no garbage, at any moment; the result is that of a clean run on other stores."""
    observer, seen = Observer(place.url), []
    steps = Steps(lambda moment, _: seen.append(observer.left()) if moment == "after catalog.together" else None)
    index = stepped(place, steps)
    index.sync()
    change(place, index)
    index.upsert([Document("pushed", "A text.")])
    index.delete(["pushed"])
    counts = steps.counts()
    assert "before catalog.begin_write" not in counts
    assert {"before store.insert", "before store.delete", "before store.update_payload"} <= counts.keys()
    assert counts["after catalog.together"] == len(seen) > 4
    assert all(left == {"intents": 0, "garbage": 0} for left in seen)
    assert observer.torn() == []
    assert_same(contents(index, 1), clean(place, tmp_path))
    assert index.verify().consistent


def round_of_changes(place: Place, index: Index, at: int) -> None:
    """Edits, a deletion, a return, other metadata; then the alias goes to the other of two generations."""
    place.source.put(document(at % 5, sentences=3, round=at), document(5, lang=f"l{at}"))
    place.source.documents.pop(f"d{6 + at % 3}", None)
    place.source.put(document(6 + (at + 1) % 3, sentences=2 + at % 3))
    index.sync()
    if index._catalog.route("default").live == 1:
        index.promote(2, force=True, reason="on")
    else:
        index.rollback()


WRITES = {"together", "within", "insert", "delete", "update_payload", "set_alias", "commit_write", "switch"}


def test_whoever_dies_at_any_step_leaves_nothing_to_collect(place: Place, tmp_path: Path) -> None:
    """Before and after every step of the transaction: others see all of it or nothing, and the next run ends well."""
    two_generations(place)
    observer, steps = Observer(place.url), Steps()
    with stepped(place, steps, chunking=TWO) as index:
        round_of_changes(place, index, 0)
    moments = [moment for moment in steps.counts() if moment.rpartition(".")[2] in WRITES]
    assert len(moments) == 2 * len(WRITES)
    for at, moment in enumerate(moments, 1):
        crash = CrashAt(moment)
        dying = stepped(place, steps := Steps(crash), chunking=TWO)
        with pytest.raises(Crashed):
            round_of_changes(place, dying, at)
        steps.on_step = None  # it is over: what is open can be closed
        assert crash.crashed
        lease._ours.clear()  # whoever held a lease here is dead
        assert observer.torn() == [], moment
        assert observer.left() == {"intents": 0, "garbage": 0}, moment
        with place.index(chunking=TWO) as next_one:
            next_one.sync()
            assert observer.torn() == [], moment
    with place.index(chunking=TWO) as last:
        assert_same(contents(last, 1), clean(place, tmp_path))
        assert_same(contents(last, 2), clean(place, tmp_path, TWO))
        assert last.verify().consistent


def two_generations(place: Place) -> None:
    """One live, another ready."""
    with place.index() as first:
        first.sync()
    with place.index(chunking=TWO) as second:
        second.apply()
        assert [item.state for item in second._catalog.generations()] == ["live", "ready"]


@contextmanager
def watching(*looks: Any) -> Iterator[list[list[str]]]:
    """Look again and again, from connections of their own, until the block is over; what was ever wrong."""
    stop = threading.Event()
    wrong: list[list[str]] = [[] for _ in looks]
    counted = [0] * len(looks)

    def look(at: int) -> None:
        while not stop.is_set():
            wrong[at] += looks[at]()
            counted[at] += 1

    threads = [threading.Thread(target=look, args=(at,)) for at in range(len(looks))]
    for thread in threads:
        thread.start()
    try:
        yield wrong
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert min(counted) >= 5, counted


def test_nobody_ever_sees_half_of_a_change(place: Place, tmp_path: Path) -> None:
    """Other connections look all the time, at placements, points, alias and view, while everything changes."""
    two_generations(place)
    index = place.index(chunking=TWO)
    observer, chance = Observer(place.url), random.Random(7)

    def through_the_view() -> list[str]:
        before, after, shown = observer.view_and_route()
        return [f"{shown} at {before}"] if before == after and shown != {before[0]} else []

    with watching(observer.torn, observer.torn, through_the_view) as wrong:
        for _ in range(12):
            round_of_changes(place, index, chance.randrange(100))
    assert wrong == [[], [], []]
    assert_same(contents(index, 1), clean(place, tmp_path))
    assert_same(contents(index, 2), clean(place, tmp_path, TWO))


def test_a_stale_owner_writes_no_vector(place: Place) -> None:
    """Whoever lost its lease while it sent its vectors finds neither them nor a placement committed."""
    observer = Observer(place.url)
    with place.index() as first:
        first.sync()
        lost: list[str] = []

        def on_step(moment: str, _: int) -> None:
            if moment == "after store.insert" and not lost:
                (name,) = [item.name for item in first._catalog.leases() if item.name.startswith("generation")]
                first._catalog.acquire(name, "elsewhere:1:x", at=1e12, seconds=1.0)
                lost.append(name)

        stale = stepped(place, Steps(on_step))
        with pytest.raises(LeaseLost):
            stale.upsert([Document("late", "Came too late.")])
        assert lost
        assert observer.torn() == []
        assert observer.left() == {"intents": 0, "garbage": 0}
        taken = first._catalog.holder(lost[0])
        assert taken is not None
        first._catalog.release(taken)
        first.sync()
        assert [hit.doc_id for hit in first.search("came too late", k=1)] == ["late"]


def test_a_document_that_moved_on_leaves_no_point(place: Place) -> None:
    """A change that is logged while its predecessor is written: the older text is never placed, nor kept as a point."""
    observer = Observer(place.url)
    with place.index() as other:
        other.sync()
        done: list[str] = []

        def on_step(moment: str, _: int) -> None:
            if moment == "after store.insert" and not done:
                done.append(moment)
                from regen.core.changes import candidate

                other._catalog.log("push", [candidate(Document("p", "The newer one."))], content_keys=(), at=1.0)

        index = stepped(place, Steps(on_step))
        index.upsert([Document("p", "The older one.")])
        assert done
        assert observer.torn() == []
        assert observer.left() == {"intents": 0, "garbage": 0}
        index.sync()
        assert [hit.text for hit in index.search("the newer one", k=1)] == ["The newer one."]


@pytest.mark.parametrize("moment", ["before store.insert", "after store.insert", "after store.delete",
                                    "before catalog.commit_write", "after catalog.commit_write"])  # fmt: skip
def test_an_error_takes_all_of_it_back(place: Place, moment: str) -> None:
    """A store or catalog that fails, before or after having done what it was told: the same run succeeds again."""
    with place.index() as first:
        first.sync()
    failure = FailAt(moment, StoreError("injected"))
    index = stepped(place, Steps(failure))
    observer, before = Observer(place.url), Observer(place.url).torn()
    place.source.put(Document("d0", "All new."), document(1, lang="xx"))
    with pytest.raises(StoreError, match="injected"):
        index.sync()
    assert failure.failed
    assert observer.torn() == before == []
    assert observer.left() == {"intents": 0, "garbage": 0}
    index.sync()
    assert index.verify().consistent
    assert [hit.text for hit in index.search("all new", k=1)] == ["All new."]


def test_a_reader_that_keeps_its_transaction_open_holds_no_switch_up(place: Place) -> None:
    """The alias moves without the view; that is said, and the next run sets the view once the reader has ended."""
    two_generations(place)
    index = place.index(chunking=TWO)
    observer = Observer(place.url)
    with Address.of(place.url).connect(path=("regen_vectors",)) as reader:
        assert reader.execute('SELECT count(*) FROM "default"').fetchone() != (0,)
        result = index.promote(force=True, reason="now")
        assert "has read it is not over" in result.notes[0]
        assert index._catalog.route("default").live == 2
        assert observer.torn() == ["the view shows regen_default_g1, the alias regen_default_g2"]
        assert not index.verify().consistent
        reader.rollback()
    index.sync()
    assert observer.torn() == []
    assert index.verify().consistent


def test_another_database_or_user_is_written_apart(place: Place, postgres_server: Any) -> None:
    """One transaction needs one database and one user; otherwise all goes as on any other store."""
    postgres_server.execute("DROP ROLE IF EXISTS other_user")
    postgres_server.execute("CREATE ROLE other_user LOGIN SUPERUSER")
    with postgres_server.database() as elsewhere:
        for store in (elsewhere, place.url.replace("postgres@", "other_user@") + "&schema=of_another"):
            catalog_url = place.url + "&schema=catalog_" + ("a" if store == elsewhere else "b")
            steps = Steps()
            catalog = steps.wrap(make_catalog(catalog_url, Path()), "catalog")
            index = place.index(catalog=catalog, store=store)
            index.sync()
            assert "after catalog.begin_write" in steps.counts()
            assert "after catalog.together" not in steps.counts()
            assert index.verify().consistent
            index.close()


def test_a_plain_user_may_ask_where_it_is(place: Place) -> None:
    """What tells one database from another needs no right that a plain user lacks."""
    with Address.of(place.url).connect(autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS plain")
        connection.execute("CREATE ROLE plain LOGIN")
        mine = make_store(place.url, Path())
        plain = make_store(place.url.replace("postgres@", "plain@"), Path())
        assert mine.database() != plain.database() != ""  # type: ignore[attr-defined]
        assert mine.database().replace("/postgres", "/plain") == plain.database()  # type: ignore[attr-defined]
        plain.close()
        mine.close()
        connection.execute("DROP ROLE plain")
