"""``regen serve`` as a process of its own, which tests may kill; and a model that takes its time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

CONFIG = """\
version: 1
alias: default
source: {kind: jsonl, path: rows.jsonl}
text: "{text}"
chunking: {kind: whole}
embedding: {model: "python:slow_model:Slow"}
server: {stop_within: 20s}
"""
SLOW_MODEL = '''\
"""A model that takes its time: as long a text as ``pace`` says, in the file beside it."""

import time
from pathlib import Path

from regen.embedders.hashing import HashingEmbedder

PACE = Path(__file__).with_name("pace")


class Slow(HashingEmbedder):
    def __init__(self):
        super().__init__(dimensions=16)

    def embed_documents(self, texts):
        time.sleep(float(PACE.read_text()) * len(texts))
        return super().embed_documents(texts)
'''


def furnish(folder: Path, rows: int, pace: float) -> None:
    """Write a configuration, so many documents, and a model that takes ``pace`` seconds a text."""
    (folder / "regen.yaml").write_text(CONFIG)
    (folder / "slow_model.py").write_text(SLOW_MODEL)
    (folder / "pace").write_text(str(pace))
    lines = (json.dumps({"id": f"d{n}", "text": f"text number {n}"}) for n in range(rows))
    (folder / "rows.jsonl").write_text("\n".join(lines))


@dataclass
class Served:
    """A running server."""

    process: subprocess.Popen[str]
    told: dict[str, Any]

    @property
    def url(self) -> str:
        """Its address, as it says."""
        return str(self.told["url"])

    def client(self) -> httpx2.Client:
        """A client of it."""
        return httpx2.Client(base_url=self.url, timeout=120)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(60)

    def end(self) -> int:
        """Ask it to end, and wait; what it exits with."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


@contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[Served]:
    """A server of the folder's regen.yaml, killed at the end if it still runs."""
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "regen"), "serve", "--json", "-c", "regen.yaml", "--port", str(port)],
            cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    assert process.stdout is not None
    with process.stdout as out:
        try:
            line = out.readline()
            assert line, (folder / "server.log").read_text()
            yield Served(process, json.loads(line))
        finally:
            process.kill()
            process.wait(60)
