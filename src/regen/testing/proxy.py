"""A network of our own to a server on a Unix socket: what goes through it can be cut, slowed down, or swallowed.

proxy = Proxy(server.socket)                       # of regen.testing.postgres_server
url = f"postgresql://postgres@127.0.0.1:{proxy.port}/database"
proxy.cut(refuse=2.0)
proxy.lose_answer(b"COMMIT")
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from pathlib import Path
from typing import Final

_CHUNK: Final = 1 << 16


class Link:
    """One client's connection and the server's: bytes go both ways until either ends, or the proxy says otherwise."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._ends = proxy, (client, server)
        self._client_spoke = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """End it at both sides, as a machine in between that restarts would; what was under way is lost."""
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        client, server = self._ends
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(client, selectors.EVENT_READ, server)
                selector.register(server, selectors.EVENT_READ, client)
                while True:
                    for key, _ in selector.select(1.0):
                        if not self._pass_on(key.fileobj, key.data):  # type: ignore[arg-type]
                            return
        except OSError:
            pass  # either end is gone: so is the other, now
        finally:
            for end in self._ends:
                end.close()
            self._proxy.forget(self)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> bool:
        data = source.recv(_CHUNK)
        if not data:
            return False
        from_client = source is self._ends[0]
        self._proxy.turns += from_client and not self._client_spoke
        self._client_spoke = from_client
        if from_client and self._proxy.loses_answer_to(data):
            target.sendall(data)
            target.recv(_CHUNK)
            self.cut()
            return False
        time.sleep(self._proxy.delay)
        while time.monotonic() < self._proxy.hangs_until:
            time.sleep(0.01)  # nobody is told that nothing comes any more
        target.sendall(data)
        return True


class Proxy:
    """Listens on a port of this machine and passes on to a server's Unix socket.

    ``delay`` is in seconds a packet. ``turns`` counts how often clients spoke after the server had: round trips.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._links: set[Link] = set()
        self._lock = threading.Lock()
        self._refuses_until = 0.0
        self._losing: tuple[bytes, int] | None = None
        self.hangs_until = 0.0
        self.delay = 0.0
        self.turns = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self, refuse: float = 0.0) -> None:
        """End all connections, and refuse new ones for so many seconds."""
        self._refuses_until = time.monotonic() + refuse
        with self._lock:
            links = list(self._links)
        for link in links:
            link.cut()

    def hang(self, seconds: float) -> None:
        """Pass nothing on for so many seconds: both sides believe in a connection that is none."""
        self.hangs_until = time.monotonic() + seconds

    def lose_answer(self, to: bytes, after: int = 0) -> None:
        """Cut the connection when the server has answered what holds these bytes, once, after so many of them.

        What was asked for is done, and who asked does not learn of it.
        """
        with self._lock:
            self._losing = (to, after)

    @property
    def answer_lost(self) -> bool:
        """Whether the answer that was to be lost has been."""
        return self._losing is None

    def loses_answer_to(self, data: bytes) -> bool:
        """Whether this is what is not to be answered."""
        with self._lock:
            if self._losing is None or self._losing[0] not in data:
                return False
            marker, after = self._losing
            self._losing = (marker, after - 1) if after else None
            return not after

    def forget(self, link: Link) -> None:
        """A link has ended."""
        with self._lock:
            self._links.discard(link)

    def close(self) -> None:
        """Listen no more, and end all connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # else who waits in accept would be given one more
        self._listener.close()
        self._thread.join(1.0)
        self.hangs_until = 0.0
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                if time.monotonic() < self._refuses_until:
                    raise ConnectionRefusedError
                server.connect(str(self._target))
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                client.close()
                server.close()
                continue
            link = Link(self, client, server)
            with self._lock:
                self._links.add(link)
