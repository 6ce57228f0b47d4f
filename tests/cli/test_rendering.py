"""What people read, from constructed results."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from regen.cli.rendering_errors import error_lines
from regen.cli.rendering_plan import plan_lines
from regen.cli.rendering_search import search_lines, snippet
from regen.cli.rendering_status import history_lines, status_lines
from regen.cli.rendering_sync import sync_lines, watch_line
from regen.cli.rendering_upkeep import doctor_lines, gc_lines, init_lines, verify_lines
from regen.config import Detected
from regen.core.freshness import Percentiles
from regen.core.plan import Plan, Step
from regen.core.results import (
    ChangeRecord,
    ChunkCounts,
    DeadLetter,
    DoctorReport,
    DocumentCounts,
    Explanation,
    Finding,
    Freshness,
    GcReport,
    GenerationStatus,
    Hit,
    SearchResult,
    StatusReport,
    SyncResult,
    VerifyReport,
)
from regen.errors import BudgetExceeded, RateLimited
from regen.wording import error_data

NOW = 1_800_000_000.0
LETTER = DeadLetter("bad.md", None, 3, "not UTF-8", 2, NOW - 60)


def told(lines: Iterable[Text | str]) -> str:
    """The lines as plain text."""
    return "\n".join(str(line) for line in lines)


def sync_result(**documents: int) -> SyncResult:
    """A sync that embedded something."""
    counts = DocumentCounts(**documents)
    return SyncResult(counts, ChunkCounts(40, 210, 3), 38, 9120, 0.0123, 1.4, 1, 1234, ["store compacted"])


def test_a_sync_tells_what_changed_and_what_it_cost() -> None:
    """Documents, chunks, texts, tokens, dollars, time and notes are all there."""
    text = told(sync_lines(sync_result(added=12, updated=3, deleted=1, unchanged=4985)))
    for part in (
        "✓ In step at revision 1,234 · generation 1",
        "12 added · 3 updated · 1 deleted · 4,985 unchanged",
        "40 written · 210 reused · 3 deleted",
        "38 texts embedded (9,120 tokens) · $0.0123 · 1.4 s",
        "! store compacted",
    ):
        assert part in text


def test_a_sync_without_changes_is_one_line() -> None:
    """Nothing to tell takes one line."""
    lines = list(sync_lines(SyncResult(DocumentCounts(unchanged=5001), seconds=0.21)))
    assert [str(line) for line in lines] == ["✓ Nothing changed: 5,001 documents in step (0.2 s)"]


def test_failures_are_told_with_reason_and_remedy() -> None:
    """A failed document is never hidden behind a success (I10)."""
    text = told(sync_lines(sync_result(added=1, failed=1), [LETTER]))
    assert "✗ In step" in text
    assert "bad.md: not UTF-8" in text
    assert "regen retry" in text


def test_free_work_shows_no_price() -> None:
    """Dollars appear only when some were spent."""
    assert "$" not in told(sync_lines(SyncResult(DocumentCounts(added=1), embedded_texts=1)))


def test_a_watch_round_is_one_line() -> None:
    """Following a folder prints a line a change."""
    line = str(watch_line(sync_result(updated=1, unchanged=99), "12:00:00"))
    assert line.startswith("12:00:00  ✓ 1 updated · 38 texts embedded")


def plan(*steps: Step, source: int | None = 1, target: int = 1) -> Plan:
    """A plan of these steps."""
    return Plan(steps, source, target, 42, "digest", "recipe", notes=("estimated from the last runs",))


def test_a_plan_is_an_aligned_table_with_a_sum() -> None:
    """Counts stand under each other, and the reasons are there."""
    steps = (
        Step("place_documents", "new documents", 12, 40, 38, 9120, 0.01, 1.5),
        Step("delete_documents", "gone from the source", 3, 9, 0, 0, 0, 0.1),
    )
    lines = [str(line) for line in plan_lines(plan(*steps))]
    assert lines[0] == "Plan for generation 1, from revision 42"
    assert lines[2].index("12") + 2 == lines[3].index(" 3 ") + 2 == lines[1].index("documents") + len("documents")
    assert lines[4].split() == ["total", "15", "49", "38", "9,120", "$0.0100", "~", "1.6", "s"]
    assert lines[2].endswith("new documents")
    assert lines[5] == "  ready in    about 1.6 s, by the rates measured on this machine"
    assert lines[6] == "! estimated from the last runs"


def test_an_empty_plan_and_a_first_one() -> None:
    """Nothing to do is said so; the first generation has nothing it comes from."""
    assert "Nothing to do" in told(plan_lines(plan()))
    text = told(plan_lines(plan(Step("create_generation", "there is none"), source=None)))
    assert "Plan for first generation (1)" in text
    assert "total" not in text
    assert "generation 1 → 2" in told(plan_lines(plan(Step("promote", "ready"), target=2)))


HIT = Hit(
    "guide/a.md", "c" * 32, 0.734, "# Reset\n\nHow to  reset.", {"lang": "en", "draft": True, "tags": ["x"]}, 3, 1, "s"
)


def search_result(*hits: Hit, dropped: dict[str, int] | None = None) -> SearchResult:
    """A search result with an explanation."""
    return SearchResult(1, "abc", list(hits), Explanation("live", 1.2, 3.4, 0.5, 2, 20, dropped or {}))


def test_hits_show_rank_score_document_text_and_metadata() -> None:
    """A hit is what a reader needs to judge it."""
    text = told(search_lines(search_result(HIT)))
    for part in (" 1   0.734  guide/a.md", "# Reset How to reset.", "lang=en · draft=true"):
        assert part in text
    assert "route" not in text


def test_an_explanation_tells_times_and_what_the_fence_dropped() -> None:
    """--explain shows how the answer came about."""
    text = told(search_lines(search_result(HIT, dropped={"not_allowed": 3}), explain=True))
    for part in ("live, generation 1, space abc", "embed 1.2 ms", "20 from the store in 2 rounds", "3 (not allowed)"):
        assert part in text


def test_no_hits_say_what_may_be_the_cause() -> None:
    """An empty answer to the public hints at --as."""
    text = told(search_lines(search_result(dropped={"deleted": 1}), public_only=True))
    assert "No hits." in text
    assert "--as WHO" in text
    assert "1 (deleted)" in text


def test_snippets_are_cut_at_a_word() -> None:
    """A long chunk is shown by its beginning only."""
    assert snippet("word " * 100, 22) == "word word word word …"
    assert snippet("  short\n text ", 22) == "short text"


TIMES = Percentiles(0.4, 1.2, 3)


def status(live: int | None = 1, letters: int = 0, **freshness: int) -> StatusReport:
    """A status report."""
    counts = {"pending": 0, "stale": 0, "failed": 0, "deleted_still_present": 0, **freshness}
    fresh = Freshness(
        **counts, oldest_pending_seconds=12, source_to_searchable_seconds=Percentiles(0.4, 1.2, 3), sources=[]
    )
    generation = GenerationStatus(1, "live", "hashing/64", 64, "abc", 5001, 9120, 0, 0, 0.0)
    return StatusReport("handbook", live, [generation], fresh, 1.5, 5001, [LETTER] * letters, ["the recipe changed"])


def test_status_in_step_and_behind() -> None:
    """The first line says whether search is in step; the rest says of what."""
    text = told(status_lines(status(), NOW))
    for part in (
        "✓ handbook: in step",
        "1 (live) · 5,001 documents as 9,120 chunks",
        "hashing/64 · 64 dimensions",
        "p95 1.2 s",
        "$1.50 so far",
        "! the recipe changed",
    ):
        assert part in text
    behind = told(status_lines(status(pending=12, stale=3, deleted_still_present=1), NOW))
    assert "✗ handbook: 12 documents behind · 1 deleted but still in the store" in behind
    assert "oldest change 12.0 s old · 3 searchable in an older revision" in behind
    assert "regen sync" in told(status_lines(status(live=None), NOW))


def test_dead_letters_are_listed_up_to_a_limit() -> None:
    """Reasons are shown, and no flood of them."""
    text = told(status_lines(status(letters=25, failed=25), NOW))
    assert "✗ handbook: 25 failed" in text
    assert text.count("bad.md: not UTF-8 (2 attempts, 1 min 0 s ago)") == 20
    assert "and 5 more" in text


def test_history_tells_what_can_be_restored() -> None:
    """A document's history ends with the command that restores it."""
    changes = [ChangeRecord(7, "a.md", "deleted", NOW, False), ChangeRecord(3, "a.md", "added", NOW - 60, True)]
    text = told(history_lines(changes, "a.md"))
    assert "regen restore a.md --revision 3" in text
    assert [line.split()[-1] for line in text.splitlines()[1:3]] == ["a.md", "a.md"]
    assert "holds nothing of 'b'" in told(history_lines([], "b"))
    assert "empty" in told(history_lines([], None))


def test_verify_tells_each_kind_of_difference() -> None:
    """What differs is counted, named and given a remedy."""
    bad = VerifyReport(1, 2, 3, 4, 5, 0, False, 1, 100, ["a.md: chunk 3 is missing"])
    text = told(verify_lines(bad))
    for part in ("✗ Not consistent: 100 points checked", "1 named by", "2 in the store", "3 documents", "4 of another",
                 "5 with", "a.md: chunk 3", "--repair"):  # fmt: skip
        assert part in text
    assert told(verify_lines(VerifyReport(points=9, repaired=2))) == "✓ Consistent after 2 repairs: 9 points checked"


def test_doctor_gc_and_init() -> None:
    """Checks, removals and what was written are told in full."""
    findings = [Finding("model", True, "256 dimensions", seconds=0.3), Finding("disk", False, "full", "make room")]
    text = told(doctor_lines(DoctorReport(findings)))
    for part in ("✓ model  256 dimensions  (0.3 s)", "✗ disk   full", "→ make room", "1 check failed"):
        assert part in text
    assert "All is well" in told(doctor_lines(DoctorReport(findings[:1])))
    assert told(gc_lines(GcReport(points=1, changes=2, maintenance=["compacted"]))) == (
        "✓ Removed 1 point · 2 changes\n  upkeep      compacted"
    )
    assert "Nothing to remove" in told(gc_lines(GcReport()))
    detected = Detected("files", "docs", ("**/*.md",), "{text}", "docs", 3)
    assert "files: docs · **/*.md (3 documents seen)" in told(init_lines(Path("regen.yaml"), detected))


def test_errors_show_message_and_hint_but_no_password() -> None:
    """An error is told in two parts; a URL's password is starred out, even of an unexpected error."""
    error = BudgetExceeded("line one\nline two: postgresql://me:hunter2@host/x", hint="raise limits.budget_usd")
    text = told(error_lines(error))
    assert text.startswith("Error: line one\n       line two")
    assert "Hint:  raise limits.budget_usd" in text
    assert "hunter2" not in text
    surprise = error_data(KeyError("https://me:hunter2@host"))
    assert "unexpected KeyError" in surprise["message"]
    assert "hunter2" not in surprise["message"]
    assert error_data(RateLimited("slow down"))["retryable"] is True


def test_wide_characters_align() -> None:
    """A column is as wide as a terminal shows it."""
    changes = [ChangeRecord(1, "表.md", "added", NOW, True), ChangeRecord(2, "b.md", "added", NOW, True)]
    console = Console(width=100, file=None)
    widths = {console.measure(str(line).split("yes")[0]).maximum for line in list(history_lines(changes, None))[1:]}
    assert len(widths) == 1
