"""Listening: the socket, who may be let in from where, and the server's life from start to graceful end."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from regen.config.server import ServerSettings
from regen.errors import ConfigError
from regen.index import Index
from regen.server.access.addresses import is_loopback
from regen.server.app import create_app
from regen.server.logs import LogFormat, configure
from regen.server.service import Service

OPEN: str = (
    "access is open: whoever is on this machine may do everything. Make a key with `regen keys create NAME --scope "
    "admin`, and it is needed from then on"
)


def listen(
    index: Index, settings: ServerSettings, form: LogFormat, on_listening: Callable[[str, list[str]], None]
) -> None:
    """Serve until SIGINT or SIGTERM. ``on_listening`` is told the address and warnings once requests are accepted.

    Raises ConfigError for an address that other machines reach while nobody needs a key, or that cannot be had.
    """
    app = create_app(index, settings)
    service: Service = app.state.service
    is_open = service.doorkeeper.is_open()
    if is_open and not is_loopback(settings.host):
        raise ConfigError(
            f"{settings.host} can be reached from other machines, and no key has been made",
            hint="make one first: `regen keys create NAME --scope search`, or configure server.jwt",
        )
    bound = _bind(settings)
    configure(form)
    told = f"http://{_shown(settings.host)}:{bound.getsockname()[1]}"
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            timeout_graceful_shutdown=round(settings.stop_within),
        ),
        lambda: on_listening(told, [OPEN] if is_open else []),
        service.wind_down,
    )
    with bound:
        server.run(sockets=[bound])


class _Server(uvicorn.Server):
    """uvicorn's server, which tells when it has begun to listen, and when it begins to end."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None], on_stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started, self._on_stopping = on_started, on_stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self.started:
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let what waits answer now, and what streams end: connections are waited for before the application ends."""
        self._on_stopping()
        await super().shutdown(sockets)


def _bind(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((settings.host, settings.port))
    except OSError as error:
        bound.close()
        raise ConfigError(
            f"{settings.host}:{settings.port} cannot be listened on: {error.strerror or error}",
            hint="another server may be running there; choose another with --port",
        ) from None
    return bound


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
