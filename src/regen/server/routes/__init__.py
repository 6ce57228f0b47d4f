"""The routes, one file per subject. Each calls the index, and nothing behind it."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from regen.server.routes import health, search, status

ROUTERS: Final[tuple[APIRouter, ...]] = (health.router, search.router, status.router)
