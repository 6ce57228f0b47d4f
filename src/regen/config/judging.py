"""The blocks of regen.yaml that name models which read and write: judges of answers, writers of queries."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from regen.config.block import Block, Name


class WriterSettings(Block):
    """A language model that writes judged queries. ``options`` go to it."""

    model: Name
    options: dict[str, Any] = Field(default_factory=dict)


class JudgeSettings(Block):
    """Who judges answers. ``labels`` is a file of labelled claims; without it those that come with regen are taken."""

    model: Name
    options: dict[str, Any] = Field(default_factory=dict)
    labels: Name | None = None
