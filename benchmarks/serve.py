"""The service under load on this machine: what HTTP adds to a search, many clients, edits, a kill in the middle.

    python -m benchmarks.serve --chunks 100000 --folder /tmp/serve --prepare     # once
    python -m benchmarks.serve --chunks 100000 --folder /tmp/serve               # measure

Clients are of this machine and share its cores with the server: the latencies under load are theirs, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import regen

CONFIG = """\
version: 1
alias: bench
source: {{kind: push}}
embedding: {{model: hashing/{dimensions}}}
text: "{{text}}"
chunking: {{kind: whole}}
server: {{rate_limit: 100000/s, port: {port}}}
"""
WORDS = [f"word{n}" for n in range(5_000)]
CLIENTS, EDITS_PER_SECOND = 200, 20


def text(seed: int, words: int = 40) -> str:
    """A text, always the same for a seed."""
    chosen = random.Random(seed)
    return " ".join(chosen.choices(WORDS, k=words))


def prepare(folder: Path, chunks: int, port: int) -> None:
    """Make the index."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "regen.yaml").write_text(CONFIG.format(dimensions=64, port=port))
    started = time.perf_counter()
    with regen.open(folder / "regen.yaml") as index:
        for first in range(0, chunks, 20_000):
            batch = [regen.Document(f"d{n}", text(n)) for n in range(first, min(chunks, first + 20_000))]
            index.upsert(batch)
        index.gc()
        found = index.status()
    print(f"prepared {found.documents:,} documents in {time.perf_counter() - started:.1f} s")


@dataclass
class Server:
    """A ``regen serve`` of its own process."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it; seconds until it has answered a search."""
        started = time.perf_counter()
        log = (self.folder / "server.log").open("ab")
        self.process = subprocess.Popen(
            [str(Path(sys.executable).parent / "regen"), "serve", "-c", str(self.folder / "regen.yaml")],
            stdout=log, stderr=log,
        )  # fmt: skip
        while True:
            try:
                status, _ = asyncio.run(Client(self.port).ask({"query": "word1 word2"}))
            except OSError:
                status = 0
            if status == 200:
                return time.perf_counter() - started
            if self.process.poll() is not None or time.perf_counter() - started > 120:
                raise SystemExit("the server did not start; see server.log")
            time.sleep(0.02)

    def memory(self) -> float:
        """Resident megabytes."""
        assert self.process is not None
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def stop(self, how: signal.Signals = signal.SIGTERM) -> float:
        """End it; seconds that took."""
        assert self.process is not None
        started = time.perf_counter()
        self.process.send_signal(how)
        self.process.wait(60)
        return time.perf_counter() - started


@dataclass
class Client:
    """One connection, kept alive, opened again after it broke."""

    port: int
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None

    async def ask(self, body: dict[str, Any], path: str = "/v1/search", headers: str = "") -> tuple[int, bytes]:
        """POST a body; status and answer. Raises OSError when the connection breaks."""
        if self.writer is None or self.reader is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{headers}"
        try:
            self.writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
            told = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(told.partition("content-length: ")[2].partition("\r\n")[0])
            return int(told.split(" ", 2)[1]), await self.reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.writer.close()
            self.reader = self.writer = None
            raise ConnectionError(str(error)) from error


@dataclass
class Seen:
    """What the clients saw."""

    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    edits: dict[str, str] = field(default_factory=dict)
    memory: list[float] = field(default_factory=list)


async def searcher(client: Client, seen: Seen, until: float, seed: int) -> None:
    """Search without a pause; after a broken connection, again."""
    number = seed * 1_000_000
    while time.perf_counter() < until:
        number += 1
        started = time.perf_counter()
        try:
            status, _ = await client.ask({"query": text(number, 6), "k": 10})
        except OSError:
            seen.broken += 1
            await asyncio.sleep(0.1)
            continue
        seen.latencies.append(time.perf_counter() - started)
        seen.statuses[status] += 1


async def editor(client: Client, seen: Seen, until: float, chunks: int) -> None:
    """Edit documents at the rate, each under a key; an edit that was not answered is sent again."""
    number, began = 0, time.perf_counter()
    while time.perf_counter() < until:
        number += 1
        doc_id, edited = f"d{number * 7919 % chunks}", f"edit {number} {os.getpid()} {text(-number)}"
        sent = {"documents": [{"id": doc_id, "text": edited}]}
        while True:
            try:
                status, _ = await client.ask(sent, "/v1/documents", f"Idempotency-Key: {os.getpid()}-{number}\r\n")
            except OSError:
                seen.broken += 1
                await asyncio.sleep(0.1)
                continue
            break
        if status in {200, 202}:
            seen.edits[doc_id] = edited
        else:
            seen.statuses[status] += 1
        await asyncio.sleep(max(0.0, began + number / EDITS_PER_SECOND - time.perf_counter()))


async def load(server: Server, seconds: float, chunks: int, *, kill_at: float | None = None) -> Seen:
    """Clients and edits for a while; with ``kill_at`` the server is killed then, and started again."""
    seen, until = Seen(), time.perf_counter() + seconds

    async def watch() -> None:
        killed = kill_at is None
        began = time.perf_counter()
        while time.perf_counter() < until:
            await asyncio.sleep(0.5)
            seen.memory.append(server.memory())
            if not killed and kill_at is not None and time.perf_counter() - began > kill_at:
                killed = True
                await asyncio.to_thread(server.stop, signal.SIGKILL)
                print(f"killed; answers again after {await asyncio.to_thread(server.start):.2f} s")

    clients = [Client(server.port) for _ in range(CLIENTS)]
    await asyncio.gather(
        watch(),
        editor(Client(server.port), seen, until, chunks),
        *(searcher(client, seen, until, seed) for seed, client in enumerate(clients)),
    )
    return seen


def added_by_http(server: Server, searches: int = 400) -> tuple[float, float, float]:
    """p50 in milliseconds of a search in a process, over HTTP, and what the server itself took; taking turns."""
    inside, outside = [], []

    async def measure() -> None:
        client = Client(server.port)
        with regen.open(server.folder / "regen.yaml") as index:
            for number in range(searches + 50):
                query = text(10_000_000 + number, 6)
                started = time.perf_counter()
                index.search(query, 10, principals=[])
                middle = time.perf_counter()
                status, _ = await client.ask({"query": query, "k": 10})
                assert status == 200
                if number >= 50:
                    inside.append((middle - started) * 1e3)
                    outside.append((time.perf_counter() - middle) * 1e3)

    asyncio.run(measure())
    return statistics.median(inside), statistics.median(outside), statistics.median(outside) - statistics.median(inside)


def lost(folder: Path, seen: Seen) -> int:
    """How many acknowledged edits the index does not hold."""
    with regen.open(folder / "regen.yaml") as index:
        index.catch_up()
        wrong = 0
        for doc_id, edited in seen.edits.items():
            hits = index.search(edited, 5)
            wrong += not any(hit.doc_id == doc_id and hit.text == edited for hit in hits)
        assert index.verify().consistent
    return wrong


def told(name: str, seen: Seen, seconds: float) -> None:
    """Print what the clients saw."""
    ordered = sorted(seen.latencies)

    def share(at: float) -> float:
        return ordered[min(len(ordered) - 1, int(len(ordered) * at))] * 1e3

    errors = sum(count for status, count in seen.statuses.items() if status != 200)
    print(
        f"{name}: {len(ordered):,} searches in {seconds:.0f} s ({len(ordered) / seconds:,.0f}/s), {errors} errors, "
        f"{seen.broken} broken connections, p50 {share(0.5):.0f} ms, p95 {share(0.95):.0f} ms; "
        f"{len(seen.edits):,} edits; "
        f"memory {seen.memory[0]:.0f} MB at the start, {max(seen.memory):.0f} at most, {seen.memory[-1]:.0f} at the end"
    )


def main() -> None:
    """Prepare, or measure."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--chunks", type=int, default=100_000)
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--port", type=int, default=8_421)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--prepare", action="store_true")
    given = options.parse_args()
    if given.prepare:
        prepare(given.folder, given.chunks, given.port)
        return
    server = Server(given.folder, given.port)
    print(f"answers {server.start():.2f} s after its start, on {given.chunks:,} chunks")
    try:
        inside, outside, added = added_by_http(server)
        print(f"p50 in the process {inside:.2f} ms, over HTTP {outside:.2f} ms: {added:+.2f} ms")
        calm = asyncio.run(load(server, given.seconds, given.chunks))
        told(f"{CLIENTS} clients", calm, given.seconds)
        killed = asyncio.run(load(server, given.seconds / 2, given.chunks, kill_at=given.seconds / 6))
        told("with a kill", killed, given.seconds / 2)
    finally:
        print(f"ended {server.stop():.2f} s after SIGTERM, with {server.process and server.process.returncode}")
    print(f"{lost(given.folder, killed)} of {len(killed.edits):,} acknowledged edits lost")


if __name__ == "__main__":
    main()
