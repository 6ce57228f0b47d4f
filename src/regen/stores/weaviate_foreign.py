"""Reading a Weaviate collection that regen did not make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from regen.errors import ConfigError, StoreError
from regen.ports import ForeignColumns, ForeignRows
from regen.stores.foreign_payloads import flat, text_key


def vector_of(config: Any, wanted: str | None) -> str:
    """The name of the vector to read, ``default`` for a collection's only, unnamed one. Raises ConfigError."""
    names = list(config.vector_config or {}) or ["default"]
    if wanted is not None and wanted not in names:
        raise ConfigError(f"there is no vector {wanted!r}", hint=f"there are: {', '.join(names)}")
    if wanted is None and len(names) != 1:
        raise ConfigError(
            f"which vector is meant cannot be told from {', '.join(names)}", hint="name it: --vector NAME"
        )
    return names[0] if wanted is None else wanted


def foreign_rows(
    pages: Callable[[], Iterable[list[Any]]], collection: str, vector: str, wanted: ForeignColumns
) -> Iterator[ForeignRows]:
    """All objects, a page at a time.

    Raises ConfigError when the text's property cannot be told, StoreError for an object without the vector.
    """
    key: str | None = None
    for page in pages():
        payloads = [{name: value for name, value in one.properties.items() if value is not None} for one in page]
        key = key or text_key(payloads[0], wanted.text)
        for one in page:
            if not one.vector.get(vector):
                raise StoreError(
                    f"object {one.uuid} of {collection} has no vector", hint="fill it, or remove the object"
                )
        ids = [
            str(one.uuid) if wanted.id is None else str(held.get(wanted.id, ""))
            for one, held in zip(page, payloads, strict=True)
        ]
        texts = [str(held.pop(key, None) or "") for held in payloads]
        vectors = np.array([one.vector[vector] for one in page], np.float32)
        yield ForeignRows(ids, texts, [_plain(flat(held, wanted.metadata)) for held in payloads], vectors)


def _plain(metadata: dict[str, Any]) -> dict[str, Any]:
    """Metadata with dates and UUIDs as texts, and whole numbers as such."""
    return {key: _value(value) for key, value in metadata.items()}


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return [_value(one) for one in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, str | int | float | bool | dict) else str(value)
