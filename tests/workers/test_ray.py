"""``apply --engine ray`` on a cluster of several nodes in one machine: filled by actors (I4)."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.waiting import until
from tests.workers.fleet import documents

import regen
from regen.core.documents import Document
from regen.core.results import Progress, SyncResult
from regen.engine.probes import TEXTS as PROBES
from regen.errors import ConfigError
from regen.index import Index

ray: Any = pytest.importorskip("ray", reason="needs regen[ray]")
STARTS = 240.0
"""Seconds within which actors start: each is a process that imports everything."""


MODEL = """\
import json, os, time
from pathlib import Path
from regen.embedders.hashing import HashingEmbedder
LOG = Path({log!r})
class Slow(HashingEmbedder):
    def __init__(self):
        super().__init__(24)
        self._write("load")
    def _write(self, what):
        with LOG.open("a") as file:
            file.write(json.dumps([os.getpid(), what]) + "\\n")
    def embed_documents(self, texts):
        for text in texts:
            self._write(text)
            time.sleep({seconds})
        return super().embed_documents(texts)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without room for actors, and two nodes with room for one each, one of which says it has a GPU."""
    from ray.cluster_utils import Cluster

    made: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.add_node(num_cpus=1, num_gpus=1)
    made.add_node(num_cpus=1)
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def write_config(
    root: Path, catalog: str = "sqlite:///catalog.db", store: str = "lancedb://vectors", **of_ray: Any
) -> Path:
    """A regen.yaml for documents that are pushed."""
    path = root / "regen.yaml"
    settings = {
        "version": 1, "source": {"kind": "push"}, "chunking": {"kind": "sentences", "max_tokens": 16},
        "embedding": {"model": "hashing/32"}, "catalog": {"url": catalog}, "store": {"url": store},
        "ray": {"actors": 2, "num_cpus": 1, **of_ray},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(settings))
    return path


def fill_anew(path: Path, wanted: list[Document], seconds: float = 0.0) -> Index:
    """Load documents with one model, and open the index with another one, which writes down what it does."""
    with regen.open(path) as index:
        index.upsert(wanted)
    settings = yaml.safe_load(path.read_text())
    name = f"slow_{path.parent.name}"
    (path.parent / f"{name}.py").write_text(MODEL.format(log=str(path.parent / "log"), seconds=seconds))
    settings["embedding"] = {"model": f"python:{name}:Slow"}
    path.write_text(yaml.safe_dump(settings))
    return regen.open(path)


def done_by_actors(root: Path) -> dict[int, list[str]]:
    """What each process but this one has embedded, but for what the model is tried with."""
    done: dict[int, list[str]] = {}
    path = root / "log"
    for line in path.read_text().splitlines() if path.exists() else []:
        pid, what = json.loads(line)
        if pid != os.getpid() and what not in PROBES:
            done.setdefault(pid, []).append(what)
    return done


@contextmanager
def applying(index: Index) -> Iterator[Future[SyncResult]]:
    """``apply`` on the cluster, in a thread."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(index.apply, engine="ray")


def test_actors_fill_a_generation(cluster: Any, tmp_path: Path) -> None:
    """It is ready, complete and consistent; each text was embedded once, by two actors that loaded the model once."""
    assert len(cluster.list_all_nodes()) == 3
    with fill_anew(write_config(tmp_path), documents(300), seconds=0.005) as index:
        reports: list[Progress] = []
        result = index.apply(engine="ray", progress=reports.append)
        assert {item.number: item.state for item in index.status().generations} == {1: "live", 2: "ready"}
        assert index.verify().consistent
        assert index._catalog.counts(2).documents == 300
        assert index._catalog.leases() == []
        assert result.embedded_texts == 300 + 7 + 1
    done = done_by_actors(tmp_path)
    working = {pid: what for pid, what in done.items() if len(what) > 1}
    assert len(working) == 2
    assert all(what.count("load") == 1 for what in done.values())
    texts = Counter(text for what in done.values() for text in what if text != "load")
    assert len(texts) == 300 + 7 + 1
    assert set(texts.values()) == {1}
    assert reports[-1].done == reports[-1].total == 300


def test_actors_do_the_first_load(cluster: Any, tmp_path: Path) -> None:
    """It goes live."""
    (tmp_path / "docs").mkdir()
    for number in range(20):
        (tmp_path / f"docs/{number}.md").write_text(f"The {number}th river.")
    path = write_config(tmp_path)
    settings = yaml.safe_load(path.read_text())
    settings["source"] = {"kind": "files", "path": "docs"}
    path.write_text(yaml.safe_dump(settings))
    with regen.open(path) as index:
        result = index.apply(engine="ray")
        assert (result.documents.added, result.embedded_texts, index.status().live) == (20, 20, 1)
        assert index.search("river", k=1)[0].text.startswith("The ")


def test_killed_actors_lose_nothing(cluster: Any, tmp_path: Path) -> None:
    """Their processes are killed while they embed: Ray starts them anew, and the generation comes out whole."""
    with fill_anew(write_config(tmp_path), documents(300), seconds=0.04) as index, applying(index) as applied:
        for _ in range(2):
            before = done_by_actors(tmp_path)
            until(partial(grown, tmp_path, before), "an actor is at work", STARTS)
            assert not applied.done()
            os.kill(grown(tmp_path, before)[0], signal.SIGKILL)
        applied.result(STARTS)
        assert index.verify().consistent
        assert index._catalog.counts(2).documents == 300
    texts = Counter(text for what in done_by_actors(tmp_path).values() for text in what if text != "load")
    assert len(texts) == 300 + 7 + 1


def grown(root: Path, before: dict[int, list[str]]) -> list[int]:
    """Processes that have embedded something since, and live."""
    now = done_by_actors(root)
    return [pid for pid, what in now.items() if len(what) > max(1, len(before.get(pid, []))) and alive(pid)]


def alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_lost_node_loses_nothing(cluster: Any, tmp_path: Path) -> None:
    """Its actor goes on elsewhere as soon as there is room, and the other one takes over what it left."""
    extra = cluster.add_node(num_cpus=1)
    with (
        fill_anew(write_config(tmp_path, actors=3), documents(600), seconds=0.08) as index,
        applying(index) as applied,
    ):
        until(lambda: sum(len(what) > 2 for what in done_by_actors(tmp_path).values()) >= 3, "all are at work", STARTS)
        cluster.remove_node(extra, allow_graceful=False)
        applied.result(STARTS)
        assert index.verify().consistent
        assert index._catalog.counts(2).documents == 600


def test_a_gpu_is_a_request(cluster: Any, tmp_path: Path) -> None:
    """An actor that asks for one runs where there is one; those that find no room wait and hold nobody up."""
    with fill_anew(write_config(tmp_path, actors=2, num_gpus=1), documents(60)) as index:
        assert index.apply(engine="ray").embedded_texts == 60 + 7 + 1
        assert index.status().generations[-1].state == "ready"


def test_a_request_that_no_node_meets_is_told(cluster: Any, tmp_path: Path) -> None:
    """A cluster may still grow, so it is waited for, and the progress says for what."""
    with fill_anew(write_config(tmp_path, num_gpus=2), documents(10)) as index:
        reports: list[Progress] = []
        with ThreadPoolExecutor(1) as pool:
            applied = pool.submit(index.apply, engine="ray", progress=reports.append)
            until(lambda: any("2 GPUs" in report.note for report in reports), "it is told", STARTS)
            assert not applied.done()
            cluster.add_node(num_cpus=1, num_gpus=2)
            assert applied.result(STARTS).embedded_texts == 10 + 7 + 1


def test_a_pause_stops_the_actors(cluster: Any, tmp_path: Path) -> None:
    """What is committed stays, nobody works on; resumed, the rest is embedded and nothing twice."""
    with fill_anew(write_config(tmp_path), documents(200), seconds=0.04) as index:
        with applying(index) as applied:
            until(lambda: len(done_by_actors(tmp_path)) >= 2 and index._catalog.counts(2).documents, "at work", STARTS)
            index.pause(2, reason="lunch")
            applied.result(STARTS)
        assert index.status().generations[-1].state == "building"
        held = done_by_actors(tmp_path)
        time.sleep(1.0)
        assert done_by_actors(tmp_path) == held
        index.resume(2)
        index.apply(engine="ray")
        assert index._catalog.counts(2).documents == 200
    texts = Counter(text for what in done_by_actors(tmp_path).values() for text in what if text != "load")
    assert set(texts.values()) == {1}


def test_what_fails_on_a_node_is_told_as_it_is(cluster: Any, tmp_path: Path) -> None:
    """A model that is not on the nodes, a budget that is used up: our own errors, and what is committed stays."""
    with fill_anew(write_config(tmp_path), documents(10)) as index:
        (tmp_path / f"slow_{tmp_path.name}.py").unlink()
        with pytest.raises(ConfigError, match="slow_"):
            index.apply(engine="ray")
        assert index.status().generations[-1].state == "building"


@pytest.mark.parametrize(
    ("catalog", "store", "told"),
    [("sqlite://", "lancedb://vectors", "private to this process"),
     ("sqlite:///catalog.db", "memory://", "private to this process")],
)  # fmt: skip
def test_what_no_actor_can_reach_is_refused(tmp_path: Path, catalog: str, store: str, told: str) -> None:
    """Before anything is begun, with a hint."""
    with (
        regen.open(write_config(tmp_path, catalog, store)) as index,
        pytest.raises(ConfigError, match=told) as error,
    ):
        index.apply(engine="ray")
    assert "PostgreSQL" in str(error.value.hint)


def test_an_index_of_no_file_is_refused(tmp_path: Path) -> None:
    """Actors open the index anew, so they need a file that says how."""
    given: dict[str, Any] = {"catalog": "sqlite:///c.db", "store": "lancedb://v", "root": tmp_path}
    with Index(embedder="hashing/8", **given) as index:
        with pytest.raises(ConfigError, match=r"regen\.yaml"):
            index.apply(engine="ray")
        with pytest.raises(ConfigError, match="no engine 'spark'"):
            index.apply(engine="spark")  # type: ignore[arg-type] # what a user may write
