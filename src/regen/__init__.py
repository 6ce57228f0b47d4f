"""regen keeps a vector index in step with everything it was made from: the public names, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regen.core.documents import UNRESTRICTED, Document
    from regen.core.plan import Plan, Step
    from regen.core.recipe import Chunking
    from regen.core.results import Hit, SearchResult, SyncResult
    from regen.engine.settings import Limits, Migration
    from regen.errors import RegenError
    from regen.index import Index
    from regen.opening import open  # noqa: A004

__version__ = "0.1.0"
_HOMES = {
    "UNRESTRICTED": "regen.core.documents",
    "Chunking": "regen.core.recipe",
    "Document": "regen.core.documents",
    "Hit": "regen.core.results",
    "Index": "regen.index",
    "Limits": "regen.engine.settings",
    "Migration": "regen.engine.settings",
    "Plan": "regen.core.plan",
    "RegenError": "regen.errors",
    "SearchResult": "regen.core.results",
    "Step": "regen.core.plan",
    "SyncResult": "regen.core.results",
    "open": "regen.opening",
}
__all__ = [
    "UNRESTRICTED",
    "Chunking",
    "Document",
    "Hit",
    "Index",
    "Limits",
    "Migration",
    "Plan",
    "RegenError",
    "SearchResult",
    "Step",
    "SyncResult",
    "open",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import regen`` is quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'regen' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
