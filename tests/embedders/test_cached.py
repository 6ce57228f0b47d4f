"""The embedding cache: what was embedded once is never embedded again, whatever happens to the process."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from regen.embedders.cached import CachedEmbedder, EmbeddingCache
from regen.embedders.hashing import HashingEmbedder
from regen.embedders.metered import MeteredEmbedder
from regen.errors import ConfigError, EmbedderError, SpaceMismatch
from regen.testing.faulty import FaultyEmbedder

TEXTS = ["one", "two", "three"]
VECTORS = (np.arange(12).reshape(3, 4) / 7).astype(np.float32)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[EmbeddingCache]:
    """Open a new cache."""
    with EmbeddingCache(tmp_path / "deep" / "cache.db") as opened:
        yield opened


def test_vectors_come_back(cache: EmbeddingCache) -> None:
    """Positions are those of the asked texts, repeated ones included; every bit is kept."""
    cache.put_many("s", TEXTS, VECTORS)
    found = cache.get_many("s", ["other", "three", "one", "three"])
    assert sorted(found) == [1, 2, 3]
    np.testing.assert_array_equal(np.stack([found[1], found[2], found[3]]), VECTORS[[2, 0, 2]])
    assert found[1].dtype == np.float32
    found[1][:] = 0  # a caller may write into it


def test_spaces_are_apart(cache: EmbeddingCache) -> None:
    """A text's vector of one space is never handed out for another (I1)."""
    cache.put_many("s", TEXTS, VECTORS)
    cache.put_many("t", TEXTS[:1], np.ones((1, 2), np.float32))
    assert cache.get_many("t", TEXTS).keys() == {0}
    assert cache.get_many("t", TEXTS)[0].tolist() == [1.0, 1.0]
    assert cache.get_many("u", TEXTS) == {}


def test_other_dimensions_are_a_mismatch(cache: EmbeddingCache) -> None:
    """Asking for, or putting, vectors of other dimensions than the space has is an error, and changes nothing."""
    cache.put_many("s", TEXTS, VECTORS)
    with pytest.raises(SpaceMismatch, match="4 dimensions for space s, and 8"):
        cache.get_many("s", TEXTS, dimensions=8)
    with pytest.raises(SpaceMismatch, match="and 2 were"):
        cache.put_many("s", ["new"], np.ones((1, 2), np.float32))
    assert len(cache) == 3
    assert len(cache.get_many("s", TEXTS, dimensions=4)) == 3


def test_what_is_there_stays(cache: EmbeddingCache) -> None:
    """Putting a text again keeps the first vector and makes no second entry."""
    cache.put_many("s", TEXTS, VECTORS)
    cache.put_many("s", ["one", "four"], np.full((2, 4), 9, np.float32))
    assert len(cache) == 4
    np.testing.assert_array_equal(cache.get_many("s", ["one"])[0], VECTORS[0])


def test_many_texts_in_sets(cache: EmbeddingCache) -> None:
    """More texts than a statement takes parameters are found, every one."""
    texts = [f"text {number}" for number in range(5000)]
    cache.put_many("s", texts, np.arange(10000, dtype=np.float32).reshape(5000, 2))
    found = cache.get_many("s", texts)
    assert [found[row][0] for row in range(5000)] == list(range(0, 10000, 2))


def test_the_oldest_entries_go(tmp_path: Path) -> None:
    """A bounded cache holds its number of entries, the newest ones."""
    with EmbeddingCache(tmp_path / "c.db", max_entries=10) as cache:
        for number in range(25):
            cache.put_many("s", [f"text {number}"], np.full((1, 2), number, np.float32))
        assert len(cache) == 10
        found = cache.get_many("s", [f"text {number}" for number in range(25)])
        assert sorted(found) == list(range(15, 25))


def test_it_is_kept_between_runs(tmp_path: Path) -> None:
    """A closed cache is opened again with all that it held."""
    with EmbeddingCache(tmp_path / "c.db") as cache:
        cache.put_many("s", TEXTS, VECTORS)
    with EmbeddingCache(tmp_path / "c.db") as cache:
        np.testing.assert_array_equal(cache.get_many("s", ["two"])[0], VECTORS[1])


def test_threads_share_it(cache: EmbeddingCache) -> None:
    """Eight threads that put and get at once lose nothing and mix nothing up."""

    def work(number: int) -> bool:
        texts = [f"{number} {part}" for part in range(20)]
        cache.put_many("s", texts, np.full((20, 4), number, np.float32))
        found = cache.get_many("s", texts)
        return len(found) == 20 and all((vector == number).all() for vector in found.values())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(64)))
    assert len(cache) == 64 * 20


def test_a_file_may_be_made_by_several_at_once(tmp_path: Path) -> None:
    """Whoever opens a file that another is just making finds a cache, not a file of something else."""
    start = Barrier(4)

    def opened(_: int) -> list[int]:
        seen = []
        for number in range(100):
            start.wait(60)
            with EmbeddingCache(tmp_path / f"{number}.db") as cache:
                seen.append(len(cache))
        return seen

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(opened, range(4))) == [[0] * 100] * 4


def test_two_processes_share_a_file(tmp_path: Path) -> None:
    """Two processes that open a new file at once and write to it both succeed."""
    program = (
        "import sys, numpy as np\n"
        "from regen.embedders.cached import EmbeddingCache\n"
        "cache = EmbeddingCache(sys.argv[1])\n"
        "for n in range(50):\n"
        "    cache.put_many('s', [f'{sys.argv[2]} {n}'], np.ones((1, 4), np.float32))\n"
        "cache.close()\n"
    )
    path = str(tmp_path / "c.db")
    running = [subprocess.Popen([sys.executable, "-c", program, path, name]) for name in ("a", "b")]
    assert [process.wait(60) for process in running] == [0, 0]
    with EmbeddingCache(path) as cache:
        assert len(cache) == 100


def test_a_killed_process_leaves_a_good_file(tmp_path: Path) -> None:
    """After kill -9 amid writing, every call that had returned is in the file, and none is there in part."""
    program = (
        "import sys, numpy as np\n"
        "from regen.embedders.cached import EmbeddingCache\n"
        "cache = EmbeddingCache(sys.argv[1])\n"
        "for n in range(100000):\n"
        "    cache.put_many('s', [f'{n} {part}' for part in range(50)], np.full((50, 4), n, np.float32))\n"
        "    print(n, flush=True)\n"
    )
    path = tmp_path / "c.db"
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(20):
            finished = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
    assert finished == 19
    with EmbeddingCache(path) as cache:
        assert len(cache) >= 1000
        assert len(cache) % 50 == 0
        assert len(cache.get_many("s", [f"{number} 49" for number in range(20)])) == 20


@pytest.mark.parametrize("content", [b"not a database, but quite long enough to be taken for one" * 99, b"short"])
def test_a_file_that_is_no_cache(tmp_path: Path, content: bytes) -> None:
    """Another file is refused, with what to do, and left as it is."""
    path = tmp_path / "c.db"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"is no embedding cache.*\nHint: .*delete the file"):
        EmbeddingCache(path)
    assert path.read_bytes() == content


def test_another_database_is_refused(tmp_path: Path) -> None:
    """A database of another program is not written to."""
    with sqlite3.connect(tmp_path / "c.db") as connection:
        connection.execute("CREATE TABLE precious (x)")
    connection.close()
    with pytest.raises(ConfigError, match="is no embedding cache of format 1"):
        EmbeddingCache(tmp_path / "c.db")


def test_a_file_that_cannot_be_made(tmp_path: Path) -> None:
    """A path under a file, or of a folder, cannot be opened, and the error names it."""
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "c.db", tmp_path):
        with pytest.raises(ConfigError, match=r"the embedding cache .* cannot be opened"):
            EmbeddingCache(path)


def test_damage_amid_the_file_is_said(tmp_path: Path) -> None:
    """A vector of the wrong length, or pages overwritten, are an error, never a wrong vector."""
    with EmbeddingCache(tmp_path / "c.db") as cache:
        cache.put_many("s", TEXTS, VECTORS)
        cache._connection.execute("UPDATE vectors SET vector = x'00' WHERE number = 1")
        with pytest.raises(EmbedderError, match="damaged: 1 bytes for 4 dimensions"):
            cache.get_many("s", TEXTS)
    path = tmp_path / "d.db"
    with EmbeddingCache(path) as cache:
        cache.put_many("s", [f"{n}" for n in range(5000)], np.ones((5000, 64), np.float32))
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (path.stat().st_size - 8192))
    with EmbeddingCache(path) as cache, pytest.raises(EmbedderError, match=r"damaged: .*malformed"):
        cache.get_many("s", [f"{n}" for n in range(5000)])


def test_a_closed_cache_says_so(cache: EmbeddingCache) -> None:
    """Use after close is an error that says what happened."""
    cache.close()
    cache.close()
    with pytest.raises(EmbedderError, match="was closed"):
        cache.get_many("s", TEXTS)


def test_only_missing_texts_are_embedded(cache: EmbeddingCache) -> None:
    """The wrapper sends each distinct unknown text once, over calls and over objects."""
    metered = MeteredEmbedder(HashingEmbedder(8))
    embedder = CachedEmbedder(metered, cache, "s")
    first = embedder.embed_documents(["a", "b", "a"])
    second = CachedEmbedder(metered, cache, "s").embed_documents(["c", "b", "a"])
    assert metered.texts == 3
    np.testing.assert_array_equal(first[[1, 0]], second[[1, 2]])
    np.testing.assert_array_equal(second, HashingEmbedder(8).embed_documents(["c", "b", "a"]))
    assert CachedEmbedder(metered, cache, "t").embed_documents(["a"]).shape == (1, 8)
    assert metered.texts == 4


def test_unusable_vectors_are_not_kept(cache: EmbeddingCache) -> None:
    """A spoiled answer is handed on but not remembered: the next call asks the model again."""
    faulty = FaultyEmbedder(HashingEmbedder(8), lambda number, _: "nan" if number == 0 else None)
    embedder = CachedEmbedder(faulty, cache, "s")
    assert np.isnan(embedder.embed_documents(["a", "b"])[0]).all()
    assert len(cache) == 1
    assert np.isfinite(embedder.embed_documents(["a", "b"])).all()
    assert faulty.calls == [("a", "b"), ("a",)]
