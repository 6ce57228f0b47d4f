"""What lies in the Weaviate of our tests: classes with a checked schema, objects, filters and distances."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import numpy as np

from regen.ports import Vector, Vectors
from regen.stores.words import bm25

_CLASS: Final = re.compile(r"[A-Z][_0-9A-Za-z]{0,254}")
_PROPERTY: Final = re.compile(r"[_A-Za-z][_0-9A-Za-z]{0,230}")
_RESERVED: Final = frozenset({"id", "_id", "_additional", "vector"})
_TYPES: Final = frozenset(
    {"text", "text[]", "number", "number[]", "int", "int[]", "boolean", "boolean[]", "uuid", "date"}
)
_ORDER: Final = {
    "OPERATOR_GREATER_THAN": lambda held, asked: held > asked,
    "OPERATOR_GREATER_THAN_EQUAL": lambda held, asked: held >= asked,
    "OPERATOR_LESS_THAN": lambda held, asked: held < asked,
    "OPERATOR_LESS_THAN_EQUAL": lambda held, asked: held <= asked,
}


class Refusal(Exception):
    """What Weaviate would refuse, in its words."""


@dataclass(slots=True)
class Object:
    """One object: properties without nulls, and its vectors by name."""

    properties: dict[str, Any]
    vectors: dict[str, Vector]


@dataclass(slots=True)
class ClassState:
    """One class: its schema as JSON, and its objects by uuid, in their order."""

    schema: dict[str, Any]
    objects: dict[UUID, Object] = field(default_factory=dict)
    dimensions: dict[str, int] = field(default_factory=dict)
    _matrix: dict[str, tuple[list[UUID], Vectors]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.schema["class"])

    @property
    def properties(self) -> dict[str, dict[str, Any]]:
        """The schema of its properties by name."""
        return {item["name"]: item for item in self.schema["properties"]}

    def write(self, uuid: UUID, properties: dict[str, Any], vectors: dict[str, Vector]) -> None:
        """Replace an object. Raises Refusal for what the schema does not allow."""
        known = self.properties
        for name, value in properties.items():
            if name not in known:
                raise Refusal(
                    f"invalid object: no such prop with name '{name}' found in class '{self.name}' in the schema"
                )
            _check_type(self.name, name, known[name]["dataType"][0], value)
        for name, vector in vectors.items():
            if name not in self.schema["vectorConfig"]:
                raise Refusal(f"vector {name} is not configured for class {self.name}")
            wanted = self.dimensions.setdefault(name, len(vector))
            if len(vector) != wanted:
                raise Refusal(
                    f"new node has a vector with length {len(vector)}. Existing nodes have vectors with length {wanted}"
                )
        self.objects[uuid] = Object(properties, vectors)
        self._matrix.clear()

    def remove(self, uuids: Iterable[UUID]) -> None:
        """Remove objects."""
        for uuid in uuids:
            self.objects.pop(uuid, None)
        self._matrix.clear()

    def after(self, uuid: UUID | None, limit: int) -> list[UUID]:
        """The next objects in the order of their uuids."""
        return [one for one in sorted(self.objects) if uuid is None or one > uuid][:limit]

    def passing(self, asked: Any) -> set[UUID]:
        """The objects that satisfy a filter. Raises Refusal for one that cannot be asked."""
        _check_filter(self, asked)
        passes = _predicate(asked)
        return {uuid for uuid, one in self.objects.items() if passes(uuid, one.properties)}

    def nearest(self, name: str, query: Vector, among: set[UUID] | None, limit: int) -> list[tuple[UUID, float]]:
        """Uuids and distances, the nearest first. Raises Refusal for a vector of other dimensions."""
        if name not in self.schema["vectorConfig"]:
            raise Refusal(f"vector {name} is not configured for class {self.name}")
        wanted = self.dimensions.get(name, len(query))
        if len(query) != wanted:
            raise Refusal(f"vector search: vector lengths don't match: {wanted} vs {len(query)}")
        if name not in self._matrix:
            ids = [uuid for uuid, one in self.objects.items() if name in one.vectors]
            held = np.array([self.objects[uuid].vectors[name] for uuid in ids], np.float32)
            self._matrix[name] = ids, held.reshape(len(ids), len(query))
        ids, vectors = self._matrix[name]
        rows = [at for at, uuid in enumerate(ids) if among is None or uuid in among]
        metric = self.schema["vectorConfig"][name]["vectorIndexConfig"]["distance"]
        distances = _distances(vectors[rows].astype(np.float64), query.astype(np.float64), metric)
        order = np.argsort(distances, kind="stable")[:limit]
        return [(ids[rows[at]], float(distances[at])) for at in order]

    def by_words(
        self, query: str, names: Sequence[str], among: set[UUID] | None, limit: int
    ) -> list[tuple[UUID, float]]:
        """Uuids and BM25 scores, the best first. Raises Refusal for a property that is not searchable."""
        for name in names:
            if not self.properties.get(name, {}).get("indexSearchable"):
                raise Refusal(
                    f"bm25: property '{name}' is not indexed. Please choose another property or add an index to it"
                )
        ids = [uuid for uuid in self.objects if among is None or uuid in among]
        texts = [" ".join(str(self.objects[uuid].properties.get(name, "")) for name in names) for uuid in ids]
        scored = sorted(zip(bm25(query, texts), ids, strict=True), key=lambda pair: -pair[0])
        return [(uuid, score) for score, uuid in scored if score > 0][:limit]


def checked_schema(body: Any) -> dict[str, Any]:
    """The schema of a new class as Weaviate answers it. Raises Refusal."""
    if not _CLASS.fullmatch(body.get("class", "")):
        raise Refusal(f"'{body.get('class')}' is not a valid class name")
    vectors = {}
    for name, given in (body.get("vectorConfig") or {}).items():
        index = given.get("vectorIndexConfig") or {}
        if index.get("distance", "cosine") not in {"cosine", "dot", "l2-squared"}:
            raise Refusal(f"unrecognized distance metric {index['distance']!r}")
        vectors[name] = {
            "vectorizer": given["vectorizer"],
            "vectorIndexType": given.get("vectorIndexType", "hnsw"),
            "vectorIndexConfig": _HNSW | index,
        }
    properties = [checked_property(one, ()) for one in body.get("properties") or ()]
    names = [one["name"] for one in properties]
    if len(names) != len(set(names)):
        raise Refusal("class has two properties of one name")
    made = {"class": body["class"], "description": body.get("description", ""), "properties": properties}
    return made | {"vectorConfig": vectors, "multiTenancyConfig": body.get("multiTenancyConfig") or {"enabled": False}}


def checked_property(body: Any, there: Iterable[str]) -> dict[str, Any]:
    """The schema of a property as Weaviate answers it. Raises Refusal."""
    name, kind = body["name"], body["dataType"][0]
    if not _PROPERTY.fullmatch(name) or name in _RESERVED:
        raise Refusal(f"'{name}' is not a valid property name")
    if kind not in _TYPES:
        raise Refusal(f"property '{name}': invalid dataType: ['{kind}']")
    if name in there:
        raise Refusal(f"property '{name}' already exists")
    text = kind.startswith("text")
    if body.get("indexSearchable") and not text:
        raise Refusal(f"property '{name}': `indexSearchable` is allowed only for text/text[] data types")
    made = {"name": name, "dataType": [kind], "description": body.get("description") or ""}
    made |= {"indexFilterable": body.get("indexFilterable", True), "indexSearchable": body.get("indexSearchable", text)}
    return made | ({"tokenization": body.get("tokenization", "word")} if text else {})


_HNSW: Final = {
    "skip": False, "cleanupIntervalSeconds": 300, "maxConnections": 32, "efConstruction": 128, "ef": -1,
    "dynamicEfMin": 100, "dynamicEfMax": 500, "dynamicEfFactor": 8, "vectorCacheMaxObjects": 10**12,
    "flatSearchCutoff": 40_000, "distance": "cosine", "filterStrategy": "sweeping",
}  # fmt: skip


def _check_type(collection: str, name: str, kind: str, value: Any) -> None:
    wanted: Any = {"text": str, "boolean": bool, "number": float, "int": float}.get(kind.removesuffix("[]"), object)
    values = value if kind.endswith("[]") else [value]
    if not isinstance(values, list) or not all(isinstance(one, wanted) for one in values):
        raise Refusal(
            f"invalid {kind} property '{name}' on class '{collection}': not a {kind}, but {str(value)[:60]!r}"
        )


def _check_filter(state: ClassState, asked: Any) -> None:
    operator = _operator(asked)
    if operator in {"OPERATOR_AND", "OPERATOR_OR"}:
        if not asked.filters:
            raise Refusal(f"{operator} needs operands")
        for one in asked.filters:
            _check_filter(state, one)
        return
    if operator not in {"OPERATOR_EQUAL", "OPERATOR_CONTAINS_ANY", *_ORDER}:
        raise Refusal(f"unknown or unsupported operator {operator}")
    name = asked.target.property or (asked.on[0] if asked.on else "")
    if name == "_id":
        return
    held = state.properties.get(name)
    if held is None:
        raise Refusal(
            f"invalid where filter: no such prop with name '{name}' found in class '{state.name}' in the schema"
        )
    if not held["indexFilterable"]:
        raise Refusal(
            f"Filtering by property '{name}' requires inverted index. Is `indexFilterable` option of it enabled?"
        )
    _check_operand(name, held["dataType"][0].removesuffix("[]"), operator, asked)


def _check_operand(name: str, kind: str, operator: str, asked: Any) -> None:
    given = asked.WhichOneof("test_value")
    fitting = {"text": "value_text", "number": "value_number", "boolean": "value_boolean", "int": "value_int"}[kind]
    if given not in {fitting, f"{fitting}_array"}:
        raise Refusal(
            f"data type filter cannot use {given!r} on type {kind!r}, use another value type (property {name!r})"
        )
    if operator == "OPERATOR_CONTAINS_ANY" and not given.endswith("_array"):
        raise Refusal(f"{operator} on {name!r} needs a list")


def _predicate(asked: Any) -> Callable[[UUID, dict[str, Any]], bool]:
    """What tells whether an object satisfies a filter that was checked."""
    operator = _operator(asked)
    if operator in {"OPERATOR_AND", "OPERATOR_OR"}:
        parts, every = [_predicate(one) for one in asked.filters], operator == "OPERATOR_AND"
        return lambda uuid, held: (all if every else any)(part(uuid, held) for part in parts)
    name = asked.target.property or asked.on[0]
    value = getattr(asked, asked.WhichOneof("test_value"))
    asked_for = list(value.values) if hasattr(value, "values") else [value]
    if operator in _ORDER:
        return lambda _, held: any(_ORDER[operator](one, asked_for[0]) for one in _values(held.get(name)))
    wanted = set(map(_as_indexed, asked_for))
    if name == "_id":
        return lambda uuid, _: str(uuid) in wanted
    return lambda _, held: any(_as_indexed(one) in wanted for one in _values(held.get(name)))


def _values(held: Any) -> list[Any]:
    return held if isinstance(held, list) else [] if held is None else [held]


def _operator(asked: Any) -> str:
    return str(asked.DESCRIPTOR.fields_by_name["operator"].enum_type.values_by_number[asked.operator].name)


def _as_indexed(value: Any) -> Any:
    """A value as an inverted index keeps it: texts are trimmed, numbers are bytes, by which minus zero is no zero."""
    if isinstance(value, bool):
        return value
    return value.strip() if isinstance(value, str) else struct.pack("<d", value)


def _distances(vectors: Any, query: Any, metric: str) -> Any:
    if metric == "l2-squared":
        return np.square(vectors - query).sum(axis=1)
    products = vectors @ query
    if metric == "dot":
        return -products
    lengths = np.linalg.norm(vectors, axis=1) * (math.sqrt(float(query @ query)) or 1.0)
    return 1 - products / np.where(lengths == 0, 1.0, lengths)
