"""The routes, one file per subject. Each calls the index, and nothing behind it."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from regen.server.routes import documents, generations, health, keys, metrics, records, rollouts, runs, search, status

ROUTERS: Final[tuple[APIRouter, ...]] = (
    health.router,
    search.router,
    documents.router,
    status.router,
    runs.router,
    generations.router,
    rollouts.router,
    records.router,
    keys.router,
    metrics.router,
)
