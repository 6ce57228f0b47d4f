"""An evaluation as lines: the verdict first, then why, and what to do next."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.text import Text

from regen.cli.layout import BAD, GOOD, LABEL_WIDTH, NOTE, bad, good, hint, labelled, listed, note, table
from regen.cli.quantities import count, counted, duration, money
from regen.evaluation.outcome import ALL, Arm, CheckResult, Comparison, Evaluation, Latency
from regen.evaluation.wording import (
    VERDICTS,
    interval,
    milliseconds,
    next_step,
    percent,
    score,
    settled_by,
    signed,
    visible,
)

WIDTH: Final = 80
_REPORTED: Final = "reported"
_STYLES: Final = {"promote": GOOD, "hold": BAD, "cannot_tell": NOTE}


def evaluation_lines(evaluation: Evaluation, report: Path | None = None) -> Iterator[Text]:
    """The whole of what a terminal shows of an evaluation; ``report`` is the page that was written, if one was."""
    yield _headline(evaluation)
    for reason in evaluation.reasons:
        yield from _wrapped("  · ", reason)
    yield from _arms(evaluation)
    yield from _measures(evaluation)
    yield from _checks(evaluation.checks)
    yield Text("")
    yield from _judge(evaluation.answers)
    yield from _latency(evaluation.baseline, evaluation.candidate.latency)
    yield from _signals(evaluation)
    for problem in evaluation.problems:
        yield from _wrapped("! ", problem, NOTE)
    for remark in evaluation.notes:
        yield from _wrapped("  ", remark, whole="dim")
    yield from _wrapped("  → ", next_step(evaluation), "cyan")
    if report is None:
        yield hint("every query and slice: --report FILE.html, or --json")
    else:
        yield labelled("report", str(report))


def _headline(evaluation: Evaluation) -> Text:
    new, old = evaluation.candidate.generation, evaluation.baseline
    named = "the candidate" if new is None else f"generation {new}"
    against = " on its own" if old is None else " against the baseline"
    if old is not None and old.generation is not None:
        against = f" against generation {old.generation}"
    took = f" ({duration(evaluation.seconds)})" if evaluation.seconds else ""
    text = f"{VERDICTS[evaluation.verdict].title}: {named}{against}{took}"
    return {"promote": good, "hold": bad, "cannot_tell": note}[evaluation.verdict](text)


def _arms(evaluation: Evaluation) -> Iterator[Text]:
    yield Text("")
    for role, arm in (("baseline", evaluation.baseline), ("candidate", evaluation.candidate)):
        if arm is not None:
            size = f"{counted(arm.documents, 'document')} as {counted(arm.chunks, 'chunk')}"
            cost = money(arm.cost_usd) if arm.cost_usd else ""
            yield labelled(role, visible(arm.model, WIDTH - 14))
            yield labelled("", listed([size, cost]))


def _measures(evaluation: Evaluation) -> Iterator[Text]:
    """What the gate judged and, of the rest, what holds for whole collections."""
    shown = [item for item in evaluation.comparisons if item.condition is not None or item.slice == ALL]
    if evaluation.baseline is None:
        yield from _alone(evaluation.candidate, shown)
    elif shown:
        yield from _compared(shown)
    hidden = len(evaluation.comparisons) - len(shown)
    if hidden:
        yield Text(f"  and {counted(hidden, 'comparison')} on slices, reported only", style="dim")


def _compared(items: Sequence[Comparison]) -> Iterator[Text]:
    names = list(dict.fromkeys(item.collection for item in items))
    ordered = sorted(items, key=lambda item: (names.index(item.collection), item.slice != ALL, item.slice))
    rows = [
        (
            visible(item.measure, 16),
            score(item.baseline),
            score(item.candidate),
            signed(item.delta),
            interval(item.ci_low, item.ci_high),
            _judged(item),
        )
        for item in ordered
    ]
    header, *lines = table(("measure", "before", "after", "change", "interval", "gate"), rows, right=(1, 2, 3, 4))
    place = None
    for item, line in zip(ordered, lines, strict=True):
        if place != (item.collection, item.slice):
            yield Text("")
            yield _place(item)
            if place is None:
                yield header
            place = (item.collection, item.slice)
        yield _toned(line, item)
        if item.verdict == "cannot_tell" and item.condition is not None and item.needed:
            yield Text(f"      {settled_by(item)} would settle it", style="dim")


def _place(item: Comparison) -> Text:
    part = "" if item.slice == ALL else f", slice {visible(item.slice, 24)}"
    judged = f"  {counted(item.queries, 'judged query', 'judged queries')}"
    return Text.assemble((f"{visible(item.collection, 32)}{part}", "bold"), (judged, "dim"))


def _judged(item: Comparison) -> str:
    words = VERDICTS[item.verdict]
    return _REPORTED if item.condition is None else f"{words.mark} {words.condition}"


def _toned(line: Text, item: Comparison) -> Text:
    said = _judged(item)
    line.stylize("dim" if item.condition is None else _STYLES[item.verdict], len(line) - len(said))
    return line


def _alone(arm: Arm, items: Sequence[Comparison]) -> Iterator[Text]:
    """The means of a generation that has nothing to be compared with, and the floors that it was judged by."""
    judged = {(item.collection, item.measure): item for item in items if item.slice == ALL and item.condition}
    rows = []
    for collection, means in arm.collections.items():
        for measure, value in means.items():
            item = judged.get((collection, measure))
            told = "" if item is None else f"{_judged(item)}: {item.condition}"
            rows.append((visible(collection, 32), visible(measure, 16), score(value), told))
    if rows:
        yield Text("")
        yield from table(("collection", "measure", "mean", "gate"), rows, right=(2,))


def _checks(checks: Sequence[CheckResult]) -> Iterator[Text]:
    """Failed checks first, each with what to do; the passed ones on one line."""
    if not checks:
        return
    yield Text("")
    for check in sorted((check for check in checks if not check.passed), key=lambda check: not check.gates):
        mark, style, aside = ("✗ ", BAD, "") if check.gates else ("! ", NOTE, " (does not gate)")
        yield from _wrapped(mark, f"{visible(check.name, 40)}{aside}: {visible(check.detail, 400)}", style)
        if check.documents:
            more = f" and {count(len(check.documents) - 3)} more" if len(check.documents) > 3 else ""
            yield from _wrapped(
                "    ", ", ".join(visible(name, 60) for name in check.documents[:3]) + more, whole="dim"
            )
        if check.hint:
            yield from _wrapped("  → ", check.hint, "cyan")
    passed = [visible(check.name, 40) for check in checks if check.passed]
    if passed:
        yield from _wrapped("✓ ", f"{counted(len(passed), 'check')} passed: {', '.join(passed)}", GOOD)


def _judge(answers: Mapping[str, Any]) -> Iterator[Text]:
    """Who judged answers, how many, for how much, and whether it may gate."""
    if not answers or answers["judge"] is None:
        return
    calibration = answers["calibration"]
    passed = "not calibrated" if calibration is None else "calibrated" if calibration["passed"] else "not passed"
    cost = money(answers["cost_usd"]) if answers["cost_usd"] else ""
    judged = counted(answers["judged"], "answer")
    yield labelled("judge", listed([visible(answers["judge"], 60), f"{judged} judged", passed, cost]))


def _latency(baseline: Arm | None, new: Latency | None) -> Iterator[Text]:
    old = baseline.latency if baseline else None
    if new is None:
        return
    parts = []
    for name in ("p50", "p95", "p99"):
        before = f"{milliseconds(getattr(old, name)).removesuffix(' ms')} → " if old else ""
        parts.append(f"{name} {before}{milliseconds(getattr(new, name))}")
    yield labelled("latency", listed(parts))
    if new.error_rate or (old and old.error_rate):
        before = f"{percent(old.error_rate)} → " if old else ""
        yield labelled("failed", f"{before}{percent(new.error_rate)} of {counted(new.searches, 'search', 'searches')}")


def _signals(evaluation: Evaluation) -> Iterator[Text]:
    if evaluation.signals:
        told = listed(f"{visible(signal.name, 24)} {signal.value:.3f}" for signal in evaluation.signals)
        yield from _wrapped(f"  {'drift'.ljust(LABEL_WIDTH)}", f"{told} (an alarm, never a gate)", "dim")


def _wrapped(mark: str, text: str, style: str = "", *, whole: str = "") -> Iterator[Text]:
    """Text within WIDTH columns, further lines indented as the first; ``style`` is the mark's, ``whole`` the text's."""
    lines = textwrap.wrap(visible(text, 600), WIDTH - len(mark)) or [""]
    yield Text.assemble((mark, style), (lines[0], whole))
    for line in lines[1:]:
        yield Text.assemble(" " * len(mark), (line, whole))
