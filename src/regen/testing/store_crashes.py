"""Store cases: processes that write at once, and one that is killed while it writes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from regen.ports import Store
from regen.testing.store_cases import COLLECTION, StoreHooks, make_collection, make_points, numbered, scanned

_WRITER = """
import sys
from regen.registry import make_store
from regen.testing.store_cases import COLLECTION, make_points, numbered
store, count = make_store(sys.argv[1], "."), int(sys.argv[2])
store.count(COLLECTION)
print(0, flush=True)
sys.stdin.readline()
for start in range(0, count, 50):
    store.upsert(COLLECTION, make_points(numbered(count)[start : start + 50]))
    print(start + 50, flush=True)
store.close()
"""
_BATCH = 50
_FOREVER = 20_000


class CrashCases(StoreHooks):
    """What is there after a writer's process has died, and after several have written at once."""

    one_process = False
    """Whether only one process at a time can open the data."""

    def test_a_killed_writer_loses_nothing_acknowledged(self, store: Store, tmp_path: Path) -> None:
        """After SIGKILL in the midst of writing all that was acknowledged is there, and writing it again heals."""
        url = self._url(tmp_path)
        make_collection(store)
        store.close()
        writer = _started(url, _FOREVER)
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(5)][-1]
        writer.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, writer.communicate(timeout=60)[0].split())])
        again = self.second(tmp_path)
        there = sorted(scanned(again))
        assert there[:acknowledged] == numbered(acknowledged)
        assert len(there) <= acknowledged + _BATCH
        assert len(there) == again.count(COLLECTION)
        assert not self.atomic_batches or len(there) % _BATCH == 0
        for start in range(0, acknowledged + 2 * _BATCH, _BATCH):
            again.upsert(COLLECTION, make_points(numbered(acknowledged + 2 * _BATCH)[start : start + _BATCH]))
        assert sorted(scanned(again)) == numbered(acknowledged + 2 * _BATCH)
        assert again.count(COLLECTION) == acknowledged + 2 * _BATCH
        again.close()

    def test_three_processes_write_the_same_new_points(self, store: Store, tmp_path: Path) -> None:
        """Three processes that write the same new ids at once leave each of them once."""
        url = self._url(tmp_path)
        if self.one_process:
            pytest.skip(f"{type(self).__name__}: one process at a time can open the data")
        make_collection(store)
        writers = [_started(url, 200, wait=True) for _ in range(3)]
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        for writer in writers:
            writer.communicate(timeout=120)
        assert [writer.returncode for writer in writers] == [0, 0, 0]
        assert sorted(scanned(store)) == numbered(200)
        assert store.count(COLLECTION) == 200

    def _url(self, tmp_path: Path) -> str:
        url = self.url(tmp_path)
        if url is None:
            pytest.skip(f"{type(self).__name__}: no other process can open the store's data")
        return url


def _started(url: str, points: int, *, wait: bool = False) -> subprocess.Popen[str]:
    """A process that writes so many points and prints how many are acknowledged; with ``wait`` when it is told to."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    writer = subprocess.Popen(  # noqa: S603 - our own interpreter and program
        [sys.executable, "-c", _WRITER, url, str(points)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert writer.stdin is not None
    assert writer.stdout is not None
    if wait:
        writer.stdout.readline()
    else:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    return writer
