"""The dry run: the decisions of a sync and of a build, counted exactly, with nothing written or sent to the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from regen.core.changes import Candidate, State
from regen.core.chunks import ENTRY_BYTES
from regen.core.plan import Action, Decision, Plan, Step
from regen.core.recipe import Recipe
from regen.core.transition import Transition
from regen.engine.counting import BATCH_DOCUMENTS, Lane, chunks_of
from regen.engine.embedding import Slot
from regen.engine.prepare import Task
from regen.engine.room import Room
from regen.engine.scan import Scanner
from regen.engine.scans import ScanPlan, dry_scan
from regen.engine.settings import Migration
from regen.ports.catalog import CatalogReader
from regen.ports.placements import Work
from regen.spaces.bridge import MOST_QUERIES, sample_size

_REASONS: Final[dict[Action, str]] = {
    "place_documents": "documents are new (or not placed yet)",
    "replace_documents": "text, or metadata that the text template names, was edited",
    "update_metadata": "metadata that is not embedded was edited",
    "update_access": "access lists were edited",
    "delete_documents": "documents are gone from the source",
}
_ORDER: Final[tuple[Action, ...]] = (
    "update_access", "place_documents", "replace_documents", "update_metadata", "delete_documents",
)  # fmt: skip
_STRATEGIES: Final = {
    "in_place": "no other recipe is asked for: every generation is brought in step where it is",
    "first": "there is no generation yet: the first one is built, and goes live when it is complete",
    "bulk": "as configured, for a maintenance window: larger batches in the order of the log and no throttle, then the "
    "store's upkeep, the gate and the switch",
    "rolling": "as configured: while the new generation is filled it answers for the documents that it holds, the live "
    "one for the rest; both are merged, at one store query more per search",
    "on_read": "as configured: a document is embedded when a search has returned it; the new generation answers for "
    "those that it holds, the live one for the rest",
    "bridge": "as configured: until the new generation is filled, queries of the new model are mapped into the old "
    "space and blended with the old model's, if measured queries show that this is better",
    "rebuild": "a generation of its own beside the live one, which goes on answering; to switch, and to go back, "
    "takes milliseconds",
}


@dataclass(slots=True)
class DryRun:
    """A plan together with the changes it covers, which ``apply`` holds the source to (I9)."""

    plan: Plan
    changes: set[bytes]


@dataclass(slots=True)
class Build:
    """A generation to be built (or gone on with) beside the live one, and the path that makes it cheapest.

    ``promote`` says why it goes live as soon as it is ready; empty: it does not.
    ``decide`` answers "must I re-embed?" when it is known how many texts are new, ``room`` tells what so many more
    chunks take. ``begins`` says that nothing is built yet: searches bring what is. ``old`` is the live recipe.
    """

    lane: Lane
    path: Transition
    migration: Migration
    promote: str
    decide: Callable[[int], Decision]
    room: Callable[[int], Room]
    begins: bool = False
    old: Recipe | None = None


@dataclass(slots=True)
class Planner:
    """Counts what a sync would do to the generations that follow the log, and what a build would come to.

    ``followers`` are in the order in which they are brought up to date; ``followed`` is the one of them that search is
    answered by. Documents are counted once, chunks and texts for every generation.
    """

    scanners: Sequence[Scanner]
    reader: CatalogReader
    followed: Lane
    followers: Sequence[Lane]
    build: Build | None = None
    _pending: list[tuple[Action, Work]] = field(default_factory=list)
    _behind: set[str] = field(default_factory=set)

    def run(self, *, allow_mass_delete: bool, recipe: str) -> DryRun:
        """Scan, decide and count. Raises MassDelete and what the source raises."""
        touched: set[str] = set()

        def visit(item: Candidate, state: State, kind: str) -> None:
            touched.add(item.document.id)
            self._pending.append((_action(kind), _work(item, state)))
            if len(self._pending) >= BATCH_DOCUMENTS:
                self._count_pending()

        scanned = dry_scan(self.scanners, allow_mass_delete=allow_mass_delete, visit=visit)
        self._count_pending()
        elsewhere = touched | set(scanned.vanished)
        for lane in self.followers:
            lane.settle()
            for works in lane.behind(self.reader.head()):
                self._count_followed(lane, [(None, work) for work in works if work.doc_id not in elsewhere])
        if self.build is not None:
            self.build.lane.settle()
            for works in self.build.lane.behind(self.reader.head()):
                self._count_built([work for work in works if work.doc_id not in elsewhere], counted=self._behind)
        self._count_vanished(scanned)
        return DryRun(self._plan(scanned, recipe, allow_mass_delete=allow_mass_delete), scanned.changes)

    def _count_pending(self) -> None:
        pending, self._pending = self._pending, []
        if pending:
            for lane in self.followers:
                self._count_followed(lane, pending)
            if self.build is not None:
                works = [work for _, work in pending]
                self._count_built(works, counted={work.doc_id for work in works})

    def _count_followed(self, lane: Lane, pending: Sequence[tuple[Action | None, Work]]) -> None:
        works = _placed(lane, [work for _, work in pending])
        batch = lane.prepare(works)
        owners: dict[int, Action] = {}
        for (given, _), task in zip(pending, batch.tasks, strict=True):
            action = given or _pending_action(task)
            tally = lane.tally(action)
            tally.documents += self._is_counted_here(lane, task, scanned=given is not None)
            tally.chunks += chunks_of(task)
            for slot in task.slots:
                owners.setdefault(id(slot), action)
        lane.count_texts(lane.unheld(batch), lambda slot: owners[id(slot)])

    def _is_counted_here(self, lane: Lane, task: Task, *, scanned: bool) -> bool:
        """Whether this lane is the one to count a document: the live one, or the first that it is pending in."""
        if scanned:
            return lane is self.followed
        new = task.work.doc_id not in self._behind
        self._behind.add(task.work.doc_id)
        return new

    def _count_built(self, works: Sequence[Work], *, counted: set[str]) -> None:
        """Count what a build does for these documents; those in ``counted`` are in another step's number already."""
        assert self.build is not None
        lane, copying = self.build.lane, _copying(self.build.path)
        batch = lane.prepare(_placed(lane, works))
        sent = lane.sent(batch)
        for task in batch.tasks:
            embedded = sum(id(slot) in sent for slot in task.slots)
            _add(lane, "embed_chunks", embedded)
            _add(lane, copying, len(task.slots) - embedded)
            if task.slots and task.work.doc_id not in counted:
                lane.tally("embed_chunks" if embedded else copying).documents += 1
        lane.count_texts(lane.unheld(batch), _embedding)

    def _count_vanished(self, scanned: ScanPlan) -> None:
        if gone := scanned.vanished:
            self.followed.tally("delete_documents").documents += len(gone)
            for lane in self.followers:
                placed = self.reader.placed(lane.number, gone)
                chunks = sum(len(item.chunks) for item in placed.values()) // ENTRY_BYTES
                lane.tally("delete_documents").chunks += chunks

    def _plan(self, scanned: ScanPlan, recipe: str, *, allow_mass_delete: bool) -> Plan:
        lane, build = self.followed, self.build
        steps = [Step("create_generation", "there is no generation yet")] if lane.generation is None else []
        lanes = list(self.followers)
        steps += [
            _sum([one.step(action, _REASONS[action]) for one in lanes if action in one.tallies])
            for action in _ORDER
            if any(action in one.tallies for one in lanes)
        ]
        if build is not None:
            steps += _build_steps(build)
            lanes.append(build.lane)
        notes = []
        if any(item.embeds and not item.rate for item in lanes):
            notes.append("no rate was measured yet, so no time is estimated")
        if len(self.followers) > 1 and any(one.tallies for one in self.followers):
            numbers = ", ".join(str(number) for number in sorted(one.number for one in self.followers))
            notes.append(f"chunks and texts are those of generations {numbers} together, which all follow every change")
        first = lane.generation.number if lane.generation else None
        strategy = "first" if first is None else _strategy(build) if build else "in_place"
        return Plan(
            steps=tuple(steps),
            from_generation=first,
            to_generation=_target(first, build, self.reader),
            catalog_revision=scanned.revision,
            source_digest=scanned.digest,
            recipe=recipe,
            strategy="rebuild" if strategy == "first" else strategy,
            strategy_reason=_because(build) + _STRATEGIES[strategy],
            allow_mass_delete=allow_mass_delete,
            notes=(*notes, *_strategy_notes(build), build.room(_chunks(build)).words()) if build else tuple(notes),
            decision=build.decide(_new_texts(build)) if build else None,
        )


def _strategy(build: Build) -> str:
    return "rebuild" if build.migration.strategy == "auto" else build.migration.strategy


def _strategy_notes(build: Build) -> list[str]:
    """What a strategy brings with it, beside its steps."""
    if build.begins:
        later = "searches that return their documents have them embedded; another apply builds all"
        return [f"on_read: this apply embeds none of the {_texts(build):,} texts that the new one lacks; {later}"]
    if build.migration.strategy == "bridge" and build.old is not None:
        pairs = sample_size(build.lane.recipe.embedding.dimensions, build.old.embedding.dimensions)
        asked = f"then up to {MOST_QUERIES} queries are embedded by both models, to decide whether it is used"
        return [f"bridge: about {pairs:,} of these texts are embedded first, and a map is fitted on them; {asked}"]
    return []


def _texts(build: Build) -> int:
    return sum(tally.texts for tally in build.lane.tallies.values())


def _because(build: Build | None) -> str:
    return "auto: " if build is not None and build.migration.strategy == "auto" else ""


def _sum(steps: Sequence[Step]) -> Step:
    """One step of those of several generations."""
    names = ("documents", "chunks", "texts_to_embed", "tokens", "cost_usd", "seconds")
    return replace(steps[0], **{name: sum(getattr(step, name) for step in steps) for name in names})


def _add(lane: Lane, action: Action, chunks: int) -> None:
    if chunks:
        lane.tally(action).chunks += chunks


def _build_steps(build: Build) -> list[Step]:
    lane, why = build.lane, "; ".join(build.path.reasons)
    steps = []
    if lane.generation is None:
        steps.append(Step("create_generation", why))
    if build.begins:
        again = "searches begin to fill it" if lane.generation is None else "it is there; searches begin to fill it"
        return [Step("create_generation", f"{why}; {again}")]
    if (share := build.migration.pilot) is not None and (lane.generation is None or not lane.generation.watermark):
        steps.append(
            Step(
                "evaluate", f"pilot: {share:.3g} of the documents are built first; if they are not sound it ends there"
            )
        )
    reasons: dict[Action, str] = {
        "copy_vectors": "another generation holds these texts in the same space",
        "derive_vectors": f"vectors are made of those that are there: {why}",
        "embed_chunks": "no generation and no cache holds these texts in the new space",
    }
    steps += [lane.step(action, reason) for action, reason in reasons.items() if action in lane.tallies]
    if lane.generation is not None and not reasons.keys() & lane.tallies:
        steps.append(Step("build_index", "every text is in it already: it is tended, and called ready"))
    elif build.migration.bulk:
        steps.append(Step("build_index", "bulk: all of the store's upkeep is done before the switch"))
    if build.promote:
        steps.append(Step("promote", build.promote))
    return steps


def _new_texts(build: Build) -> int:
    """Texts that only the new recipe has: with another chunker those that no vector can be copied for."""
    return build.lane.tally("embed_chunks").texts if "embed_chunks" in build.lane.tallies else 0


def _chunks(build: Build) -> int:
    return sum(tally.chunks for tally in build.lane.tallies.values())


def _target(first: int | None, build: Build | None, reader: CatalogReader) -> int:
    if build is None:
        return first or 1
    if build.lane.generation is not None:
        return build.lane.generation.number
    return max((item.number for item in reader.generations()), default=0) + 1


def _placed(lane: Lane, works: Sequence[Work]) -> list[Work]:
    """The same documents with what this lane's generation holds of them."""
    if lane.generation is None:
        return [replace(work, placement=None) for work in works]
    held = lane.reader.placed(lane.number, [work.doc_id for work in works])
    return [replace(work, placement=held.get(work.doc_id)) for work in works]


def _copying(path: Transition) -> Action:
    return "derive_vectors" if path.path == "derive" else "copy_vectors"


def _embedding(_: Slot) -> Action:
    return "embed_chunks"


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
