"""What the routes share: the index, the settings, and the parts that live as long as the server."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastapi import Request

from regen.config.server import ServerSettings
from regen.index import Index
from regen.server.access.doorkeeper import Doorkeeper


@dataclass(slots=True)
class Service:
    """One index being served."""

    index: Index
    settings: ServerSettings
    doorkeeper: Doorkeeper = field(default_factory=Doorkeeper)

    def start(self) -> None:
        """Begin what goes on in the background."""

    def stop(self) -> None:
        """End it, within the time that the settings give. Idempotent."""


def service_of(request: Request) -> Service:
    """The service that answers a request."""
    found: Service = request.app.state.service
    return found
