"""The reference names every key of regen.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from regen.config import Settings, parse_settings
from regen.config.explain import valid_keys
from regen.config.models import CHUNKING_KINDS
from regen.registry import SOURCES

PAGE = Path(__file__).parents[2] / "docs/reference/config.md"


def keys(model: type[BaseModel] = Settings) -> list[str]:
    """Every key, at the top and inside the blocks."""
    found = []
    for name, field in model.model_fields.items():
        found.append(name)
        inner = valid_keys(model, (name,))
        for block in [field.annotation, *get_args(field.annotation)]:
            if isinstance(block, type) and issubclass(block, BaseModel):
                found += keys(block)
        found += inner
    return found


@pytest.mark.parametrize("key", sorted(set(keys())))
def test_every_key_is_documented(key: str) -> None:
    """A key stands on the page, alone or behind its block's name."""
    text = PAGE.read_text(encoding="utf-8")
    assert f"`{key}`" in text or f".{key}`" in text


def test_every_kind_is_documented() -> None:
    """Sources and chunkers are named."""
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"`{kind}`" in text for kind in [*SOURCES.adapters, *CHUNKING_KINDS])


def test_the_example_loads() -> None:
    """The page's own file is valid, and the keys it uses are known."""
    example = PAGE.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    assert parse_settings(example, root=".").limits.budget_usd == 50
    assert "limits" in valid_keys(Settings, ())
