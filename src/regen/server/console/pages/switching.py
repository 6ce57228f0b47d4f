"""Promote, roll back, begin a rollout, retire: what readers or the way back depend on. Each needs the alias typed."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import Response

from regen.core.records import GenerationRecord
from regen.errors import ConfigError, RegenError
from regen.ports.rollouts import ROUTE_KINDS
from regen.server.console.asking import WrongField
from regen.server.console.pages.generations import live_record, record_of, standing
from regen.server.console.visit import Actor, Reader, Visit
from regen.server.problems import status_of

router = APIRouter()
BEGUN_BY_HAND: Final = tuple(kind for kind in ROUTE_KINDS if kind not in {"rolling", "on_read", "bridge"})


@router.get("/generations/{number}/promote")
def ask_promote(visit: Reader, number: int) -> Response:
    """What the gate says, and the confirmation."""
    return _promote_page(visit, record_of(visit.index, number))


def _promote_page(visit: Visit, record: GenerationRecord, error: RegenError | None = None) -> Response:
    index, live = visit.index, live_record(visit.index)
    return visit.page(
        "promote.html.j2",
        "generations",
        status=status_of(error) if error else 200,
        record=record,
        from_number=live.number if live else None,
        standing=standing(index, record),
        error=error,
        wrong=error.field if isinstance(error, WrongField) else "",
        version=visit.form.get("version") or index.alias_version(),
        typed=visit.form,
    )


@router.post("/generations/{number}/promote")
def promote(visit: Actor, number: int) -> Response:
    """Make it live, through the gate, or over it with a reason."""
    record, reason = record_of(visit.index, number), visit.form.get("reason", "").strip()
    force = visit.form.get("force") == "on"
    try:
        require_alias(visit)
        if force and not reason:
            raise WrongField(
                "reason", "overruling the gate needs a reason", "the history keeps it for whoever asks why"
            )
        if force and visit.caller is not None:
            visit.caller.require("admin")
        with visit.operating("promote", generation=number, force=force, reason=reason):
            done = visit.index.promote(number, force=force, reason=reason, expected_version=version_of(visit))
    except RegenError as error:
        return _promote_page(visit, record, error)
    over = "; the gate was overruled" if done.forced else ""
    told = f"Generation {done.live} answers now; generation {done.previous} is retained{over}."
    return visit.leave(f"/console/generations/{done.live}", told)


@router.get("/rollback")
def ask_rollback(visit: Reader, to: int | None = None) -> Response:
    """Where one can go back to, and the confirmation."""
    return _rollback_page(visit, to)


def _rollback_page(visit: Visit, to: int | None, error: RegenError | None = None) -> Response:
    index = visit.index
    retained = [item for item in index.generations() if item.state == "retained"]
    switches = index.switches()
    previous = switches[0].previous if switches else None
    return visit.page(
        "rollback.html.j2",
        "generations",
        status=status_of(error) if error else 200,
        retained=retained,
        current=live_record(index),
        chosen=to if to is not None else previous,
        error=error,
        wrong=error.field if isinstance(error, WrongField) else "",
        version=visit.form.get("version") or index.alias_version(),
        typed=visit.form,
    )


@router.post("/rollback")
def rollback(visit: Actor) -> Response:
    """Go back; every change made since is there too (I8)."""
    typed = visit.form.get("to", "")
    to = int(typed) if typed.isdigit() else None
    try:
        require_alias(visit)
        reason = visit.form.get("reason", "").strip()
        with visit.operating("rollback", to=to, reason=reason):
            done = visit.index.rollback(to, reason=reason, expected_version=version_of(visit))
    except RegenError as error:
        return _rollback_page(visit, to, error)
    return visit.leave(
        f"/console/generations/{done.live}", f"Generation {done.live} answers again; {done.previous} is retained."
    )


@router.get("/generations/{number}/retire")
def ask_retire(visit: Reader, number: int) -> Response:
    """What is lost with a generation, and the confirmation."""
    return _retire_page(visit, record_of(visit.index, number))


def _retire_page(visit: Visit, record: GenerationRecord, error: RegenError | None = None) -> Response:
    return visit.page(
        "retire.html.j2",
        "generations",
        status=status_of(error) if error else 200,
        record=record,
        rollout=visit.index.rollout(),
        others=[item for item in visit.index.generations() if item.state == "retained" and item != record],
        may=visit.caller is not None and visit.caller.may("admin"),
        error=error,
        wrong=error.field if isinstance(error, WrongField) else "",
        typed=visit.form,
    )


@router.post("/generations/{number}/retire")
def retire(visit: Actor, number: int) -> Response:
    """Give a generation up: its collection is dropped."""
    record, reason = record_of(visit.index, number), visit.form.get("reason", "").strip()
    try:
        require_alias(visit)
        assert visit.caller is not None
        visit.caller.require("admin")
        with visit.operating("retire", generation=number, reason=reason):
            visit.index.retire(number)
    except RegenError as error:
        return _retire_page(visit, record, error)
    return visit.leave(f"/console/generations/{number}", f"Generation {number} is gone; what it cost stays on record.")


@router.get("/generations/{number}/rollout")
def ask_rollout(visit: Reader, number: int) -> Response:
    """How a generation may answer beside the live one."""
    return _rollout_page(visit, record_of(visit.index, number))


def _rollout_page(visit: Visit, record: GenerationRecord, error: RegenError | None = None) -> Response:
    return visit.page(
        "begin_rollout.html.j2",
        "generations",
        status=status_of(error) if error else 200,
        record=record,
        kinds=BEGUN_BY_HAND,
        error=error,
        wrong=error.field if isinstance(error, WrongField) else "",
        typed=visit.form,
    )


@router.post("/generations/{number}/rollout")
def begin_rollout(visit: Actor, number: int) -> Response:
    """Let it answer beside the live one."""
    record = record_of(visit.index, number)
    try:
        require_alias(visit)
        arguments = _rollout_arguments(visit)
        reason = visit.form.get("reason", "").strip()
        with visit.operating("begin_rollout", generation=number, reason=reason, **arguments):
            begun = visit.index.begin_rollout(number, reason=reason, **arguments)
    except RegenError as error:
        return _rollout_page(visit, record, error)
    return visit.leave("/console/rollout", f"Generation {begun.candidate} answers beside the live one.")


def _rollout_arguments(visit: Visit) -> dict[str, Any]:
    route, typed = visit.form.get("route", "canary"), visit.form.get("weight", "").strip().rstrip("% ")
    if route not in BEGUN_BY_HAND:
        raise ConfigError(
            f"{route[:40]!r} is no rollout that begins by hand", hint=f"valid: {', '.join(BEGUN_BY_HAND)}"
        )
    try:
        weight = float(typed) / 100 if typed else None
    except ValueError:
        raise WrongField("weight", f"{typed[:40]!r} is no share", "a percentage, such as 5") from None
    return {"route": route, "weight": weight}


def require_alias(visit: Visit) -> None:
    """Raise WrongField unless the alias was typed, letter for letter."""
    typed, alias = visit.form.get("confirm", ""), visit.index.alias
    if typed.strip() != alias:
        found = f"{typed.strip()[:60]!r} was typed" if typed.strip() else "nothing was typed"
        raise WrongField("confirm", f"{found}: nothing was done", f"type {alias}, the alias that readers query")


def version_of(visit: Visit) -> int | None:
    """The alias's version that the page showed: whoever switched meanwhile is not overridden."""
    typed = visit.form.get("version", "")
    return int(typed) if typed.isdigit() else None
