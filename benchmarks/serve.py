"""The service under load on this machine: what HTTP adds to a search, many clients, edits, a kill in the middle.

    python -m benchmarks.serve --chunks 100000 --folder /tmp/serve --prepare          # once
    python -m benchmarks.serve --chunks 100000 --folder /tmp/serve                    # all parts, some three minutes
    python -m benchmarks.serve --chunks 100000 --folder /tmp/serve --part added       # one: start, added, load or kill

Clients are of this machine and share its cores with the server: the latencies under load are theirs, too. The time that
a core takes for a fixed loop is printed beside, since a busy machine makes everything slower.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.page import loop_seconds

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
EDITORS = 40
"""Connections that edits go through: so many may be under way, for they come at their times and not one by one."""


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

    def cpu(self) -> float:
        """Seconds of CPU time so far, of the process and its threads."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

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
    failures: int = 0

    async def back_off(self) -> None:
        """Wait before another try: twice as long each time, up to two seconds, and not all clients at once."""
        self.failures += 1
        await asyncio.sleep(min(2.0, 0.1 * 2**self.failures) * random.uniform(0.5, 1.0))

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
            answer = await self.reader.readexactly(length)
            self.failures = 0
            return int(told.split(" ", 2)[1]), answer
        except (OSError, asyncio.IncompleteReadError) as error:
            self.writer.close()
            self.reader = self.writer = None
            raise ConnectionError(str(error)) from error


@dataclass
class Seen:
    """What the clients saw."""

    began: float = field(default_factory=time.perf_counter)
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    edits: dict[str, str] = field(default_factory=dict)
    edited: int = 0
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
            await client.back_off()
            continue
        seen.latencies.append(time.perf_counter() - started)
        seen.statuses[status] += 1


async def editor(client: Client, seen: Seen, until: float, chunks: int, numbers: Iterator[int]) -> None:
    """Edit documents, each under a key and at its time; an edit that was not answered is sent again."""
    for number in numbers:
        await asyncio.sleep(max(0.0, seen.began + number / EDITS_PER_SECOND - time.perf_counter()))
        if time.perf_counter() >= until:
            return
        doc_id, edited = f"d{number * 7919 % chunks}", f"edit {number} {os.getpid()} {text(-number)}"
        sent = {"documents": [{"id": doc_id, "text": edited}]}
        while True:
            try:
                status, _ = await client.ask(sent, "/v1/documents", f"Idempotency-Key: {os.getpid()}-{number}\r\n")
            except OSError:
                seen.broken += 1
                await client.back_off()
                continue
            break
        if status in {200, 202}:
            seen.edits[doc_id] = edited
            seen.edited += 1
        else:
            seen.statuses[status] += 1


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

    numbers = count(1)
    clients = [Client(server.port) for _ in range(CLIENTS)]
    await asyncio.gather(
        watch(),
        *(editor(Client(server.port), seen, until, chunks, numbers) for _ in range(EDITORS)),
        *(searcher(client, seen, until, seed) for seed, client in enumerate(clients)),
    )
    return seen


@dataclass
class Added:
    """What HTTP adds to a search: medians of wall time, and means of CPU time, in milliseconds."""

    inside: float
    outside: float
    cpu_inside: float
    cpu_server: float


def added_by_http(server: Server, searches: int = 400) -> Added:
    """The same search in this process and over HTTP, taking turns.

    CPU time hardly depends on who else uses the machine: the server's own is what it takes for a request, all in all.
    """
    inside: list[float] = []
    outside: list[float] = []
    cpu = [0.0, 0.0]

    async def measure() -> None:
        client = Client(server.port)
        with regen.open(server.folder / "regen.yaml") as index:
            for number in range(-50, searches):
                if number == 0:
                    cpu[:] = 0.0, -server.cpu()
                query = text(10_000_000 + number, 6)
                started, cpu_before = time.perf_counter(), time.process_time()
                index.search(query, 10, principals=[])
                middle = time.perf_counter()
                cpu[0] += time.process_time() - cpu_before
                status, _ = await client.ask({"query": query, "k": 10})
                assert status == 200
                inside.append((middle - started) * 1e3)
                outside.append((time.perf_counter() - middle) * 1e3)
            cpu[1] += server.cpu()

    asyncio.run(measure())
    each = 1e3 / searches
    return Added(statistics.median(inside[50:]), statistics.median(outside[50:]), cpu[0] * each, cpu[1] * each)


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


def verdict(met: bool) -> str:
    """How a figure stands to its target."""
    return "met" if met else "a MISS"


def told(name: str, seen: Seen, seconds: float) -> None:
    """Print what the clients saw."""
    ordered = sorted(seen.latencies)

    def share(at: float) -> float:
        return ordered[min(len(ordered) - 1, int(len(ordered) * at))] * 1e3

    errors = sum(count for status, count in seen.statuses.items() if status != 200)
    print(
        f"{name}: {len(ordered):,} searches in {seconds:.0f} s ({len(ordered) / seconds:,.0f}/s), {errors} errors "
        f"{dict(seen.statuses)}, {seen.broken} broken connections, p50 {share(0.5):.0f} ms, p95 {share(0.95):.0f} ms; "
        f"{seen.edited:,} edits ({seen.edited / seconds:.1f}/s)"
    )
    parts = [seen.memory[len(seen.memory) * at // 6 : len(seen.memory) * (at + 1) // 6] for at in range(6)]
    print(f"{name}: memory by sixths of the time, MB: {', '.join(f'{max(part):.0f}' for part in parts if part)}")


def start_part(server: Server) -> None:
    """How long it takes from the process's start to an answered search."""
    took, cpu = [], []
    for _ in range(5):
        took.append(server.start())
        cpu.append(server.cpu())
        ended = server.stop()
    middle = statistics.median(took)
    each = ", ".join(f"{seconds:.2f}" for seconds in took)
    print(
        f"start: answers a search {middle:.2f} s after its start ({each}); target 3 s, {verdict(middle <= 3)}; "
        f"CPU until then {statistics.median(cpu):.2f} s; ends {ended:.2f} s after SIGTERM"
    )


def added_part(server: Server) -> None:
    """What HTTP adds to a search."""
    server.start()
    try:
        found = added_by_http(server)
    finally:
        server.stop()
    added, cpu = found.outside - found.inside, found.cpu_server - found.cpu_inside
    print(
        f"added: p50 in the process {found.inside:.2f} ms, over HTTP {found.outside:.2f} ms: {added:+.2f} ms; "
        f"target 3 ms, {verdict(added <= 3)}; CPU of a search {found.cpu_inside:.2f} ms, of the server for one "
        f"{found.cpu_server:.2f} ms: {cpu:+.2f} ms"
    )


def load_part(server: Server, seconds: float, chunks: int, *, kill: bool) -> None:
    """Many clients and edits, with or without a kill in the middle; then whether an acknowledged edit is lost."""
    name = "kill" if kill else "load"
    server.start()
    try:
        seen = asyncio.run(load(server, seconds, chunks, kill_at=seconds / 3 if kill else None))
    finally:
        ended = server.stop()
    told(name, seen, seconds)
    errors = sum(count for status, count in seen.statuses.items() if status != 200) + (0 if kill else seen.broken)
    print(f"{name}: 0 errors, {verdict(errors == 0)}; ended {ended:.2f} s after SIGTERM")
    missing = lost(server.folder, seen)
    print(f"{name}: {missing} of {len(seen.edits):,} edited documents lost, {verdict(missing == 0)}")


def main() -> None:
    """Prepare, or measure."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--chunks", type=int, default=100_000)
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--port", type=int, default=8_421)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--part", choices=("start", "added", "load", "kill"))
    options.add_argument("--prepare", action="store_true")
    given = options.parse_args()
    if given.prepare:
        prepare(given.folder, given.chunks, given.port)
        return
    server = Server(given.folder, given.port)
    parts: dict[str, Callable[[], None]] = {
        "start": lambda: start_part(server),
        "added": lambda: added_part(server),
        "load": lambda: load_part(server, given.seconds, given.chunks, kill=False),
        "kill": lambda: load_part(server, given.seconds / 2, given.chunks, kill=True),
    }
    print(f"{given.chunks:,} chunks; a fixed loop takes {loop_seconds():.2f} s, load average {os.getloadavg()[0]:.1f}")
    for name, part in parts.items():
        if given.part in {None, name}:
            part()


if __name__ == "__main__":
    main()
