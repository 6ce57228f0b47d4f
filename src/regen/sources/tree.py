"""Listing a folder: which files are documents, with their size and times, in a stable order."""

# Strings all the way: a Path for each of 20,000 files costs more than looking at them.
# ruff: noqa: PTH114, PTH116, PTH118
from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from fnmatch import translate
from pathlib import Path
from typing import Final, NamedTuple

from regen.errors import SourceError
from regen.sources.globs import GlobSet, Place

GONE: Final = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class Entry(NamedTuple):
    """One file of the listing. ``status`` is the error where the file system would not tell."""

    id: str
    path: str
    status: os.stat_result | OSError


class Tree:
    """The files below ``root`` that match ``globs``, leaving out ``exclude``.

    An id is the path relative to ``root``, with slashes. Symbolic links to files are read; linked folders are not
    entered, so no loop of links can catch the listing and nothing is delivered twice.
    A pattern of ``exclude`` without a slash is a name that is left out at any depth; one with a slash is a path.
    """

    def __init__(self, root: Path, globs: Sequence[str], exclude: Sequence[str]) -> None:
        self.root = os.path.realpath(root)
        self._shown = root
        self._globs = GlobSet(globs)
        names = [pattern.strip("/") for pattern in exclude if "/" not in pattern.strip("/")]
        paths = [pattern.strip("/") for pattern in exclude if "/" in pattern.strip("/")]
        self._excluded_names = re.compile("|".join(translate(name) for name in names)) if names else None
        self._excluded_paths = GlobSet(paths, key="exclude", hidden=True) if paths else None

    def identity(self) -> tuple[int, int]:
        """Device and inode of the root. Raises SourceError when it is not a folder that can be listed."""
        try:
            status = os.stat(self.root)
        except FileNotFoundError:
            raise SourceError(
                f"the folder {self._shown} does not exist", hint="check source.path; relative paths start at regen.yaml"
            ) from None
        except OSError as error:
            raise SourceError(f"the folder {self._shown} cannot be read: {error.strerror}") from error
        if not stat.S_ISDIR(status.st_mode):
            raise SourceError(
                f"{self._shown} is a file, not a folder", hint="give the folder and name the file in source.glob"
            )
        return status.st_dev, status.st_ino

    def walk(self, folder: str = "") -> Iterator[Entry]:
        """All documents below a folder (an id-like path, "" for the root), in a stable order.

        Raises SourceError where a folder cannot be listed: to go on would look as if its documents had been deleted.
        """
        todo = [(folder, self._globs.at(folder.split("/") if folder else ()))]
        while todo:
            folder, place = todo.pop()
            files, folders = self._list(folder, place)
            yield from files
            todo.extend(reversed(folders))

    def holds(self, doc_id: str) -> bool:
        """Whether a document of this id would be listed if it were there: the patterns alone, no look at the disk."""
        return self._globs.matches(doc_id) and not self._is_excluded_anywhere(doc_id)

    def enters(self, folder: str) -> bool:
        """Whether the listing enters a folder of this path."""
        return (
            self._globs.at(folder.split("/")).open
            and not self._is_excluded_anywhere(folder)
            and not self._passes_link(f"{folder}/")
        )

    def entry(self, doc_id: str) -> Entry | None:
        """The file of one id, None when the listing would not deliver it."""
        if not self.holds(doc_id) or self._passes_link(doc_id):
            return None
        path = os.path.join(self.root, *doc_id.split("/"))
        return Entry(doc_id, path, _status(path))

    def relative(self, path: str) -> str | None:
        """The id-like path of an absolute one; "" for the root, None for what is outside."""
        if path == self.root:
            return ""
        inside = path.removeprefix(self.root.rstrip(os.sep) + os.sep)
        return None if inside == path else inside.replace(os.sep, "/")

    def _list(self, folder: str, place: Place) -> tuple[list[Entry], list[tuple[str, Place]]]:
        files: list[Entry] = []
        folders: list[tuple[str, Place]] = []
        prefix = f"{folder}/" if folder else ""
        for name, item, is_dir in self._items(folder):
            if is_dir:
                inside = self._globs.enter(place, name)
                if inside.open and not self._is_excluded(prefix + name, name):
                    folders.append((prefix + name, inside))
            elif place.accepts(name) and not self._is_excluded(prefix + name, name):
                entry = Entry(prefix + name, item.path, _entry_status(item))
                if not is_folder(entry):
                    files.append(entry)
        return files, folders

    def _items(self, folder: str) -> list[tuple[str, os.DirEntry[str], bool]]:
        try:
            with os.scandir(os.path.join(self.root, folder) if folder else self.root) as found:
                return sorted((item.name, item, item.is_dir(follow_symlinks=False)) for item in found)
        except GONE:
            # A folder that vanished while we listed is gone like a file; the root is looked at again by the caller.
            return []
        except OSError as error:
            raise SourceError(
                f"the folder {self._shown / folder} cannot be listed: {error.strerror}; "
                "its documents would look as if they had been deleted, so nothing was changed",
                hint="make it readable, or name it in source.exclude",
            ) from error

    def _is_excluded(self, path: str, name: str) -> bool:
        if self._excluded_names is not None and self._excluded_names.match(name):
            return True
        return self._excluded_paths is not None and self._excluded_paths.matches(path)

    def _is_excluded_anywhere(self, path: str) -> bool:
        parts = path.split("/")
        return any(self._is_excluded("/".join(parts[: end + 1]), part) for end, part in enumerate(parts))

    def _passes_link(self, doc_id: str) -> bool:
        folder = self.root
        for part in doc_id.split("/")[:-1]:
            folder = os.path.join(folder, part)
            if os.path.islink(folder):
                return True
        return False


def is_folder(entry: Entry) -> bool:
    """Whether the entry is a (linked) folder, which is never a document."""
    return isinstance(entry.status, os.stat_result) and stat.S_ISDIR(entry.status.st_mode)


def _entry_status(item: os.DirEntry[str]) -> os.stat_result | OSError:
    try:
        return item.stat()
    except OSError as error:
        return error


def _status(path: str) -> os.stat_result | OSError:
    try:
        return os.stat(path)
    except OSError as error:
        return error
