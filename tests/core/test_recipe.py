"""Recipes: what decides a space, and templates that never guess."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from regen.core.recipe import Chunking, Embedding, Recipe, TextTemplate, describe_difference
from regen.errors import ConfigError, DocumentError

BASE = Recipe(Embedding("model/1", 64, revision="a", document_prefix="d: ", query_prefix="q: "))


@pytest.mark.parametrize(
    "change",
    [{"model": "model/2"}, {"revision": "b"}, {"dimensions": 32}, {"document_prefix": ""}, {"normalize": False}],
    ids=str,
)
def test_what_changes_the_space(change: dict[str, Any]) -> None:
    """Model, revision, dimensions, document prefix and normalisation: vectors may not be compared across them."""
    other = replace(BASE, embedding=replace(BASE.embedding, **change))
    assert other.space != BASE.space
    assert other.query_space != BASE.query_space
    assert other.fingerprint != BASE.fingerprint


@pytest.mark.parametrize(
    "change",
    [{"text": TextTemplate("{title} {text}")}, {"chunking": Chunking("whole")}, {"metric": "dot"}, {"index": {"m": 8}}],
    ids=str,
)
def test_what_changes_the_recipe_only(change: dict[str, Any]) -> None:
    """Template, chunking, metric and index make another generation of the same space."""
    other = replace(BASE, **change)
    assert other.space == BASE.space
    assert other.fingerprint != BASE.fingerprint
    assert len(describe_difference(BASE, other)) >= 1


def test_the_query_prefix_changes_the_query_side_only() -> None:
    """Documents need no work; cached query vectors are of another space."""
    other = replace(BASE, embedding=replace(BASE.embedding, query_prefix="ask: "))
    assert (other.space, other.query_space == BASE.query_space) == (BASE.space, False)
    assert describe_difference(BASE, other) == ["embedding.query_prefix: 'q: ' -> 'ask: '"]


def test_a_recipe_survives_being_written_down() -> None:
    """What the catalog keeps reads back equal, with the same fingerprints."""
    recipe = replace(BASE, text=TextTemplate("{title}\n{text}"), chunking=Chunking("tokens", 99, 9), index={"m": 4})
    again = Recipe.from_dict(recipe.to_dict())
    assert again == recipe
    assert (again.space, again.fingerprint) == (recipe.space, recipe.fingerprint)
    assert describe_difference(recipe, again) == []


def test_a_template_names_its_keys() -> None:
    """Sorted, each once, without the text itself; doubled braces are literal."""
    template = TextTemplate("{title} {{x}} {author}: {text} ({title})")
    assert template.keys == ("author", "title")
    values = template.values({"title": "T", "author": "A", "more": 1})
    assert template.render("words", values) == "T {x} A: words (T)"


def test_values_that_are_no_text_are_rendered_as_json() -> None:
    """Numbers, booleans and lists have one spelling, so that equal metadata gives equal texts."""
    template = TextTemplate("{a} {text}")
    rendered = [template.render("x", template.values({"a": value})) for value in (1, True, ["b", 2], {"z": 1, "a": 2})]
    assert rendered == ["1 x", "true x", '["b",2] x', '{"a":2,"z":1} x']


@pytest.mark.parametrize("metadata", [{}, {"title": None}])
def test_a_missing_key_is_an_error_of_the_document(metadata: dict[str, Any]) -> None:
    """Silence would embed something else than was asked for."""
    with pytest.raises(DocumentError, match=r"key 'title'.*is missing\nHint: add the key"):
        TextTemplate("{title} {text}").values(metadata)


@pytest.mark.parametrize("template", ["{title}", "{text", "{}", "{text!r}", "{text:>10}", "{ } {text}"])
def test_templates_that_cannot_work(template: str) -> None:
    """Without the text, unclosed, nameless or with a conversion: refused when it is made."""
    with pytest.raises(ConfigError, match="text template"):
        TextTemplate(template)


@pytest.mark.parametrize(("tokens", "overlap"), [(7, 0), (0, 0), (100, 51), (100, -1)])
def test_chunking_that_cannot_work(tokens: int, overlap: int) -> None:
    """Too few tokens, or an overlap that is negative or more than half."""
    with pytest.raises(ConfigError, match=r"chunking\.(max_tokens|overlap) is"):
        Chunking(max_tokens=tokens, overlap=overlap)
