"""Which model and which chunker serve a generation: always those of the recipe it was built by (I1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from regen.core.chunking import Chunker, make_chunker
from regen.core.recipe import Chunking, Embedding, Precision, Recipe
from regen.core.transition import Family
from regen.errors import ConfigError, SpaceMismatch
from regen.ports import Embedder, ModelInfo, Vectors
from regen.ports.catalog import Generation


def resolve_embedding(
    info: ModelInfo,
    *,
    revision: str | None = None,
    document_prefix: str | None = None,
    query_prefix: str | None = None,
    normalize: bool = True,
    precision: Precision = "float32",
) -> Embedding:
    """What a model says of itself, with what the configuration overrides."""
    return Embedding(
        model=info.name,
        dimensions=info.dimensions,
        revision=info.revision if revision is None else revision,
        document_prefix=info.document_prefix if document_prefix is None else document_prefix,
        query_prefix=info.query_prefix if query_prefix is None else query_prefix,
        normalize=normalize,
        precision=precision,
    )


@dataclass(slots=True)
class Models:
    """The configured model, and others that older generations need.

    ``make`` finds a model by its name and options, wrapped as the configured one is; ``options`` are the configured
    one's, which a new generation remembers. ``segment`` embeds sentences for the semantic
    chunker; ``load_chunker`` finds a ``python:module:Class`` chunker. ``same_as`` is the model that the configured one
    is declared to be, under another name or revision. ``release`` closes the models that were made, of their names.
    """

    recipe: Recipe
    embedder: Embedder
    make: Callable[[str, Mapping[str, Any]], Embedder]
    segment: Callable[[Sequence[str]], Vectors]
    load_chunker: Callable[[str, Chunking], Chunker]
    options: Mapping[str, Any] = field(default_factory=dict)
    same_as: str = ""
    release: Callable[[], None] = lambda: None
    _others: dict[tuple[str, str], Embedder] = field(default_factory=dict)

    def embedder_for(self, generation: Generation) -> Embedder:
        """The model that a generation was built with. Raises SpaceMismatch when it cannot be had."""
        wanted, ours = generation.recipe.embedding, self.recipe.embedding
        if (wanted.model, wanted.revision, wanted.dimensions) == (ours.model, ours.revision, ours.dimensions):
            return self.embedder
        found = self._other(wanted.model, generation.options)
        if found.info.dimensions != wanted.dimensions or found.info.revision != wanted.revision:
            raise SpaceMismatch(
                f"generation {generation.number} is of space {generation.recipe.space} ({wanted.model}, "
                f"{wanted.dimensions} dimensions, revision {wanted.revision!r}); the model at hand, of space "
                f"{_space(generation.recipe, found.info)}, gives {found.info.dimensions} dimensions and is of revision "
                f"{found.info.revision!r}",
                hint="install the version of the model that built the generation, or build a new generation",
            )
        return found

    def family(self, embedding: Embedding) -> Family | None:
        """What may be made of an embedding's vectors, None when its model cannot be had here (any more)."""
        try:
            found = self.embedder if embedding.model == self.recipe.embedding.model else self._other(embedding.model)
        except ConfigError:
            return None
        info, ours = found.info, self.recipe.embedding
        declared = (embedding.model, embedding.revision) == (ours.model, ours.revision)
        return Family(info.family or info.name, embedding.revision, info.matryoshka, self.same_as if declared else "")

    def _other(self, model: str, options: Mapping[str, Any] | None = None) -> Embedder:
        key = (model, repr(sorted((options or {}).items())))
        if key not in self._others:
            self._others[key] = self.make(model, options or {})
        return self._others[key]

    def chunker_for(self, recipe: Recipe, embedder: Embedder) -> Chunker:
        """The chunker of a recipe, counting tokens as its model does."""
        if recipe.chunking.kind.startswith("python:"):
            return self.load_chunker(recipe.chunking.kind, recipe.chunking)
        return make_chunker(recipe.chunking, embedder.token_starts, self.segment)


def _space(recipe: Recipe, info: ModelInfo) -> str:
    embedding = resolve_embedding(
        info, document_prefix=recipe.embedding.document_prefix, normalize=recipe.embedding.normalize
    )
    return Recipe(embedding).space
