"""Putting the configured model and what it needs together, from names, objects and settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from regen import registry
from regen.core.documents import canonical_json
from regen.core.recipe import Chunking, Metric, Recipe, TextTemplate
from regen.engine.models import Models, resolve_embedding
from regen.engine.settings import Limits
from regen.engine.stores import Stores
from regen.errors import ConfigError, RegenError
from regen.ports import Embedder, Store, VectorCache

CACHE_PATH: Final = ".regen/embeddings.db"
SEGMENTER: Final = "wordllama/l2-supercat-64"
"""The small local model by which the semantic chunker compares sentences; its work is not counted as embedded texts."""

OVERRIDES: Final = (
    "dimensions", "revision", "document_prefix", "query_prefix", "normalize", "precision", "price_per_million_tokens",
    "options", "same_as",
)  # fmt: skip
"""What the ``embedding`` block may override of what a model says of itself."""


def make_models(
    embedder: Embedder | object | str,
    overrides: dict[str, Any],
    limits: Limits,
    root: Path,
    *,
    text: str,
    chunking: Chunking | None,
    metric: Metric,
    index: Mapping[str, Any] | None,
    others: Mapping[str, Embedder | object],
) -> Models:
    """The configured model, wrapped, and the recipe that it and the other settings make."""
    options = overrides.pop("options", None) or {}
    price = overrides.pop("price_per_million_tokens", None)
    dimensions = overrides.pop("dimensions", None)
    same_as = overrides.pop("same_as", None) or ""
    raw = registry.make_embedder(embedder, options, root=root)
    if dimensions is not None and raw.info.dimensions != dimensions:
        raise ConfigError(
            f"embedding.dimensions is {dimensions}, but {raw.info.name} gives {raw.info.dimensions}",
            hint="leave dimensions out, or name a model that has them",
        )

    def wrap(inner: Embedder, price: float | None) -> Embedder:
        return registry.wrap_embedder(
            inner,
            requests_per_minute=limits.requests_per_minute,
            tokens_per_minute=limits.tokens_per_minute,
            attempts=limits.retry_attempts,
            price_per_million_tokens=price,
        )

    return Models(
        recipe=Recipe(
            embedding=resolve_embedding(raw.info, **{k: v for k, v in overrides.items() if v is not None}),
            text=TextTemplate(text),
            chunking=chunking or Chunking(),
            metric=metric,
            index=dict(index or {}),
        ),
        embedder=wrap(raw, price),
        make=lambda name, its: wrap(_other(name, its, others, root), None),
        options=_plain(options),
        same_as=same_as,
        segment=lambda texts: registry.make_embedder(SEGMENTER).embed_documents(texts),
        load_chunker=lambda name, settings: registry.make_chunker(name, settings, root),
    )


def make_stores(store: Store | str, root: Path) -> Stores:
    """The configured store, by its URL or as an object, and the way to those of older generations."""
    made = registry.make_store(store, root) if isinstance(store, str) else store
    return Stores(made, store if isinstance(store, str) else "", lambda url: registry.make_store(url, root))


def make_cache(cache: VectorCache | str | Path | None, embedder: Embedder, root: Path) -> VectorCache | None:
    """The embedding cache that a path names; "auto" keeps one for a model that costs money. None: nothing is made."""
    if cache == "auto":
        cache = CACHE_PATH if embedder.info.price_per_million_tokens > 0 else None
    return registry.make_cache(root / cache) if isinstance(cache, str | Path) else None


def _other(name: str, options: Mapping[str, Any], others: Mapping[str, Embedder | object], root: Path) -> Embedder:
    """A model that an older generation was built with: one that was handed in, or found by name and its options."""
    if name in others:
        return registry.make_embedder(others[name], root=root, name=name)
    return registry.make_embedder(name, options, root=root)


def _plain(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Options as a generation can remember them. Raises ConfigError for what JSON cannot hold."""
    try:
        canonical_json(options)
    except RegenError as error:
        raise ConfigError(f"embedding.options must hold plain values: {error}") from None
    return options
