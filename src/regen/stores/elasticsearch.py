"""``elasticsearch://host``: indexes of an Elasticsearch of version 9 or newer.

What it says in its own way: vectors are ``dense_vector`` fields whose index is pinned, since the server's own choice
quantises from 384 dimensions on; from 9.2 on they are left out of ``_source`` and of answers, unless they are asked
for. The client refuses a server that does not say that it is Elasticsearch, and servers before 9 refuse the client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from elastic_transport import SerializationError, TlsError, TransportError
from elasticsearch import ApiError, Elasticsearch, UnsupportedProductError

from regen.core.recipe import Metric, Precision
from regen.errors import ConfigError
from regen.ports import CollectionSpec, Vector
from regen.stores.addresses import Address, Product
from regen.stores.elastic_connection import KEEP_ALIVE
from regen.stores.elastic_dialect import OTHER_PRODUCT, TLS, VECTOR, Dialect, Json, Refused, Unreached, version_of
from regen.stores.elastic_store import ElasticStore, address_of
from regen.stores.graph_settings import GraphSettings

ELASTICSEARCH: Final = Product(
    "Elasticsearch", "elasticsearch", 9200, "ELASTICSEARCH_API_KEY", ("ca_certs", "refresh"), place=""
)
_OLDEST: Final = (9, 0)
_HIDES_VECTORS: Final = (9, 2)
_SIMILARITIES: Final[dict[Metric, str]] = {
    "cosine": "max_inner_product",  # of unit vectors; "cosine" would change what is written
    "dot": "max_inner_product",
    "l2": "l2_norm",
}
_TYPES: Final[dict[Precision, str]] = {"float32": "hnsw", "float16": "hnsw", "int8": "int8_hnsw", "binary": "bbq_hnsw"}
_OVERSAMPLE: Final = 3.0
"""So many times k candidates of a quantised index are scored again by the vectors themselves."""
_LEAST_BITS: Final = 64


class ElasticsearchWire:
    """The client of the product."""

    def __init__(self, address: Address) -> None:
        key = address.key
        options: dict[str, Any] = {"ca_certs": address.options["ca_certs"]} if "ca_certs" in address.options else {}
        if key is not None:
            options |= {"basic_auth": tuple(key.split(":", 1))} if ":" in key else {"api_key": key}
        self._client = Elasticsearch(
            address.url, request_timeout=address.timeout, max_retries=0, retry_on_timeout=False, **options
        )

    def send(self, method: str, path: str, params: Mapping[str, str], body: bytes | None, *, lines: bool) -> Json:
        """Send a request."""
        headers = {"accept": "application/json"}
        if body is not None:
            headers["content-type"] = "application/x-ndjson" if lines else "application/json"
        try:
            answer = self._client.perform_request(method, path, params=params, headers=headers, body=body)
        except UnsupportedProductError as error:
            raise Refused(200, OTHER_PRODUCT, error.message) from error
        except ApiError as error:
            raise Refused.of(error.meta.status, error.body, _wait(error)) from error
        except TlsError as error:
            raise Refused(0, TLS, str(error)) from error
        except SerializationError as error:
            raise Refused(200, OTHER_PRODUCT, f"the answer is not JSON: {error.message[:200]}") from error
        except TransportError as error:
            raise Unreached(str(error)) from error
        return dict(answer.body)

    def close(self) -> None:
        """Close the client."""
        self._client.close()


class ElasticsearchDialect(Dialect):
    """Elasticsearch 9."""

    product = ELASTICSEARCH
    most_dimensions = 4096
    index_types = ("hnsw", "int8_hnsw", "int4_hnsw", "bbq_hnsw")
    credentials = "an API key (encoded), or user:password"
    tie_breaker = "_shard_doc"

    def wire(self, address: Address) -> ElasticsearchWire:
        """Open a client."""
        return ElasticsearchWire(address)

    def unfit(self, info: Json) -> str | None:
        """Servers before 9 refuse the client anyway."""
        return None if version_of(info) >= _OLDEST else "version 9 or newer is needed"

    def settings(self, info: Json) -> Json:
        """Vectors lie in the index alone, from which they come back as they were written."""
        return {"index.mapping.exclude_source_vectors": True} if version_of(info) >= _HIDES_VECTORS else {}

    def vector_field(self, spec: CollectionSpec, graph: GraphSettings, index_type: str | None) -> Json:
        """The kind of index that was asked for, or the one that suits the precision."""
        kind = index_type or _TYPES[spec.precision]
        if kind == "bbq_hnsw" and spec.dimensions < _LEAST_BITS:
            if index_type is not None:
                raise ConfigError(f"index type bbq_hnsw with {spec.dimensions} dimensions", hint="64 at least, or hnsw")
            kind = "hnsw"
        if kind == "int4_hnsw" and spec.dimensions % 2:
            raise ConfigError(f"index type int4_hnsw with {spec.dimensions} dimensions", hint="an even number, or hnsw")
        options: Json = {"type": kind, "m": graph.m, "ef_construction": graph.ef_construction}
        if kind != "hnsw":
            options["rescore_vector"] = {"oversample": _OVERSAMPLE}
        return {
            "type": "dense_vector",
            "dims": spec.dimensions,
            "index": True,
            "similarity": _SIMILARITIES[spec.metric],
            "index_options": options,
        }

    def dimensions(self, mapping: Json) -> int | None:
        """``dims`` of a dense_vector."""
        return int(mapping.get("dims", 0)) if mapping.get("type") == "dense_vector" else None

    def nearest(self, query: Vector, k: int, candidates: int, narrowed: Sequence[Json]) -> Json:
        """The search's own ``knn`` section: k counts for all shards together, and the filter comes first."""
        knn: Json = {"field": VECTOR, "query_vector": query.tolist(), "k": k, "num_candidates": candidates}
        if narrowed:
            knn["filter"] = list(narrowed)
        return {"knn": knn, "size": k}

    def source(self, info: Json, includes: Sequence[str]) -> Json:
        """Vectors must be asked for since 9.2, and could not be before."""
        asked: Json = {"includes": list(includes)} if includes else {}
        if version_of(info) >= _HIDES_VECTORS:
            asked["exclude_vectors"] = False
        return {"_source": asked or True}

    def open_snapshot(self, index: str) -> tuple[str, str, Json]:
        """``_pit``."""
        return "POST", f"/{index}/_pit", {"keep_alive": KEEP_ALIVE}

    def snapshot_id(self, answer: Json) -> str:
        """``id``."""
        return str(answer["id"])

    def close_snapshot(self, snapshot: str) -> tuple[str, str, Json]:
        """``_pit``."""
        return "DELETE", "/_pit", {"id": snapshot}


class ElasticsearchStore(ElasticStore):
    """The indexes of one Elasticsearch. Safe to use from several threads and processes."""

    @classmethod
    def from_url(cls, url: str, root: str | Path = ".") -> ElasticsearchStore:
        """Open ``elasticsearch://host[:port]``; nothing is connected to yet. Raises ConfigError for the URL."""
        return cls(address_of(url, ELASTICSEARCH, Path(root)), ElasticsearchDialect())


def _wait(error: ApiError) -> float | None:
    with suppress(ValueError):  # a date is as good as nothing here
        return float(error.meta.headers.get("retry-after") or "")
    return None
