"""The service: an HTTP API over one :class:`~regen.index.Index`, who may call it, and what it tells of itself.

``create_app(index, settings)`` makes the application that ``regen serve`` runs. Every route calls the index; what takes
long is a run in the catalog. Needs the extra ``regen[server]``.
"""

from __future__ import annotations

from regen.server.app import create_app
from regen.server.service import Service, service_of

__all__ = ["Service", "create_app", "service_of"]
