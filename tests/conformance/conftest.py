"""Which cases of which stores take so long that only ``make test-all`` runs them."""

from __future__ import annotations

import pytest

BULKY = {
    "test_ten_thousand_points", "test_three_processes_write_the_same_new_points",
    "test_a_killed_writer_loses_nothing_acknowledged",
}  # fmt: skip
"""What moves many points, or starts processes that load a client each."""
PLAYED = ("TestElasticsearchStore", "TestOpenSearchStore", "TestPineconeStore", "TestWeaviateStore")
"""Stores behind servers of our own: their protocol is what is tested each time, their bulk is ours, not theirs."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them slow."""
    for item in items:
        kind = item.parent.name if item.parent is not None else ""
        if kind in PLAYED and getattr(item, "originalname", item.name) in BULKY:
            item.add_marker(pytest.mark.slow)
