"""Which generations can give vectors to which: the same space as they are, a derivable one after derivation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from regen.core.recipe import Embedding
from regen.core.transition import derivable
from regen.engine.models import Models
from regen.engine.prepare import Donor
from regen.engine.stores import UNREACHABLE, Stores
from regen.errors import ConfigError, StoreError
from regen.ports import Vectors
from regen.ports.catalog import Generation
from regen.spaces.derive import derive


def donors_for(
    wanted: Embedding,
    own: Generation | None,
    others: Sequence[Generation],
    models: Models,
    stores: Stores,
    notes: list[str] | None = None,
) -> list[Donor]:
    """Donors of vectors for ``wanted``, the best first: the generation itself, equal spaces, derivable ones.

    What another generation holds in a store that fails is embedded instead, with a note in ``notes``; without ``notes``
    the failure is raised, if no other donor holds it: a backfill that was to copy must not pay for texts instead.
    """
    target = models.family(wanted)
    found = [] if own is None else [_donor(own, stores, _as_it_is)]
    equal, derived = [], []
    for other in others:
        held = other.recipe.embedding
        if own is not None and other.number == own.number:
            continue
        if _same_vectors(held, wanted):
            equal.append(_donor(other, stores, _as_it_is, _lost(other, notes)))
        elif target and derivable(held, wanted, old_family=models.family(held), new_family=target) is not None:
            derived.append(_donor(other, stores, derivation(held, wanted), _lost(other, notes)))
    return found + equal + derived


def _donor(
    giver: Generation,
    stores: Stores,
    derive: Callable[[Vectors], Vectors],
    lost: Callable[[StoreError | ConfigError], None] | None = None,
) -> Donor:
    failure: list[StoreError | ConfigError] = []  # a store that was out of reach once is not waited for again

    def fetch(ids: Sequence[str]) -> tuple[list[str], Vectors]:
        if failure:
            raise failure[0]
        try:
            return stores.of(giver).fetch(giver.collection, ids)
        except UNREACHABLE as error:
            failure.append(error)
            raise

    return Donor(giver.number, fetch, derive, lost)


def _lost(giver: Generation, notes: list[str] | None) -> Callable[[StoreError | ConfigError], None]:
    def lost(error: StoreError | ConfigError) -> None:
        told = f"{giver.told} holds vectors that are wanted here, but cannot be read"
        if notes is None:
            if not error.message.startswith(told):
                error.message = f"{told}: {error.message}"
            raise error
        note = f"{told}; texts that it holds are embedded instead: {error.message}"
        if note not in notes:
            notes.append(note)

    return lost


def giving_order(generations: Sequence[Generation], live: int | None, models: Models) -> list[Generation]:
    """In which order a change reaches generations: the live one first, but after those it can be derived from.

    So a text that a generation of 256 dimensions and one of 128 need is sent to the model once.
    """
    return sorted(
        generations,
        key=lambda one: (
            sum(_gives(other, one, models) and not _gives(one, other, models) for other in generations),
            one.number != live,
            one.number,
        ),
    )


def _gives(giver: Generation, taker: Generation, models: Models) -> bool:
    wanted, held = taker.recipe.embedding, giver.recipe.embedding
    target = models.family(wanted)
    return target is not None and derivable(held, wanted, old_family=models.family(held), new_family=target) is not None


def _same_vectors(held: Embedding, wanted: Embedding) -> bool:
    keys = ("model", "revision", "dimensions", "document_prefix", "normalize", "precision")
    return all(getattr(held, key) == getattr(wanted, key) for key in keys)


def derivation(held: Embedding, wanted: Embedding) -> Callable[[Vectors], Vectors]:
    """What makes vectors of ``wanted`` of those of ``held``, where ``core.transition.derivable`` allows it."""
    to_unit = wanted.normalize and (wanted.dimensions < held.dimensions or not held.normalize)
    return lambda vectors: derive(vectors, dimensions=wanted.dimensions, to_unit=to_unit, precision=wanted.precision)


def _as_it_is(vectors: Vectors) -> Vectors:
    return vectors
