"""What the store cases share: the hooks an adapter fills in, and points made to order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from regen.core.filters import Filter, parse_filter
from regen.ports import CollectionSpec, FieldKind, Payload, Points, Store, StoreHit, Vector, Vectors

DIMENSIONS = 8
COLLECTION = "g1"
FIELDS: dict[str, FieldKind] = {"lang": "string", "year": "number", "draft": "boolean", "tags": "strings"}
HOSTILE_TEXTS = (
    *(
        "",
        "'",
        '"',
        "\\",
        "\\'",
        "''",
        "%",
        "_",
        "a\nb\r\tc",
        "nul\0nul",
        "'); DROP TABLE g1; --",
        "-- x",
        "/* x */",
        "{x} $1 ? :p",
    ),
    *("null", "NULL", "true", "1", "ü€😀", "e\u0301", "é", "\u202eabc", " spaces ", "x" * 3000),
)
HOSTILE_KEYS = (
    *(
        "a.b",
        "Lang",
        "lang",
        "two words",
        "quo'te",
        'dou"ble',
        "select",
        "from",
        "order by",
        "_",
        "__",
        "_5f",
        "f_",
        "id",
        "vector",
    ),
    *(
        "access",
        "odd",
        "schlüssel",
        "ключ",
        "😀",
        "back\\slash",
        "per%cent",
        "semi;colon",
        "0",
        "-",
        "`tick`",
        "[x]",
        "new\nline",
    ),
)


class StoreHooks:
    """What a subclass fills in, and declares of its store. Skipping anything else needs a written reason there."""

    orders_strings = True
    """Whether the store compares texts by order. Where it cannot, ranges of strings are left to the fence."""
    atomic_batches = True
    """Whether a batch that was being written when the process died is there wholly or not at all."""
    longest_text: int | None = None
    """How many bytes of UTF-8 a text may have, None for any number. A longer one is refused by name."""

    def make_store(self, tmp_path: Path) -> Store:
        """Open a new, empty store; files go below ``tmp_path``."""
        raise NotImplementedError

    def another_handle(self, tmp_path: Path) -> Store | None:  # noqa: ARG002  # a hook's argument
        """Open the data of :meth:`make_store` once more, as another process would. None: the store cannot."""
        return None

    def url(self, tmp_path: Path) -> str | None:  # noqa: ARG002  # a hook's argument
        """Name the data of :meth:`make_store`, so that another process can open it. None: none can."""
        return None

    def by_alias(self, store: Store, alias: str, query: Vector, k: int) -> list[str] | None:  # noqa: ARG002  # the same
        """Ask the store as an application does that knows the alias only: the points' ids. None: it cannot be asked."""
        return None

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        """Open a store and close it after the test."""
        self._others: list[Store] = []
        store = self.make_store(tmp_path)
        yield store
        for opened in (store, *self._others):
            opened.close()

    def lacks(self, store: Store, power: str) -> NoReturn:
        """Skip the case: the store does not have this optional power."""
        pytest.skip(f"{type(store).__name__} does not offer {power}")

    def second(self, tmp_path: Path) -> Store:
        """Open another handle, or skip the case."""
        other = self.another_handle(tmp_path)
        if other is None:
            pytest.skip(f"{type(self).__name__}: the store's data cannot be opened a second time")
        self._others.append(other)
        return other


def make_collection(store: Store, points: Points | None = None, **spec: Any) -> str:
    """Create the collection with the usual fields and fill it."""
    store.create(COLLECTION, CollectionSpec(**{"dimensions": DIMENSIONS, "fields": FIELDS, **spec}))
    if points is not None:
        store.upsert(COLLECTION, points)
    return COLLECTION


def make_points(
    ids: Sequence[str],
    *,
    seed: int = 0,
    metadata: Sequence[dict[str, Any]] | None = None,
    access: Sequence[list[str] | None] | None = None,
    texts: Sequence[str] | None = None,
    dimensions: int = DIMENSIONS,
) -> Points:
    """Points with random vectors that are not normalised, and a payload that tells them apart."""
    return Points(
        ids=list(ids),
        vectors=random_vectors(len(ids), seed=seed, dimensions=dimensions),
        payload=Payload(
            chunk_id=[f"chunk {i}" for i in ids],
            token=[2**40 + at for at in range(len(ids))],
            doc_id=[f"doc {i}" for i in ids],
            text=list(texts) if texts else [f"text of {i}" for i in ids],
            position=list(range(len(ids))),
            revision=[100 + at for at in range(len(ids))],
            metadata=[dict(one) for one in metadata] if metadata else [{} for _ in ids],
            access=list(access) if access else [None] * len(ids),
            audit={"model": ["hashing/8"] * len(ids), "dimensions": [dimensions] * len(ids)},
        ),
    )


def random_vectors(count: int, *, seed: int = 0, dimensions: int = DIMENSIONS) -> Vectors:
    """Vectors of shape (count, dimensions) with lengths from about 1 to 20."""
    generator = np.random.default_rng(seed)
    lengths = generator.uniform(0.5, 7.0, (count, 1))
    return (generator.standard_normal((count, dimensions)) * lengths).astype(np.float32)


def numbered(count: int) -> list[str]:
    """That many ids, as the engine makes them: 32 hexadecimal characters."""
    return [f"{at:032x}" for at in range(count)]


def ids_of(hits: Sequence[StoreHit]) -> list[str]:
    """The point ids of hits, in order."""
    return [hit.point_id for hit in hits]


def where(**conditions: Any) -> Filter:
    """A filter written as keyword arguments."""
    return parse_filter(conditions)


def scanned(store: Store, collection: str = COLLECTION, batch: int = 4096) -> dict[str, dict[str, Any]]:
    """All that a scan delivers, by point id; fails when a point comes twice."""
    found: dict[str, dict[str, Any]] = {}
    for page in store.scan(collection, batch):
        columns = page.payload
        for at, point_id in enumerate(page.ids):
            assert point_id not in found, f"{point_id} was scanned twice"
            found[point_id] = {
                "chunk_id": columns.chunk_id[at],
                "token": columns.token[at],
                "doc_id": columns.doc_id[at],
                "text": columns.text[at],
                "position": columns.position[at],
                "revision": columns.revision[at],
                "metadata": columns.metadata[at],
                "access": columns.access[at],
                "audit": {key: values[at] for key, values in columns.audit.items()},
            }
    return found
