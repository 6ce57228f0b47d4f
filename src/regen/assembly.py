"""Putting the configured model and what it needs together, from names, objects and settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from regen import registry
from regen.core.documents import canonical_json
from regen.core.recipe import Chunking, Metric, Recipe, TextTemplate
from regen.core.results import Hit
from regen.engine.models import Models, resolve_embedding
from regen.engine.ray_cluster import Filler, RayCluster, RaySettings
from regen.engine.settings import USUAL_RESCORED, Limits, Migration
from regen.engine.stores import Stores
from regen.errors import ConfigError, DocumentError, RegenError
from regen.ports import ClosingEmbedder, Embedder, Source, Store, VectorCache
from regen.ports.catalog import Catalog, Cost, Generation
from regen.ports.feeds import Feed, Feeds
from regen.ports.reranking import Encoder
from regen.serving.rescoring import RecentVectors, Rescoring, Scorer

if TYPE_CHECKING:
    from regen.serving.reranking import Reranking

CACHE_PATH: Final = ".regen/embeddings.db"
PRICE: Final = "price_per_million_tokens"
"""A generation remembers what its model costs, beside the model's own options: a later sync pays for it, too."""
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
    making = _Making(root, others)
    raw = making.made(embedder, options)
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
        make=lambda name, its: wrap(making.other(name, its), its.get(PRICE)),
        options=_plain({**options, **({} if price is None else {PRICE: price})}),
        same_as=same_as,
        segment=lambda texts: registry.make_embedder(SEGMENTER).embed_documents(texts),
        load_chunker=lambda name, settings: registry.make_chunker(name, settings, root),
        release=making.release,
    )


class _Making:
    """The models that are made here, and closed with the index."""

    def __init__(self, root: Path, others: Mapping[str, Embedder | object]) -> None:
        self._root, self._others = root, others
        self._opened: list[ClosingEmbedder] = []

    def made(self, embedder: Embedder | object | str, options: Mapping[str, Any], name: str | None = None) -> Embedder:
        found = registry.make_embedder(embedder, options, root=self._root, name=name)
        if isinstance(embedder, str) and isinstance(found, ClosingEmbedder):
            self._opened.append(found)  # one that was handed in is its owner's to close
        return found

    def other(self, name: str, options: Mapping[str, Any]) -> Embedder:
        """A model that an older generation was built with: one that was handed in, or found by name and options."""
        if name in self._others:
            return self.made(self._others[name], {}, name)
        return self.made(name, {key: value for key, value in options.items() if key != PRICE})

    def release(self) -> None:
        for closing in self._opened:
            closing.close()


def make_feeds(
    source: Source | Mapping[str, Any] | None, sources: Sequence[Source | Mapping[str, Any] | Feed], root: Path
) -> Feeds:
    """The sources of an index, from one and several. Raises ConfigError."""
    given = [*([] if source is None else [source]), *sources]
    return Feeds([_feed(item, root) for item in given])


def _feed(given: Source | Mapping[str, Any] | Feed, root: Path) -> Feed:
    if isinstance(given, Feed):
        return given
    return Feed(registry.make_source(given, root) if isinstance(given, Mapping) else given)


def make_stores(store: Store | str, root: Path) -> Stores:
    """The configured store, by its URL or as an object, and the way to those of older generations.

    Raises ConfigError for a URL of no known kind.
    """
    open_store = partial(registry.make_store, root=root)
    if not isinstance(store, str):
        return Stores("", open_store, {"": store})
    registry.require_store(store)
    return Stores(store, open_store)


def make_cluster(
    ray: Mapping[str, Any] | None, reopen: Callable[[], Filler] | None, catalog: Catalog | str, store: Store | str
) -> RayCluster:
    """The Ray cluster that ``apply(engine="ray")`` uses; nothing is loaded for it. Raises ConfigError."""
    places = tuple(url if isinstance(url, str) else "" for url in (catalog, store))
    try:
        return RayCluster(RaySettings(**(ray or {})), reopen, places)
    except TypeError as error:
        raise ConfigError(f"ray: {error}", hint="address, actors, num_cpus and num_gpus are valid") from None


def make_cache(
    cache: VectorCache | str | Path | None,
    embedder: Embedder,
    root: Path,
    rerank: Mapping[str, Any] | None = None,
    migration: Migration | None = None,
) -> VectorCache | None:
    """The embedding cache that a path names. None: nothing is made.

    "auto" keeps one for a model that costs money, and where searches embed what a build may need: reranking by a
    bi-encoder, and merging two generations. Where none is kept in a file, the latter has one in memory.
    """
    merges = migration is not None and migration.rescores
    if cache == "auto":
        fills = str((rerank or {}).get("model", "")).startswith("bi-encoder/")
        cache = CACHE_PATH if fills or merges or embedder.info.price_per_million_tokens > 0 else None
    if isinstance(cache, str | Path):
        return registry.make_cache(root / cache)
    return RecentVectors() if cache is None and merges else None


def make_rescoring(migration: Migration, models: Models, cache: VectorCache | None, root: Path) -> Rescoring | None:
    """What scores pending candidates by the new model; None where it shall not. Both generations may be against it."""
    if not migration.rescores:
        return None
    wanted = USUAL_RESCORED if migration.rescore.texts is None else migration.rescore.texts

    def scorer(live: Generation, candidate: Generation) -> Scorer | str:
        embedder, recipe = models.embedder_for(candidate), candidate.recipe
        if embedder.info.price_per_million_tokens > 0:
            return f"{recipe.embedding.model} costs money for each text, and a search must not"
        if migration.rescore.texts is None and not embedder.info.local:
            return (
                f"{recipe.embedding.model} runs elsewhere; `migration: {{rescore: {{texts: 20}}}}` asks it all the same"
            )
        if recipe.chunking != live.recipe.chunking:
            return "the two generations cut documents into other chunks"
        encoder = Encoder(embedder, recipe, cache)
        reranker = registry.make_reranker(f"bi-encoder/{recipe.embedding.model}", root=root, encoder=lambda *_: encoder)
        return Scorer(reranker, lambda hit: _embedded_text(recipe.text, hit))

    return Rescoring(wanted, migration.rescore.budget_ms, scorer)


def make_reranking(
    given: Mapping[str, Any] | None, alias: str, catalog: Catalog, models: Models, cache: VectorCache | None, root: Path
) -> Reranking | None:
    """What orders candidates anew, of a ``rerank`` block; None without one. Raises ConfigError.

    A bi-encoder of the configured model makes the vectors of the configured recipe, so that its build finds them.
    """
    if not given:
        return None
    from regen.serving.rerank_record import RerankRecord  # noqa: PLC0415 - only for who reranks
    from regen.serving.reranking import Reranking, RerankSettings  # noqa: PLC0415 - likewise

    asked = dict(given)
    model, options = asked.pop("model", None), asked.pop("options", None) or {}
    if model is None:
        raise ConfigError("rerank needs a model", hint="for example cross-encoder/ms-marco-MiniLM-L6-v2")
    try:
        settings = RerankSettings(**asked)
    except TypeError:
        known = ("model", "options", *RerankSettings.__slots__)
        strange = sorted(set(asked) - set(known))
        raise ConfigError(f"rerank has no {', '.join(strange)}", hint=f"its keys: {', '.join(known)}") from None

    def encoder(name: str, options: Mapping[str, Any]) -> Encoder:
        return _encoder(models, name, options, catalog, cache)

    reranker = registry.make_reranker(model, options, root=root, encoder=encoder)
    record = RerankRecord(catalog, alias, reranker.name, settings.fingerprint(reranker.name, options))
    return Reranking(reranker, settings, record, lambda hit: _embedded_text(models.recipe.text, hit))


def _encoder(
    models: Models, name: str, options: Mapping[str, Any], catalog: Catalog, cache: VectorCache | None
) -> Encoder:
    """A model to order by, which pays for what it embeds. Its cost is of no generation."""
    ours = name == models.recipe.embedding.model and not options
    embedder = models.embedder if ours else models.make(name, options)
    recipe = (
        models.recipe
        if ours
        else Recipe(resolve_embedding(embedder.info), models.recipe.text, metric=models.recipe.metric)
    )
    price = embedder.info.price_per_million_tokens

    def pay(texts: int, tokens: int) -> None:
        catalog.pay(None, Cost(0, embedder.info.name, texts, tokens, tokens * price / 1e6), at=time.time())

    return Encoder(embedder, recipe, cache, pay if price > 0 else None)


def _embedded_text(template: TextTemplate, hit: Hit) -> str:
    """The text that the configured recipe would embed for a hit: with its title, if the template has it."""
    try:
        return template.render(hit.text, template.values(hit.metadata))
    except DocumentError:  # a document from before the template named that key
        return hit.text


def _plain(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Options as a generation can remember them. Raises ConfigError for what JSON cannot hold."""
    try:
        canonical_json(options)
    except RegenError as error:
        raise ConfigError(f"embedding.options must hold plain values: {error}") from None
    return options
