"""From a source to the change log: what really changed, by facet, and what has vanished."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, TypeAlias

from regen.core.changes import Candidate, candidate, state_of
from regen.core.documents import Document, Unreadable
from regen.core.results import DeadLetter, DocumentCounts, Progress
from regen.engine.settings import Limits
from regen.errors import ConfigError, DocumentError, DuplicateDocument, MassDelete
from regen.ports import PartialSource, ScanBatch, Source
from regen.ports.catalog import SOURCE_STAGE, Catalog, CatalogReader, Known

READ_DOCUMENTS = 1_000
MAX_CLAIMS = 10_000
"""So many documents of other sources are kept in mind, until it is known whether those still have them."""
MIN_FOR_MASS_DELETE = 10
"""In a handful of documents any deletion is a large share."""
Logged: TypeAlias = tuple[Sequence[str], Sequence[int]]
"""The ids and, in the same order, the keys of documents that were written to the log."""


@dataclass(slots=True)
class Observed:
    """What one batch of a scan says: candidates to log, and what needs no logging."""

    candidates: list[Candidate]
    unchanged: int
    restamped: dict[str, str]
    failed: list[DeadLetter]
    delivered: list[str]


@dataclass(slots=True)
class Scanner:
    """Scans one source against the catalog. ``content_keys`` is the metadata that the text template names.

    ``others`` are the index's other sources, by name. A living document of one of those is not taken from it here: it
    is remembered in ``claims``, under its owner's name; unless this source ``takes`` whatever it is given.
    """

    source: Source
    reader: CatalogReader
    content_keys: Sequence[str]
    limits: Limits
    progress: Callable[[Progress], None] | None = None
    others: Mapping[str, Source] = field(default_factory=dict)
    takes: bool = False
    claims: list[tuple[str, Candidate]] = field(default_factory=list)
    _seen: bytearray = field(default_factory=bytearray)
    _fresh: set[str] = field(default_factory=set)

    def observe(self) -> Iterator[Observed]:
        """Go through the source once, batch by batch, deciding; the catalog is only read."""
        done = 0
        for batch in self.source.scan(_OwnStamps(self.reader, self.source.name)):
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
        observed = Observed([], len(batch.untouched), {}, [], ids)
        for document in documents:
            self._judge(document, known.get(document.id), batch.stamps.get(document.id), observed)
        self._mark([known[doc_id].doc_key for doc_id in others if doc_id in known])
        observed.failed += [self._letter(item) for item in batch.unreadable]
        return observed

    def _judge(self, document: Document, known: Known | None, stamp: str | None, observed: Observed) -> None:
        self._refuse_fresh_repetition(document.id)
        if known is not None:
            self._refuse_repetition(document.id, known.doc_key)
        else:
            self._fresh.add(document.id)
        try:
            found = checked(document, self.limits, stamp)
            if known is not None and not self.takes and is_of(known, self.others):
                self._claim(known.source, found)
                observed.delivered.remove(document.id)
                return
        except DocumentError as error:
            observed.failed.append(self._letter(Unreadable(document.id, str(error))))
            observed.delivered.remove(document.id)
            return
        if known is None or known.fingerprint != found.fingerprint or self._is_orphan(known):
            observed.candidates.append(Candidate(document, found.fingerprint, stamp, state_of(document)))
            return
        observed.unchanged += 1
        if stamp is not None:
            observed.restamped[document.id] = stamp

    def _is_orphan(self, known: Known) -> bool:
        """Whether a document was of a source that the index has no more (or calls by another name)."""
        return known.source != self.source.name and known.source not in self.others

    def _claim(self, owner: str, found: Candidate) -> None:
        if len(self.claims) >= MAX_CLAIMS:
            before = [(name, item.document.id) for name, item in self.claims]
            raise claimed(self.source.name, [*before, (owner, found.document.id)])
        self.claims.append((owner, found))

    def _letter(self, item: Unreadable) -> DeadLetter:
        return DeadLetter(item.id, None, 0, item.reason, 1, time.time(), self.source.name)

    def _refuse_repetition(self, doc_id: str, key: int) -> None:
        seen = self._seen
        if key >= len(seen):
            self._mark([key])
        elif seen[key]:
            raise _duplicate(doc_id, self.source.name)
        else:
            seen[key] = 1

    def _refuse_fresh_repetition(self, doc_id: str) -> None:
        # Also of an id that the catalog knows: its first delivery may have been written since it was judged.
        if doc_id in self._fresh:
            raise _duplicate(doc_id, self.source.name)

    def _mark(self, keys: Iterable[int]) -> None:
        for key in keys:
            if key >= len(self._seen):
                self._seen.extend(bytes(key + 65_536 - len(self._seen)))
            self._seen[key] = 1

    @property
    def fresh(self) -> Collection[str]:
        """The ids delivered so far that are new to the catalog and not logged yet."""
        return self._fresh

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


def log_scan(scanner: Scanner, catalog: Catalog, counts: DocumentCounts, only: set[bytes] | None = None) -> list[str]:
    """One pass over a source into the change log; the ids of source-stage dead letters that it has not met again.

    With ``only``, exactly these changes (by :func:`change_key`). While one batch is written by a thread, the next is
    read and judged. Each is written after the one before it, and all of them before this returns or raises.
    """
    failing = set(catalog.buried(SOURCE_STAGE, scanner.source.name))
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
    return sorted(failing)


def read_and_log(scanner: Scanner, source: PartialSource, catalog: Catalog, ids: Sequence[str]) -> DocumentCounts:
    """Bring just these documents into the change log, a thousand at a time; what the source lacks is deleted last."""
    counts, gone = DocumentCounts(), list[str]()
    name = scanner.source.name
    failing = set(catalog.buried(SOURCE_STAGE, name))
    for start in range(0, len(ids), READ_DOCUMENTS):
        batch, lacking = source.read(ids[start : start + READ_DOCUMENTS])
        gone += lacking
        observed = scanner.judge(batch)
        log_observed(scanner, catalog, observed, observed.candidates, counts, failing)
    if gone and scanner.others:
        known = catalog.known(gone)
        gone = [doc_id for doc_id in gone if doc_id not in known or known[doc_id].source not in scanner.others]
    scanner.refuse_mass_delete(len(gone), catalog.alive(name) if len(gone) >= MIN_FOR_MASS_DELETE else 0)
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


def is_of(known: Known, sources: Collection[str]) -> bool:
    """Whether a document is alive and was last delivered by one of these sources."""
    return known.source in sources and not known.deleted and known.fingerprint is not None


def claimed(source: str, claims: Sequence[tuple[str, str]]) -> DuplicateDocument:
    """The error of a source that delivers documents of others; ``claims`` are owners and ids."""
    owner, doc_id = claims[0]
    more = f" (and {len(claims) - 1:,} more)" if len(claims) > 1 else ""
    return DuplicateDocument(
        f"sources {owner!r} and {source!r} both deliver document id {doc_id!r}{more}; {owner!r} keeps it",
        hint="ids must be unique among all sources; of documents that have moved from one source to the other, run "
        "`regen sync` of all sources, or of the former one first",
    )


@dataclass(frozen=True, slots=True)
class _OwnStamps:
    """What the catalog remembers of cheap checks of one source's documents."""

    reader: CatalogReader
    source: str

    def stamps(self, ids: Sequence[str]) -> dict[str, str]:
        return self.reader.stamps(ids, self.source)


def _duplicate(doc_id: str, source: str) -> DuplicateDocument:
    return DuplicateDocument(
        f"source {source!r} delivered document id {doc_id!r} twice in one scan",
        hint="ids must be unique; nothing was deleted, and what came before the second one is kept",
    )
