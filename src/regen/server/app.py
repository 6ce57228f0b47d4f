"""The application: routes, problems, limits, and what starts and stops with it."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from regen.config.server import ServerSettings
from regen.index import Index
from regen.server import problems
from regen.server.requests import Accompanied, LimitedBody
from regen.server.routes import ROUTERS
from regen.server.service import Service


def create_app(index: Index, settings: ServerSettings | None = None) -> FastAPI:
    """The application that serves an index. It starts its background with the server, and does not close the index."""
    service = Service(index, settings or ServerSettings())

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(service.start)
        try:
            yield
        finally:
            await run_in_threadpool(service.stop)

    app = FastAPI(
        title="regen",
        version=version("regen"),
        summary="A vector index that is kept in step with its documents, and searched while it changes.",
        docs_url=None,  # pages that load their scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    problems.install(app)
    app.add_middleware(LimitedBody, most=service.settings.max_body)
    app.add_middleware(Accompanied, metrics=service.metrics)
    for router in ROUTERS:
        app.include_router(router)
    if importlib.util.find_spec("regen.server.console") is not None:
        importlib.import_module("regen.server.console").build_console(app, index)
    return app
