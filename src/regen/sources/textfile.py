"""One file becomes one document, or the reason why it cannot."""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath
from typing import Any, Final
from zlib import crc32

from regen.core.documents import Document, Unreadable
from regen.errors import ConfigError
from regen.sources.access import parse_access
from regen.sources.markdown import FrontMatterError, first_heading, split_front_matter
from regen.sources.tree import GONE, Entry

MARKDOWN: Final = frozenset({".md", ".markdown", ".mdx"})
_VERSION: Final = 1  # raise it when the same bytes begin to give another document


class TextFileReader:
    """Reads files as text. ``key`` changes with every setting that changes what the same bytes become.

    Newlines stay as they are; a byte order mark is dropped. Raises ConfigError for an encoding that is not known.
    """

    def __init__(self, encoding: str, max_bytes: int, access_key: str) -> None:
        self._encoding = _known_encoding(encoding)
        self._max_bytes = max_bytes
        self._access_key = access_key
        self.key = f"{crc32(repr((_VERSION, self._encoding, access_key)).encode()):08x}"

    def read(self, entry: Entry) -> Document | Unreadable | None:
        """The document of a file, the reason why there is none, or None when the file is gone."""
        if not _is_unicode(entry.id):
            shown = entry.id.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            return Unreadable(shown, "the file's name is not valid UTF-8; rename it")
        try:
            return self._document(entry)
        except GONE:
            return _dangling(entry)
        except OSError as error:
            return Unreadable(entry.id, f"cannot be read: {error.strerror or error}")
        except (_NotADocument, FrontMatterError) as error:
            return Unreadable(entry.id, str(error))

    def _document(self, entry: Entry) -> Document:
        if isinstance(entry.status, OSError):
            raise entry.status
        if not stat.S_ISREG(entry.status.st_mode):
            raise _NotADocument("is a device, pipe or socket, not a file")
        name = PurePosixPath(entry.id)
        text = self._decode(self._bytes(entry.path, entry.status.st_size))
        front: dict[str, Any] = {}
        heading = None
        if name.suffix.lower() in MARKDOWN:
            front, text = split_front_matter(text)
            heading = first_heading(text)
        access = _access(front.pop(self._access_key, None))
        title = _title(front.pop("title", None)) or heading or name.stem
        metadata = {"title": title, "path": entry.id, **front}
        return Document(entry.id, text, metadata, access, updated_at=entry.status.st_mtime)

    def _bytes(self, path: str, size: int) -> bytes:
        if size > self._max_bytes:
            raise _NotADocument(f"has {size:,} bytes; source.max_bytes allows {self._max_bytes:,}")
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (a Path for each file costs more than opening it)
            return file.readall()

    def _decode(self, data: bytes) -> str:
        try:
            text = data.decode(self._encoding)
        except UnicodeDecodeError as error:
            if b"\0" in data and not self._encoding.startswith(("utf-16", "utf-32")):
                raise _binary(data.index(b"\0")) from None
            raise _NotADocument(
                f"is not valid {self._encoding.upper()}: byte {error.start} is 0x{data[error.start]:02x} "
                f"({error.reason}); save it as {self._encoding.upper()} or set source.encoding"
            ) from None
        if "\0" in text:
            raise _binary(text.index("\0"))
        return text.removeprefix("\ufeff")


class _NotADocument(Exception):
    """The file is there, but it is no text document."""


def _binary(offset: int) -> _NotADocument:
    return _NotADocument(f"is a binary file (a NUL at {offset}), not text")


def _known_encoding(encoding: str) -> str:
    try:
        b" ".decode(encoding)
    except LookupError:
        raise ConfigError(
            f"source.encoding: {encoding!r} is not a text encoding", hint="for example utf-8, utf-16, latin-1, cp1252"
        ) from None
    except UnicodeDecodeError:
        pass  # one blank is no text in UTF-16: the encoding exists
    return encoding.lower().replace("_", "-")


def _is_unicode(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _dangling(entry: Entry) -> Unreadable | None:
    """A file that is not there is gone; a link to nothing is not: its target may only be out of reach."""
    path = Path(entry.path)
    if path.is_symlink():
        return Unreadable(entry.id, f"is a symbolic link to {path.readlink()}, which is not there")
    return None


def _access(value: object) -> list[str] | None:
    try:
        return parse_access(value)
    except ValueError as error:
        raise _NotADocument(f"front matter: {error}") from None


def _title(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        raise _NotADocument(f"front matter: title is a {type(value).__name__}; a text is valid")
    return str(value)
