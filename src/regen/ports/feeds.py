"""The sources of one index, each with when it is refreshed and how fresh it must be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from regen.core.freshness import Target
from regen.core.refresh import Policy
from regen.errors import ConfigError
from regen.ports import Source, WatchableSource


@dataclass(frozen=True, slots=True)
class Feed:
    """One source, when it is refreshed, and how fresh it must be."""

    source: Source
    policy: Policy = field(default_factory=Policy)
    target: Target | None = None

    @property
    def name(self) -> str:
        """The name under which the catalog keeps its documents."""
        return self.source.name

    @property
    def job(self) -> str:
        """The name of the job that brings the index in step with it."""
        return f"sync {self.name}"

    @property
    def watchable(self) -> WatchableSource | None:
        """The source, if it tells of its changes."""
        return self.source if isinstance(self.source, WatchableSource) else None


class Feeds:
    """All sources of an index. Raises ConfigError when two have one name."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds = {feed.name: feed for feed in feeds}
        if len(self._feeds) < len(feeds):
            names = [feed.name for feed in feeds]
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigError(
                f"two sources are called {twice!r}", hint="give each a `name`; without one it is the source's kind"
            )

    def __iter__(self) -> Iterator[Feed]:
        return iter(self._feeds.values())

    def __len__(self) -> int:
        return len(self._feeds)

    def chosen(self, name: str | None) -> list[Feed]:
        """One source, or (None) all of them. Raises ConfigError for a name that none has."""
        if name is None:
            return list(self)
        if name not in self._feeds:
            known = ", ".join(self._feeds) or "none: documents are pushed"
            raise ConfigError(f"there is no source {name!r}", hint=f"the sources are: {known}")
        return [self._feeds[name]]

    def others(self, feed: Feed | None) -> dict[str, Source]:
        """The other sources, by name."""
        return {name: other.source for name, other in self._feeds.items() if feed is None or name != feed.name}
