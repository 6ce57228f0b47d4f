"""Storms of real faults on PostgreSQL, a full disk, a network that is cut; and what the judge of a storm finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.crash.storm_actors import open_index, text_of
from tests.crash.storm_judge import Change, Judge, possible

from regen.core.documents import Document
from regen.core.recipe import Chunking, Embedding, Recipe
from regen.errors import CatalogError, CatalogUnreachable, StoreError
from regen.ports.catalog import Generation, Switch
from regen.testing.postgres_server import PostgresServer
from regen.testing.proxy import Proxy

FAULTS = {"kill", "cut", "refuse", "slow", "hang", "restart", "crash"}


@pytest.fixture
def small_disk() -> Iterator[Path | None]:
    """A file system of 512 MB in memory, where the server's own user can get; None where none may be mounted."""
    place = Path(tempfile.mkdtemp(prefix="regen-disk-"))
    place.chmod(0o755)
    mounted = os.name == "posix" and os.geteuid() == 0
    mounted = mounted and not subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512m", "tmpfs", str(place)],
                                             check=False, capture_output=True).returncode  # fmt: skip
    yield place if mounted else None
    if mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
    place.rmdir()


def storm(tmp_path: Path, seed: int, seconds: float, place: Path | None) -> dict[str, Any]:
    """What a storm in a process of its own tells."""
    command = [sys.executable, "-m", "tests.crash.storm", str(tmp_path / "storm"), "--seed", str(seed)]
    command += ["--seconds", str(seconds), *([] if place is None else ["--place", str(place)])]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_a_storm(tmp_path: Path, small_disk: Path | None) -> None:
    """Every kind of fault at least once: all searches are right, nothing is ever torn, the end is a clean run's."""
    told = storm(tmp_path, 11, 20, small_disk)
    assert told["wrong"] == []
    assert told["happened"].keys() >= FAULTS | ({"fill"} if small_disk else set())
    assert min(told["searches"], told["changes"], told["hits"], told["looks"]) > 0, told


@pytest.mark.slow
@pytest.mark.timeout(1_500)
@pytest.mark.parametrize("seed", [1])
def test_a_storm_of_ten_minutes(tmp_path: Path, small_disk: Path | None, seed: int) -> None:
    """The same for ten minutes."""
    told = storm(tmp_path, seed, 600, small_disk)
    print(json.dumps(told))
    assert told["wrong"] == []
    assert min(told["switches"], told["generations"]) >= 2


def test_a_full_disk(small_disk: Path | None, tmp_path: Path) -> None:
    """It is said to be full; what was written stays and is found meanwhile; with room again the same call succeeds."""
    if small_disk is None:
        pytest.skip("no small file system can be mounted here: that needs root")
    with PostgresServer(place=small_disk) as server:
        server.execute("CREATE EXTENSION vector")
        with open_index(server.url(), tmp_path) as index:
            index.upsert([Document(f"d{at}", text_of(f"d{at}", 3)) for at in range(20)])
            ballast = small_disk / "ballast"
            with suppress(OSError), ballast.open("wb", buffering=0) as file:
                while file.write(b"x" * (1 << 20)):
                    pass
            many = [Document(f"m{at}", " ".join(text_of(f"m{at}", v) for v in range(40))) for at in range(400)]
            with pytest.raises((StoreError, CatalogError)) as refused:
                index.upsert(many)
            assert any(word in str(refused.value) for word in ("full", "space", "lost", "reached"))
            ballast.unlink()
            deadline = time.monotonic() + 20
            while not server.running and time.monotonic() < deadline:
                server.halt()
                server.start()
            index.upsert(many)
            assert index.verify().consistent
            assert {hit.doc_id for hit in index.search("d3 version part", 2000)} >= {"d3", "m3"}


def test_a_network_that_is_cut_is_told_and_waited_for(network: tuple[Proxy, str], tmp_path: Path) -> None:
    """A cut is not noticed by who asks; while nothing can be reached the error says so, and is marked as retryable."""
    proxy, url = network
    with open_index(url, tmp_path) as index:
        index.upsert([Document("a", text_of("a", 1))])
        proxy.cut()
        assert [hit.doc_id for hit in index.search("a version part", 1)] == ["a"]
        proxy.cut(refuse=1.0)  # shorter than a reader's patience
        assert [hit.doc_id for hit in index.search("a version part", 1)] == ["a"]
        proxy.cut(refuse=0.5)
        index.upsert([Document("b", text_of("b", 1))])
        proxy.cut(refuse=60.0)
        with pytest.raises(CatalogUnreachable, match="connection to the catalog's server was lost") as lost:
            index.search("a version part", 1)
        assert lost.value.retryable
        assert "nothing that is indexed was lost" in str(lost.value)


def judge(line: dict[str, Any], **changes: list[Change]) -> list[str]:
    """What the judge says of a search while these were the documents' changes, and generation 1 was live."""
    recipe = Recipe(Embedding("hashing/32", 32), chunking=Chunking("sentences", 16))
    generation = Generation(1, recipe, "g1", "live", 0, {}, 0.0, 0.0)
    asked = {"begin": 10.0, "end": 11.0, "generation": 1, "space": recipe.space, **line}
    return list(Judge(dict(changes), [generation], [Switch(1, 1, None, "a", "b", 0.0)]).judge(asked, everything=False))


def hits(doc_id: str, version: int, generation: int = 1, parts: int | None = None) -> list[tuple[Any, ...]]:
    """What a search returns of a document."""
    sentences = text_of(doc_id, version).split(". ")[:parts]
    return [(doc_id, sentence, generation, version) for sentence in sentences]


def test_the_judge_finds_what_is_wrong() -> None:
    """Old, mixed, incomplete, deleted, revoked, missing, of another generation or space: each is told, and no other."""
    one, two = Change(1, "public", 1.0, 2.0), Change(2, "public", 3.0, 4.0)
    under_way = Change(2, "public", 10.5)
    assert judge({"hits": hits("a", 1)}, a=[one]) == []
    assert judge({"hits": hits("a", 2)}, a=[one, under_way]) == judge({"hits": hits("a", 1)}, a=[one, under_way]) == []
    assert (
        judge({"hits": []}, a=[one, Change(2, "gone", 10.5)]) == judge({"hits": []}, a=[Change(1, "team", 1, 2)]) == []
    )
    for wrong, told in (
        (judge({"hits": hits("a", 1)}, a=[one, two]), "I3"),
        (judge({"hits": hits("a", 1) + hits("a", 2)}, a=[one, under_way]), "I2"),
        (judge({"hits": hits("a", 1, parts=2)}, a=[one]), "I2"),
        (judge({"hits": hits("a", 1)}, a=[one, Change(2, "gone", 3, 4)]), "I3"),
        (judge({"hits": hits("a", 1)}, a=[one, Change(2, "team", 3, 4)]), "I3"),
        (judge({"hits": []}, a=[one]), "missing"),
        (judge({"hits": hits("a", 1, generation=2)}, a=[one]), "I7"),
        (judge({"hits": [], "generation": 2}), "I1"),
        (judge({"hits": [], "space": "other"}), "I1"),
    ):
        assert any(line.startswith(told) for line in wrong), (told, wrong)
    assert [change.version for change in possible([one, two, under_way], 5.0, 6.0)] == [2]
