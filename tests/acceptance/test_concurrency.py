"""Several processes and threads on one catalog: they wait for each other, and nobody's late write is committed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from regen.catalog.sqlite import open_catalog
from regen.core.documents import UNRESTRICTED, Document
from regen.core.recipe import Chunking
from regen.engine.settings import Limits
from regen.errors import CatalogBusy, LeaseLost
from regen.index import Index
from regen.ports import InsertStore, Store
from regen.registry import make_store
from regen.stores.memory import MemoryStore
from regen.testing.faults import Steps

CHUNKING = Chunking(kind="sentences", max_tokens=16)
WAIT = 60.0
FOLDER = {"kind": "files", "path": "docs"}
SYNC = """
import sys, time
from pathlib import Path
from tests.acceptance.test_concurrency import open_index
root, start = Path(sys.argv[1]), float(sys.argv[2])
with open_index(root) as index:
    time.sleep(max(0.0, start - time.time()))
    for _ in range(3):
        print(index.sync().documents.added, flush=True)
"""


def open_index(root: Path, **settings: Any) -> Index:
    """An index over a folder of Markdown, on SQLite and LanceDB unless told otherwise."""
    given: dict[str, Any] = {"store": "lancedb://vectors", "catalog": "sqlite:///catalog.db", "source": FOLDER}
    given["limits"] = Limits(lease_wait=WAIT, batch_documents=7)
    return Index(embedder="hashing/32", chunking=CHUNKING, root=root, **given | settings)


def text(number: int) -> str:
    """Three paragraphs, of which one is in every document."""
    own = [f"Document {number} says in paragraph {part} that it differs from all the others." for part in range(2)]
    return "\n\n".join([*own, "This paragraph is the same in all the documents of the folder."])


def points(index: Index) -> list[tuple[str, str]]:
    """All that the store holds, by document and chunk."""
    (generation,) = index._catalog.generations()
    found: list[tuple[str, str]] = []
    for page in index._store.scan(generation.collection):
        found += zip(page.payload.doc_id, page.payload.chunk_id, strict=True)
    return sorted(found)


def test_two_processes_sync_the_same_folder_at_once(tmp_path: Path) -> None:
    """They take turns: no error, every document added once, and the index equals that of one process alone."""
    (tmp_path / "docs").mkdir()
    for number in range(40):
        (tmp_path / "docs" / f"{number}.md").write_text(text(number))
    start = time.time() + 3.0
    command = [sys.executable, "-c", SYNC, str(tmp_path), str(start)]
    root = Path(__file__).parents[2]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root) for _ in "ab"
    ]
    answers = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert sum(int(line) for out, _ in answers for line in out.split()) == 40
    with open_index(tmp_path) as index, open_index(tmp_path, catalog="sqlite://", store="memory://") as alone:
        alone.sync()
        assert len(points(index)) == 120
        assert points(index) == points(alone)
        assert index.verify().consistent, index.verify()


def test_threads_upsert_through_one_index(tmp_path: Path) -> None:
    """Concurrent calls lose nothing and double nothing, while others search and delete."""
    (tmp_path / "docs").mkdir()
    with open_index(tmp_path) as index, ThreadPoolExecutor(6) as pool:
        index.upsert([Document(f"gone{number}", text(number)) for number in range(6)])

        def work(number: int) -> int:
            index.upsert([Document(f"d{number}", text(number)), Document(f"shared{number % 3}", text(number % 3))])
            index.delete([f"gone{number % 6}"])
            hits = index.search("paragraph", k=500)
            assert {f"d{number}"} <= {hit.doc_id for hit in hits}
            assert f"gone{number % 6}" not in {hit.doc_id for hit in hits}
            return len(hits)

        assert min(pool.map(work, range(24))) >= 3
        assert {doc_id for doc_id, _ in points(index)} == {f"d{n}" for n in range(24)} | {
            f"shared{n}" for n in range(3)
        }
        assert len(points(index)) == 27 * 3
        assert index.verify().consistent, index.verify()


class Paused:
    """Stops a writer at one moment until it is told to go on: a process that the machine forgot for a while."""

    def __init__(self, moment: str) -> None:
        self.moment = moment
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __call__(self, moment: str, occurrence: int) -> None:
        """Wait, if this is the moment."""
        if (moment, occurrence) == (self.moment, 1):
            self.reached.set()
            assert self.go_on.wait(WAIT)


@pytest.mark.parametrize("kind", ["memory", "lancedb"])
def test_who_lost_the_lease_cannot_commit(tmp_path: Path, kind: str) -> None:
    """A writer that slept past its lease is refused, and what it wrote late is found and removed."""
    store: Store = MemoryStore() if kind == "memory" else make_store("lancedb://vectors", tmp_path)
    catalog = open_catalog("sqlite:///catalog.db", tmp_path)
    paused = Paused(f"before store.{'insert' if isinstance(store, InsertStore) else 'upsert'}")
    steps = Steps(paused)
    late = open_index(tmp_path, store=steps.wrap(store, "store"), catalog=steps.wrap(catalog, "catalog"), source=None)
    prompt = open_index(tmp_path, store=store, catalog=open_catalog("sqlite:///catalog.db", tmp_path), source=None)
    with ThreadPoolExecutor(1) as pool:
        sleeping = pool.submit(late.upsert, [Document("a", text(1)), Document("b", text(2))])
        assert paused.reached.wait(WAIT)
        # Its lease expires, as it would 30 s after the last renewal: by a clock that is an hour ahead.
        thief = catalog.acquire("generation 1 of default", "thief", at=time.time() + 3600, seconds=1.0)
        catalog.release(thief)
        prompt.upsert([Document("a", text(3))])
        paused.go_on.set()
        with pytest.raises(LeaseLost):
            sleeping.result(WAIT)
    found = {hit.text for hit in prompt.search("paragraph", k=50, principals=UNRESTRICTED) if hit.doc_id == "a"}
    assert found == set(text(3).split("\n\n"))
    assert prompt.verify().orphans == 6  # two documents of three chunks, written after their intent was given up
    assert prompt.gc().points == 6
    assert prompt.verify().consistent, prompt.verify()
    assert len(points(prompt)) == 6
    prompt.close()
    late.close()


def test_a_replay_beside_a_finishing_sync_is_not_passed_over(tmp_path: Path) -> None:
    """Another process that ends its run at that moment does not take the demanded work for done."""
    store = MemoryStore()
    paused = Paused("before catalog.advance")
    catalog = Steps(paused).wrap(open_catalog("sqlite:///catalog.db", tmp_path), "catalog")
    busy = open_index(tmp_path, store=store, catalog=catalog, source=None)
    other = open_index(tmp_path, store=store, source=None)
    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(busy.upsert, [Document("a", text(1)), Document("b", text(2))])
        assert paused.reached.wait(WAIT)
        replaying = pool.submit(other.replay, 0.0)
        time.sleep(0.2)  # it waits for the lease by now, whatever it did before
        paused.go_on.set()
        assert writing.result(WAIT).chunks.written == 6
        assert replaying.result(WAIT).chunks.written == 6
    assert other.verify().consistent, other.verify()
    busy.close()
    other.close()


def test_the_lease_of_a_killed_process_is_taken_over_at_once(tmp_path: Path) -> None:
    """Also while it is a zombie, because its parent has not noticed yet."""
    script = (
        "import os, sys, time\nfrom regen.engine.lease import new_owner\nprint(new_owner(), flush=True)\ntime.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    owner = process.stdout.readline().strip()
    catalog = open_catalog("sqlite:///catalog.db", tmp_path)
    catalog.acquire("index default", owner, at=time.time(), seconds=3600.0)
    index = open_index(tmp_path, store=MemoryStore(), source=None, limits=Limits(lease_wait=0.0))
    with pytest.raises(CatalogBusy, match=owner):
        index.upsert([Document("a", text(1))])
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is dead, and stays a zombie
    assert index.upsert([Document("a", text(1))]).chunks.written == 3
    process.communicate()
    index.close()
    catalog.close()


def test_a_second_writer_waits_and_then_says_for_whom(tmp_path: Path) -> None:
    """Who waits in vain is told who holds the lease; the holder is not disturbed."""
    catalog = open_catalog("sqlite:///catalog.db", tmp_path)
    held = catalog.acquire("index default", "host:1:other", at=time.time(), seconds=60.0)
    hasty = open_index(tmp_path, store=MemoryStore(), source=None, limits=Limits(lease_wait=0.1))
    with pytest.raises(CatalogBusy, match="host:1:other"):
        hasty.upsert([Document("a", text(1))])
    assert catalog.holder("index default") == held
    catalog.release(held)
    assert hasty.upsert([Document("a", text(1))]).chunks.written == 3
    hasty.close()
    catalog.close()
