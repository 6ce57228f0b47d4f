"""The reference names every verb, option, argument and exit code that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from regen.cli.app import app
from regen.cli.exits import ExitCode

PAGE = Path(__file__).parents[2] / "docs/reference/cli.md"
COMMAND = typer.main.get_command(app)
VERBS: dict[str, typer.core.TyperCommand] = COMMAND.commands  # type: ignore[attr-defined]
PROMISED = [
    "init", "doctor", "plan", "apply", "sync", "search", "status", "history", "verify", "gc", "retry", "restore",
    "replay", "promote", "rollback", "adopt", "demo", "evaluate", "rollout", "feedback", "pause", "resume", "monitor",
    "queries", "catalog", "worker", "serve", "keys",
]  # fmt: skip
SHARED = {"--config", "--json", "--debug", "--help"}


def sections() -> dict[str, str]:
    """The page's text about each verb; the empty name holds what is said of all."""
    parts = re.split(r"^### regen (\w+).*$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def test_every_verb_is_there_and_documented() -> None:
    """The verbs are those promised, and the page has a section on each, and on no other."""
    assert set(VERBS) == set(PROMISED)
    assert set(sections()) - {""} == set(PROMISED)


@pytest.mark.parametrize("verb", PROMISED)
def test_every_option_is_documented(verb: str) -> None:
    """Each option, long and short, stands in its verb's section; the shared ones stand at the top."""
    text = sections()
    for parameter in VERBS[verb].params:
        if parameter.param_type_name != "option":
            continue
        for name in parameter.opts:
            where = "" if SHARED & set(parameter.opts) else verb
            assert re.search(rf"`{re.escape(name)}\b", text[where]), f"{verb} {name} is not in {PAGE.name}"


@pytest.mark.parametrize("verb", PROMISED)
def test_no_option_is_documented_that_is_not_there(verb: str) -> None:
    """An option on the page exists."""
    options = {name for parameter in VERBS[verb].params for name in parameter.opts}
    table = "\n".join(line.split("|")[1] for line in sections()[verb].splitlines() if line.startswith("| `-"))
    assert set(re.findall(r"`(--?[\w-]+)", table)) <= options


@pytest.mark.parametrize("verb", PROMISED)
def test_every_verb_has_help(verb: str) -> None:
    """Help exists, for the verb and each of its options and arguments, and shows the shared options."""
    result = CliRunner().invoke(app, [verb, "--help"])
    assert result.exit_code == 0
    assert VERBS[verb].help
    assert all(getattr(parameter, "help", None) for parameter in VERBS[verb].params)
    assert all(option in result.output for option in SHARED)


def test_every_exit_code_is_documented() -> None:
    """A script's author finds each code on the page."""
    table = sections()[""].partition("## Exit codes")[2]
    for code in ExitCode:
        assert re.search(rf"^\| {code.value} \|", table, re.MULTILINE), code
