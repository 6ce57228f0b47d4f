"""The cheapest valid path from one recipe to another: every row of the table, and the answers built on it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.core.recipe import Chunking, Embedding, Recipe, TextTemplate
from regen.core.transition import Family, Path, derivable, transition, without_credentials
from regen.errors import ConfigError

MODEL = Embedding("m/256", 256, revision="r1", document_prefix="passage: ", query_prefix="query: ")
OLD = Recipe(MODEL, TextTemplate("{text}"), Chunking("sentences", 64), "cosine", {"kind": "flat"})
FAMILY = Family("m", "r1", (64, 128, 256))
PRECISIONS = ("float32", "float16", "int8", "binary")


def changed(base: Recipe = OLD, **parts: Any) -> Recipe:
    """The recipe with some parts changed; those of the embedding are named directly."""
    own = {name: parts.pop(name) for name in list(parts) if name in {"text", "chunking", "metric", "index"}}
    return replace(base, embedding=replace(base.embedding, **parts), **own)


def path_of(new: Recipe, *, old: Recipe = OLD, old_family: Family | None = FAMILY, family: Family = FAMILY) -> Path:
    """The path alone."""
    return transition(old, new, old_family=old_family, new_family=family).path


ROWS: dict[str, tuple[dict[str, Any], Path, tuple[str, ...]]] = {
    "nothing": ({}, "nothing", ()),
    "query prefix": ({"query_prefix": "ask: "}, "query", ("query prefix",)),
    "chunk size": ({"chunking": Chunking("sentences", 32)}, "rechunk", ("chunking",)),
    "overlap": ({"chunking": Chunking("sentences", 64, 8)}, "rechunk", ("chunking",)),
    "kind of chunker": ({"chunking": Chunking("markdown", 64)}, "rechunk", ("chunking",)),
    "chunker's version": ({"chunking": Chunking("sentences", 64, 0, 99)}, "rechunk", ("chunking",)),
    "template": ({"text": TextTemplate("{title}\n{text}")}, "rechunk", ("text template",)),
    "metric": ({"metric": "dot"}, "copy", ("metric",)),
    "index": ({"index": {"kind": "hnsw"}}, "copy", ("index",)),
    "fewer dimensions": ({"model": "m/128", "dimensions": 128}, "derive", ("Matryoshka",)),
    "dimensions not learned": ({"model": "m/100", "dimensions": 100}, "embed", ("model", "dimensions")),
    "more dimensions": ({"model": "m/512", "dimensions": 512}, "embed", ("model", "dimensions")),
    "float16": ({"precision": "float16"}, "derive", ("precision",)),
    "int8": ({"precision": "int8"}, "derive", ("precision",)),
    "binary": ({"precision": "binary"}, "derive", ("precision",)),
    "revision": ({"revision": "r2"}, "embed", ("model revision",)),
    "document prefix": ({"document_prefix": ""}, "embed", ("document prefix",)),
    "lengths wanted back": ({"normalize": False}, "embed", ("normalisation",)),
    # combinations: the dearest part decides the path, and every part is named
    "metric and index": ({"metric": "dot", "index": {}}, "copy", ("metric", "index")),
    "metric and query prefix": ({"metric": "dot", "query_prefix": ""}, "copy", ("metric", "query prefix")),
    "chunker and index": ({"chunking": Chunking("whole"), "index": {}}, "rechunk", ("chunking", "index")),
    "chunker and query prefix": (
        {"chunking": Chunking("whole"), "query_prefix": ""}, "rechunk", ("chunking", "query prefix"),
    ),
    "dimensions and precision": (
        {"model": "m/64", "dimensions": 64, "precision": "int8"}, "derive", ("Matryoshka", "precision"),
    ),
    "dimensions and chunker": (
        {"model": "m/64", "dimensions": 64, "chunking": Chunking("whole")}, "derive", ("Matryoshka", "chunking"),
    ),
    "dimensions and document prefix": (
        {"model": "m/64", "dimensions": 64, "document_prefix": ""}, "embed", ("dimensions", "document prefix"),
    ),
    "precision and metric": ({"precision": "float16", "metric": "l2"}, "derive", ("precision", "metric")),
    "everything": (
        {"revision": "r2", "chunking": Chunking("whole"), "metric": "l2", "index": {}, "query_prefix": ""},
        "embed", ("model revision", "chunking", "metric", "index"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("parts", "path", "named"), ROWS.values(), ids=ROWS)
def test_each_row_of_the_table(parts: dict[str, Any], path: Path, named: tuple[str, ...]) -> None:
    """Every change takes the cheapest path that is valid for it, and each changed part is named as a reason."""
    family = Family("m", parts.get("revision", "r1"), (64, 128, 256))
    found = transition(OLD, changed(**parts), old_family=FAMILY, new_family=family)
    assert found.path == path
    assert found.needs_generation == (path not in {"nothing", "query"})
    assert bool(found.reasons) == (path != "nothing")
    for word in named:
        assert any(word in reason for reason in found.reasons), (word, found.reasons)


def test_another_model_embeds() -> None:
    """A model of another family shares nothing, though its vectors have as many dimensions."""
    new = changed(model="other/256")
    assert path_of(new, family=Family("other", "r1", (64, 128, 256))) == "embed"
    assert new.space != OLD.space


def test_equal_dimensions_never_share_a_collection() -> None:
    """Two models of equal dimensions, revisions or prefixes need a generation of their own, always (I1)."""
    for parts in ({"model": "other"}, {"revision": "r2"}, {"document_prefix": "x"}, {"normalize": False}):
        new = changed(**parts)
        assert new.embedding.dimensions == OLD.embedding.dimensions
        assert new.space != OLD.space
        for family in (FAMILY, Family("other", "r1", (256,)), Family("m", "r2", (256,))):
            assert transition(OLD, new, old_family=FAMILY, new_family=family).needs_generation


def test_lengths_that_nobody_kept_can_be_made_one() -> None:
    """Raw vectors are normalised without the model, normalised ones never get their lengths back."""
    raw = changed(normalize=False)
    assert path_of(OLD, old=raw) == "derive"
    assert path_of(raw) == "embed"


@pytest.mark.parametrize(("old", "new"), list(product(PRECISIONS, PRECISIONS)))
def test_precision_is_only_ever_lost(old: str, new: str) -> None:
    """Each precision gives those below it; what is lost is embedded anew."""
    before, after = changed(precision=old), changed(precision=new)
    falls = PRECISIONS.index(new) - PRECISIONS.index(old)
    assert path_of(after, old=before) == ("nothing" if falls == 0 else "derive" if falls > 0 else "embed")


def test_lengths_that_are_lost_need_cosine() -> None:
    """int8 and binary vectors are compared by direction only; another metric is refused, not answered wrongly."""
    for precision, metric in (("int8", "dot"), ("binary", "l2")):
        with pytest.raises(ConfigError, match=f"{precision} with the metric {metric}") as caught:
            changed(precision=precision, metric=metric)
        assert caught.value.hint is not None
    assert changed(precision="float16", metric="dot").metric == "dot"


def test_truncation_needs_a_model_trained_for_it() -> None:
    """Without Matryoshka dimensions of the old model nothing is truncated."""
    plain = Family("m", "r1")
    assert path_of(changed(model="m/128", dimensions=128), old_family=plain, family=plain) == "embed"


def test_a_model_that_cannot_be_asked_any_more_is_embedded_anew() -> None:
    """Of an old model that is not there nothing may be made but copies in its own space."""
    assert path_of(changed(dimensions=128), old_family=None) == "embed"
    assert path_of(changed(metric="dot"), old_family=None) == "copy"
    assert path_of(changed(chunking=Chunking("whole")), old_family=None) == "rechunk"
    assert path_of(OLD, old_family=None) == "nothing"


def test_a_moved_store_is_a_copy() -> None:
    """Another store, and nothing else, costs no text; both stores are named."""
    moved = ("lancedb://a", "lancedb://b")
    found = transition(OLD, OLD, old_family=FAMILY, new_family=FAMILY, moved=moved)
    assert (found.path, found.reasons) == ("copy", ("store lancedb://a -> lancedb://b",))
    asked = transition(OLD, changed(query_prefix=""), old_family=FAMILY, new_family=FAMILY, moved=moved)
    assert asked.path == "copy"
    handed = transition(OLD, OLD, old_family=FAMILY, new_family=FAMILY, moved=("memory://a", ""))
    assert handed.reasons == ("store memory://a -> a store handed in as an object",)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("lancedb://.regen/vectors", "lancedb://.regen/vectors"),
        ("lancedb:///srv/v", "lancedb:///srv/v"),
        ("postgresql://ann:secret@host:5432/db?password=secret", "postgresql://host:5432/db"),
        ("qdrant://:se@cret@host", "qdrant://host"),
        ("https://host/a@b#token=secret", "https://host/a@b"),
        ("", ""),
    ],
)
def test_stores_are_named_without_credentials(url: str, shown: str) -> None:
    """A reason never shows a user, a password or a parameter."""
    assert without_credentials(url) == shown
    found = transition(OLD, OLD, old_family=FAMILY, new_family=FAMILY, moved=(url, "memory://"))
    assert "secret" not in found.reasons[0]


def test_another_name_of_the_same_vectors_is_derived() -> None:
    """One model under two names gives two spaces, whose vectors are the same: copied as they are."""
    assert path_of(changed(model="m/256-alias")) == "derive"
    assert derivable(MODEL, replace(MODEL, model="alias"), old_family=FAMILY, new_family=FAMILY) == "the same vectors"


def test_a_declared_model_takes_the_vectors_over() -> None:
    """A model that is declared to be the old one needs no text, also when the old one is gone; never by itself."""
    renamed = changed(model="moved/256", revision="r9")
    stranger = Family("moved", "r9", (64, 256))
    assert path_of(renamed, family=stranger) == "embed"
    declared = replace(stranger, same_as="m/256")
    for old_family in (FAMILY, None):
        found = transition(OLD, renamed, old_family=old_family, new_family=declared)
        assert (found.path, found.reasons) == ("derive", ("model 'm/256' -> 'moved/256', declared to be the same",))
    assert path_of(changed(model="moved/256", revision="r9", document_prefix=""), family=declared) == "embed"
    assert path_of(changed(model="moved/64", dimensions=64), family=declared, old_family=None) == "derive"
    assert path_of(changed(model="moved/100", dimensions=100), family=declared, old_family=None) == "embed"
    other = replace(stranger, same_as="m/64")
    assert path_of(renamed, family=other) == "embed"
    back = derivable(renamed.embedding, MODEL, old_family=declared, new_family=FAMILY)
    assert back == "the same vectors"  # the retained generation goes on taking vectors of the new one


embeddings = st.builds(
    Embedding,
    model=st.sampled_from(["m/256", "m/64", "other"]),
    dimensions=st.sampled_from([64, 100, 256]),
    revision=st.sampled_from(["r1", "r2"]),
    document_prefix=st.sampled_from(["", "p: "]),
    query_prefix=st.sampled_from(["", "q: "]),
    normalize=st.booleans(),
    precision=st.sampled_from(PRECISIONS),
)
recipes = st.builds(
    Recipe,
    embedding=embeddings,
    text=st.sampled_from([TextTemplate(), TextTemplate("{title} {text}")]),
    chunking=st.sampled_from([Chunking(), Chunking("whole")]),
    index=st.sampled_from([{}, {"kind": "hnsw"}]),
)


def family_of(embedding: Embedding) -> Family:
    """The family of one of the models above."""
    name = "other" if embedding.model == "other" else "m"
    return Family(name, embedding.revision, (64, 256))


@given(recipes, recipes)
def test_another_space_always_means_another_generation(old: Recipe, new: Recipe) -> None:
    """Whatever changes: equal recipes need nothing, unequal spaces never share a generation, reasons are given."""
    found = transition(old, new, old_family=family_of(old.embedding), new_family=family_of(new.embedding))
    assert (found.path == "nothing") == (old == new)
    assert found.needs_generation or old.space == new.space
    assert (found.path in {"derive", "embed"}) == (old.space != new.space)
    assert bool(found.reasons) == (old != new)


@given(recipes, recipes, recipes)
def test_derivation_can_be_chained(first: Recipe, second: Recipe, third: Recipe) -> None:
    """What can be made in two derivations can be made in one."""
    a, b, c = first.embedding, second.embedding, third.embedding

    def can(old: Embedding, new: Embedding) -> bool:
        return derivable(old, new, old_family=family_of(old), new_family=family_of(new)) is not None

    assert can(a, a)
    if can(a, b) and can(b, c):
        assert can(a, c)
