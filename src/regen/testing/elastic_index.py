"""One index of the loopback server: documents that are seen by search after a refresh only, and at once by their id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from regen.testing.elastic_fields import Json, Mapped, Product, ServerError, checked_properties, illegal

_SETTINGS: Final = {
    "number_of_shards",
    "number_of_replicas",
    "refresh_interval",
    "mapping.total_fields.limit",
}
_OWN_SETTINGS: Final[dict[Product, set[str]]] = {
    "elasticsearch": {"mapping.exclude_source_vectors"},
    "opensearch": {"knn", "knn.algo_param.ef_search", "knn.derived_source.enabled"},
}
_ID_BYTES: Final = 512
_MOST_FIELDS: Final = 1000


@dataclass(frozen=True, slots=True)
class Stored:
    """A document as it is indexed: its source, the terms of its fields, and its vectors."""

    id: str
    source: Json
    terms: Mapping[str, list[Any]]
    vectors: Mapping[str, NDArray[np.float32]]
    version: int = 1


@dataclass(slots=True)
class Snapshot:
    """What a refresh has made visible: never changed afterwards. Matrices are made when first asked for.

    ``ties`` says that a sort within a point in time ends with a key of the product's own.
    """

    documents: Mapping[str, Stored] = field(default_factory=dict)
    ties: bool = False
    _matrices: dict[str, tuple[list[Stored], NDArray[np.float32]]] = field(default_factory=dict)

    def matrix(self, name: str) -> tuple[list[Stored], NDArray[np.float32]]:
        """The documents that hold a vector under this name, and the vectors."""
        if name not in self._matrices:
            held = [document for document in self.documents.values() if name in document.vectors]
            stacked = np.stack([document.vectors[name] for document in held]) if held else np.zeros((0, 0), np.float32)
            self._matrices[name] = held, stacked
        return self._matrices[name]


class Index:
    """One index."""

    def __init__(self, product: Product, version: tuple[int, int], name: str, body: Json) -> None:
        if unknown := body.keys() - {"settings", "mappings", "aliases"}:
            raise ServerError(400, "parse_exception", f"unknown key [{min(unknown)}] for create index")
        self.product, self.name = product, name
        self.settings = _checked_settings(product, version, body.get("settings", {}))
        self.hides_vectors = product == "elasticsearch" and version >= (9, 2)
        self.hides_vectors &= self.settings.get("mapping.exclude_source_vectors", True) is not False
        mappings = body.get("mappings", {})
        self.dynamic = mappings.get("dynamic", True)
        self.meta: Json = mappings.get("_meta", {})
        self.excluded: list[str] = mappings.get("_source", {}).get("excludes", [])
        if unknown := mappings.keys() - {"dynamic", "_meta", "_source", "properties"}:
            raise ServerError(
                400, "mapper_parsing_exception", f"Root mapping definition has unsupported parameters: {min(unknown)}"
            )
        self.fields = checked_properties(product, mappings.get("properties", {}))
        if any(one.type == "knn_vector" for one in self.fields.values()) and not self.settings.get("knn"):
            raise illegal("Cannot set modelId or method parameters when index.knn setting is false")
        self._check_fields()
        self.live: dict[str, Stored] = {}
        self.seen = Snapshot()

    @property
    def mapping(self) -> Json:
        """As it is read."""
        properties = {name: one.mapping for name, one in self.fields.items()}
        meta = {"_meta": self.meta} if self.meta else {}
        dynamic = {} if self.dynamic is True else {"dynamic": str(self.dynamic).lower()}
        return {**dynamic, **meta, "properties": properties}

    def add_fields(self, body: Json) -> None:
        """Add fields to the mapping; what is there keeps its type, and ``_meta`` is replaced whole."""
        if unknown := body.keys() - {"properties", "_meta", "dynamic"}:
            raise ServerError(400, "mapper_parsing_exception", f"unsupported parameters: {min(unknown)}")
        for name, one in checked_properties(self.product, body.get("properties", {})).items():
            held = self.fields.get(name)
            if held is not None and held.type != one.type:
                raise illegal(f"mapper [{name}] cannot be changed from type [{held.type}] to [{one.type}]")
            self.fields[name] = one
        self.meta = body.get("_meta", self.meta)
        self._check_fields()

    def refresh(self) -> None:
        """Show everything that was written to searches."""
        self.seen = Snapshot(dict(self.live), self.product == "elasticsearch")

    # ── documents ──

    def put(self, document: str, source: Json, *, create: bool = False) -> bool:
        """Write a whole document; whether it is new."""
        if not document or len(document.encode()) > _ID_BYTES:
            raise illegal(
                f"id [{document[:40]}] is too long, must be no longer than {_ID_BYTES} bytes "
                f"but was: {len(document.encode())}"
            )
        held = self.live.get(document)
        if create and held is not None:
            raise ServerError(409, "version_conflict_engine_exception", f"[{document}]: version conflict")
        self.live[document] = self._stored(document, source, 1 if held is None else held.version + 1)
        return held is None

    def update(self, document: str, changes: Json) -> bool:
        """Merge changes into a document; whether anything changed. Objects are merged, all else replaced."""
        held = self.live.get(document)
        if held is None:
            raise ServerError(404, "document_missing_exception", f"[{document}]: document missing")
        source = dict(held.source)
        for name in self.excluded:  # a mapping that excludes a field from the source loses it with an update
            source.pop(name, None)
        merged = _merged(source, changes)
        if merged == held.source:
            return False
        self.live[document] = self._stored(document, merged, held.version + 1)
        return True

    def remove(self, document: str) -> bool:
        """Remove a document; whether it was there."""
        return self.live.pop(document, None) is not None

    def shown(self, stored: Stored, wanted: Any) -> Json | None:
        """The source of a document as a request wants it. Raises ServerError for a filter that is not understood."""
        if wanted is False:
            return None
        asked = {"includes": wanted} if isinstance(wanted, list | str) else {} if wanted is True else dict(wanted)
        known = {"includes", "excludes", "include", "exclude"}
        if self.product == "elasticsearch":
            known |= {"exclude_vectors"}
        if unknown := asked.keys() - known:
            raise ServerError(400, "parsing_exception", f"Unknown key for a VALUE in [{min(unknown)}].")
        hidden: set[str] = set(_listed(asked.get("excludes", []))) | set(self.excluded)
        if self.hides_vectors and asked.get("exclude_vectors", True):
            hidden |= {name for name, one in self.fields.items() if one.is_vector}
        chosen = set(_listed(asked.get("includes", []))) or stored.source.keys()
        return {name: value for name, value in stored.source.items() if name in chosen and name not in hidden}

    def _stored(self, document: str, source: Json, version: int) -> Stored:
        terms: dict[str, list[Any]] = {}
        vectors: dict[str, NDArray[np.float32]] = {}
        for name, value in source.items():
            mapped = self.fields.get(name) or self._mapped_as_seen(name, value)
            if mapped is None or value is None:
                continue
            if mapped.is_vector:
                vectors[name] = mapped.vector(value, document)
            else:
                terms[name] = mapped.terms(value)
        kept = {name: _as_kept(value, self.hides_vectors and name in vectors) for name, value in source.items()}
        return Stored(document, kept, terms, vectors, version)

    def _mapped_as_seen(self, name: str, value: object) -> Mapped | None:
        """What dynamic mapping makes of a field that nobody has mapped."""
        if self.dynamic is False or value is None:
            return None
        if self.dynamic == "strict":
            raise ServerError(
                400, "strict_dynamic_mapping_exception", f"introduction of [{name}] within [_doc] is not allowed"
            )
        one = value[0] if isinstance(value, list) and value else value
        kind = "object" if isinstance(one, dict) else "boolean" if isinstance(one, bool) else "text"
        kind = "double" if isinstance(one, float) else "long" if type(one) is int else kind
        self.fields[name] = Mapped(name, {"type": kind})
        return self.fields[name]

    def _check_fields(self) -> None:
        if len(self.fields) > _MOST_FIELDS:
            raise illegal(f"Limit of total fields [{_MOST_FIELDS}] has been exceeded")


def _checked_settings(product: Product, version: tuple[int, int], settings: Json) -> Json:
    nested: Json = settings.get("index", {})
    flat: Json = {key.removeprefix("index."): value for key, value in settings.items() if key != "index"} | nested
    known = _SETTINGS | _OWN_SETTINGS[product]
    if product == "elasticsearch" and version < (9, 2):
        known = known - {"mapping.exclude_source_vectors"}
    if unknown := flat.keys() - known:
        raise illegal(
            f"unknown setting [index.{min(unknown)}] please check that any required plugins are installed, or check "
            "the breaking changes documentation for removed settings"
        )
    return flat


def _merged(old: Json, new: Json) -> Json:
    both = dict(old)
    for key, value in new.items():
        held = both.get(key)
        both[key] = _merged(held, value) if isinstance(held, dict) and isinstance(value, dict) else value
    return both


def _as_kept(value: Any, rounded: bool) -> Any:
    """A vector that is left out of the source comes back from the index, where numbers are of 32 bits."""
    return [float(str(np.float32(one))) for one in value] if rounded else value


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
