"""Pushed documents: a name, and nothing to scan."""

from __future__ import annotations

from pathlib import Path

import pytest

from regen.errors import ConfigError
from regen.ports import PartialSource, Source
from regen.sources.push import PushSource
from regen.testing.sources import all_ids, scanned


def test_a_push_source_delivers_nothing_and_deletes_nothing(tmp_path: Path) -> None:
    """It is a source that is never complete, so that a sync leaves pushed documents alone."""
    source = PushSource.from_settings({"kind": "push"}, tmp_path)
    assert isinstance(source, Source)
    assert not isinstance(source, PartialSource)
    assert (source.name, source.full) == ("push", False)
    assert all_ids(scanned(source)) == []


def test_settings(tmp_path: Path) -> None:
    """Its only setting is its name."""
    assert PushSource.from_settings({"name": "wiki"}, tmp_path).name == "wiki"
    with pytest.raises(ConfigError, match=r"source\.path: the source 'push' has no such setting"):
        PushSource.from_settings({"path": "docs"}, tmp_path)
