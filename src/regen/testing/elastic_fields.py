"""Mappings and documents as Elasticsearch and OpenSearch check them: what they refuse is refused, in their words.

Written from the products' mapping references. A field knows what of a document's value is indexed; a field that is
mapped with an unknown parameter, or a value that does not fit its field, is an error, as it is there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np

Json: TypeAlias = dict[str, Any]
Product: TypeAlias = Literal["elasticsearch", "opensearch"]

_ANY: Final = frozenset({"type", "meta", "index", "store"})
_PARAMETERS: Final[dict[str, frozenset[str]]] = {
    "keyword": _ANY | {"ignore_above", "doc_values", "null_value", "norms", "eager_global_ordinals", "fields"},
    "text": _ANY | {"analyzer", "search_analyzer", "norms", "index_options", "fields", "fielddata"},
    "double": _ANY | {"doc_values", "coerce", "null_value", "ignore_malformed"},
    "long": _ANY | {"doc_values", "coerce", "null_value", "ignore_malformed"},
    "boolean": _ANY | {"doc_values", "null_value"},
    "object": frozenset({"type", "dynamic", "enabled", "properties"}),
    "dense_vector": frozenset({"type", "meta", "dims", "element_type", "index", "similarity", "index_options"}),
    "knn_vector": frozenset({"type", "meta", "dimension", "data_type", "space_type", "method", "mode"}),
}
_OF: Final[dict[str, Product]] = {"dense_vector": "elasticsearch", "knn_vector": "opensearch"}
_SIMILARITIES: Final = {"cosine", "dot_product", "l2_norm", "max_inner_product"}
_HNSW: Final = {"hnsw", "int8_hnsw", "int4_hnsw", "bbq_hnsw"}
_FLAT: Final = {"flat", "int8_flat", "int4_flat", "bbq_flat"}
_SPACES: Final = {"l2", "cosinesimil", "innerproduct"}
_LONGEST_TERM: Final = 32_766
_MOST_DIMENSIONS: Final[dict[Product, int]] = {"elasticsearch": 4096, "opensearch": 16_000}
_UNIT: Final = 1e-3


class ServerError(Exception):
    """An error that is answered. ``kind`` is its type."""

    def __init__(self, status: int, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.kind, self.reason = status, kind, reason

    @property
    def body(self) -> Json:
        """As both products word it."""
        if not self.kind:
            return {"error": self.reason, "status": self.status}
        cause = {"type": self.kind, "reason": self.reason}
        if self.kind in {"search_context_missing_exception", "query_shard_exception"}:
            shards = {"type": "search_phase_execution_exception", "reason": "all shards failed", "phase": "query"}
            return {"error": {"root_cause": [cause], **shards, "failed_shards": []}, "status": self.status}
        return {"error": {"root_cause": [cause], **cause}, "status": self.status}


def illegal(reason: str) -> ServerError:
    """The error for most of what is wrong with a request."""
    return ServerError(400, "illegal_argument_exception", reason)


def words_of(text: str) -> list[str]:
    """The words of a text, about as the standard analyzer tells them."""
    return re.findall(r"\w+", text.lower())


@dataclass(frozen=True, slots=True)
class Mapped:
    """One mapped field."""

    name: str
    mapping: Json

    @property
    def type(self) -> str:
        """Its type."""
        return str(self.mapping["type"])

    @property
    def is_vector(self) -> bool:
        """Whether it holds vectors."""
        return self.type in _OF

    @property
    def dimensions(self) -> int:
        """Of its vectors."""
        return int(self.mapping["dims" if self.type == "dense_vector" else "dimension"])

    @property
    def similarity(self) -> str:
        """How its vectors are compared: cosine, dot, inner or l2."""
        if self.type == "dense_vector":
            held = self.mapping.get("similarity", "cosine")
            return {"dot_product": "dot", "max_inner_product": "inner", "l2_norm": "l2"}.get(held, "cosine")
        method = self.mapping.get("method", {})
        space = method.get("space_type", self.mapping.get("space_type", "l2"))
        return {"innerproduct": "inner", "cosinesimil": "cosine"}.get(space, "l2")

    def terms(self, value: object) -> list[Any]:
        """What of a value is indexed. Raises ServerError for one that does not fit."""
        values = value if isinstance(value, list) else [value]
        return [term for one in values if one is not None for term in self._terms(one)]

    def _terms(self, value: object) -> list[Any]:
        if self.type == "keyword":
            return self._keyword(value)
        if self.type == "text":
            if isinstance(value, dict | list):
                raise self._unfit(value)
            return words_of(str(value))
        if self.type == "boolean":
            if value is True or value == "true":
                return [True]
            if value is False or value in ("false", ""):
                return [False]
            raise self._unfit(value)
        if self.type in {"double", "long"}:
            return [self._number(value)]
        return []

    def _keyword(self, value: object) -> list[str]:
        if isinstance(value, dict | list):
            raise self._unfit(value)
        text = {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
        most = self.mapping.get("ignore_above")
        if most is not None and len(text.encode("utf-16-le")) // 2 > most:
            return []
        if len(text.encode()) > _LONGEST_TERM:
            raise illegal(
                f'Document contains at least one immense term in field="{self.name}" (whose UTF8 encoding is longer '
                f"than the max length {_LONGEST_TERM}), all of which were skipped."
            )
        return [text]

    def _number(self, value: object) -> float:
        try:
            assert not isinstance(value, bool | dict | list)
            number = float(value)  # type: ignore[arg-type]  # what is no number raises
            assert np.isfinite(number)
        except (TypeError, ValueError, AssertionError):
            raise self._unfit(value) from None
        return number

    def vector(self, value: object, document: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The vector of a document. Raises ServerError for one that its field does not take."""
        if not isinstance(value, list) or not all(isinstance(one, int | float) for one in value):
            raise self._unfit(value)
        if len(value) != self.dimensions:
            raise self._other_dimensions(len(value), document)
        vector = np.array(value, np.float64).astype(np.float32)
        if not np.isfinite(vector).all():
            raise illegal(f"element_type [float] vectors do not support non-finite values but found one in {document}")
        self.check_length(vector)
        return vector

    def check_length(self, vector: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        """Raise ServerError for a length that the similarity does not allow."""
        if self.similarity == "cosine" and not vector.any():
            raise illegal("The [cosine] similarity does not support vectors with zero magnitude.")
        if self.similarity == "dot" and abs(float(vector @ vector) - 1) > _UNIT:
            raise illegal("The [dot_product] similarity can only be used with unit-length vectors.")

    def _other_dimensions(self, found: int, document: str) -> ServerError:
        if self.type == "knn_vector":
            text = f"Vector dimension mismatch. Expected: {self.dimensions}, Given: {found}"
            return ServerError(400, "mapper_parsing_exception", f"failed to parse field [{self.name}]: {text}")
        return ServerError(
            400,
            "document_parsing_exception",
            f"The [dense_vector] field [{self.name}] in doc [document with id '{document}'] has a different number of "
            f"dimensions [{found}] than defined in the mapping [{self.dimensions}]",
        )

    def _unfit(self, value: object) -> ServerError:
        return ServerError(
            400,
            "document_parsing_exception",
            f"failed to parse field [{self.name}] of type [{self.type}]: {str(value)[:80]!r}",
        )


def checked_properties(product: Product, properties: Json) -> dict[str, Mapped]:
    """The fields of a mapping. Raises ServerError for what the product refuses."""
    return {name: _checked(product, name, mapping) for name, mapping in properties.items()}


def _checked(product: Product, name: str, mapping: Json) -> Mapped:
    kind = mapping.get("type", "object")
    if kind not in _PARAMETERS or _OF.get(kind, product) != product:
        raise _unparsed(f"The mapper type [{kind}] declared on field [{name}] does not exist.")
    if unknown := mapping.keys() - _PARAMETERS[kind]:
        raise _unparsed(f"unknown parameter [{min(unknown)}] on mapper [{name}] of type [{kind}]")
    meta = mapping.get("meta", {})
    if len(meta) > 5 or any(len(key) > 20 or len(str(value)) > 50 for key, value in meta.items()):
        raise _unparsed(f"[meta] of field [{name}] has too many entries, or too long ones")
    if kind == "dense_vector":
        _check_dense(name, mapping)
    if kind == "knn_vector":
        _check_knn(name, mapping)
    return Mapped(name, {"type": kind, **mapping})


def _check_dense(name: str, mapping: Json) -> None:
    dims = mapping.get("dims")
    _check_dimensions("elasticsearch", name, dims)
    if mapping.get("similarity", "cosine") not in _SIMILARITIES:
        raise _unparsed(f"Unknown value [{mapping['similarity']}] for field [similarity]")
    options = mapping.get("index_options", {"type": "hnsw"})
    kind = options.get("type")
    if kind not in _HNSW | _FLAT:
        raise _unparsed(f"Unknown vector index options type [{kind}] for field [{name}]")
    known = {"type"} | ({"m", "ef_construction"} if kind in _HNSW else set())
    if kind not in {"hnsw", "flat"}:
        known |= {"rescore_vector"} | (set() if kind.startswith("bbq") else {"confidence_interval"})
    if unknown := options.keys() - known:
        raise _unparsed(f"Mapping definition for [{name}] has unsupported parameters:  [{min(unknown)}]")
    over = options.get("rescore_vector", {"oversample": 0}).get("oversample")
    if over != 0 and not 1 < over < 10:
        raise _unparsed(f"[oversample] must be greater than 1.0 and less than 10.0, or 0, found {over}")
    if kind.startswith("bbq") and dims is not None and dims < 64:
        raise _unparsed(f"{kind} does not support dimensions fewer than 64; provided={dims}")
    if kind.startswith("int4") and dims is not None and dims % 2:
        raise _unparsed(f"{kind} only supports even dimensions; provided={dims}")


def _check_knn(name: str, mapping: Json) -> None:
    _check_dimensions("opensearch", name, mapping.get("dimension"))
    method = mapping.get("method", {"name": "hnsw"})
    if unknown := method.keys() - {"name", "space_type", "engine", "parameters"}:
        raise _unparsed(f"Invalid parameter: {min(unknown)}")
    if method.get("name") != "hnsw" or method.get("engine", "faiss") not in {"lucene", "faiss"}:
        raise _unparsed(f"Invalid method {method.get('name')} of engine {method.get('engine')}")
    if method.get("space_type", "l2") not in _SPACES:
        raise _unparsed(f"Space type {method['space_type']} is not supported by method hnsw")
    if unknown := method.get("parameters", {}).keys() - {"m", "ef_construction", "ef_search", "encoder"}:
        raise _unparsed(f"Invalid parameter for method hnsw: {min(unknown)}")


def _check_dimensions(product: Product, name: str, dims: object) -> None:
    most = _MOST_DIMENSIONS[product]
    if dims is None and product == "elasticsearch":
        return
    if not isinstance(dims, int) or not 1 <= dims <= most:
        raise _unparsed(
            f"The number of dimensions should be in the range [1, {most}] but was [{dims}] for field [{name}]"
        )


def _unparsed(reason: str) -> ServerError:
    return ServerError(400, "mapper_parsing_exception", f"Failed to parse mapping: {reason}")
