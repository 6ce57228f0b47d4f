"""Filterable fields: which metadata values a store keeps, decided once for every store and for ``verify``.

A collection declares each filterable key with one kind. A value of another kind is *kept as absent*: the document
still has it, the catalog still filters by it, but the store holds nothing a filter could be evaluated on.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, Literal, TypeAlias

from regen.core.documents import Metadata

Kind: TypeAlias = Literal["string", "number", "boolean", "strings"]


def conforms(value: object, kind: Kind) -> bool:
    """Whether a store keeps this value under a key of this kind.

    A number conforms when a 64-bit float holds it exactly and it is finite: 2**53 + 1 would be kept as another number.
    """
    if kind == "string":
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool) and _exact(value)
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _exact(number: float) -> bool:
    try:
        return isfinite(number) and float(number) == number
    except OverflowError:
        return False


def kept(metadata: Metadata, fields: Mapping[str, Kind]) -> dict[str, Any]:
    """What a store with these fields keeps of a document's metadata."""
    return {key: metadata[key] for key, kind in fields.items() if key in metadata and conforms(metadata[key], kind)}
