"""What a call makes its parts do, counted without a clock: the same on any machine, so that a regression shows on any.

with counted(index) as counts:
    index.sync()
counts.statements, counts.store_calls["insert"], counts.points, counts.vector_bytes, counts.most_python_bytes
"""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Final

from sqlalchemy import Engine, event

from regen.index import Index

STORE_CALLS: Final = ("insert", "upsert", "delete", "fetch", "search", "scan", "update_payload", "add_fields")


@dataclass(slots=True)
class Counts:
    """``statements`` of the catalog, ``store_calls`` by name, ``points`` and bytes of vectors handed to the store.

    ``most_python_bytes`` is the most that Python objects made since held at once: 0 unless it was asked for.
    """

    statements: int = 0
    store_calls: Counter[str] = field(default_factory=Counter)
    points: int = 0
    vector_bytes: int = 0
    most_python_bytes: int = 0


@contextmanager
def counted(index: Index, *, memory: bool = False) -> Iterator[Counts]:
    """Count what happens meanwhile. The catalog must be one on SQLAlchemy. ``memory`` makes everything much slower."""
    catalog: Any = index._catalog  # noqa: SLF001 - the port does not say what it runs
    store: Any = index._stores.configured  # noqa: SLF001 - likewise
    pool, counts = catalog._engine.pool, Counts()  # noqa: SLF001 - likewise

    def ran(connection: Any, *_: Any) -> None:
        counts.statements += connection.engine.pool is pool

    event.listen(Engine, "before_cursor_execute", ran)
    names = [name for name in STORE_CALLS if hasattr(store, name)]
    for name in names:
        setattr(store, name, _counting(getattr(store, name), name, counts))
    if memory:
        tracemalloc.start()
    try:
        yield counts
    finally:
        if memory:
            counts.most_python_bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        for name in names:
            delattr(store, name)
        event.remove(Engine, "before_cursor_execute", ran)


def _counting(inner: Any, name: str, counts: Counts) -> Any:
    @wraps(inner)
    def call(*arguments: Any, **options: Any) -> Any:
        counts.store_calls[name] += 1
        if name in {"insert", "upsert"}:
            counts.points += len(arguments[1].ids)
            counts.vector_bytes += arguments[1].vectors.nbytes
        return inner(*arguments, **options)

    return call
