"""From a source to the change log: what really changed, by facet, and what has vanished."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, TypeAlias

from regen.core.changes import Candidate, State, candidate, classify, state_of
from regen.core.documents import Document, Unreadable
from regen.core.results import DeadLetter, DocumentCounts, Progress
from regen.engine.settings import Limits
from regen.errors import ConfigError, DocumentError, DuplicateDocument, MassDelete
from regen.ports import PartialSource, ScanBatch, Source
from regen.ports.catalog import SOURCE_STAGE, Catalog, CatalogReader, Known

READ_DOCUMENTS = 1_000
MIN_FOR_MASS_DELETE = 10
"""In a handful of documents any deletion is a large share."""
Logged: TypeAlias = tuple[Sequence[str], Sequence[int]]
"""The ids and, in the same order, the keys of documents that were written to the log."""


@dataclass(slots=True)
class Observed:
    """What one batch of a scan says: candidates to log, and what needs no logging."""

    candidates: list[Candidate]
    unchanged: int
    seen: list[int]
    restamped: dict[str, str]
    failed: list[DeadLetter]
    delivered: list[str]


@dataclass(slots=True)
class ScanPlan:
    """What a dry scan found: classified candidates go to ``visit``; here are the counts and what has vanished."""

    counts: DocumentCounts
    vanished: list[str]
    digest: str
    changes: set[bytes]
    revision: int


@dataclass(slots=True)
class Scanner:
    """Scans one source against the catalog. ``content_keys`` is the metadata that the text template names."""

    source: Source
    reader: CatalogReader
    content_keys: Sequence[str]
    limits: Limits
    progress: Callable[[Progress], None] | None = None
    _seen: bytearray = field(default_factory=bytearray)
    _fresh: set[str] = field(default_factory=set)

    def observe(self) -> Iterator[Observed]:
        """Go through the source once, batch by batch, deciding; the catalog is only read."""
        done = 0
        for batch in self.source.scan(self.reader):
            yield self.judge(batch)
            done += len(batch.documents) + len(batch.untouched) + len(batch.unreadable)
            if self.progress:
                self.progress(Progress("scan", done, None))

    def judge(self, batch: ScanBatch) -> Observed:
        """Which documents of a batch differ from what their source last delivered."""
        documents = batch.documents
        ids = [document.id for document in documents]
        require_ids(ids)
        others = [*batch.untouched, *(item.id for item in batch.unreadable)]
        known = self.reader.known(ids + others)
        observed = Observed([], len(batch.untouched), [], {}, [], ids)
        for document in documents:
            self._judge(document, known.get(document.id), batch.stamps.get(document.id), observed)
        for doc_id in others:
            if (found := known.get(doc_id)) is not None:
                observed.seen.append(found.doc_key)
        observed.failed += [_source_letter(item) for item in batch.unreadable]
        self._mark(observed.seen)
        return observed

    def _judge(self, document: Document, known: Known | None, stamp: str | None, observed: Observed) -> None:
        self._refuse_fresh_repetition(document.id)
        if known is not None:
            self._refuse_repetition(document.id, known.doc_key)
            observed.seen.append(known.doc_key)
        else:
            self._fresh.add(document.id)
        try:
            found = checked(document, self.limits, stamp)
        except DocumentError as error:
            observed.failed.append(_source_letter(Unreadable(document.id, str(error))))
            observed.delivered.remove(document.id)
            return
        if known is None or known.fingerprint != found.fingerprint:
            observed.candidates.append(Candidate(document, found.fingerprint, stamp, state_of(document)))
            return
        observed.unchanged += 1
        if stamp is not None:
            observed.restamped[document.id] = stamp

    def _refuse_repetition(self, doc_id: str, key: int) -> None:
        if key < len(self._seen) and self._seen[key]:
            raise _duplicate(doc_id, self.source.name)
        self._mark([key])

    def _refuse_fresh_repetition(self, doc_id: str) -> None:
        # Also of an id that the catalog knows: its first delivery may have been written since it was judged.
        if doc_id in self._fresh:
            raise _duplicate(doc_id, self.source.name)

    def _mark(self, keys: Iterable[int]) -> None:
        for key in keys:
            if key >= len(self._seen):
                self._seen.extend(bytes(key + 65_536 - len(self._seen)))
            self._seen[key] = 1

    def logged(self, ids: Iterable[str], keys: Iterable[int]) -> None:
        """New documents have keys now: from here on the catalog remembers them, not this object."""
        self._mark(keys)
        self._fresh.difference_update(ids)

    def vanished(self, *, allow_mass_delete: bool) -> list[str]:
        """What a full source no longer has. Raises MassDelete when that is implausibly much."""
        if not self.source.full:
            return []
        missing, alive = self.reader.vanished(self.source.name, self._seen)
        if not allow_mass_delete:
            self.refuse_mass_delete(len(missing), alive)
        return missing

    def refuse_mass_delete(self, gone: int, alive: int) -> None:
        """Raise MassDelete when so many of the source's documents are gone that a mistake is likelier."""
        share = gone / alive if alive else 0.0
        if share > self.limits.max_delete_share and gone >= MIN_FOR_MASS_DELETE:
            raise MassDelete(
                f"source {self.source.name!r} no longer has {gone:,} of {alive:,} documents ({share:.0%}); "
                f"more than {self.limits.max_delete_share:.0%} at once looks like a mistake, so none was deleted",
                hint="check the source; if they are really gone, repeat with --allow-mass-delete "
                "(or raise limits.max_delete_share)",
            )


def checked(document: Document, limits: Limits, stamp: str | None = None) -> Candidate:
    """Fingerprint a document after checking its form. Raises DocumentError."""
    if not isinstance(document.text, str):
        raise DocumentError(f"text is {type(document.text).__name__}, not a string")
    if len(document.text) > limits.max_document_bytes // 4 and len(document.text.encode()) > limits.max_document_bytes:
        raise DocumentError(
            f"the text has {len(document.text.encode()):,} bytes; the limit is {limits.max_document_bytes:,}",
            hint="split the document, or raise limits.max_document_bytes",
        )
    if not isinstance(document.metadata, Mapping):
        raise DocumentError(f"metadata is {type(document.metadata).__name__}, not a dictionary")
    if document.access is not None:
        _check_access(document.access)
    return candidate(document, stamp)


def _check_access(access: object) -> None:
    if isinstance(access, str):
        raise DocumentError(f"access is the string {access!r}", hint=f"write a list: [{access!r}]")
    if not isinstance(access, Collection) or not all(isinstance(principal, str) for principal in access):
        raise DocumentError(f"access is {access!r}", hint="a list of strings is valid, or None for a public document")


def require_ids(ids: Sequence[Any]) -> None:
    """Raise ConfigError for an id under which nothing can be kept: there is not even a name for a dead letter."""
    for doc_id in ids:
        if not isinstance(doc_id, str) or not doc_id:
            raise ConfigError(
                f"document id {doc_id!r} is not a non-empty string", hint="ids are strings: write str(number)"
            )
    joined = "".join(ids)
    if "\0" in joined:
        bad = next(doc_id for doc_id in ids if "\0" in doc_id)
        raise ConfigError(f"document id {bad!r} has a NUL character", hint="databases cannot compare such a text")
    try:
        joined.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"a document id is not valid Unicode: …{error.object[max(0, error.start - 20) : error.end + 20]!r}…",
            hint="decode file names and keys properly before they become ids",
        ) from None


def scan_and_log(
    scanner: Scanner, catalog: Catalog, *, allow_mass_delete: bool, only: set[bytes] | None = None
) -> DocumentCounts:
    """One pass over a source into the change log. With ``only``, exactly these changes (by :func:`change_key`).

    While one batch is written by a thread, the next is read and judged. Each is written after the one before it, and
    all of them before this returns or raises.
    """
    counts = DocumentCounts()
    failing = set(catalog.buried(SOURCE_STAGE))
    with ThreadPoolExecutor(1, "regen-log") as thread:
        writing: Future[Logged] | None = None
        for observed in scanner.observe():
            chosen = observed.candidates
            if only is not None:
                chosen = [item for item in chosen if change_key(item.document.id, item.fingerprint) in only]
            if writing is not None:
                scanner.logged(*writing.result())
                writing = None
            if chosen:
                writing = thread.submit(_write, scanner, catalog, observed, chosen, counts, failing)
            else:  # next to nothing to write: handing it over would take longer
                _write(scanner, catalog, observed, chosen, counts, failing)
        if writing is not None:
            scanner.logged(*writing.result())
    gone = scanner.vanished(allow_mass_delete=allow_mass_delete)
    if only is not None:
        gone = [doc_id for doc_id in gone if change_key(doc_id, None) in only]
    counts.deleted += catalog.tombstone(gone, at=time.time()) if gone else 0
    if failing and scanner.source.full:
        catalog.unearth(SOURCE_STAGE, sorted(failing))  # neither delivered nor refused again: gone
    return counts


def read_and_log(scanner: Scanner, source: PartialSource, catalog: Catalog, ids: Sequence[str]) -> DocumentCounts:
    """Bring just these documents into the change log, a thousand at a time; what the source lacks is deleted last."""
    counts, gone = DocumentCounts(), list[str]()
    failing = set(catalog.buried(SOURCE_STAGE))
    for start in range(0, len(ids), READ_DOCUMENTS):
        batch, lacking = source.read(ids[start : start + READ_DOCUMENTS])
        gone += lacking
        observed = scanner.judge(batch)
        log_observed(scanner, catalog, observed, observed.candidates, counts, failing)
    scanner.refuse_mass_delete(len(gone), catalog.alive() if len(gone) >= MIN_FOR_MASS_DELETE else 0)
    counts.deleted = catalog.tombstone(gone, at=time.time()) if gone else 0
    catalog.unearth(SOURCE_STAGE, sorted(failing.intersection(gone)))
    return counts


def log_observed(
    scanner: Scanner,
    catalog: Catalog,
    observed: Observed,
    chosen: Sequence[Candidate],
    counts: DocumentCounts,
    failing: set[str],
) -> None:
    """Write one observed batch. ``failing`` holds the source-stage dead letters that this scan has not met yet."""
    scanner.logged(*_write(scanner, catalog, observed, chosen, counts, failing))


def _write(
    scanner: Scanner,
    catalog: Catalog,
    observed: Observed,
    chosen: Sequence[Candidate],
    counts: DocumentCounts,
    failing: set[str],
) -> Logged:
    """What :func:`log_observed` does without the scanner's memory, which belongs to the thread that judges."""
    logged: Logged = ((), ())
    if chosen:
        outcome = catalog.log(scanner.source.name, chosen, content_keys=scanner.content_keys, at=time.time())
        logged = [item.document.id for item in chosen], outcome.doc_keys
        for kind in outcome.outcomes:
            add_outcome(counts, kind)
    counts.unchanged += observed.unchanged
    counts.failed += len(observed.failed)
    catalog.restamp(observed.restamped)
    catalog.bury(observed.failed)
    if failing:
        catalog.unearth(SOURCE_STAGE, sorted(failing.intersection(observed.delivered)))
        failing.difference_update(observed.delivered, (letter.doc_id for letter in observed.failed))
    return logged


def dry_scan(scanner: Scanner, *, allow_mass_delete: bool, visit: Callable[[Candidate, State, str], None]) -> ScanPlan:
    """The same decisions as :func:`scan_and_log`, with nothing written; ``visit`` sees each real change."""
    counts, changes = DocumentCounts(), set[bytes]()
    for observed in scanner.observe():
        counts.unchanged += observed.unchanged
        counts.failed += len(observed.failed)
        old = scanner.reader.states([item.document.id for item in observed.candidates]) if observed.candidates else {}
        for item in observed.candidates:
            state, before = item.state or state_of(item.document), old.get(item.document.id)
            kind = classify(before, state, scanner.content_keys)
            add_outcome(counts, kind)
            changes.add(change_key(item.document.id, item.fingerprint))
            if kind != "unchanged":
                visit(item, state, kind)
    gone = scanner.vanished(allow_mass_delete=allow_mass_delete)
    counts.deleted = len(gone)
    changes.update(change_key(doc_id, None) for doc_id in gone)
    digest = blake2b(b"".join(sorted(changes)), digest_size=16).hexdigest()
    return ScanPlan(counts, gone, digest, changes, scanner.reader.head())


def change_key(doc_id: str, fingerprint: bytes | None) -> bytes:
    """A compact identity of one change: which document becomes what (None: deleted)."""
    return blake2b(doc_id.encode() + b"\0" + (fingerprint or b"deleted"), digest_size=8).digest()


def add_outcome(counts: DocumentCounts, kind: str) -> None:
    """Count one document under the facet that changed."""
    name = {
        "added": "added",
        "content": "updated",
        "metadata": "metadata_updated",
        "access": "access_updated",
        "unchanged": "unchanged",
    }[kind]
    setattr(counts, name, getattr(counts, name) + 1)


def _source_letter(item: Unreadable) -> DeadLetter:
    return DeadLetter(item.id, None, 0, item.reason, 1, time.time())


def _duplicate(doc_id: str, source: str) -> DuplicateDocument:
    return DuplicateDocument(
        f"source {source!r} delivered document id {doc_id!r} twice in one scan",
        hint="ids must be unique; nothing was deleted, and what came before the second one is kept",
    )
