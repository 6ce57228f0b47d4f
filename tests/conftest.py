"""Real material that lies outside the repository: tests that need it skip, and say why, where it is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real collections: REGEN_DATA, or ../shared/data beside the repository."""
    named = os.environ.get("REGEN_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; REGEN_DATA names another folder")
    return folder
