"""Where the demo's documents lie, and how the demo changes them there: in memory, or as files in a copy of a folder.

Changes are made on the *source's* side, as its owner would; the index learns of them by a sync, like of any other.
"""

from __future__ import annotations

import json
import platform
import shutil
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol

import regen
from regen import registry
from regen.cli.demo_folder import SMALL_MODEL, Gate, config_text
from regen.cli.demo_judged import Collected, beginning, collect_starter
from regen.cli.quantities import counted
from regen.config import detect, load_settings
from regen.core.documents import Document
from regen.errors import ConfigError
from regen.opening import evaluation_settings
from regen.ports import KnownStamps, ScanBatch, Source

_SCAN_BATCH: Final = 1000
_FRONT_MATTER: Final = frozenset({".md", ".markdown", ".mdx"})


class Bench(Protocol):
    """Documents that the demo may change."""

    @property
    def title(self) -> str:
        """What the documents are."""
        ...

    @property
    def questions(self) -> Sequence[tuple[str, str]]:
        """Plain-language questions, each with the beginning of an id that should be among its hits; perhaps none."""
        ...

    @property
    def graded(self) -> Sequence[tuple[str, str]]:
        """Questions with the id of what answers them (or of what that belongs to); those of ``questions`` first."""
        ...

    @property
    def gate(self) -> Gate:
        """What the larger model is measured by."""
        ...

    def collect(self, index: regen.Index) -> Collected:
        """See to it that the judged collection of the gate is there."""
        ...

    def open(self) -> regen.Index:
        """The index over these documents, made by the small model."""
        ...

    def reopen(self, model: str) -> regen.Index:
        """The same index with another model in its regen.yaml."""
        ...

    def consider(self, model: str) -> regen.Index:
        """The same index as it would be with another model; regen.yaml stays."""
        ...

    def documents(self) -> list[Document]:
        """The documents that the demo may change, the most telling first."""
        ...

    def questions_for(self, document: Document) -> Sequence[str]:
        """Plain-language questions that this document should answer, the nicest first."""
        ...

    def takes_labels(self, document: Document) -> bool:
        """Whether this document can carry metadata and an access list."""
        ...

    def named_by_id(self, document: Document) -> bool:
        """Whether the document's title is its id, so that a rename changes what is embedded."""
        ...

    def append(self, doc_id: str, paragraph: str) -> None:
        """Add a paragraph to the end of a document."""
        ...

    def rename(self, doc_id: str) -> str:
        """Give a document another id, and tell it."""
        ...

    def delete(self, doc_id: str) -> None:
        """Remove a document."""
        ...

    def label(self, doc_id: str, key: str, value: str) -> None:
        """Set a metadata key."""
        ...

    def restrict(self, doc_id: str, principals: list[str]) -> None:
        """Let only these principals see a document."""
        ...


class _Editable:
    """A source over documents in memory, in which the demo edits them; each scan delivers all of it."""

    full = True

    def __init__(self, name: str, documents: dict[str, Document]) -> None:
        self.name = name
        self.documents = documents

    def scan(self, known: KnownStamps) -> Iterator[ScanBatch]:  # noqa: ARG002 - what is in memory needs no stamps
        """Deliver every document."""
        rest = iter(self.documents.values())
        while batch := list(islice(rest, _SCAN_BATCH)):
            yield ScanBatch(documents=batch)


class _Nothing:
    """Known stamps of a first scan."""

    def stamps(self, ids: Sequence[str]) -> dict[str, str]:  # noqa: ARG002 - nothing is known of any
        """None at all."""
        return {}


def _read(source: Source) -> dict[str, Document]:
    return {document.id: document for batch in source.scan(_Nothing()) for document in batch.documents}


class MemoryBench:
    """Documents that are read once and edited in memory."""

    title: str
    questions: Sequence[tuple[str, str]] = ()
    graded: Sequence[tuple[str, str]] = ()
    gate = Gate()

    def __init__(self, folder: Path, source: Mapping[str, Any]) -> None:
        self._folder = folder
        self._settings = dict(source)
        self._source = _Editable(str(source["kind"]), {})

    def open(self) -> regen.Index:
        """The index of .demo/regen.yaml, with the editable documents in the place of the real ones."""
        self._source.documents = _read(registry.make_source(self._settings, self._folder))
        return self.reopen(SMALL_MODEL)

    def reopen(self, model: str) -> regen.Index:
        """The same after regen.yaml has been edited."""
        text = config_text(json.dumps(self._settings), model, self.gate)
        (self._folder / "regen.yaml").write_text(text, encoding="utf-8")
        return self.consider(model)

    def consider(self, model: str) -> regen.Index:
        """The same with a model that regen.yaml does not name."""
        settings = load_settings(self._folder / "regen.yaml")
        return regen.Index(
            source=self._source,
            embedder=model,
            store=settings.store.url,
            catalog=settings.catalog.url,
            alias=settings.alias,
            text=settings.text,
            chunking=settings.chunking.build(),
            evaluation=evaluation_settings(settings),
            root=settings.root,
        )

    def collect(self, index: regen.Index) -> Collected:
        """Titles and headings, and the questions whose answers are known."""
        return collect_starter(index, self._folder, self.documents(), self._known_answers())

    def documents(self) -> list[Document]:
        """Those that may be changed."""
        return sorted(self._source.documents.values(), key=lambda document: -len(document.text))[:50]

    def questions_for(self, document: Document) -> Sequence[str]:
        """Its own beginning: nobody knows what else it answers."""
        return [beginning(document)]

    def takes_labels(self, document: Document) -> bool:  # noqa: ARG002 - any does
        """In memory every document can."""
        return True

    def named_by_id(self, document: Document) -> bool:  # noqa: ARG002 - none is
        """The title is kept apart from the id."""
        return False

    def append(self, doc_id: str, paragraph: str) -> None:
        """Add a paragraph to the end of a document."""
        self._change(doc_id, text=f"{self._source.documents[doc_id].text}\n\n{paragraph}\n")

    def rename(self, doc_id: str) -> str:
        """Give a document another id; its text and title stay."""
        renamed = f"{doc_id}_renamed"
        self._source.documents[renamed] = replace(self._source.documents.pop(doc_id), id=renamed)
        return renamed

    def delete(self, doc_id: str) -> None:
        """Remove a document."""
        del self._source.documents[doc_id]

    def label(self, doc_id: str, key: str, value: str) -> None:
        """Set a metadata key."""
        self._change(doc_id, metadata={**self._source.documents[doc_id].metadata, key: value})

    def restrict(self, doc_id: str, principals: list[str]) -> None:
        """Let only these principals see a document."""
        self._change(doc_id, access=principals)

    def _change(self, doc_id: str, **changes: Any) -> None:
        self._source.documents[doc_id] = replace(self._source.documents[doc_id], **changes)

    def _known_answers(self) -> dict[str, list[str]]:
        """The documents that answer each question of ``graded``: what it names, and the parts of that."""
        return {
            question: [name for name in self._source.documents if name == expected or name.startswith(f"{expected}.")]
            for question, expected in self.graded
        }


class LibraryBench(MemoryBench):
    """Every public docstring of the Python that runs this."""

    gate = Gate(bound="min_lift: 0.0", must_win=True)
    title = f"the documentation of Python {platform.python_version()}"
    questions: Sequence[tuple[str, str]] = (
        ("how do I read command line arguments", "argparse"),
        ("compress a file", "gzip"),
        ("run another program and capture its output", "subprocess"),
        ("wait for several threads to finish", "threading"),
    )
    graded: Sequence[tuple[str, str]] = (
        *questions,
        ("parse a JSON string into Python objects", "json"),
        ("pick random elements from a list", "random"),
        ("copy a whole folder with everything in it", "shutil"),
        ("send an email message", "smtplib"),
        ("compute the median of numbers", "statistics"),
        ("find the difference between two texts", "difflib"),
        ("read a table of comma separated values", "csv"),
        ("write log messages to a file", "logging"),
        ("download a web page", "urllib"),
        ("make a temporary file that is deleted afterwards", "tempfile"),
        ("exact decimal arithmetic for money", "decimal"),
        ("measure how long a piece of code takes", "timeit"),
        ("remember results of expensive function calls", "functools"),
        ("unpack a zip archive", "zipfile"),
        ("store objects on disk and load them again", "pickle"),
        ("match text with a pattern", "re"),
        ("connect to a database", "sqlite3"),
        ("secure hash of a password", "hashlib"),
        ("days between two dates", "datetime"),
        ("walk through a folder", "os"),
        ("binary search in a sorted list", "bisect"),
        ("iterate over all permutations", "itertools"),
        ("debug a program step by step", "pdb"),
        ("start a simple web server", "http.server"),
        ("run tasks in a pool of processes", "concurrent.futures"),
        ("find memory leaks", "tracemalloc"),
        ("translate messages into other languages", "gettext"),
        ("validate and parse XML", "xml"),
    )
    # Known to every supported Python; one that is not there any more would be passed over.
    _TELLING: Final = {
        "argparse": "a library for parsing the command line",
        "shutil.copytree": "copy a whole folder with everything in it",
        "gzip.compress": "compress a file",
        "heapq": "priority queue as a heap",
        "secrets.token_hex": "a random token as hexadecimal text",
        "textwrap.dedent": "remove common leading whitespace from lines",
    }

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {"kind": "docstrings"})

    def documents(self) -> list[Document]:
        """A few well-known ones, then those with the longest texts."""
        known = self._source.documents
        telling = [known[doc_id] for doc_id in self._TELLING if doc_id in known]
        return telling + super().documents()

    def questions_for(self, document: Document) -> Sequence[str]:
        """The question that a well-known one answers, else its own beginning."""
        return [self._TELLING.get(document.id, ""), beginning(document)]


class FolderBench:
    """A copy of the matching files of a folder, edited as files. The folder itself is only read."""

    gate = Gate()
    questions: Sequence[tuple[str, str]] = ()
    graded: Sequence[tuple[str, str]] = ()

    def __init__(self, docs: Path, folder: Path) -> None:
        self._original = docs.resolve()
        found = detect(self._original, self._original)
        if found.kind != "files":
            raise ConfigError(
                f"{docs} is not a folder of text", hint="the demo takes a folder of Markdown or plain text"
            )
        self.title = f"a copy of the {counted(found.documents, 'document')} in {docs}"
        self._globs = list(found.glob)
        self._folder, self._docs = folder, folder / "docs"
        self._documents: dict[str, Document] = {}

    def open(self) -> regen.Index:
        """The index of .demo/regen.yaml, over the copy."""
        settings = {"kind": "files", "path": str(self._original), "glob": self._globs}
        self._documents = _read(registry.make_source(settings, self._folder))
        for doc_id in self._documents:
            (self._docs / doc_id).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._original / doc_id, self._docs / doc_id)
        return self.reopen(SMALL_MODEL)

    def reopen(self, model: str) -> regen.Index:
        """The same after regen.yaml has been edited."""
        return self._open("regen.yaml", model)

    def consider(self, model: str) -> regen.Index:
        """The same by another file beside regen.yaml."""
        return self._open("considered.yaml", model)

    def _open(self, name: str, model: str) -> regen.Index:
        source = f"{{kind: files, path: docs, glob: {json.dumps(self._globs)}}}"
        (self._folder / name).write_text(config_text(source, model, self.gate), encoding="utf-8")
        return regen.open(self._folder / name)

    def collect(self, index: regen.Index) -> Collected:
        """Titles and headings."""
        return collect_starter(index, self._folder, self.documents(), {})

    def documents(self) -> list[Document]:
        """Markdown first, for its front matter; the longest first."""
        return sorted(
            self._documents.values(),
            key=lambda document: (Path(document.id).suffix.lower() not in _FRONT_MATTER, -len(document.text)),
        )

    def questions_for(self, document: Document) -> Sequence[str]:
        """The title, or the file's own beginning: nobody knows what else it answers."""
        return [str(document.metadata.get("title", "")), beginning(document)]

    def takes_labels(self, document: Document) -> bool:
        """Markdown has front matter; a text that begins like it is left alone."""
        taken = {"reviewed", "access"} & document.metadata.keys()
        is_markdown = Path(document.id).suffix.lower() in _FRONT_MATTER
        return is_markdown and not taken and not document.text.startswith("---")

    def named_by_id(self, document: Document) -> bool:
        """A file without title or heading is called by its name."""
        return document.metadata.get("title") == Path(document.id).stem

    def append(self, doc_id: str, paragraph: str) -> None:
        """Add a paragraph to the end of a file."""
        path = self._docs / doc_id
        path.write_bytes(path.read_bytes() + f"\n\n{paragraph}\n".encode())

    def rename(self, doc_id: str) -> str:
        """Move a file to another name beside it."""
        path = self._docs / doc_id
        renamed = path.with_name(f"{path.stem}-renamed{path.suffix}")
        path.rename(renamed)
        return renamed.relative_to(self._docs).as_posix()

    def delete(self, doc_id: str) -> None:
        """Remove a file."""
        (self._docs / doc_id).unlink()

    def label(self, doc_id: str, key: str, value: str) -> None:
        """Set a key in a file's front matter."""
        self._add_front_matter(doc_id, f"{key}: {json.dumps(value)}")

    def restrict(self, doc_id: str, principals: list[str]) -> None:
        """Set the access list in a file's front matter."""
        self._add_front_matter(doc_id, f"access: {json.dumps(principals)}")

    def _add_front_matter(self, doc_id: str, line: str) -> None:
        path = self._docs / doc_id
        data = path.read_bytes().removeprefix(BOM_UTF8)
        first, _, rest = data.partition(b"\n")
        # Bytes, so that the line ends of the text itself stay what they are.
        added = f"---\n{line}\n".encode()
        path.write_bytes(added + rest if first.rstrip() == b"---" else added + b"---\n" + data)
