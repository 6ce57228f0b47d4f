"""Switches of the alias as lines: what answers the searches now, and since when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from regen.cli.layout import good, hint, labelled, note, table
from regen.cli.moments import local
from regen.core.results import SwitchResult
from regen.ports.catalog import Switch


def switch_lines(result: SwitchResult) -> Iterator[Text]:
    """What answers the searches now, and the way back."""
    yield good(f"{result.alias}: searches are answered by generation {result.live}")
    yield labelled("space", result.space)
    yield labelled("reason", result.reason)
    if result.forced:
        yield note("the gate was overruled; regen history keeps who did it, and why")
    for text in result.notes:
        yield labelled("note", text)
    if result.previous is not None:
        yield labelled(
            "retained", f"generation {result.previous}: every sync keeps it in step until regen gc retires it"
        )
        yield hint(f"the way back: regen rollback (to generation {result.previous})")


def switches_lines(switches: Sequence[Switch]) -> Iterator[Text]:
    """The history of the alias, newest first as given."""
    rows = [(local(item.switched_at), _way(item), item.actor, _why(item)) for item in switches]
    if rows:
        yield Text("")
        yield Text("Which generation answered the searches", style="bold")
        yield from table(("when", "generation", "who", "why"), rows)


def _why(switch: Switch) -> str:
    return (switch.reason or "–") + (" (gate overruled)" if switch.forced else "")


def _way(switch: Switch) -> str:
    live = "none" if switch.live is None else str(switch.live)
    return live if switch.previous is None else f"{switch.previous} → {live}"
