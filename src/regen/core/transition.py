"""From one recipe to another: the cheapest valid path, as one pure function.

    same recipe                                        nothing
    query prefix only                                  new query space, no document work
    chunker, its parameters or the text template       new generation, equal texts copy their vectors
    metric (normalised vectors), index, other store    new generation by vector copy
    fewer dimensions (Matryoshka), lower precision     new generation derived from the old vectors
    the same model under another name, as declared     the same: the old vectors as they are
    anything else that decides the space               new generation, all texts embedded

Every path but "nothing" and "query prefix" builds a generation of its own, so two spaces never share a collection,
also when their models have equal dimensions (I1).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from regen.core.recipe import Embedding, Recipe

Path: TypeAlias = Literal["nothing", "query", "copy", "rechunk", "derive", "embed"]


@dataclass(frozen=True, slots=True)
class Family:
    """What decides whether one model's vectors can be made of another's: equal names and revisions can.

    ``dimensions`` lists what the vectors may be truncated to without leaving the model (Matryoshka). ``same_as`` is the
    name of an embedding's model that this one is declared to be, under another name or revision.
    """

    name: str
    revision: str
    dimensions: tuple[int, ...] = ()
    same_as: str = ""


@dataclass(frozen=True, slots=True)
class Transition:
    """The path from a generation's recipe to a wanted one, with a reason for each part that decided it."""

    path: Path
    reasons: tuple[str, ...]

    @property
    def needs_generation(self) -> bool:
        """Whether a new generation must be built."""
        return self.path not in {"nothing", "query"}


def transition(
    old: Recipe,
    new: Recipe,
    *,
    old_family: Family | None,
    new_family: Family,
    moved: tuple[str, str] | None = None,
) -> Transition:
    """The cheapest valid path from ``old`` to ``new``.

    ``old_family`` is None when the old model cannot be asked any more; ``moved`` are the URLs of the old and the new
    store when it is another one (empty: a store that has none).
    """
    embedding = _embedding_path(old, new, old_family, new_family)
    texts = text_reasons(old, new)
    shape = _shape_reasons(old, new, moved)
    if embedding.path in {"embed", "derive"}:
        return Transition(embedding.path, (*embedding.reasons, *texts, *shape))
    if texts:
        return Transition("rechunk", (*texts, *shape, *embedding.reasons))
    if shape:
        return Transition("copy", (*shape, *embedding.reasons))
    return embedding


def derivable(old: Embedding, new: Embedding, *, old_family: Family | None, new_family: Family) -> str | None:
    """Why vectors of ``new`` can be made of those of ``old`` without the model, None when they cannot."""
    if not same_model(old, new, old_family=old_family, new_family=new_family):
        return None
    if old.document_prefix != new.document_prefix or _finer(new.precision, old.precision):
        return None
    if old.normalize and not new.normalize:
        return None  # the length is lost
    if new.dimensions > old.dimensions:
        return None
    if new.dimensions < old.dimensions and new.dimensions not in (old_family or new_family).dimensions:
        return None
    parts = []
    if new_family.same_as == old.model != new.model:
        parts.append(f"model {old.model!r} -> {new.model!r}, declared to be the same")
    if new.dimensions < old.dimensions:
        parts.append(f"dimensions {old.dimensions} -> {new.dimensions} (Matryoshka: the leading ones)")
    if new.precision != old.precision:
        parts.append(f"precision {old.precision} -> {new.precision}")
    if new.normalize and not old.normalize:
        parts.append("vectors are normalised")
    return "; ".join(parts) or "the same vectors"


def same_model(old: Embedding, new: Embedding, *, old_family: Family | None, new_family: Family) -> bool:
    """Whether two embeddings call one model: of one family and revision, or declared to be the same."""
    if new_family.same_as == old.model or (old_family is not None and old_family.same_as == new.model):
        return True
    return old_family is not None and (old_family.name, old_family.revision) == (new_family.name, new_family.revision)


def _embedding_path(old: Recipe, new: Recipe, old_family: Family | None, new_family: Family) -> Transition:
    before, after = old.embedding, new.embedding
    if old.space == new.space:
        if before.query_prefix == after.query_prefix:
            return Transition("nothing", ())
        return Transition("query", (f"query prefix {before.query_prefix!r} -> {after.query_prefix!r}",))
    reason = derivable(before, after, old_family=old_family, new_family=new_family)
    if reason is not None:
        return Transition("derive", (reason,))
    return Transition("embed", _space_reasons(before, after))


def _space_reasons(old: Embedding, new: Embedding) -> tuple[str, ...]:
    names = {
        "model": "model",
        "revision": "model revision",
        "dimensions": "dimensions",
        "document_prefix": "document prefix",
        "normalize": "normalisation",
        "precision": "precision",
    }
    return tuple(
        f"{word} {getattr(old, name)!r} -> {getattr(new, name)!r}"
        for name, word in names.items()
        if getattr(old, name) != getattr(new, name)
    )


def _shape_reasons(old: Recipe, new: Recipe, moved: tuple[str, str] | None) -> tuple[str, ...]:
    reasons = []
    if old.metric != new.metric:
        reasons.append(f"metric {old.metric} -> {new.metric}")
    if dict(old.index) != dict(new.index):
        reasons.append(f"index {dict(old.index)} -> {dict(new.index)}")
    if moved is not None:
        reasons.append("store " + " -> ".join(_store_words(url) for url in moved))
    return tuple(reasons)


def _words(recipe: Recipe) -> str:
    part = recipe.chunking
    return f"{part.kind}({part.max_tokens}, overlap {part.overlap}, version {part.version})"


def text_reasons(old: Recipe, new: Recipe) -> tuple[str, ...]:
    """Why other texts are embedded than before: the chunker, its parameters, the text template."""
    reasons = []
    if old.chunking != new.chunking:
        reasons.append(f"chunking {_words(old)} -> {_words(new)}")
    if old.text != new.text:
        reasons.append(f"text template {old.text.template!r} -> {new.text.template!r}")
    return tuple(reasons)


_PRECISIONS: Sequence[str] = ("float32", "float16", "int8", "binary")


def _finer(wanted: str, held: str) -> bool:
    return _PRECISIONS.index(wanted) < _PRECISIONS.index(held)


def _store_words(url: str) -> str:
    return without_credentials(url) or "a store handed in as an object"


def without_credentials(url: str) -> str:
    """A store's URL as it may be shown: without user, password and parameters."""
    scheme, mark, rest = re.split("[?#]", url, maxsplit=1)[0].partition("://")
    authority, slash, path = rest.partition("/")
    return scheme + mark + authority.rpartition("@")[2] + slash + path
