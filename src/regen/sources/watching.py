"""Following a folder: what the operating system reports, told as document ids."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from watchfiles import watch

from regen.errors import SourceError
from regen.ports import StopSignal
from regen.sources.tree import Tree

QUIET_MS: Final = 50  # a burst of changes is over when nothing has happened for so long …
BURST_MS: Final = 400  # … and is told of after so long at the latest
WAKE_MS: Final = 200  # how often to look whether the folder itself is still there


class FolderWatch:
    """The changes of one folder. The watch is armed when the constructor returns; iterate to hear of them.

    The operating system often reports a folder that was moved or removed as one event, without its files. So the ids
    that were last seen are kept (as the paths alone), and a folder's event is told as the ids below it, then and now.
    """

    def __init__(self, tree: Tree, stop: StopSignal) -> None:
        self._tree = tree
        self._identity = tree.identity()
        try:
            self._events = watch(
                tree.root, watch_filter=None, stop_event=stop, step=QUIET_MS, debounce=BURST_MS,
                rust_timeout=WAKE_MS, yield_on_timeout=True, ignore_permission_denied=False,
            )  # fmt: skip
            early = next(self._events, set())  # a generator: the first step is what arms it
        except OSError as error:
            raise SourceError(
                f"{tree.root} cannot be watched: {error}",
                hint="on Linux the limit fs.inotify.max_user_watches may be too low for so many folders",
            ) from error
        self._early = {path for _, path in early}
        self._seen = {entry.id for entry in tree.walk()}
        self._folders = {folder for doc_id in self._seen for folder in _parents(doc_id)}

    def __iter__(self) -> Iterator[set[str]]:
        if ids := self._ids(self._early):
            yield ids
        for changes in self._events:
            if self._tree.identity() != self._identity:
                raise SourceError(f"{self._tree.root} was replaced by another folder", hint="start the watch again")
            if ids := self._ids({path for _, path in changes}):
                yield ids

    def _ids(self, paths: Iterable[str]) -> set[str]:
        """The documents that these reported paths are or stand for; also brings what was seen up to date."""
        ids: set[str] = set()
        vanished: set[str] = set()
        for path in paths:
            place = self._tree.relative(path)
            if place is None or place == "":
                continue
            if place in self._folders:
                vanished.add(place)
            if Path(path).is_dir():
                ids.update(self._below(place))
            elif self._tree.holds(place):
                ids.add(place)
        if vanished:
            ids.update(doc_id for doc_id in self._seen if not vanished.isdisjoint(_parents(doc_id)))
        self._remember(ids)
        return ids

    def _below(self, folder: str) -> Iterator[str]:
        return (entry.id for entry in self._tree.walk(folder)) if self._tree.enters(folder) else iter(())

    def _remember(self, ids: set[str]) -> None:
        for doc_id in ids:
            if os.path.lexists(os.path.join(self._tree.root, doc_id)):  # noqa: PTH118 (as in the listing)
                self._seen.add(doc_id)
                self._folders.update(_parents(doc_id))
            else:
                self._seen.discard(doc_id)


def _parents(doc_id: str) -> list[str]:
    parts = doc_id.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]
