"""Learning which metadata is filterable from the documents themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from regen.core.fields import Kind
from regen.core.filters import kind_of

MAX_FIELDS: Final = 64
"""Beyond this many keys, further ones are filtered by the fence only: a wide table slows every write."""


def field_kind(value: object) -> Kind | None:
    """The field kind of a metadata value, None when a store cannot keep it as a field."""
    if isinstance(value, list | tuple):
        return "strings" if value and all(isinstance(item, str) for item in value) else None
    return kind_of(value)


def new_fields(
    known: Mapping[str, str], metadata: Iterable[Mapping[str, Any]], allowed: frozenset[str] | None = None
) -> dict[str, Kind]:
    """The keys that these documents bring and the collection lacks. ``allowed`` limits them (None: any)."""
    found: dict[str, Kind] = {}
    for values in metadata:
        for key in values:
            if key in known or key in found:
                continue
            if allowed is not None and key not in allowed:
                continue
            kind = field_kind(values[key])
            if kind is not None and len(known) + len(found) < MAX_FIELDS:
                found[key] = kind
    return dict(sorted(found.items()))
