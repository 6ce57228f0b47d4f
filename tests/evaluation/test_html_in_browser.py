"""The report in a real browser, where one is installed: no complaint, and nothing beyond the edge of a phone."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.evaluation.examples import EXAMPLES

from regen.evaluation.html import render_html

NARROW = 400
MEASURE = """<script>
addEventListener("load", () => {
  document.title = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument;
    return `${page.documentElement.scrollWidth}/${page.querySelectorAll("section").length}`;
  }).join(" ");
});
</script>"""


@pytest.fixture(scope="module")
def browser() -> str:
    """Chromium, as Debian and others name it, or as CHROMIUM says."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    return found


def opened(browser: str, page: Path) -> tuple[str, list[str]]:
    """The document after it was loaded, and what the browser's console said."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=2000"]
    done = subprocess.run(
        [browser, *options, f"--user-data-dir={page.parent / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("name", ["hold", "hostile"])
def test_the_console_stays_silent(browser: str, tmp_path: Path, name: str) -> None:
    """The browser has nothing to complain about, not even with hostile texts."""
    page = tmp_path / "report.html"
    page.write_text(render_html(EXAMPLES[name]()), encoding="utf-8")
    shown, complaints = opened(browser, page)
    assert shown.count("<section") > 8
    assert complaints == []


def test_a_complaint_would_be_heard(browser: str, tmp_path: Path) -> None:
    """The policy in the page forbids scripts and images, and the console is where the browser says so."""
    page = tmp_path / "report.html"
    page.write_text(render_html(EXAMPLES["checks_only"]()).replace("<main>", "<main><script>1</script>"), "utf-8")
    _, complaints = opened(browser, page)
    assert any("Content Security Policy" in line for line in complaints)


def test_nothing_reaches_beyond_the_edge_of_a_phone(browser: str, tmp_path: Path) -> None:
    """At 400 pixels no page scrolls sideways, however long its words are."""
    pages = [re.sub("<meta http-equiv[^>]*>", "", render_html(make())) for make in EXAMPLES.values()]
    frames = "".join(
        f'<iframe width="{NARROW}" style="border:0" srcdoc="{html.escape(page)}"></iframe>' for page in pages
    )
    page = tmp_path / "frames.html"
    page.write_text(f"<!DOCTYPE html><meta charset=utf-8><title>-</title>{MEASURE}{frames}", encoding="utf-8")
    shown, _ = opened(browser, page)
    measured = [tuple(map(int, part.split("/"))) for part in re.findall(r"\d+/\d+", shown.partition("</title>")[0])]
    assert len(measured) == len(EXAMPLES)
    assert all(sections > 8 for _, sections in measured)
    assert [width for width, _ in measured if width > NARROW] == []
