"""A file with one JSON object per line, such as BEIR's ``corpus.jsonl``; ``.gz`` is read as it is.

There is no cheap check for one line of a file, so a scan reads and fingerprints them all; no stamps are given.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Self, cast

import orjson

from regen.core.documents import Document, Unreadable
from regen.errors import DuplicateDocument, SourceError
from regen.ports import KnownStamps, ScanBatch
from regen.sources.records import RecordError, RecordReader
from regen.sources.repeats import Repeats
from regen.sources.settings import SourceSettings

BATCH_LINES: Final = 1_000
BATCH_BYTES: Final = 16_000_000
DEFAULT_MAX_BYTES: Final = 20_000_000

# The id of a line that is no valid JSON, where it comes first: elsewhere it could be another object's.
_LEADING_ID: Final = re.compile(rb'\s*\{\s*"([^"\\]+)"\s*:\s*("(?:[^"\\]|\\.)*"|-?\d+)\s*[,}]')


class _Line(NamedTuple):
    number: int
    data: bytes  # at most max_bytes + 1 of them


class JsonlSource:
    """The objects of ``path``, one a line.

    The id is ``id_field``, or else ``id`` or ``_id``; the text is ``text_field``, or else ``text``, ``contents`` or
    ``content``. ``title``, ``metadata``, ``access``, ``version`` and ``updated_at`` are what they say; every other key
    becomes metadata. A line longer than ``max_bytes`` is unreadable.
    """

    full = True

    def __init__(
        self,
        path: str | Path,
        *,
        id_field: str | None = None,
        text_field: str | None = None,
        name: str | None = None,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        self.name = name or "jsonl"
        self.path = Path(path)
        self._records = RecordReader(id_field, text_field)
        self._max_bytes = max_bytes

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], root: Path) -> Self:
        """The source of a ``source: {kind: jsonl, …}`` block; a relative path starts at ``root``."""
        given = SourceSettings("jsonl", settings, ("path", "id_field", "text_field", "name", "max_bytes"))
        return cls(
            given.path("path", root),
            id_field=given.optional_text("id_field"),
            text_field=given.optional_text("text_field"),
            name=given.optional_text("name"),
            max_bytes=given.number("max_bytes", DEFAULT_MAX_BYTES),
        )

    def scan(self, known: KnownStamps) -> Iterator[ScanBatch]:  # noqa: ARG002 (a line has no cheap check)
        """Deliver every line. Raises SourceError when the file cannot be read, DuplicateDocument for an id seen twice.

        A line that cannot be used is unreadable under its id where that can be told, else under ``line:17``.
        """
        repeats = Repeats()
        try:
            for lines in self._batches():
                found = [self._document(line) for line in lines]
                for doc_id in repeats.add([each.id for each in found]):
                    self._refuse_repeated(doc_id)
                yield ScanBatch(
                    documents=[each for each in found if isinstance(each, Document)],
                    unreadable=[each for each in found if isinstance(each, Unreadable)],
                )
        except (OSError, EOFError, zlib.error) as error:  # the last two: a .gz file that was cut off or damaged
            raise self._unreadable(error) from error

    def _batches(self) -> Iterator[list[_Line]]:
        lines: list[_Line] = []
        size = 0
        for line in self._lines():
            lines.append(line)
            size += len(line.data)
            if len(lines) >= BATCH_LINES or size >= BATCH_BYTES:
                yield lines
                lines, size = [], 0
        if lines:
            yield lines

    def _lines(self) -> Iterator[_Line]:
        """The lines that are not blank, numbered from 1; of a line that is too long only the beginning."""
        limit, number = self._max_bytes + 1, 0
        with self._open() as file:
            while data := file.readline(limit):
                number += 1
                line = data
                while len(data) == limit and not data.endswith(b"\n"):
                    data = file.readline(limit)  # the rest of a line that is too long is passed over
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                    self._refuse_array(line)
                if line.strip():
                    yield _Line(number, line)

    def _open(self) -> IO[bytes]:
        if self.path.suffix == ".gz":
            return cast("IO[bytes]", gzip.open(self.path, "rb"))
        return self.path.open("rb", buffering=1 << 18)

    def _document(self, line: _Line) -> Document | Unreadable:
        if len(line.data.rstrip(b"\r\n")) > self._max_bytes:
            reason = f"line {line.number} has more than the {self._max_bytes:,} bytes that source.max_bytes allows"
            return Unreadable(self._leading_id(line), reason)
        try:
            return self._records.document(orjson.loads(line.data))
        except RecordError as error:
            return Unreadable(error.id or f"line:{line.number}", f"line {line.number}: {error}")
        except orjson.JSONDecodeError as error:
            return Unreadable(self._leading_id(line), f"line {line.number} is not valid JSON: {_problem(line, error)}")

    def _leading_id(self, line: _Line) -> str:
        found = _LEADING_ID.match(line.data)
        if found and found[1].decode("utf-8", "replace") in self._records.id_fields:
            try:
                return str(orjson.loads(found[2])) or f"line:{line.number}"
            except orjson.JSONDecodeError:
                pass  # the id itself is what is broken
        return f"line:{line.number}"

    def _refuse_array(self, first: bytes) -> None:
        if first.lstrip().startswith(b"["):
            raise SourceError(
                f"{self.path} holds a JSON array, not one object per line",
                hint=f"convert it once, for example: jq -c '.[]' {self.path.name} > {self.path.stem}.jsonl",
            )

    def _refuse_repeated(self, doc_id: str) -> None:
        numbers = []
        for line in self._lines():
            if self._document(line).id == doc_id:
                numbers.append(line.number)
            if len(numbers) == 2:
                raise DuplicateDocument(
                    f"{self.path} has the id {doc_id!r} on line {numbers[0]} and on line {numbers[1]}",
                    hint="ids must be unique; nothing was changed",
                )

    def _unreadable(self, error: Exception) -> SourceError:
        if isinstance(error, FileNotFoundError):
            return SourceError(
                f"the file {self.path} does not exist", hint="check source.path; relative paths start at regen.yaml"
            )
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return SourceError(f"the file {self.path} cannot be read: {reason}")


def _problem(line: _Line, error: orjson.JSONDecodeError) -> str:
    try:
        line.data.decode()
    except UnicodeDecodeError as invalid:
        return f"invalid UTF-8 at byte {invalid.start} of the line"
    return str(error)
