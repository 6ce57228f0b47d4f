"""A storm: real processes on one PostgreSQL, which all that can go wrong goes wrong with, at the direction of a seed.

    python -m tests.crash.storm FOLDER --seed 1 --seconds 30 [--place TMPFS]

Writers, a syncer, a builder that also switches, and searchers speak to the server through a proxy. They are killed, the
server is killed and restarted, the network is cut, slow, or swallows everything, and the disk is full. Beside them an
observer looks whether catalog and vectors ever disagree. In the end everything is compared with a clean run. One JSON
object is printed: what happened, and ``wrong``, which is empty if all is well.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psycopg
from tests.acceptance.generations import assert_same, contents
from tests.acceptance.one_database import Observer
from tests.crash.storm_actors import ACTORS, RECIPES, open_index, read_notes, run_actor, text_of
from tests.crash.storm_judge import Change, Judge, changes_of, possible

from regen.catalog.postgres import open_catalog
from regen.core.documents import Document
from regen.embedders.hashing import HashingEmbedder
from regen.index import Index
from regen.testing.postgres_server import PostgresServer
from regen.testing.proxy import Proxy

_SETTINGS: Final = {"max_wal_size": "64MB", "min_wal_size": "32MB", "wal_recycle": "off"}
PATIENCE: Final = 90.0
"""More than a lease lasts (30 s), and a lock whose holder stands still (20 s)."""
_PRELOADED: Final = ["tests.crash.storm_actors", "regen.catalog.postgres", "regen.stores.pgvector"]


class Storm:
    """One storm. ``place`` is a small file system that can be filled, if there is one."""

    def __init__(self, root: Path, seed: int, place: Path | None) -> None:
        self.root, self.place, self.chance = root, place, random.Random(seed)
        (root / "files").mkdir(parents=True)
        self.server = PostgresServer(_SETTINGS, place)
        self.server.execute("CREATE DATABASE storm")
        self.server.execute("CREATE EXTENSION vector", "storm")
        self.direct = self.server.url("storm")
        open_catalog(self.direct).close()
        self.proxy = Proxy(self.server.socket)
        self.url = f"postgresql://postgres@127.0.0.1:{self.proxy.port}/storm"
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(_PRELOADED)
        self.actors: dict[str, Any] = {}
        self.lives: Counter[str] = Counter()
        self.happened: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.looks = 0
        self.over = threading.Event()

    def run(self, seconds: float) -> dict[str, Any]:
        """Let it blow for so long, and until each fault has happened; what happened, and what was wrong.

        A lock or a lease that a fault left at the very beginning may keep everybody waiting for as long as it lasts, so
        it blows until something was changed and found, too: for ``PATIENCE`` more seconds at most.
        """
        observer = threading.Thread(target=self.observe)
        observer.start()
        for name in ACTORS:
            self.start(name)
        end = time.monotonic() + seconds
        faults = [self.kill, self.kill, self.kill, self.cut, self.refuse, self.slow, self.hang, self.restart]
        faults += [self.crash] if self.place is None else [self.crash, self.fill]
        self.chance.shuffle(faults)
        names = {fault.__name__ for fault in faults}
        while not self.wrong and (
            time.monotonic() < end
            or not names <= self.happened.keys()
            or (time.monotonic() < end + PATIENCE and not self.is_under_way())
        ):
            for fault in faults:  # each in an order of the seed's; then again in another
                self.happened[fault.__name__] += 1
                fault()
                self.mend()
                time.sleep(self.chance.uniform(0.3, 1.5))
                if time.monotonic() > end and names <= self.happened.keys():
                    break
            self.chance.shuffle(faults)
        self.over.set()
        observer.join()
        for actor in self.actors.values():
            actor.kill()
            actor.join()
        return self.settle()

    def is_under_way(self) -> bool:
        """Whether a change was made, and a search has found something."""
        told = "".join(path.read_text() for path in self.root.glob("notes-*"))
        return '"done": ' in told and '"hits": [[' in told

    def start(self, name: str) -> None:
        """Another life of an actor."""
        self.lives[name] += 1
        actor = self.context.Process(target=run_actor, args=(name, self.url, self.root, self.lives[name]))
        actor.start()
        self.actors[name] = actor

    def mend(self) -> None:
        """Start again what does not run."""
        if not self.server.running:
            self.happened["server gave up"] += 1
            self.server.halt()
            self.server.start()
        for name, actor in list(self.actors.items()):
            if actor.exitcode is not None:
                if actor.exitcode != -signal.SIGKILL:
                    self.wrong += [path.read_text()[-3000:] for path in self.root.glob(f"failure-{name}-*")]
                self.start(name)

    def observe(self) -> None:
        """Look all the time whether catalog and vectors disagree."""
        observer = Observer(self.direct)
        while not self.over.is_set():
            with suppress(psycopg.OperationalError):  # it has no luck either while the server is down
                self.wrong += [f"torn: {told}" for told in observer.torn() if "the view" not in told]
                if any(observer.left().values()):
                    self.wrong.append(f"left: {observer.left()}")
                self.looks += 1
            time.sleep(0.1)

    # ── what goes wrong ──

    def kill(self) -> None:
        """SIGKILL of a process, wherever it is."""
        name = self.chance.choice(list(self.actors))
        self.actors[name].kill()
        self.actors[name].join()
        time.sleep(0.3)  # what it had sent is done by now

    def cut(self) -> None:
        """All connections end."""
        self.proxy.cut()

    def refuse(self) -> None:
        """And no new ones can be had for a while."""
        self.proxy.cut(refuse=self.chance.uniform(0.2, 2.0))

    def slow(self) -> None:
        """Every packet takes its time."""
        self.proxy.delay = self.chance.uniform(0.005, 0.05)
        time.sleep(self.chance.uniform(0.5, 1.5))
        self.proxy.delay = 0.0

    def hang(self) -> None:
        """Nothing comes through, and nobody is told; then all connections end."""
        seconds = self.chance.uniform(0.5, 3.0)
        self.proxy.hang(seconds)
        time.sleep(seconds)
        self.proxy.cut()

    def restart(self) -> None:
        """The server is restarted in good order."""
        self.server.halt(signal.SIGINT)
        time.sleep(self.chance.uniform(0.0, 1.0))
        self.server.start()

    def crash(self) -> None:
        """The server's processes are killed."""
        self.server.halt(signal.SIGKILL)
        time.sleep(self.chance.uniform(0.0, 1.0))
        self.server.start()

    def fill(self) -> None:
        """The disk is full for a while."""
        assert self.place is not None
        ballast = self.place / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(b"x" * (1 << 20)):
                pass
        time.sleep(self.chance.uniform(0.5, 2.0))
        ballast.unlink()

    # ── the end ──

    def settle(self) -> dict[str, Any]:
        """Bring everything in step, where the actors know it to lie, and compare."""
        self.proxy.cut()  # and refuse nobody any more
        with open_index(self.url, self.root, source={"kind": "files", "path": "files", "glob": "*.txt"}) as index:
            index.sync(allow_mass_delete=True)
            changes = changes_of(self.root)
            documents = self._documents(index, changes)
            index.gc(now=True)
            report = index.verify()
            self.wrong += [] if report.consistent else report.details
            for generation in index._catalog.generations():
                if generation.state in {"ready", "live", "retained"}:
                    self._compare(index, generation, documents)
            observer = Observer(self.direct)
            self.wrong += observer.torn() + [f"left: {observer.left()}"] * any(observer.left().values())
            self.wrong += [f"lease: {lease}" for lease in index._catalog.leases()]
            judge = Judge(changes, index._catalog.generations(), index._catalog.switches(index.alias))
            searches, hits, wrong = judge.searches(self.root)
            self.wrong += wrong
            switches = len(judge.switches)
        self.proxy.close()
        self.server.stop()
        errors = Counter(line["error"] for name in ACTORS for line in read_notes(self.root / f"notes-{name}")
                         if "error" in line)  # fmt: skip
        done = Counter(one.done < float("inf") for each in changes.values() for one in each)
        return {
            "happened": dict(self.happened), "lives": dict(self.lives), "looks": self.looks, "searches": searches,
            "hits": hits, "changes": done[True], "interrupted": done[False], "switches": switches,
            "generations": len(judge.generations), "errors": dict(errors), "documents": len(documents),
            "wrong": self.wrong[:20], "violations": len(self.wrong),
        }  # fmt: skip

    def _documents(self, index: Index, changes: dict[str, list[Change]]) -> list[Document]:
        """What the catalog says the documents are, after it was found to be what they may be."""
        now, documents = time.time(), []
        states = index._catalog.states(list(changes))
        for doc_id, each in changes.items():
            found = states.get(doc_id)
            last = index._catalog.history(doc_id, 1)
            past = None if found is None else index._catalog.past_state(doc_id, last[0].revision)
            for one in possible(each, now, now):
                access = ["team"] if one.state == "team" else None
                text = None if one.state == "gone" else text_of(doc_id, one.version)
                if (past is None) == (text is None) and (past is None or (past.text, past.access) == (text, access)):
                    break
            else:
                self.wrong.append(f"{doc_id} is {past}, and may be {possible(each, now, now)}")
            if past is not None:
                documents.append(Document(doc_id, past.text or "", past.metadata, past.access))
        return documents

    def _compare(self, index: Index, generation: Any, documents: list[Document]) -> None:
        seed, chunking = RECIPES[generation.recipe.chunking.max_tokens]
        with Index(embedder=HashingEmbedder(32, seed), chunking=chunking, store="memory://",
                   catalog="sqlite://") as clean:  # fmt: skip
            clean.upsert(documents)
            try:
                assert_same(contents(index, generation.number), contents(clean, 1))
            except AssertionError as error:
                self.wrong.append(f"generation {generation.number} is not that of a clean run: {error!r}"[:500])


def main() -> None:
    """Let a storm blow as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--place", type=Path)
    given = parser.parse_args()
    print(json.dumps(Storm(given.folder, given.seed, given.place).run(given.seconds)), flush=True)


if __name__ == "__main__":
    main()
