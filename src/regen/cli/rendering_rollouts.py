"""A rollout as lines: who is answered by what, and what has been learned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from rich.text import Text

from regen.cli.layout import bad, good, hint, labelled, note, table
from regen.cli.moments import local
from regen.ports.rollouts import Rollout

_WAYS: Final = {
    "canary": "{share:.0%} of the callers are answered by generation {candidate}",
    "ab": "{share:.0%} of the callers are answered by generation {candidate}",
    "shadow": "generation {candidate} is asked everything in the background; nobody sees its answers",
    "interleaved": "both generations draft every list by turns; clicks tell whose documents are taken",
    "dual": "generation {candidate} and the live one are merged in every list",
    "rolling": "documents that are in generation {candidate} are answered by it, the rest by the live one",
    "on_read": "what is returned is placed in generation {candidate}; the rest is answered by the live one",
    "bridge": "queries of generation {candidate}'s model are mapped to the live one's vectors",
}


def rollout_data(rollout: Rollout) -> dict[str, Any]:
    """As JSON, with the intervals by which it is judged."""
    data = asdict(rollout)
    data["state"] = {name: value for name, value in rollout.state.items() if name != "map"}  # a megabyte of numbers
    data["intervals"] = {name: list(interval) for name, interval in _intervals(rollout).items()}
    return data


def rollout_lines(rollout: Rollout | None) -> Iterator[Text]:
    """What is under way, or how the last one ended."""
    if rollout is None:
        yield note("there has been no rollout; regen promote G --canary 5 begins one")
        return
    headline = f"{rollout.kind} of generation {rollout.candidate}: {rollout.status}"
    yield bad(headline) if rollout.status == "aborted" else good(headline)
    if rollout.status in {"running", "paused"}:
        way = _WAYS[rollout.kind].format(share=rollout.weight, candidate=rollout.candidate)
        yield labelled("route", way)
    yield labelled("since", f"{local(rollout.started_at)}, by {rollout.actor}")
    yield labelled("last", f"{local(rollout.changed_at)}: {rollout.reason}")
    if rows := [(name, f"{low:.4g} to {high:.4g}") for name, (low, high) in _intervals(rollout).items()]:
        yield from table(("learned", "surely between"), rows)
    if rollout.status == "running":
        judged = "regen rollout --advance judges it now" if "rollout" in rollout.state else "so does regen promote"
        yield hint(f"regen rollout --abort --reason TEXT ends it; {judged}")
    elif rollout.status == "paused":
        yield hint("regen rollout --resume goes on; regen promote or regen rollout --abort decides")


def _intervals(rollout: Rollout) -> dict[str, tuple[float, float]]:
    """The always-valid interval of every name that the rollout's conditions use."""
    if "rollout" not in rollout.state:
        return {}
    from regen.evaluation.rollout import RolloutState  # noqa: PLC0415 - statistics are heavy

    return dict(RolloutState.from_dict(rollout.state["rollout"]).values())
