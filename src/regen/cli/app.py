"""The Typer application: the verbs in the order in which people meet them."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from regen.cli import (
    adopting,
    catalogs,
    demo,
    evaluating,
    inspection,
    keys,
    monitoring,
    pausing,
    queries,
    rollouts,
    searching,
    serving,
    setup,
    switching,
    syncing,
    upkeep,
    working,
)

app = typer.Typer(
    name="regen",
    help="Keep a vector index in step with its documents, and search right while they change.",
    epilog="Exit codes: 0 fine, 1 error, 2 usage, 3 changes (plan --check) or gate not met, 4 stale plan.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SETTING_UP, KEEPING, SWITCHING, ASKING, SERVING, REPAIRING = (
    "Set up", "Keep in step", "Change the model", "Ask", "Serve", "Look after",
)  # fmt: skip

for panel, verbs in {
    SETTING_UP: (setup.init, setup.doctor, adopting.adopt, demo.demo),
    KEEPING: (syncing.sync, syncing.plan, syncing.apply, pausing.pause, pausing.resume, working.worker),
    SWITCHING: (queries.queries, evaluating.evaluate, switching.promote, rollouts.rollout, switching.rollback),
    ASKING: (searching.search, rollouts.feedback, inspection.status, inspection.history),
    SERVING: (serving.serve, keys.keys),
    REPAIRING: (
        upkeep.verify,
        upkeep.gc,
        monitoring.monitor,
        syncing.retry,
        syncing.restore,
        syncing.replay,
        catalogs.catalog,
    ),
}.items():
    for function in verbs:
        app.command(rich_help_panel=panel)(function)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"regen {version('regen')} (Python {sys.version.partition(' ')[0]})")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Tell the version and end.")
    ] = False,
) -> None:
    """Keep a vector index in step with its documents, and search right while they change."""
