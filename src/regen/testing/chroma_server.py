"""A real Chroma server of our own for tests: ``chroma run`` on a port of the loopback, in a temporary folder.

    with ChromaServer() as server:
        server.url                                 # chroma://127.0.0.1:…

Needs ``regen[chroma]``.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.request import urlopen

from regen.errors import MissingExtra, StoreError

_START_SECONDS: Final = 60.0
_PROGRAM: Final = "from chromadb.cli.cli import app; app()"


class ChromaServer:
    """One running server, empty; its data goes with it. Raises StoreError when it does not start."""

    def __init__(self) -> None:
        if find_spec("chromadb") is None:
            raise MissingExtra("the library 'chromadb' is not installed", hint="pip install 'regen[chroma]'")
        self._folder = Path(tempfile.mkdtemp(prefix="regen-chroma-"))
        self._port = _free_port()
        place = ["--path", str(self._folder / "data"), "--host", "127.0.0.1", "--port", str(self._port)]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-c", _PROGRAM, "run", *place],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | {"ANONYMIZED_TELEMETRY": "False"},
            )  # fmt: skip
        try:
            self._await_answer()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> ChromaServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The URL of a store on this server."""
        return f"chroma://127.0.0.1:{self._port}"

    def stop(self) -> None:
        """End it and remove its data. Idempotent."""
        self._process.kill()
        self._process.wait(30)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _await_answer(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            with (
                suppress(OSError),
                urlopen(f"http://127.0.0.1:{self._port}/api/v2/heartbeat", timeout=5),
            ):
                return
            time.sleep(0.05)
        told = (self._folder / "log").read_text(errors="replace")
        raise StoreError(f"Chroma did not start: {told[-2000:]}")


def _free_port() -> int:
    """A port that nobody has; Chroma cannot be given a socket. Who takes it meanwhile makes the start fail by name."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
