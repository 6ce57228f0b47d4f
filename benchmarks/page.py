"""Where a benchmark's table stands on a page of docs/, between two marks of its name; and what machine made it."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


def put(name: str, text: str, page: Path = PAGE) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->``; ends the program where they are missing."""
    before, marked = page.read_text(encoding="utf-8"), re.compile(f"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
    if not marked.search(before):
        sys.exit(f"{page.name} has no marks <!-- {name} --> and <!-- /{name} -->")
    made = f"<!-- {name} -->\n\n{text.strip()}\n\n<!-- /{name} -->"
    page.write_text(marked.sub(lambda _: made, before), encoding="utf-8")


def loop_seconds() -> float:
    """Seconds that a fixed loop takes: 0.22 to 0.3 on an idle core of the machine that the figures are of."""
    started = time.perf_counter()
    total = 0
    for number in range(5_000_000):
        total += number
    return time.perf_counter() - started


def machine(*packages: str) -> str:
    """When and on what something is measured, how busy it was, and in which versions."""
    day, load = datetime.now(tz=UTC).strftime("%Y-%m-%d"), os.getloadavg()[0]
    versions = [f"{name} {found}" for name in packages if (found := _version(name))]
    parts = [day, f"{os.cpu_count()} cores", f"load average {load:.1f}", f"a fixed loop takes {loop_seconds():.2f} s"]
    return ", ".join([*parts, f"Python {platform.python_version()}", *versions])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
