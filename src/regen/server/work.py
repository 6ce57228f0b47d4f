"""What a run may be: each verb that takes long, with the arguments that it is asked for by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from regen.core.plan import Plan
from regen.core.results import Progress
from regen.errors import NotFound
from regen.index import Index

OnProgress: TypeAlias = Callable[[Progress], None]
Work: TypeAlias = Callable[[Index, Mapping[str, Any], OnProgress], Mapping[str, Any]]


def _sync(index: Index, given: Mapping[str, Any], note: OnProgress) -> Mapping[str, Any]:
    return index.sync(allow_mass_delete=given["allow_mass_delete"], progress=note).to_dict()


def _plan(index: Index, given: Mapping[str, Any], note: OnProgress) -> Mapping[str, Any]:
    return index.plan(allow_mass_delete=given["allow_mass_delete"], sample=given["sample"], progress=note).to_dict()


def _apply(index: Index, given: Mapping[str, Any], note: OnProgress) -> Mapping[str, Any]:
    plan = None if given["plan"] is None else Plan.from_dict(given["plan"])
    if plan is None or not given.get("again"):
        return index.apply(plan, allow_mass_delete=given["allow_mass_delete"], progress=note).to_dict()
    # The world has moved on by this very plan, so it would be stale: what is left of it follows from state.
    result = index.apply(allow_mass_delete=plan.allow_mass_delete, progress=note)
    result.notes.append("the plan's run was interrupted, and went on from where the index stood")
    return result.to_dict()


def _evaluate(index: Index, given: Mapping[str, Any], note: OnProgress) -> Mapping[str, Any]:
    against = given["against"]
    return index.evaluate(given["generation"], against=against, progress=note).to_dict()


def _promote(index: Index, given: Mapping[str, Any], note: OnProgress) -> Mapping[str, Any]:
    if given.get("again") and given["canary"] is None and given["generation"] == index.live:
        switch = index.switches()[0]
        return {"alias": index.alias, "live": switch.live, "previous": switch.previous, "reason": switch.reason}
    return index.promote(
        given["generation"],
        canary=given["canary"],
        force=given["force"],
        reason=given["reason"],
        expected_version=given["expected_version"],
        progress=note,
    ).to_dict()


def _verify(index: Index, given: Mapping[str, Any], note: OnProgress) -> Mapping[str, Any]:
    return index.verify(repair=given["repair"], progress=note).to_dict()


def _gc(index: Index, given: Mapping[str, Any], _note: OnProgress) -> Mapping[str, Any]:
    return index.gc(now=given["now"]).to_dict()


def _retry(index: Index, given: Mapping[str, Any], note: OnProgress) -> Mapping[str, Any]:
    documents = given["documents"]
    return (index.reprocess(documents, note) if documents else index.retry(note)).to_dict()


def _restore(index: Index, given: Mapping[str, Any], _note: OnProgress) -> Mapping[str, Any]:
    return index.restore(given["document"], given["revision"]).to_dict()


def _replay(index: Index, given: Mapping[str, Any], note: OnProgress) -> Mapping[str, Any]:
    return index.replay(given["since"], note).to_dict()


def _doctor(index: Index, _given: Mapping[str, Any], _note: OnProgress) -> Mapping[str, Any]:
    return index.doctor().to_dict()


WORK: Final[Mapping[str, Work]] = {
    "apply": _apply,
    "doctor": _doctor,
    "evaluate": _evaluate,
    "gc": _gc,
    "plan": _plan,
    "promote": _promote,
    "replay": _replay,
    "restore": _restore,
    "retry": _retry,
    "sync": _sync,
    "verify": _verify,
}
READING: Final = frozenset({"doctor", "plan"})
"""What changes nothing, and is not an operator's action."""


def settled(index: Index, verb: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a run with its defaults decided now, so that one that is taken up again means the same.

    Raises NotFound for a generation that is not there.
    """
    if verb != "promote" or given["generation"] is not None:
        return dict(given)
    ready = [item.number for item in index.status().generations if item.state == "ready"]
    if not ready:
        raise NotFound("no generation is ready", hint="`regen plan` tells what `regen apply` would build")
    return {**given, "generation": ready[-1]}
