"""Real material that lies outside the repository: tests that need it skip where it is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real collections: REGEN_DATA, or ../shared/data beside the repository."""
    named = os.environ.get("REGEN_DATA")
    folder = Path(named) if named else Path(__file__).parents[2].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; REGEN_DATA names another folder")
    return folder


@pytest.fixture(scope="session")
def tldr_base(shared_data: Path) -> Path:
    """The folder of the living corpus' first state."""
    base = shared_data / "tldr-stream" / "base"
    if not base.is_dir():
        pytest.skip(f"the living corpus is not in {base}")
    return base


@pytest.fixture(scope="session")
def tldr_pages(tldr_base: Path) -> list[Path]:
    """Its 5,001 pages, sorted."""
    return sorted(tldr_base.rglob("*.md"))
