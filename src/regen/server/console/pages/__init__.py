"""The pages, one file per subject. Each calls the index, and nothing behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter

from regen.server.console.pages import (
    backfill,
    document,
    entrance,
    evaluation,
    generations,
    history,
    letters,
    live,
    overview,
    plan,
    rollout,
    runs,
    search,
    settings,
    switching,
)

ROUTERS: Final[Sequence[APIRouter]] = (
    entrance.router,
    overview.router,
    search.router,
    generations.router,
    switching.router,
    evaluation.router,
    plan.router,
    backfill.router,
    rollout.router,
    letters.router,
    document.router,
    history.router,
    runs.router,
    settings.router,
    live.router,
)
