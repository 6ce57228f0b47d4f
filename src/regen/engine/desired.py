"""What the configuration asks for beside what there is: nothing, another query prefix, or a generation to build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from regen.core.decision import Case, Evidence, decide
from regen.core.plan import Step
from regen.core.recipe import Recipe
from regen.core.transition import Family, Transition, transition
from regen.engine.counting import Lane
from regen.engine.donors import donors_for, giving_order
from regen.engine.evidence import Witness
from regen.engine.models import Models
from regen.engine.planning import Build, DryRun, Planner
from regen.engine.room import require_room, room_for
from regen.engine.scan import Scanner
from regen.engine.settings import Migration
from regen.engine.stores import Stores
from regen.errors import CatalogError
from regen.ports import VectorCache
from regen.ports.catalog import Catalog, Generation

FINISHED: Final = ("ready", "live", "retained")


@dataclass(frozen=True, slots=True)
class Desired:
    """The live generation, the one that fits the configuration (if any), and the path between their recipes.

    ``abandoned`` are the numbers of half-built generations that nothing asks for any more. ``read_from`` tells whether
    searches have begun to fill the one that fits.
    """

    live: Generation | None
    fitting: Generation | None
    path: Transition
    abandoned: tuple[int, ...] = ()
    read_from: bool = False

    @property
    def to_build(self) -> bool:
        """Whether ``apply`` has a generation to build, or to finish."""
        if not self.path.needs_generation:
            return False
        return self.fitting is None or (self.fitting.state not in FINISHED and self.fitting.paused is None)

    def begins_on_read(self, migration: Migration) -> bool:
        """Whether ``apply`` only begins, and leaves the work to searches; the ``apply`` after that one finishes it."""
        return migration.strategy == "on_read" and self.to_build and not self.read_from

    @property
    def to_promote(self) -> bool:
        """Whether what the configuration asks for is ready but not live; a retained one was left on purpose."""
        return self.path.needs_generation and self.fitting is not None and self.fitting.state == "ready"

    def notes(self) -> list[str]:
        """What a reader should know about configuration and generations."""
        left = [
            f"generation {number} is half built for a recipe that is not asked for any more: "
            f"`regen gc --retire {number}` gives it up"
            for number in self.abandoned
        ]
        return [*self._on_the_way(), *left]

    def _on_the_way(self) -> list[str]:
        """What lies between the live generation and what the configuration asks for."""
        if self.live is None or self.path.path == "nothing":
            return []
        fitting = self.fitting
        if fitting is not None and fitting.state == "building" and fitting.paused is not None:
            paused = f"generation {fitting.number} was paused by {fitting.paused}; it is not built meanwhile"
            return [f"{paused}: run `regen resume {fitting.number}`, then `regen apply`"]
        why = "; ".join(self.path.reasons)
        if self.fitting is not None and self.fitting.state in FINISHED:
            note = f"generation {self.fitting.number} fits the configuration ({why}) and is {self.fitting.state}"
            return [f"{note}: `regen promote {self.fitting.number}` makes it live"]
        note = f"the configuration asks for another recipe than generation {self.live.number}'s: {why}"
        return [f"{note}; `regen plan` tells what `regen apply` would do"]


def desired(catalog: Catalog, alias: str, current: list[Generation], models: Models, stores: Stores) -> Desired:
    """Compare the configuration with the generations."""
    number = catalog.route(alias).live
    live = next((item for item in current if item.number == number), current[-1] if current else None)
    fitting = next((item for item in reversed(current) if stores.fits(item, models.recipe)), None)
    if live is None:
        return Desired(None, None, Transition("nothing", ()))
    if stores.fits(live, models.recipe):
        fitting = live
    path = transition(
        live.recipe,
        models.recipe,
        old_family=models.family(live.recipe.embedding),
        new_family=_family(models),
        moved=None if stores.holds(live) else (live.store, stores.name),
    )
    left = [item.number for item in current if item.state == "building" and not stores.fits(item, models.recipe)]
    read_from = fitting is not None and fitting.state == "building" and _was_read_from(catalog, alias, fitting)
    return Desired(live, fitting, path, tuple(left) if number is not None else (), read_from)


def _was_read_from(catalog: Catalog, alias: str, generation: Generation) -> bool:
    return any((item.kind, item.candidate) == ("on_read", generation.number) for item in catalog.rollouts(alias, 100))


def _family(models: Models) -> Family:
    found = models.family(models.recipe.embedding)
    if found is None:
        raise CatalogError("the configured model has no family")  # it is loaded already: cannot happen
    return found


@dataclass(frozen=True, slots=True)
class PlanMaker:
    """Makes dry runs: of the documents alone, and of the generation that the configuration asks for.

    ``promote`` says why a finished generation is made live at once; empty: it is not.
    ``witness`` measures what speaks for and against embedding anew; without one nothing is measured, as for the dry run
    by which ``apply`` checks a plan.
    """

    catalog: Catalog
    models: Models
    stores: Stores
    cache: VectorCache | None
    migration: Migration
    promote: str
    witness: Witness | None = None

    def dry_run(
        self, scanners: Sequence[Scanner], wanted: Desired, current: list[Generation], *, allow_mass_delete: bool
    ) -> DryRun:
        """Count what ``apply`` would do."""
        live = wanted.live
        followers = self._followers(live, current)
        followed = next(lane for lane in followers if live is None or lane.number == live.number)
        build = self._build(wanted, current) if wanted.to_build else None
        if build is not None:
            build.lane.feed(followers)
        planner = Planner(scanners, self.catalog, followed, followers, build)
        found = planner.run(allow_mass_delete=allow_mass_delete, recipe=self.models.recipe.fingerprint)
        if live is not None and wanted.path.path == "query":
            amends = f"{wanted.path.reasons[0]}: new query space, 0 texts, no document work"
            found.plan = replace(found.plan, amends=amends, decision=decide(self._case(live, wanted)))
        if self.promote and wanted.to_promote:
            assert wanted.fitting is not None
            step = Step("promote", f"generation {wanted.fitting.number} is ready, and {self.promote}")
            found.plan = replace(found.plan, steps=(*found.plan.steps, step), to_generation=wanted.fitting.number)
        return found

    def _followers(self, live: Generation | None, current: list[Generation]) -> list[Lane]:
        """A lane for each generation that a sync brings up to date, in its order, see ``WriteSide``."""
        if live is None:
            return [self._lane(None, self.models.recipe, current)]
        complete = [item for item in current if item.state != "building"]
        lanes: list[Lane] = []
        for item in giving_order(complete, live.number, self.models) or [live]:
            lanes.append(self._lane(item, item.recipe, current).feed(lanes))
        return lanes

    def _build(self, wanted: Desired, current: list[Generation]) -> Build:
        assert wanted.live is not None
        recipe, live = self.models.recipe, wanted.live
        evidence = self.witness.gather(live, wanted.path) if self.witness else Evidence()
        case = replace(self._case(live, wanted), evidence=evidence)
        lane = self._lane(wanted.fitting, recipe, current)
        if self.witness is not None and self.witness.rate is not None:
            # The model's own rate where it was asked for a sample; a run, which does more than embed, is no quicker.
            lane.rate = min(self.witness.rate, lane.rate or self.witness.rate)
        return Build(
            lane,
            wanted.path,
            self.migration,
            self.promote,
            decide=lambda new_texts: decide(replace(case, new_texts=new_texts)),
            begins=wanted.begins_on_read(self.migration),
            old=live.recipe,
            room=partial(room_for, self.stores.configured, recipe),
        )

    def _case(self, live: Generation, wanted: Desired) -> Case:
        return Case(
            live.recipe,
            self.models.recipe,
            wanted.path,
            old_family=self.models.family(live.recipe.embedding),
            new_family=_family(self.models),
            texts=self.catalog.counts(live.number).chunks,
        )

    def _lane(self, generation: Generation | None, recipe: Recipe, current: list[Generation]) -> Lane:
        embedder = self.models.embedder if generation is None else self.models.embedder_for(generation)
        return Lane(
            generation,
            recipe,
            embedder,
            self.models.chunker_for(recipe, embedder),
            donors_for(recipe.embedding, generation, current, self.models, self.stores),
            self.catalog,
            self.cache,
            self.catalog.rate(),
            self.catalog.copy_rate(),
        )


def require_room_for(wanted: Desired, catalog: Catalog, stores: Stores, recipe: Recipe) -> None:
    """Raise StoreError, before anything is begun, when the generation to be built would fill the disk."""
    if wanted.live is None or not wanted.to_build:
        return
    held = 0 if wanted.fitting is None else catalog.counts(wanted.fitting.number).chunks
    missing = max(0, catalog.counts(wanted.live.number).chunks - held)
    require_room(stores.configured, recipe, missing)
