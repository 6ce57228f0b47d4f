"""The demo as it runs: what was done, what it cost, and the searches that prove it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.text import Text

from regen.cli.demo_folder import REPORT
from regen.cli.demo_steps import Check, Step
from regen.cli.layout import bad, good, hint, listed
from regen.cli.quantities import counted, duration, money
from regen.cli.rendering_search import snippet
from regen.core.results import SearchResult, SyncResult

_INDENT = " " * 12
_SHORTEST = 30
_SHOWN = 3
_WIDTH = 80
_UPGRADE = frozenset({
    "queries", "plan", "build", "evaluate", "promote", "compare", "edit more", "rollback", "forward", "refuse",
    "consider",
})  # fmt: skip
_CHANGES = frozenset({"edit", "rename", "delete", "metadata", "access", "restore", "sync"})


def opening_lines(title: str, folder: Path) -> Iterator[Text]:
    """What the demo works on, and where."""
    yield Text(f"regen keeps an index in step with {title}", style="bold")
    yield Text(f"Everything lies in {folder}, made fresh for this run.", style="dim")


def heading_before(step: Step, former: Step | None) -> Iterator[Text]:
    """The heading of a new part of the demo, where one begins."""
    part, last = _part(step), None if former is None else _part(former)
    if part != last:
        yield Text("")
        yield Text(part, style="bold underline")


def _part(step: Step) -> str:
    if step.name == "ask":
        return "Ask in plain language"
    if step.name in _CHANGES:
        return "Change the source, sync, and watch search follow"
    if step.name in _UPGRADE:
        return "Change the model: build, measure, switch, go back"
    return "Index" if step.name == "index" else "Prove it"


def step_lines(step: Step) -> Iterator[Text]:
    """One step: its name and object, its cost, its checks."""
    yield Text.assemble("  ", (step.name.ljust(10), "bold cyan"), step.done)
    if step.search is not None:
        yield from _answer_lines(step.search)
    if step.result is not None:
        yield Text.assemble(_INDENT, (_cost(step.result), "dim"))
    for text in step.told:
        yield from (Text(_INDENT + line, style="dim") for line in textwrap.wrap(text, _WIDTH - len(_INDENT)))
    yield from map(_check_line, step.checks)


def _check_line(check: Check) -> Text:
    mark = ("✓ ", "bold green") if check.passed else ("✗ EXPECTATION FAILED: ", "bold red")
    return Text.assemble(_INDENT, mark, check.text)


def _answer_lines(found: SearchResult) -> Iterator[Text]:
    shown = found.hits[:_SHOWN]
    width = max((len(hit.doc_id) for hit in shown), default=0)
    for hit in shown:
        text = snippet(_gist(hit.text), max(_SHORTEST, 80 - width - len(_INDENT) - 8))
        yield Text.assemble(_INDENT, (f"{hit.score:.2f}  ", "dim"), hit.doc_id.ljust(width), "  ", (text, "dim"))


def _gist(text: str) -> str:
    """What a chunk says, without a heading or signature in front of it."""
    first, _, rest = text.strip().partition("\n\n")
    return rest if rest and "\n" not in first else text


def _cost(result: SyncResult) -> str:
    chunks = result.chunks
    return listed([
        f"{counted(result.embedded_texts, 'text')} embedded",
        f"chunks: {chunks.written:,} written, {chunks.reused:,} reused, {chunks.deleted:,} deleted",
        money(result.cost_usd) if result.cost_usd else "",
        duration(result.seconds),
    ])  # fmt: skip


def closing_lines(steps: Sequence[Step], seconds: float, folder: Path, docs: Path | None) -> Iterator[Text]:
    """Whether every expectation held, and what to try next."""
    checks = [check for step in steps for check in step.checks]
    failed = sum(not check.passed for check in checks)
    yield Text("")
    if failed:
        yield bad(f"{failed} of {counted(len(checks), 'expectation')} did not hold")
    else:
        yield good(f"All {counted(len(checks), 'expectation')} held, in {duration(seconds)}")
    config = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    question = "walk through a folder" if docs is None else "a question of yours"
    yield hint(f'ask it yourself:     regen search "{question}" --config {config}/regen.yaml')
    if (folder / "docs").is_dir():
        yield hint(f"edit files there:    regen sync --watch --config {config}/regen.yaml")
    yield hint(f"what was measured:   open {config}/{REPORT} in a browser")
    yield hint(f"who switched, when:  regen history --config {config}/regen.yaml")
    yield hint("index your own:      regen init FOLDER, then regen sync")
