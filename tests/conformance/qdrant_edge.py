"""Qdrant's own engine within this process: the client's local mode, whose collections are shards of qdrant-edge.

What a server adds to it (the network, several shards, aliases, metadata of collections) is the client's imitation here;
points, payloads, filters with their indexes, scores and words are the engine's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np
import qdrant_edge as edge
from qdrant_client import QdrantClient, models
from qdrant_client.http.models import QueryResponse
from qdrant_client.local.qdrant_local import QdrantLocal

_DISTANCES: Final = {models.Distance.DOT: edge.Distance.Dot, models.Distance.EUCLID: edge.Distance.Euclid}
_TYPES: Final = {
    models.Datatype.FLOAT32: edge.VectorStorageDatatype.Float32,
    models.Datatype.FLOAT16: edge.VectorStorageDatatype.Float16,
}
_SCHEMAS: Final = {
    models.PayloadSchemaType.KEYWORD: edge.PayloadSchemaType.Keyword,
    models.PayloadSchemaType.FLOAT: edge.PayloadSchemaType.Float,
    models.PayloadSchemaType.BOOL: edge.PayloadSchemaType.Bool,
}


def edge_client(folder: Path) -> QdrantClient:
    """A client whose points lie in shards below the folder."""
    client = QdrantClient(":memory:")
    client._client = _Qdrant(folder)
    return client


class _Qdrant(QdrantLocal):
    def __init__(self, folder: Path) -> None:
        super().__init__(":memory:")
        self._folder, self._numbers = folder, count()

    def create_collection(self, collection_name: str, **given: Any) -> bool:  # type: ignore[override]
        made = super().create_collection(collection_name, **given)
        folder = self._folder / f"{collection_name}-{next(self._numbers)}"
        vectors, sparse = given["vectors_config"], given.get("sparse_vectors_config") or {}
        held: dict[str, Any] = self.collections
        held[collection_name] = _Collection(held[collection_name], folder, vectors, sparse)
        return made

    def create_payload_index(  # type: ignore[override]
        self, collection_name: str, field_name: str, field_schema: models.PayloadSchemaType, **_: Any
    ) -> models.UpdateResult:
        made = edge.UpdateOperation.create_field_index(field_name, _SCHEMAS[field_schema])
        self._get_collection(collection_name).shard.update(made)  # type: ignore[attr-defined]
        return self._default_update_result()

    def query_points(self, collection_name: str, **asked: Any) -> QueryResponse:  # type: ignore[override]
        return self._get_collection(collection_name).query_points(**asked)


class _Collection:
    """A collection of the local mode, but for its points."""

    def __init__(self, inner: Any, folder: Path, vectors: models.VectorParams, sparse: dict[str, Any]) -> None:
        self._inner = inner
        dense = edge.EdgeVectorParams(
            vectors.size, _DISTANCES[vectors.distance], datatype=_TYPES[vectors.datatype or models.Datatype.FLOAT32]
        )
        words = {name: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf) for name in sparse}
        self.shard = edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors=dense, sparse_vectors=words or None))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def upsert(self, points: models.Batch, **_: Any) -> None:
        vectors: Any = points.vectors
        if isinstance(vectors, dict):
            names = list(vectors)
            vectors = [dict(zip(names, map(_vector, row), strict=True)) for row in zip(*vectors.values(), strict=True)]
        made = [
            edge.Point(one, vector, payload)
            for one, vector, payload in zip(points.ids, vectors, points.payloads or (), strict=True)
        ]
        self.shard.update(edge.UpdateOperation.upsert_points(made))

    def delete(self, selector: models.PointIdsList) -> None:
        self.shard.update(edge.UpdateOperation.delete_points(list(selector.points)))

    def batch_update_points(self, update_operations: Sequence[models.SetPayloadOperation]) -> None:
        for one in update_operations:
            chosen, payload = one.set_payload.filter, one.set_payload.payload
            self.shard.update(edge.UpdateOperation.set_payload_by_filter(_filter(chosen), payload))

    def count(self, **_: Any) -> models.CountResult:
        return models.CountResult(count=self.shard.count(edge.CountRequest(exact=True)))

    def retrieve(self, ids: Sequence[Any], with_payload: Any, with_vectors: Any) -> list[models.Record]:
        return [_record(one) for one in self.shard.retrieve(list(ids), with_payload, with_vectors)]

    def scroll(self, limit: int, offset: Any, with_payload: Any, **_: Any) -> tuple[list[models.Record], Any]:
        asked = edge.ScrollRequest(offset=offset, limit=limit, with_payload=with_payload, with_vector=False)
        found, following = self.shard.scroll(asked)
        return [_record(one) for one in found], following

    def query_points(
        self,
        query: Any,
        limit: int,
        with_payload: Any = True,
        query_filter: models.Filter | None = None,
        search_params: models.SearchParams | None = None,
        using: str | None = None,
        **_: Any,
    ) -> QueryResponse:
        params = None if search_params is None else edge.SearchParams(hnsw_ef=search_params.hnsw_ef)
        asked = edge.SearchRequest(
            edge.Query.Nearest(_vector(query.nearest), using), limit, params=params, with_payload=with_payload,
            filter=None if query_filter is None else _filter(query_filter),
        )  # fmt: skip
        found = self.shard.search(asked)
        points = [models.ScoredPoint(id=str(p.id), version=p.version, score=p.score, payload=p.payload) for p in found]
        return QueryResponse(points=points)


def _vector(vector: Any) -> Any:
    if isinstance(vector, models.SparseVector):
        return edge.SparseVector(list(vector.indices), list(vector.values))
    return vector


def _record(found: edge.Record) -> models.Record:
    vector: Any = found.vector
    return models.Record(id=str(found.id), payload=found.payload, vector=vector)


def _filter(asked: models.Filter | None) -> edge.Filter:
    assert asked is not None
    return edge.Filter(
        must=_conditions(asked.must), should=_conditions(asked.should), must_not=_conditions(asked.must_not)
    )


def _conditions(asked: Any) -> list[Any] | None:
    several: Iterable[Any] = asked if isinstance(asked, list) else () if asked is None else (asked,)
    return [_condition(one) for one in several] or None


def _condition(asked: Any) -> Any:
    if isinstance(asked, models.Filter):
        return _filter(asked)
    if isinstance(asked, models.HasIdCondition):
        return edge.HasIdCondition(set(asked.has_id))
    assert isinstance(asked, models.FieldCondition)
    if isinstance(asked.range, models.Range):
        limits = {name: value for name, value in asked.range.model_dump().items() if value is not None}
        return edge.FieldCondition(asked.key, range=edge.RangeFloat(**limits))
    if isinstance(asked.match, models.MatchAny):
        values: Any = list(asked.match.any)
        return edge.FieldCondition(asked.key, match=edge.MatchAny(values))
    assert isinstance(asked.match, models.MatchValue)
    value: Any = asked.match.value
    if isinstance(value, bool):
        value = np.bool_(value)  # 0.9.0 takes Python's own for a whole number, which no boolean is equal to
    return edge.FieldCondition(asked.key, match=edge.MatchValue(value))
