"""The dry run: the decisions of a sync, counted exactly, with nothing written and no text sent to the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from regen.core.changes import Candidate, State
from regen.core.chunking import Chunker
from regen.core.chunks import ENTRY_BYTES, text_digest, text_key
from regen.core.plan import Action, Plan, Step
from regen.core.recipe import Recipe
from regen.engine.embedding import CHARACTERS_PER_TOKEN
from regen.engine.prepare import Batch, Preparer, Task
from regen.engine.scan import Scanner, ScanPlan, dry_scan
from regen.ports import Embedder, Store, VectorCache
from regen.ports.catalog import CatalogReader, Generation, Work

BATCH_DOCUMENTS = 1_000

_REASONS: dict[Action, str] = {
    "create_generation": "there is no generation yet",
    "place_documents": "documents are new (or not placed yet)",
    "replace_documents": "text, or metadata that the text template names, was edited",
    "update_metadata": "metadata that is not embedded was edited",
    "update_access": "access lists were edited",
    "delete_documents": "documents are gone from the source",
}
_ORDER: tuple[Action, ...] = (
    "update_access", "create_generation", "place_documents", "replace_documents", "update_metadata", "delete_documents",
)  # fmt: skip


@dataclass(slots=True)
class _Tally:
    documents: int = 0
    chunks: int = 0
    texts: int = 0
    tokens: int = 0


@dataclass(slots=True)
class DryRun:
    """A plan together with the changes it covers, which ``apply`` holds the source to (I9)."""

    plan: Plan
    changes: set[bytes]


@dataclass(slots=True)
class Planner:
    """Counts what a sync would do. ``rate`` is texts per second, measured; None when nothing was measured yet."""

    scanner: Scanner
    reader: CatalogReader
    store: Store
    embedder: Embedder
    chunker: Chunker
    recipe: Recipe
    generation: Generation | None
    cache: VectorCache | None = None
    rate: float | None = None
    _tallies: dict[Action, _Tally] = field(default_factory=dict)
    _counted: set[int] = field(default_factory=set)
    _pending: list[tuple[Action, Work]] = field(default_factory=list)

    def run(self, *, allow_mass_delete: bool) -> DryRun:
        """Scan, decide and count. Raises MassDelete and what the source raises."""
        number = self.generation.number if self.generation else 0
        collection = self.generation.collection if self.generation else ""
        preparer = Preparer(number, collection, self.recipe, self.chunker, self.reader)
        touched: set[str] = set()

        def visit(item: Candidate, state: State, kind: str) -> None:
            touched.add(item.document.id)
            self._pending.append((_action(kind), _work(item, state)))
            if len(self._pending) >= BATCH_DOCUMENTS:
                self._count_pending(preparer)

        scanned = dry_scan(self.scanner, allow_mass_delete=allow_mass_delete, visit=visit)
        self._count_pending(preparer)
        self._count_behind(preparer, touched | set(scanned.vanished))
        self._count_vanished(scanned)
        return DryRun(self._plan(scanned, allow_mass_delete), scanned.changes)

    def _count_pending(self, preparer: Preparer) -> None:
        pending, self._pending = self._pending, []
        if pending and self.generation is not None:
            placed = self.reader.placed(self.generation.number, [work.doc_id for _, work in pending])
            for _, work in pending:
                work.placement = placed.get(work.doc_id)
        batch = preparer.prepare([work for _, work in pending], self.store)
        for (action, _), task in zip(pending, batch.tasks, strict=True):
            self._count_task(action, task)
        self._count_texts([action for action, _ in pending], batch)
        preparer.finished(batch)

    def _count_behind(self, preparer: Preparer, touched: set[str]) -> None:
        """Documents that the log knows but the generation lacks: what a crash or a failed run left."""
        for works in self._behind():
            chosen = [work for work in works if work.doc_id not in touched]
            batch = preparer.prepare(chosen, self.store)
            actions: list[Action] = [_pending_action(task) for task in batch.tasks]
            for action, task in zip(actions, batch.tasks, strict=True):
                self._count_task(action, task)
            self._count_texts(actions, batch)
            preparer.finished(batch)

    def _behind(self) -> Iterator[list[Work]]:
        if self.generation is None:
            return
        after, head = self.generation.watermark, self.reader.head()
        while works := self.reader.behind(
            self.generation.number, after=after, upto=head, lane=None, limit=BATCH_DOCUMENTS, max_bytes=8_000_000
        ):
            yield works
            after = works[-1].revision

    def _count_vanished(self, scanned: ScanPlan) -> None:
        gone = scanned.vanished
        if gone:
            tally = self._tally("delete_documents")
            tally.documents += len(gone)
            if self.generation is not None:
                placed = self.reader.placed(self.generation.number, gone)
                tally.chunks += sum(len(item.chunks) for item in placed.values()) // ENTRY_BYTES

    def _count_task(self, action: Action, task: Task) -> None:
        tally = self._tally(action)
        tally.documents += 1
        dropped = len(task.dropped) // ENTRY_BYTES
        tally.chunks += (
            dropped if task.need == "delete" else len(task.kept) if task.need == "payload" else len(task.new)
        )

    def _count_texts(self, actions: Sequence[Action], batch: Batch) -> None:
        """Attribute each text to the first action that needs it, once over the whole plan."""
        owners: dict[int, Action] = {}
        for action, task in zip(actions, batch.tasks, strict=True):
            for slot in task.slots:
                owners.setdefault(id(slot), action)
        fresh = [slot for slot in batch.to_embed if text_key(text_digest(slot.text)) not in self._counted]
        if self.cache is not None and fresh:
            held = self.cache.get_many(self.recipe.space, [slot.text for slot in fresh])
            fresh = [slot for i, slot in enumerate(fresh) if i not in held]
        self._counted.update(text_key(text_digest(slot.text)) for slot in fresh)
        counts = self._tokens([slot.text for slot in fresh])
        for slot, tokens in zip(fresh, counts, strict=True):
            tally = self._tally(owners[id(slot)])
            tally.texts += 1
            tally.tokens += tokens

    def _tokens(self, texts: Sequence[str]) -> list[int]:
        prefixed = [self.recipe.embedding.document_prefix + text for text in texts]
        if self.embedder.info.price_per_million_tokens > 0:
            return [len(starts) for starts in self.embedder.token_starts(prefixed)]
        return [len(text) // CHARACTERS_PER_TOKEN + 1 for text in prefixed]

    def _tally(self, action: Action) -> _Tally:
        return self._tallies.setdefault(action, _Tally())

    def _plan(self, scanned: ScanPlan, allow_mass_delete: bool) -> Plan:
        if self.generation is None:
            self._tally("create_generation")
        price = self.embedder.info.price_per_million_tokens
        steps = tuple(
            Step(
                action,
                _REASONS[action],
                tally.documents,
                tally.chunks,
                tally.texts,
                tally.tokens,
                tally.tokens * price / 1e6,
                round(tally.texts / self.rate, 3) if self.rate else 0.0,
            )
            for action in _ORDER
            if (tally := self._tallies.get(action)) is not None and (tally.documents or action == "create_generation")
        )
        notes = () if self.rate or not self._counted else ("no rate was measured yet, so no time is estimated",)
        number = self.generation.number if self.generation else None
        return Plan(
            steps=steps,
            from_generation=number,
            to_generation=number or 1,
            catalog_revision=scanned.revision,
            source_digest=scanned.digest,
            recipe=self.recipe.fingerprint,
            strategy="in_place" if self.generation else "rebuild",
            allow_mass_delete=allow_mass_delete,
            notes=notes,
        )


def _action(kind: str) -> Action:
    actions: dict[str, Action] = {
        "added": "place_documents",
        "content": "replace_documents",
        "metadata": "update_metadata",
        "access": "update_access",
    }
    return actions[kind]


def _pending_action(task: Task) -> Action:
    if task.need == "delete":
        return "delete_documents"
    if task.need == "replace":
        return "replace_documents" if task.work.placement else "place_documents"
    return "update_metadata"


def _work(item: Candidate, state: State) -> Work:
    """A candidate as the work it would become once logged."""
    document, facets = item.document, state.facets
    return Work(
        0, document.id, 0, False, document.text, facets.content, state.metadata, facets.metadata, state.access,
        facets.access, document.version, 0.0, None,
    )  # fmt: skip
