"""The first question that people ask, "must I re-embed?", answered from the recipes and from what was measured.

    what differs                                                 answer       because
    nothing, query prefix, metric, index, store                  not needed   the vectors stay as they are
    fewer dimensions, lower precision, normalised;               not needed   the vectors are made of the old ones; what
    a model that is declared to be the old one                                is lost by that is measured
    chunking, text template; no new text                         not needed   all texts are held
    chunking, text template; new texts                           recommended  the live vectors stay valid for queries:
                                                                              only quality speaks for it
    document prefix, raw lengths, higher precision of one model  recommended  likewise
    these two, and an evaluation has measured no gain            not needed   it would be worse, or no better
    another model or revision, more dimensions                   always       old vectors say nothing to new queries
    the same, but the probe texts get equal vectors              cannot tell  it may be one model under two names:
                                                                              declare it with ``same_as``, or embed
    the same, the old model is gone and nothing was measured     cannot tell  nobody knows what its vectors are
    anything; the live generation's model gives other vectors    always       the provider has changed it (I10)
    than it gave

One pure function decides it; tests cover every row. What was measured comes in as :class:`Evidence`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from regen.core.plan import Decision, MustEmbed
from regen.core.recipe import Recipe
from regen.core.transition import Family, Transition, same_model, text_reasons, transition

SAME: Final = 0.995
"""Cosine from which on two vectors of a probe text are the same one: rounding on other hardware stays above 0.9999."""
LITTLE, MUCH = 0.9, 0.6
"""Shares of nearest neighbours that stay: from the first on a model orders texts as before, below the second not."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Which share of the ``k`` nearest neighbours stays, over a sample of texts, and the mean cosine old to new.

    ``cosine`` is None between two models: their vectors cannot be compared.
    """

    texts: int
    k: int
    overlap: float
    cosine: float | None = None


@dataclass(frozen=True, slots=True)
class Lift:
    """What a kept evaluation says of a generation with the wanted recipe: the mean difference and its interval."""

    generation: int
    against: int | None
    collection: str
    measure: str
    delta: float
    low: float
    high: float
    queries: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured when the plan was made; None is "not measured", and ``remarks`` say why not.

    ``live_probes`` and ``new_probes`` are the lowest cosine of the probe vectors that were kept with the live
    generation with those that its own model, and the wanted one, give now. ``embedded`` compares the live vectors of a
    sample with what the wanted model gives for the same texts, ``derived`` with what would be made of them;
    ``vector_bytes`` are the bytes of one vector in the store, before and after.
    """

    live_probes: float | None = None
    new_probes: float | None = None
    embedded: Neighbours | None = None
    derived: Neighbours | None = None
    vector_bytes: tuple[float, float] | None = None
    lift: Lift | None = None
    remarks: tuple[str, ...] = ()


NOTHING_MEASURED: Final = Evidence()


@dataclass(frozen=True, slots=True)
class Case:
    """All that the answer depends on. The live generation has ``texts`` texts and lacks ``new_texts``."""

    old: Recipe
    new: Recipe
    path: Transition
    old_family: Family | None
    new_family: Family
    texts: int
    new_texts: int = 0
    evidence: Evidence = NOTHING_MEASURED

    @property
    def one_model(self) -> bool:
        """Whether old and new vectors are of one model and equally long, so that its queries suit both."""
        old, new = self.old.embedding, self.new.embedding
        alike = same_model(old, new, old_family=self.old_family, new_family=self.new_family)
        return alike and old.dimensions == new.dimensions

    @property
    def model_changed(self) -> bool:
        """Whether the live generation's model gives other vectors than when it was built (I10)."""
        measured = self.evidence.live_probes
        return measured is not None and not measured >= SAME


def decide(case: Case) -> Decision:
    """Must one re-embed, on which grounds, and what would cost less."""
    answer = _answer(case)
    hints = [] if case.model_changed else _declare(case) + cheaper(case)
    return Decision(answer, case.path.path, tuple(_grounds(case)), tuple(hints))


def _answer(case: Case) -> MustEmbed:
    if case.model_changed:
        return "always"
    path, probes = case.path.path, case.evidence.new_probes
    if path == "embed" and not case.one_model:
        if probes is None:
            return "always" if case.old_family is not None else "cannot tell"
        return "cannot tell" if probes >= SAME else "always"
    if path == "embed" or (path in {"rechunk", "derive"} and case.new_texts):
        lift = case.evidence.lift
        return "not needed" if lift is not None and lift.high <= 0 else "recommended"
    return "not needed"


def _grounds(case: Case) -> list[str]:
    old, new, found = case.old, case.new, case.evidence
    grounds = [f"space {old.space} -> {new.space}" if old.space != new.space else f"space {old.space} stays"]
    grounds += case.path.reasons
    if case.path.path == "embed" and case.old_family is None:
        grounds.append(f"{old.embedding.model!r} cannot be loaded here")
    if case.path.path in {"rechunk", "derive"} and case.new_texts:
        grounds.append(f"{case.new_texts:,} chunk texts are new; all others copy their vectors")
    grounds += _probe_grounds(case)
    if found.embedded is not None:
        grounds.append(_embedded_ground(found.embedded))
    if found.derived is not None:
        grounds.append(_derived_ground(case, found.derived))
    if found.lift is not None:
        grounds.append(_lift_ground(found.lift))
    return [*grounds, *found.remarks]


def _probe_grounds(case: Case) -> list[str]:
    live, new = case.evidence.live_probes, case.evidence.new_probes
    grounds = []
    if live is not None:
        told = "gives other vectors than" if case.model_changed else "still gives the vectors that"
        grounds.append(f"probe texts: the live generation's model {told} it gave (lowest cosine {live:.4f})")
    if case.model_changed:
        grounds.append("`apply` stops with ModelChanged: pin the model's revision, or name the model as it is now")
    if new is not None:
        told = "the same vectors" if new >= SAME else "other vectors"
        grounds.append(f"probe texts: the wanted model gives {told} (lowest cosine {new:.4f})")
    return grounds


def _embedded_ground(found: Neighbours) -> str:
    if found.overlap >= LITTLE:
        told = "it orders texts much as the old one does: expect little of it"
    elif found.overlap < MUCH:
        told = "it orders texts differently: only judged queries tell whether better"
    else:
        told = "results will move"
    return f"with the wanted model {_share(found)} ({found.texts:,} texts embedded); {told}"


def _derived_ground(case: Case, found: Neighbours) -> str:
    cosine = "" if found.cosine is None else f", mean cosine {found.cosine:.4f}"
    ground = f"{_derived_words(case)}: {_share(found)}{cosine} ({found.texts:,} vectors)"
    if case.evidence.vector_bytes is None:
        return ground
    before, after = case.evidence.vector_bytes
    return f"{ground}; {before:,.0f} -> {after:,.0f} bytes a vector ({before / after:.3g}x less)"


def _derived_words(case: Case) -> str:
    old, new = case.old.embedding, case.new.embedding
    words = [f"{new.dimensions} dimensions"] if new.dimensions != old.dimensions else []
    words += [new.precision] if new.precision != old.precision else []
    return ", ".join(words) or "derived vectors"


def _share(found: Neighbours) -> str:
    return f"{found.overlap:.1%} of the {found.k} nearest neighbours stay"


def _lift_ground(found: Lift) -> str:
    against = "" if found.against is None else f" against {found.against}"
    return (
        f"measured: {found.measure} on {found.collection} {found.delta:+.4f} ({found.low:+.4f} to {found.high:+.4f}, "
        f"{found.queries:,} queries), generation {found.generation}{against}"
    )


def _declare(case: Case) -> list[str]:
    """How to say that a model is the old one under another name: never assumed, always checked by the build."""
    probes = case.evidence.new_probes
    if case.path.path != "embed" or case.one_model or probes is None or not probes >= SAME:
        return []
    declared = f"`embedding: {{same_as: {case.old.embedding.model}}}`"
    return [f"if it is one model under two names, say {declared}: {_instead(case)}; the build compares the probe texts"]


def _instead(case: Case) -> str:
    rest = "only new chunk texts" if text_reasons(case.old, case.new) else "0 texts"
    return f"{rest} instead of {case.texts:,}"


def cheaper(case: Case) -> list[str]:
    """What would cost less than the wanted recipe, if there is anything: keep a part, embed nothing."""
    if case.path.path != "embed":
        return []
    old = case.old.embedding
    kept = {
        "dimensions": f"keep {old.dimensions} dimensions",
        "document_prefix": f"keep the document prefix {old.document_prefix!r}",
        "normalize": "keep the normalisation",
        "precision": f"keep the precision {old.precision}",
    }
    return [f"{words}: {_instead(case)}" for name, words in kept.items() if _would_do(case, name)]


def _would_do(case: Case, name: str) -> bool:
    """Whether leaving one part of the embedding as it was spares embedding everything."""
    old, new = case.old.embedding, case.new.embedding
    if getattr(old, name) == getattr(new, name):
        return False
    other = replace(case.new, embedding=replace(new, **{name: getattr(old, name)}))
    return transition(case.old, other, old_family=case.old_family, new_family=case.new_family).path != "embed"
