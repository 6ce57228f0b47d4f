"""The documentation of the running Python: every public docstring of its standard library.

Thousands of real texts that are on every machine that can run regen; the demo and many tests use them.
The library's files are parsed, not imported: importing some of them opens a browser, a window or a network.
"""

from __future__ import annotations

import platform
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

from regen.core.documents import Document, Unreadable
from regen.errors import ConfigError, SourceError
from regen.ports import KnownStamps, ScanBatch
from regen.sources.compiled import IMPORTED, compiled_docstrings
from regen.sources.docstring import Docstring
from regen.sources.parsed import parsed_docstrings
from regen.sources.settings import SourceSettings

BATCH_IDS: Final = 1_000
MIN_CHARACTERS: Final = 20

_LEFT_OUT: Final = frozenset(
    {"antigravity", "distutils", "ensurepip", "idlelib", "lib2to3", "nturl2path", "ntpath", "pydoc_data"}
    | {"sre_compile", "sre_constants", "sre_parse", "test", "tests", "this", "turtledemo"}
)
# Where a reader looks for what is written elsewhere.
_SHOWN_AS: Final = {"posixpath": "os.path", "genericpath": "os.path"}


class DocstringsSource:
    """The public docstrings of the standard library: modules, classes, functions and methods.

    ``modules`` keeps to some modules (``json``, ``os.path``) and what lies below them; ``limit`` keeps to the first
    documents. An id is the qualified name (``argparse.ArgumentParser.add_argument``); the text is the signature, where
    there is one, and the docstring. Docstrings of fewer than 20 characters are left out, and all names with a leading
    underscore.

    Raises ConfigError for a module that is not of the standard library.
    """

    full = True

    def __init__(
        self, *, modules: Sequence[str] | None = None, limit: int | None = None, name: str | None = None
    ) -> None:
        self.name = name or "docstrings"
        self._wanted = None if modules is None else tuple(_known(module) for module in modules)
        self._limit = limit

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], root: Path) -> Self:  # noqa: ARG003 (no path in its settings)
        """The source of a ``source: {kind: docstrings, …}`` block."""
        given = SourceSettings("docstrings", settings, ("modules", "limit", "name"))
        return cls(
            modules=given.optional_texts("modules"),
            limit=given.optional_number("limit"),
            name=given.optional_text("name"),
        )

    def scan(self, known: KnownStamps) -> Iterator[ScanBatch]:  # noqa: ARG002 (to list is to read)
        """Deliver every docstring, module by module in alphabetical order. Raises SourceError without library files."""
        found = islice(self._documents(), self._limit)
        while batch := list(islice(found, BATCH_IDS)):
            yield ScanBatch(
                documents=[each for each in batch if isinstance(each, Document)],
                unreadable=[each for each in batch if isinstance(each, Unreadable)],
            )

    def _documents(self) -> Iterator[Document | Unreadable]:
        seen: set[str] = set()
        library = Path(sysconfig.get_path("stdlib"))
        for shown, file in self._modules(library):
            for found in _docstrings(shown, file, library):
                if found.id not in seen:
                    seen.add(found.id)
                    yield found

    def _modules(self, library: Path) -> list[tuple[str, Path | None]]:
        """Names as shown, with the file to parse, None for what can only be imported; sorted."""
        files = {module: file for file in sorted(library.rglob("*.py")) if (module := _module(file, library))}
        if not files:
            raise SourceError(
                f"the folder {library} holds no standard library as Python files",
                hint="a Python packed into one file has no docstrings to read; use an ordinary installation",
            )
        modules: list[tuple[str, Path | None]] = [(_SHOWN_AS.get(name, name), file) for name, file in files.items()]
        modules += [(name, None) for name in IMPORTED if name not in files]
        return sorted(((shown, file) for shown, file in modules if self._wants(shown)), key=lambda each: each[0])

    def _wants(self, module: str) -> bool:
        return self._wanted is None or any(f"{module}.".startswith(f"{wanted}.") for wanted in self._wanted)


def _docstrings(module: str, file: Path | None, library: Path) -> Iterator[Document | Unreadable]:
    if file is not None:
        try:
            yield from map(_document, _worthwhile(parsed_docstrings(module, file, library)))
        except (OSError, SyntaxError, ValueError) as error:
            yield Unreadable(module, f"{file.name} cannot be parsed: {error}")
    if module in IMPORTED:
        yield from map(_document, _worthwhile(compiled_docstrings(module)))


def _worthwhile(found: Iterator[Docstring]) -> Iterator[Docstring]:
    return (each for each in found if len(each.doc) >= MIN_CHARACTERS)


def _document(found: Docstring) -> Document:
    text = f"{found.signature}\n\n{found.doc}" if found.signature else found.doc
    module = found.name.partition(".")[0]
    metadata = {"title": found.name, "module": module, "kind": found.kind}
    return Document(found.name, text, metadata, version=platform.python_version())


def _module(file: Path, library: Path) -> str | None:
    """The dotted name of a public module of the standard library, None for any other file."""
    parts = list(file.relative_to(library).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    # The names tell the library's own modules from site-packages and a distribution's additions.
    if not parts or parts[0] not in sys.stdlib_module_names or (parts[0] == "encodings" and len(parts) > 1):
        return None
    hidden = any(part.startswith("_") or part in _LEFT_OUT or not part.isidentifier() for part in parts)
    return None if hidden else ".".join(parts)


def _known(module: str) -> str:
    if module.partition(".")[0] not in sys.stdlib_module_names:
        raise ConfigError(
            f"source.modules: {module!r} is not a module of Python's standard library",
            hint="for example json, argparse, os.path; to index a package of your own, use kind: files",
        )
    return module
