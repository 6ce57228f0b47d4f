"""A folder of text files: one file, one document.

A document's id is the path of its file relative to the folder, with slashes, so that it is the same on every machine.
Of Markdown files (``.md``, ``.markdown``, ``.mdx``) YAML front matter becomes metadata and is removed from the text.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

from regen.core.documents import Document, Unreadable
from regen.errors import SourceError
from regen.ports import KnownStamps, ScanBatch, StopSignal
from regen.sources.settings import SourceSettings
from regen.sources.textfile import TextFileReader
from regen.sources.tree import Entry, Tree, is_folder

DEFAULT_GLOB: Final = "**/*.md"
DEFAULT_EXCLUDE: Final = ("node_modules", "__pycache__")
DEFAULT_MAX_BYTES: Final = 20_000_000
BATCH_IDS: Final = 1_000
BATCH_CHARACTERS: Final = 16_000_000

# A file written again within the tick of its file system's clock keeps its time. 2 s is the coarsest tick (FAT).
_RACY_SECONDS: Final = 2.0


class FilesSource:
    """The files below ``path`` that match ``glob``.

    Hidden files and folders are matched only by patterns that name their dot; ``exclude`` holds names (at any depth) or
    paths that are left out. ``access_key`` is the front matter key that holds the access list. A file larger than
    ``max_bytes`` is unreadable, not cut.

    Raises ConfigError for patterns or an encoding that cannot work.
    """

    full = True

    def __init__(
        self,
        path: str | Path,
        glob: str | Sequence[str] = DEFAULT_GLOB,
        *,
        name: str | None = None,
        encoding: str = "utf-8",
        max_bytes: int = DEFAULT_MAX_BYTES,
        access_key: str = "access",
        exclude: Sequence[str] = DEFAULT_EXCLUDE,
    ) -> None:
        self.name = name or "files"
        self.path = Path(path)
        self._tree = Tree(self.path, [glob] if isinstance(glob, str) else list(glob), exclude)
        self._reader = TextFileReader(encoding, max_bytes, access_key)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], root: Path) -> Self:
        """The source of a ``source: {kind: files, …}`` block; a relative path starts at ``root``."""
        keys = ("path", "glob", "name", "encoding", "max_bytes", "access_key", "exclude")
        given = SourceSettings("files", settings, keys)
        return cls(
            given.path("path", root),
            given.texts("glob", [DEFAULT_GLOB]),
            name=given.optional_text("name"),
            encoding=given.text("encoding", "utf-8"),
            max_bytes=given.number("max_bytes", DEFAULT_MAX_BYTES),
            access_key=given.text("access_key", "access"),
            exclude=given.texts("exclude", DEFAULT_EXCLUDE),
        )

    def scan(self, known: KnownStamps) -> Iterator[ScanBatch]:
        """Deliver every file; one whose stamp is known is not opened.

        Raises SourceError when the folder, or a folder below it, cannot be listed, or is replaced meanwhile.
        """
        identity, started = self._tree.identity(), time.time()
        listing = self._tree.walk()
        while entries := list(islice(listing, BATCH_IDS)):
            remembered = known.stamps([entry.id for entry in entries])
            yield from self._deliver(entries, remembered, started)
        if self._tree.identity() != identity:
            raise SourceError(
                f"the folder {self.path} was replaced while it was read", hint="run again when it is at rest"
            )

    def read(self, ids: Iterable[str]) -> tuple[ScanBatch, list[str]]:
        """Deliver the named files. The batch is as large as what was asked for.

        Raises SourceError for an id that is not a path below the folder, or when the folder is gone.
        """
        self._tree.identity()
        started, wanted = time.time(), [_inside(doc_id) for doc_id in dict.fromkeys(ids)]
        filling = _Filling()
        missing = [doc_id for doc_id in wanted if not self._add(self._tree.entry(doc_id), started, filling)]
        return filling.batch, missing

    def watch(self, stop: StopSignal) -> Iterator[set[str]]:
        """Tell of every change made after this call has returned, within a fraction of a second of a save.

        Call it before a scan and iterate after it: then nothing is missed between the two. A folder that appears or
        vanishes is told of by the ids it holds or held. Raises SourceError when the folder is gone.
        """
        # Only a process that watches pays for importing the watcher.
        from regen.sources.watching import FolderWatch  # noqa: PLC0415

        return iter(FolderWatch(self._tree, stop))

    def _deliver(self, entries: list[Entry], remembered: dict[str, str], started: float) -> Iterator[ScanBatch]:
        filling = _Filling()
        for entry in entries:
            stamp = self._stamp(entry, started)
            if stamp is not None and remembered.get(entry.id) == stamp:
                filling.batch.untouched.append(entry.id)
                continue
            self._add(entry, started, filling)
            if filling.size >= BATCH_CHARACTERS:
                yield filling.batch
                filling = _Filling()
        if filling:
            yield filling.batch

    def _add(self, entry: Entry | None, started: float, filling: _Filling) -> bool:
        """Read one file into the batch; False when there is no such document (any more)."""
        found = None if entry is None or is_folder(entry) else self._reader.read(entry)
        if entry is None or found is None:
            return False
        if isinstance(found, Unreadable):
            filling.batch.unreadable.append(found)
        else:
            filling.add(found, self._stamp(entry, started))
        return True

    def _stamp(self, entry: Entry, started: float) -> str | None:
        """What the file system says of a file's state; None while it could change again without saying so.

        The change time catches what restores an older modification time, the inode what replaces a file by another,
        the reader's key other settings: with those, everything is read again.
        """
        status = entry.status
        if isinstance(status, OSError) or status.st_mtime > started - _RACY_SECONDS:
            return None
        return f"{self._reader.key}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


class _Filling:
    """A batch being filled. ``size`` is the count of characters in it."""

    def __init__(self) -> None:
        self.batch = ScanBatch()
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self.batch.documents or self.batch.untouched or self.batch.unreadable)

    def add(self, document: Document, stamp: str | None) -> None:
        self.batch.documents.append(document)
        self.size += len(document.text)
        if stamp is not None:
            self.batch.stamps[document.id] = stamp


def _inside(doc_id: str) -> str:
    if "\0" in doc_id or "\\" in doc_id or not {"", ".", ".."}.isdisjoint(doc_id.split("/")):
        raise SourceError(
            f"{doc_id!r} is not a path below the source's folder", hint="ids look like guides/start.md, with slashes"
        )
    return doc_id
