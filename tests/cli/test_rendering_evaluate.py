"""An evaluation on the terminal: the verdict first, nothing beyond eighty columns, nothing that steers it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.text import Text
from tests.evaluation.examples import EXAMPLES, checks_only, first, held, hostile, promoted, undecided

from regen.cli.rendering_evaluate import WIDTH, evaluation_lines
from regen.evaluation.outcome import ALL, CheckResult, Evaluation


def lines_of(evaluation: Evaluation, report: Path | None = None) -> list[str]:
    """The lines as plain text."""
    return [str(line) for line in evaluation_lines(evaluation, report)]


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_line_is_wider_than_a_terminal(name: str) -> None:
    """Eighty columns are enough, whatever the names are."""
    lines = list(evaluation_lines(EXAMPLES[name]()))
    assert [str(line) for line in lines if Text(str(line)).cell_len > WIDTH] == []
    assert len(lines) > 8


@pytest.mark.parametrize(
    ("name", "mark"), [("promote", "✓ Promote"), ("hold", "✗ Hold"), ("cannot_tell", "! Cannot tell")]
)
def test_the_verdict_is_the_first_line_and_the_reasons_follow(name: str, mark: str) -> None:
    """A reader who stops after three lines knows enough."""
    evaluation = EXAMPLES[name]()
    lines = lines_of(evaluation)
    assert lines[0] == f"{mark}: generation 8 against generation 7 (8.4 s)"
    after = " ".join(" ".join(lines[1:8]).split())
    assert [reason for reason in evaluation.reasons if reason not in after] == []


def test_measures_stand_under_each_other_by_collection() -> None:
    """One table with a heading for each collection; columns align across them."""
    lines = lines_of(promoted())
    header = next(line for line in lines if line.startswith("  measure"))
    rows = [line for line in lines if line.startswith("  nDCG@10")]
    assert len(rows) == 3
    assert {row.index("✓ met") for row in rows} == {header.index("gate")}
    assert [line for line in lines if line.endswith("100 judged queries")] == [
        "support  100 judged queries", "engineering  100 judged queries", "people-and-policies  100 judged queries",
    ]  # fmt: skip
    assert re.search(r"\+0\.\d{4} to \+0\.\d{4}  ✓ met$", rows[0])
    assert sum(line.endswith("reported") for line in lines) == 3
    assert "  and 36 comparisons on slices, reported only" in lines


def test_a_slice_that_the_gate_judges_is_shown() -> None:
    """Only slices that nobody asked about are left to the page."""
    found = undecided()
    gated = tuple(
        replace(item, condition="min_lift 0", verdict="hold") if item.slice == "lang=de" else item
        for item in found.comparisons
    )
    text = "\n".join(lines_of(replace(found, comparisons=gated)))
    assert "support, slice lang=de  7 judged queries" in text
    assert text.count("✗ not met") == 3
    assert "and 9 comparisons on slices, reported only" in text


def test_a_judged_slice_stands_under_its_own_collection() -> None:
    """The gate gives what it judged first; a reader wants a collection's figures together."""
    found = promoted()
    part = next(item for item in found.comparisons if item.slice == "lang=de")
    given = (*(item for item in found.comparisons if item.slice == ALL), replace(part, condition="min_lift 0"))
    headings = [line.partition("  ")[0] for line in lines_of(replace(found, comparisons=given)) if "judged q" in line]
    assert headings == ["support", "support, slice lang=de", "engineering", "people-and-policies"]


def test_an_undecided_condition_says_how_many_queries_are_needed() -> None:
    """And the last lines say what to do about it."""
    lines = lines_of(undecided())
    assert lines.count("      about 140 more judged queries would settle it") == 2
    assert "  → judge about 140 more queries for support, then regen evaluate 8" in lines


def test_failed_checks_come_first_and_passed_ones_take_one_line() -> None:
    """A failure with its documents and what to do; advice marked as such."""
    lines = lines_of(held())
    failed = next(at for at, line in enumerate(lines) if line.startswith("✗ permissions: "))
    advice = next(at for at, line in enumerate(lines) if line.startswith("! fresh_content (does not gate)"))
    assert failed < advice < lines.index("✓ 3 checks passed: known_queries, deleted_documents, recall")
    assert lines.index("    people/salaries-2026.md") < advice
    assert lines.index("  → run regen verify --repair, then evaluate again") < advice


def test_many_documents_of_a_check_are_counted() -> None:
    """Three are named, the rest counted."""
    check = CheckResult("deleted_documents", False, "found again", documents=tuple(f"d{at}" for at in range(9)))
    assert "    d0, d1, d2 and 6 more" in lines_of(replace(held(), checks=(check,)))


def test_latency_drift_problems_and_notes_are_told() -> None:
    """Both sides of the times; drift is an alarm, never a gate."""
    text = "\n".join(lines_of(promoted()))
    assert "latency     p50 4.9 → 5.9 ms · p95 11.8 → 14.2 ms · p99 22.4 → 27.0 ms" in text
    assert "drift       overlap@10 0.612 · rbo 0.570 (an alarm, never a gate)" in text
    assert "! support: 3 judgments name documents" in text
    assert "  2 queries without judgments were left out" in text


def test_failed_searches_are_told() -> None:
    """An error rate is shown only where there is one."""
    found = promoted()
    assert "failed" not in "\n".join(lines_of(replace(found, checks=())))
    assert found.candidate.latency is not None
    slow = replace(found.candidate, latency=replace(found.candidate.latency, error_rate=0.0125))
    assert "  failed      0 % → 1.25 % of 300 searches" in lines_of(replace(found, candidate=slow))


def test_a_first_evaluation_shows_the_means_alone() -> None:
    """No before and after where there was nothing before."""
    lines = lines_of(first())
    assert lines[0] == "✓ Promote: generation 8 on its own (8.4 s)"
    row = next(line for line in lines if "support" in line and "nDCG@10" in line)
    assert row.endswith("✓ met: min 0.5")
    assert "before" not in "\n".join(lines)
    assert "baseline" not in "\n".join(lines)


def test_checks_alone_need_no_table() -> None:
    """Nothing judged, nothing tabulated."""
    text = "\n".join(lines_of(checks_only()))
    assert "measure" not in text
    assert "✓ 4 checks passed" in text


@pytest.mark.parametrize(("name", "step"), [("promote", "→ regen promote 8"), ("hold", "→ mend what failed, then")])
def test_what_to_do_next_is_said(name: str, step: str) -> None:
    """A command where there is one."""
    assert step in "\n".join(lines_of(EXAMPLES[name]())[-2:])


def test_the_page_that_was_written_is_named() -> None:
    """Instead of how to get one."""
    assert lines_of(promoted(), Path("out.html"))[-1] == "  report      out.html"
    assert lines_of(promoted())[-1] == "  → every query and slice: --report FILE.html, or --json"


def test_nothing_that_others_wrote_steers_the_terminal() -> None:
    """No escape sequence, no change of direction, no half character gets through."""
    text = "\n".join(lines_of(hostile()))
    assert "[31mred" in text
    assert re.search("[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\ud800-\udfff]", text) is None
    assert hostile().comparisons[0].slice == ALL
