"""Generations and aliases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from sqlalchemy import Connection, bindparam, case, delete, func, insert, select, update

from regen.catalog import schema
from regen.catalog.database import Database, allocate
from regen.catalog.leases import require
from regen.catalog.rollouts import abandon_candidate, end_bridge, end_rollout
from regen.core.chunks import ENTRY_BYTES
from regen.core.recipe import Recipe
from regen.errors import AliasMoved, CatalogError, NotFound, NotPromotable
from regen.ports.catalog import Generation, GenerationState, Route, Switch
from regen.ports.freshness import GenerationCounts, SourceCounts
from regen.ports.placements import Lease

_gens, _docs, _placed = schema.generations.c, schema.documents.c, schema.placements.c
_letters = schema.dead_letters.c
_ACTOR: Final = "regen"
PROMOTABLE: Final = ("ready", "retained")
_OF_GENERATION: Final = (
    schema.placements, schema.chunk_texts, schema.intents, schema.garbage, schema.dead_letters, schema.text_claims,
    schema.leases,
)  # fmt: skip


class Generations(Database):
    """Statements on ``generations``, ``aliases`` and ``alias_history``."""

    def generations(self) -> list[Generation]:
        """All generations, by number."""
        statement = select(
            _gens.number, _gens.recipe, _gens.collection, _gens.state, _gens.watermark, _gens.fields, _gens.created_at,
            _gens.completed_at, _gens.retained_at, _gens.options, _gens.store, _gens.paused, _gens.asked_at,
        ).order_by(_gens.number)  # fmt: skip
        with self.glancing() as connection:
            return [
                Generation(
                    row[0],
                    Recipe.from_dict(orjson.loads(row[1])),
                    *row[2:5],
                    orjson.loads(row[5]),
                    *row[6:9],
                    orjson.loads(row[9] or "{}"),
                    row[10] or "",
                    *row[11:],
                )
                for row in connection.execute(statement)
            ]

    def create_generation(
        self,
        alias: str,
        recipe: Recipe,
        collection_prefix: str,
        *,
        at: float,
        options: Mapping[str, Any] | None = None,
        store: str = "",
    ) -> Generation:
        """Add a generation in state ``building``."""
        with self.writing("generation") as connection:
            number = allocate(connection, "generation", 1)
            collection = f"{collection_prefix}_g{number}"
            connection.execute(
                insert(schema.generations).values(
                    number=number,
                    alias=alias,
                    recipe=orjson.dumps(recipe.to_dict()).decode(),
                    space=recipe.space,
                    collection=collection,
                    state="building",
                    watermark=0,
                    fields="{}",
                    created_at=at,
                    options=orjson.dumps(dict(options or {})).decode(),
                    store=store,
                )
            )
        return Generation(
            number, recipe, collection, "building", 0, {}, at, None, options=dict(options or {}), store=store
        )

    def pause(self, generation: int, why: str | None) -> None:
        """Pause a generation's backfill, or let it go on."""
        with self.writing() as connection:
            _state(connection, generation)
            connection.execute(update(schema.generations).where(_gens.number == generation).values(paused=why))

    def set_fields(self, generation: int, fields: Mapping[str, str]) -> dict[str, str]:
        """Record filterable keys that a generation's collection has; all of them, as whoever came first said."""
        with self.writing() as connection:
            held = select(_gens.fields).where(_gens.number == generation).with_for_update(key_share=True)
            known = {**fields, **orjson.loads(connection.execute(held).scalar() or "{}")}
            connection.execute(
                update(schema.generations).where(_gens.number == generation).values(fields=orjson.dumps(known).decode())
            )
        return known

    def advance(self, generation: int, watermark: int, lease: Lease | None = None) -> None:
        """Raise the generation's watermark."""
        with self.writing() as connection:
            if lease is not None:
                require(connection, lease)
            connection.execute(
                update(schema.generations)
                .where(_gens.number == generation, _gens.watermark < watermark)
                .values(watermark=watermark)
            )

    def route(self, alias: str) -> Route:
        """Where the alias points."""
        with self.glancing() as connection:
            return _route(connection, alias)

    def drops(self) -> int:
        """How many transactions have dropped points."""
        with self.glancing() as connection:
            return int(connection.execute(_DROPS).scalar_one())

    def go_live(self, alias: str, generation: int, *, at: float, reason: str) -> Route:
        """Point an alias that points nowhere at its first generation."""
        with self.writing("generation") as connection:
            route = _route(connection, alias)
            if route.live is not None:
                raise CatalogError(
                    f"alias {alias!r} already points at generation {route.live}",
                    hint="only the first generation goes live by itself",
                )
            version = route.version + 1
            connection.execute(
                insert(schema.aliases).values(alias=alias, live=generation, previous=None, version=version)
            )
            connection.execute(
                insert(schema.alias_history).values(
                    alias=alias, version=version, live=generation, actor=_ACTOR, reason=reason, switched_at=at
                )
            )
            connection.execute(
                update(schema.generations).where(_gens.number == generation).values(state="live", completed_at=at)
            )
        return Route(alias, generation, None, version)

    def mark_ready(self, generation: int, *, at: float) -> bool:
        """Move a generation from ``building`` to ``ready`` if it has caught up with the log; whether it is complete."""
        head = select(schema.counters.c.value).where(schema.counters.c.name == "revision").scalar_subquery()
        with self.writing("generation") as connection:
            # Who has logged a change looks next who follows the log. It must find this generation ready, or have been
            # waited for here: else neither brings the change to it.
            self.hold(connection, "revision")
            completed = connection.execute(
                update(schema.generations)
                .where(_gens.number == generation, _gens.state == "building", _gens.watermark >= head)
                .values(state="ready", completed_at=at, paused=None)
            )
            if completed.rowcount:
                end_bridge(connection, generation, at)
            return _state(connection, generation) != "building"

    def probes(self, generation: int) -> bytes | None:
        """The probe vectors kept with a generation."""
        with self.glancing() as connection:
            return connection.execute(select(_gens.probes).where(_gens.number == generation)).scalar()

    def keep_probes(self, generation: int, vectors: bytes) -> None:
        """Keep a generation's probe vectors."""
        with self.writing() as connection:
            connection.execute(update(schema.generations).where(_gens.number == generation).values(probes=vectors))

    def amend_recipe(self, generation: int, recipe: Recipe) -> None:
        """Replace a generation's recipe by one of the same space."""
        with self.writing() as connection:
            connection.execute(
                update(schema.generations)
                .where(_gens.number == generation, _gens.space == recipe.space)
                .values(recipe=orjson.dumps(recipe.to_dict()).decode())
            )

    def switch(
        self,
        alias: str,
        to: int,
        *,
        expected: int,
        actor: str,
        reason: str,
        at: float,
        evaluation: int | None = None,
        forced: bool = False,
    ) -> Route:
        """Point the alias at a ready or retained generation, by compare-and-swap on its version."""
        with self.writing("generation") as connection:
            route = _route(connection, alias)
            if route.version != expected:
                raise AliasMoved(
                    f"alias {alias!r} was switched to generation {route.live} meanwhile",
                    hint="`regen history` tells who did, and why; look at it before switching again",
                )
            if to == route.live:
                raise NotPromotable(f"generation {to} is live already")
            state = _state(connection, to)
            if state not in PROMOTABLE:
                raise NotPromotable(
                    f"generation {to} is {state}", hint=f"an alias can point at one that is {' or '.join(PROMOTABLE)}"
                )
            version = route.version + 1
            switched = {"live": to, "previous": route.live, "version": version}
            connection.execute(
                update(schema.aliases)
                .where(schema.aliases.c.alias == alias)
                .values(**switched, rollout=None, rollout_version=None)
            )
            end_rollout(connection, alias, reason, at)
            connection.execute(
                insert(schema.alias_history).values(
                    alias=alias,
                    **switched,
                    actor=actor,
                    reason=reason,
                    switched_at=at,
                    evaluation=evaluation,
                    forced=forced,
                )
            )
            _set_state(connection, route.live, "retained", retained_at=at)
            _set_state(connection, to, "live", retained_at=None)
        return Route(alias, to, route.live, version)

    def switches(self, alias: str) -> list[Switch]:
        """The history of an alias, newest first."""
        table = schema.alias_history.c
        statement = (
            select(
                table.version,
                table.live,
                table.previous,
                table.actor,
                table.reason,
                table.switched_at,
                table.evaluation,
                table.forced,
            )
            .where(table.alias == alias)
            .order_by(table.version.desc())
        )
        with self.glancing() as connection:
            return [Switch(*row) for row in connection.execute(statement)]

    def retire(self, generation: int, *, state: GenerationState = "retired") -> None:
        """Give up a generation that is not live: its bookkeeping goes, its number stays."""
        with self.writing("generation") as connection:
            found = _state(connection, generation)
            if found == "live":
                raise NotPromotable(
                    f"generation {generation} is live", hint="promote another one, or roll back, before retiring it"
                )
            for table in _OF_GENERATION:
                connection.execute(delete(table).where(table.c.generation == generation))
            connection.execute(
                update(schema.aliases).where(schema.aliases.c.previous == generation).values(previous=None)
            )
            _set_state(connection, generation, state, retained_at=None)
            abandon_candidate(connection, generation, f"generation {generation} was given up")

    def counts(self, generation: int) -> GenerationCounts:
        """The numbers that ``status`` shows, read at one moment."""
        outdated, ghost = _outdated(generation), _docs.deleted.is_(True) & _placed.revision.is_not(None)
        waiting = _waiting(generation)
        statement = select(
            func.count(_placed.revision),
            func.coalesce(func.sum(func.length(_placed.chunks)), 0),
            func.coalesce(func.sum(_as_int(waiting)), 0),
            func.coalesce(func.sum(_as_int(outdated)), 0),
            func.coalesce(func.sum(_as_int(ghost)), 0),
            func.min(_case_time(waiting)),
        ).select_from(_placed_in(generation))
        with self.reading() as connection:
            row = connection.execute(statement).one()
            failed = connection.execute(
                select(func.count()).where(_letters.generation.in_([generation, 0]))
            ).scalar_one()
        return GenerationCounts(row[0], row[1] // ENTRY_BYTES, row[2], row[3], failed, row[4], row[5])

    def sources(self, generation: int | None) -> dict[str, SourceCounts]:
        """What a generation holds and lacks of each source that has documents."""
        waiting = _waiting(-1 if generation is None else generation)
        statement = (
            select(
                _docs.source,
                func.coalesce(func.sum(_as_int(_docs.deleted.is_(False))), 0),
                func.coalesce(func.sum(_as_int(waiting)), 0),
                func.min(_case_time(waiting)),
            )
            .select_from(_placed_in(-1 if generation is None else generation))
            .group_by(_docs.source)
        )
        with self.reading() as connection:
            return {row[0]: SourceCounts(*row[1:]) for row in connection.execute(statement)}

    def latencies(
        self,
        generation: int,
        limit: int = 10_000,
        *,
        after: float | None = None,
        before: float | None = None,
        source: str | None = None,
    ) -> list[float]:
        """Seconds from a change at its source (or from when it was seen) to its placement, newest placements first.

        The source's own time counts for changes made since the generation was complete: what a first load finds is old.
        """
        completed = select(_gens.completed_at).where(_gens.number == generation).scalar_subquery()
        since = case(
            (_docs.source_time.between(completed, _docs.changed_at), _docs.source_time), else_=_docs.changed_at
        )
        statement = (
            select(_placed.applied_at - since)
            .join_from(schema.placements, schema.documents, _placed.doc_key == _docs.doc_key)
            .where(_placed.generation == generation, _placed.revision == _docs.revision)
            .where(_placed.applied_at >= _docs.changed_at)
            .where(*([] if after is None else [_docs.changed_at >= after]))
            .where(*([] if before is None else [_docs.changed_at < before]))
            .where(*([] if source is None else [_docs.source == source]))
            .order_by(_placed.applied_at.desc())
            .limit(limit)
        )
        with self.reading() as connection:
            return [max(0.0, row[0]) for row in connection.execute(statement)]


def _state(connection: Connection, generation: int) -> str:
    state = connection.execute(select(_gens.state).where(_gens.number == generation)).scalar()
    if state is None:
        raise NotFound(f"there is no generation {generation}", hint="`regen status` lists them")
    return str(state)


def _set_state(connection: Connection, generation: int | None, state: str, *, retained_at: float | None) -> None:
    connection.execute(
        update(schema.generations).where(_gens.number == generation).values(state=state, retained_at=retained_at)
    )


def _placed_in(generation: int) -> Any:
    """All documents with what a generation holds of them."""
    return schema.documents.outerjoin(
        schema.placements, (_placed.doc_key == _docs.doc_key) & (_placed.generation == generation)
    )


def _outdated(generation: int) -> Any:
    """Whether a document is held in another revision than its own, which has not failed."""
    return _docs.deleted.is_(False) & (_placed.revision != _docs.revision) & ~_is_dead(generation)


def _waiting(generation: int) -> Any:
    """Whether a generation still has to take a document up, or to drop it."""
    unplaced = _docs.deleted.is_(False) & _placed.revision.is_(None) & ~_is_dead(generation)
    return unplaced | _outdated(generation) | (_docs.deleted.is_(True) & _placed.revision.is_not(None))


def _is_dead(generation: int) -> Any:
    dead = schema.dead_letters.c
    mine = (dead.generation == generation) & (dead.doc_id == _docs.doc_id)
    return select(dead.doc_id).where(mine, dead.revision == _docs.revision).exists()


def _as_int(condition: Any) -> Any:
    return case((condition, 1), else_=0)


def _case_time(condition: Any) -> Any:
    return case((condition, _docs.changed_at))


def _route(connection: Connection, alias: str) -> Route:
    row = connection.execute(_ROUTE, {"alias": alias}).fetchone()
    return Route(alias, None, None, 0) if row is None else Route(alias, *row)


# Every transaction that drops points numbers its garbage.
_DROPS = select(schema.counters.c.value).where(schema.counters.c.name == "garbage")
_ROUTE = select(
    schema.aliases.c.live,
    schema.aliases.c.previous,
    schema.aliases.c.version,
    # The least key, not whether there is one: the partial index's first row, whatever number the planner expects.
    select(func.min(_docs.doc_key)).where(_docs.access.is_not(None)).scalar_subquery().is_not(None),
    _DROPS.scalar_subquery(),
    schema.aliases.c.rollout,
    schema.aliases.c.rollout_version,
).where(schema.aliases.c.alias == bindparam("alias"))
