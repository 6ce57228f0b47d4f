"""Where a benchmark's table stands in docs/benchmarks.md, or on another page: between two marks of its name."""

from __future__ import annotations

import re
import sys
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
