"""One docstring, however it was found."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["module", "class", "function", "method"]


class Docstring(NamedTuple):
    """The documentation of one public name. ``doc`` has its indentation removed; ``signature`` may be empty."""

    name: str
    kind: Kind
    signature: str
    doc: str
