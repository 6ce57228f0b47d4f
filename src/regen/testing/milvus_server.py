"""A real Milvus server of our own for tests: PyPI's ``milvus`` 2.3.5, in namespaces of its own.

    programs = install(folder)                     # once: some 60 MB, none of them among regen's own libraries
    with MilvusServer(programs) as server:
        server.url                                 # milvus://127.0.0.1:…

Milvus listens on every address of its host. So it gets a network of its own that nobody else can reach, and a process
in there passes on what comes in at a port of the loopback out here: the listening socket is made outside, and stays
outside where the process that inherits it has gone inside. That process is the first of a process namespace, too: when
it ends, as it does with whoever started it, nothing of the server is left. Needs Linux on x86_64, root and ``unshare``.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import platform
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from regen.errors import StoreError

VERSION: Final = "2.3.5"
_ALONE: Final = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
_SET_FLAGS: Final = 0x8914  # SIOCSIFFLAGS
_UP: Final = 0x1


def obstacle() -> str | None:
    """Why no server can be run here, None when one can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"Milvus {VERSION} is there for Linux on x86_64, and this is {sys.platform} on {platform.machine()}"
    if os.geteuid() != 0:
        return "a network namespace for Milvus needs root"
    if shutil.which("unshare") is None:
        return "a network namespace for Milvus needs util-linux's unshare"
    tried = subprocess.run([*_ALONE, "true"], capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    return f"no network namespace can be made here: {tried.stderr.strip()}" if tried.returncode else None


def install(folder: Path) -> Path:
    """The folder with the server's program, fetched by pip where it is not there yet. Raises StoreError.

    Its libraries are old ones, and it needs none of them: nothing but the wheel itself is installed.
    """
    there = folder / f"milvus-{VERSION}"
    if there.is_dir():
        return there
    folder.mkdir(parents=True, exist_ok=True)
    fetched = Path(tempfile.mkdtemp(prefix="fetched-", dir=folder))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [*pip, "--root-user-action=ignore", "--target", str(fetched), f"milvus=={VERSION}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        shutil.rmtree(fetched)
        raise StoreError(f"milvus=={VERSION} cannot be had: {done.stderr.strip()[-500:]}")
    with suppress(OSError):  # another process was quicker: its copy is as good
        fetched.rename(there)
    shutil.rmtree(fetched, ignore_errors=True)
    return there


class MilvusServer:
    """One running server, empty; its data lies in a temporary folder and goes with it. Raises StoreError."""

    def __init__(self, programs: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="regen-milvus-"))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self._port = listening.getsockname()[1]
            fd = listening.fileno()
            places = [str(programs.resolve()), str(self._folder)]
            inside = [sys.executable, "-m", "regen.testing.milvus_server", str(fd), *places]
            with (self._folder / "log").open("wb") as log:
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                    [*_ALONE, *inside], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, pass_fds=[fd],
                    env=os.environ | {"no_proxy": "*", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                )  # fmt: skip
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            told = (self._folder / "log").read_text(errors="replace")
            self.stop()
            raise StoreError(f"Milvus did not start: {told[-2000:]}")

    def __enter__(self) -> MilvusServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The URL of a store on this server."""
        return f"milvus://127.0.0.1:{self._port}"

    def stop(self) -> None:
        """End it and all that it has started, and remove its data. Idempotent."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(30)
        shutil.rmtree(self._folder, ignore_errors=True)


# ── inside of the namespaces ──


def _serve(fd: int, programs: str, folder: str) -> None:
    _raise_loopback()
    _hide("/tmp/milvus")  # noqa: S108 - where every Milvus of a host leaves a file, whatever its data folder
    sys.path.insert(0, programs)
    server: Any = import_module("milvus").default_server
    server.set_base_dir(folder)
    server.start()  # returns when it says that it is healthy
    asyncio.run(_pass_on(socket.socket(fileno=fd), server.listen_port))
    server.server_proc.kill()
    server.server_proc.wait()
    shutil.rmtree(folder, ignore_errors=True)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))


def _hide(folder: str) -> None:
    Path(folder).mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)  # noqa: S603, S607 - fixed words


async def _pass_on(listening: socket.socket, port: int) -> None:
    """Pass connections on to a port in here, until standard input ends, as it does with who started us."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))

    passing = await asyncio.start_server(connected, sock=listening)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    passing.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):  # either side may go at any time
        while block := await reader.read(1 << 16):
            writer.write(block)
            await writer.drain()
    with suppress(OSError):
        writer.close()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), sys.argv[2], sys.argv[3])
