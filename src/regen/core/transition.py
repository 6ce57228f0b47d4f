"""From one recipe to another: the cheapest valid path, as one pure function.

    same recipe                                        nothing
    query prefix only                                  new query space, no document work
    chunker, its parameters or the text template       new generation, equal texts copy their vectors
    metric (normalised vectors), index, other store    new generation by vector copy
    fewer dimensions (Matryoshka), lower precision     new generation derived from the old vectors
    anything else that decides the space               new generation, all texts embedded

Every path but "nothing" and "query prefix" builds a generation of its own, so two spaces never share a collection,
also when their models have equal dimensions (I1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from regen.core.plan import Decision
from regen.core.recipe import Embedding, Recipe

Path: TypeAlias = Literal["nothing", "query", "copy", "rechunk", "derive", "embed"]


@dataclass(frozen=True, slots=True)
class Family:
    """What decides whether one model's vectors can be made of another's: equal names and revisions can.

    ``dimensions`` lists what the vectors may be truncated to without leaving the model (Matryoshka).
    """

    name: str
    revision: str
    dimensions: tuple[int, ...] = ()


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
    old: Recipe, new: Recipe, *, old_family: Family | None, new_family: Family, moved: bool = False
) -> Transition:
    """The cheapest valid path from ``old`` to ``new``.

    ``old_family`` is None when the old model cannot be asked any more; ``moved`` says that the store is another one.
    """
    embedding = _embedding_path(old, new, old_family, new_family)
    texts = _text_reasons(old, new)
    shape = _shape_reasons(old, new, moved=moved)
    if embedding.path in {"embed", "derive"}:
        return Transition(embedding.path, (*embedding.reasons, *texts, *shape))
    if texts:
        return Transition("rechunk", (*texts, *shape, *embedding.reasons))
    if shape:
        return Transition("copy", (*shape, *embedding.reasons))
    return embedding


def derivable(old: Embedding, new: Embedding, *, old_family: Family | None, new_family: Family) -> str | None:
    """Why vectors of ``new`` can be made of those of ``old`` without the model, None when they cannot."""
    if old_family is None or (old_family.name, old_family.revision) != (new_family.name, new_family.revision):
        return None
    if old.document_prefix != new.document_prefix or _finer(new.precision, old.precision):
        return None
    if old.normalize and not new.normalize:
        return None  # the length is lost
    if new.dimensions > old.dimensions:
        return None
    if new.dimensions < old.dimensions and new.dimensions not in old_family.dimensions:
        return None
    parts = []
    if new.dimensions < old.dimensions:
        parts.append(f"dimensions {old.dimensions} -> {new.dimensions} (Matryoshka: the leading ones)")
    if new.precision != old.precision:
        parts.append(f"precision {old.precision} -> {new.precision}")
    if new.normalize and not old.normalize:
        parts.append("vectors are normalised")
    return "; ".join(parts) or "the same vectors"


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


def _text_reasons(old: Recipe, new: Recipe) -> tuple[str, ...]:
    reasons = []
    if old.chunking != new.chunking:
        reasons.append(f"chunking {_words(old)} -> {_words(new)}")
    if old.text != new.text:
        reasons.append(f"text template {old.text.template!r} -> {new.text.template!r}")
    return tuple(reasons)


def _shape_reasons(old: Recipe, new: Recipe, *, moved: bool) -> tuple[str, ...]:
    reasons = []
    if old.metric != new.metric:
        reasons.append(f"metric {old.metric} -> {new.metric}")
    if dict(old.index) != dict(new.index):
        reasons.append(f"index {dict(old.index)} -> {dict(new.index)}")
    if moved:
        reasons.append("another store")
    return tuple(reasons)


def _words(recipe: Recipe) -> str:
    part = recipe.chunking
    return f"{part.kind}({part.max_tokens}, overlap {part.overlap}, version {part.version})"


def decide(
    old: Recipe, new: Recipe, path: Transition, *, old_family: Family | None, new_family: Family, texts: int
) -> Decision:
    """The answer to "must I re-embed?" for a transition over so many texts, with its grounds."""
    grounds = [f"space {old.space} -> {new.space}" if old.space != new.space else f"space {old.space} stays"]
    if old.embedding.dimensions != new.embedding.dimensions:
        grounds.append(f"dimensions {old.embedding.dimensions} -> {new.embedding.dimensions}")
    grounds += path.reasons
    if path.path == "embed" and old_family is None:
        grounds.append(
            f"{old.embedding.model!r} cannot be loaded here, so nobody knows whether its vectors would serve"
        )
        return Decision("cannot tell", path.path, tuple(grounds))
    hints = cheaper(old, new, old_family=old_family, new_family=new_family, texts=texts)
    return Decision("always" if path.path == "embed" else "not needed", path.path, tuple(grounds), tuple(hints))


_PRECISIONS: Sequence[str] = ("float32", "float16", "int8", "binary")


def _finer(wanted: str, held: str) -> bool:
    return _PRECISIONS.index(wanted) < _PRECISIONS.index(held)


def cheaper(old: Recipe, new: Recipe, *, old_family: Family | None, new_family: Family, texts: int) -> list[str]:
    """What would cost less than ``new``, if there is anything: keep a part, embed nothing."""
    found = transition(old, new, old_family=old_family, new_family=new_family)
    if found.path != "embed":
        return []
    kept = {
        "dimensions": f"keep {old.embedding.dimensions} dimensions",
        "document_prefix": f"keep the document prefix {old.embedding.document_prefix!r}",
        "normalize": "keep the normalisation",
        "precision": f"keep the precision {old.embedding.precision}",
    }
    rest = "only new chunk texts" if _text_reasons(old, new) else "0 texts"
    hints = []
    for name, words in kept.items():
        if getattr(old.embedding, name) == getattr(new.embedding, name):
            continue
        other = replace(new, embedding=replace(new.embedding, **{name: getattr(old.embedding, name)}))
        if transition(old, other, old_family=old_family, new_family=new_family).path != "embed":
            hints.append(f"{words}: {rest} instead of {texts:,}")
    return hints
