"""Documents that the caller hands over: ``Index.upsert`` and ``Index.delete``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from regen.ports import KnownStamps, ScanBatch
from regen.sources.settings import SourceSettings


class PushSource:
    """A source with nothing to scan. It gives pushed documents the name under which the catalog keeps them.

    It is never ``full``: a document that a scan does not deliver has not been deleted.
    """

    full = False

    def __init__(self, name: str = "push") -> None:
        self.name = name

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], root: Path) -> Self:  # noqa: ARG003 (no path in its settings)
        """The source of a ``source: {kind: push, …}`` block."""
        return cls(SourceSettings("push", settings, ("name",)).text("name", "push"))

    def scan(self, known: KnownStamps) -> Iterator[ScanBatch]:  # noqa: ARG002 (nothing to compare)
        """Deliver nothing."""
        return iter(())
