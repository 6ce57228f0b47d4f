"""What makes a function a verb: the options that all verbs share, and one way to fail."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec, get_type_hints

import typer

from regen.cli.session import Session

P = ParamSpec("P")

ConfigOption = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The project's regen.yaml.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer with one JSON object on standard output.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error (also: REGEN_DEBUG=1).")]

_SHARED: tuple[tuple[str, Any, Any], ...] = (
    ("config", ConfigOption, Path("regen.yaml")),
    ("as_json", JsonOption, False),
    ("debug", DebugOption, False),
)


def verb(function: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """Turn ``function(session, …)`` into a Typer command: it gains --config, --json and --debug."""
    hints = get_type_hints(function, include_extras=True)
    own = list(inspect.signature(function).parameters.values())[1:]
    parameters = [parameter.replace(annotation=hints[parameter.name]) for parameter in own]
    call: Callable[..., None] = function
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters += [inspect.Parameter(name, keyword, default=value, annotation=kind) for name, kind, value in _SHARED]

    @wraps(function)
    def command(**given: Any) -> None:
        config, as_json, debug = (given.pop(name) for name, _, _ in _SHARED)
        debug = debug or bool(os.environ.get("REGEN_DEBUG"))
        session = Session(config, json=as_json, debug=debug, verb=function.__name__, arguments=given)
        session.run(lambda: call(session, **given))

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del command.__wrapped__  # Typer would look through it and miss the shared options
    return command
