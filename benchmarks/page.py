"""Where a benchmark's table stands in docs/benchmarks.md: between two marks of its name."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


def put(name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->``; ends the program where they are missing."""
    page, marked = PAGE.read_text(encoding="utf-8"), re.compile(f"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
    if not marked.search(page):
        sys.exit(f"{PAGE.name} has no marks <!-- {name} --> and <!-- /{name} -->")
    made = f"<!-- {name} -->\n\n{text.strip()}\n\n<!-- /{name} -->"
    PAGE.write_text(marked.sub(lambda _: made, page), encoding="utf-8")
