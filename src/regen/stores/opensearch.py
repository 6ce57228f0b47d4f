"""``opensearch://host``: indexes of an OpenSearch of version 2.13 or newer, with its k-NN plugin.

What it says in its own way: vectors are ``knn_vector`` fields of the Lucene engine, which filters while it searches,
and walks as many candidates as ``k`` says; they come back with ``_source``, wherever the server keeps them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import SerializationError, SSLError, TransportError

from regen.core.recipe import Metric
from regen.ports import CollectionSpec, Vector
from regen.stores.addresses import Address, Product
from regen.stores.elastic_connection import KEEP_ALIVE
from regen.stores.elastic_dialect import OTHER_PRODUCT, TLS, VECTOR, Dialect, Json, Refused, Unreached, version_of
from regen.stores.elastic_store import ElasticStore, address_of
from regen.stores.graph_settings import GraphSettings

OPENSEARCH: Final = Product(
    "OpenSearch", "opensearch", 9200, "OPENSEARCH_CREDENTIALS", ("ca_certs", "refresh"), place=""
)
_OLDEST: Final = (2, 13)
"""The first whose Lucene engine knows inner products."""
_SPACES: Final[dict[Metric, str]] = {"cosine": "innerproduct", "dot": "innerproduct", "l2": "l2"}
# The client tells a logger of every error that it also raises; without a handler Python prints that.
logging.getLogger("opensearch").addHandler(logging.NullHandler())


class OpenSearchWire:
    """The client of the product."""

    def __init__(self, address: Address) -> None:
        key = address.key
        options: dict[str, Any] = {}
        if "ca_certs" in address.options:
            options["ca_certs"] = address.options["ca_certs"]
        if key is not None and ":" in key:
            options["http_auth"] = tuple(key.split(":", 1))
        elif key is not None:
            options["headers"] = {"authorization": f"Bearer {key}"}
        self._client = OpenSearch(
            hosts=[{"host": address.host.strip("[]"), "port": address.port, "url_prefix": address.path}],
            use_ssl=address.https,
            timeout=address.timeout,
            max_retries=0,
            **options,
        )

    def send(self, method: str, path: str, params: Mapping[str, str], body: bytes | None, *, lines: bool) -> Json:
        """Send a request."""
        headers = {"content-type": "application/x-ndjson" if lines else "application/json"} if body is not None else {}
        try:
            answer = self._client.transport.perform_request(
                method, path, params=dict(params), headers=headers, body=body
            )
        except SSLError as error:
            raise Refused(0, TLS, str(error.info)) from error
        except NoConnection as error:  # of which a time-out is one
            raise Unreached(str(error)) from error
        except TransportError as error:
            raise Refused.of(int(error.status_code), error.info or error.error) from error
        except SerializationError as error:
            raise Refused(200, OTHER_PRODUCT, f"the answer is not JSON: {str(error)[:200]}") from error
        if not isinstance(answer, dict):
            raise Refused(200, OTHER_PRODUCT, f"the answer is not JSON: {str(answer)[:100]}")
        return answer

    def close(self) -> None:
        """Close the client."""
        self._client.close()


class OpenSearchDialect(Dialect):
    """OpenSearch 2 and 3."""

    product = OPENSEARCH
    most_dimensions = 16_000
    credentials = "user:password, or a token"
    tie_breaker = "_id"

    def wire(self, address: Address) -> OpenSearchWire:
        """Open a client."""
        return OpenSearchWire(address)

    def unfit(self, info: Json) -> str | None:
        """Too old, or another product: one that hides behind Elasticsearch's number still names itself."""
        version = info.get("version", {})
        if version.get("distribution") != "opensearch":
            return "it does not say that it is OpenSearch; for Elasticsearch write elasticsearch://"
        if version_of(info) == (7, 10):
            return "compatibility.override_main_response_version hides its version; switch that off"
        return None if version_of(info) >= _OLDEST else f"{'.'.join(map(str, _OLDEST))} or newer is needed"

    def settings(self, info: Json) -> Json:  # noqa: ARG002 - the same for every version
        """An index that can be searched by vectors."""
        return {"index.knn": True}

    def vector_field(self, spec: CollectionSpec, graph: GraphSettings, index_type: str | None) -> Json:  # noqa: ARG002
        """A graph of Lucene over full floats."""
        return {
            "type": "knn_vector",
            "dimension": spec.dimensions,
            "method": {
                "name": "hnsw",
                "engine": "lucene",
                "space_type": _SPACES[spec.metric],
                "parameters": {"m": graph.m, "ef_construction": graph.ef_construction},
            },
        }

    def dimensions(self, mapping: Json) -> int | None:
        """``dimension`` of a knn_vector."""
        return int(mapping.get("dimension", 0)) if mapping.get("type") == "knn_vector" else None

    def nearest(self, query: Vector, k: int, candidates: int, narrowed: Sequence[Json]) -> Json:
        """A query whose ``k`` is the number of candidates of each shard, and whose filter comes first."""
        knn: Json = {"vector": query.tolist(), "k": candidates}
        if narrowed:
            knn["filter"] = {"bool": {"filter": list(narrowed)}}
        return {"query": {"knn": {VECTOR: knn}}, "size": k}

    def source(self, info: Json, includes: Sequence[str]) -> Json:  # noqa: ARG002 - the same for every version
        """Vectors come with the rest."""
        return {"_source": {"includes": list(includes)} if includes else True}

    def open_snapshot(self, index: str) -> tuple[str, str, Json]:
        """``_search/point_in_time``, whole or not at all."""
        asked = {"keep_alive": KEEP_ALIVE, "allow_partial_pit_creation": "false"}
        return "POST", f"/{index}/_search/point_in_time", asked

    def snapshot_id(self, answer: Json) -> str:
        """``pit_id``."""
        return str(answer["pit_id"])

    def close_snapshot(self, snapshot: str) -> tuple[str, str, Json]:
        """A list of them."""
        return "DELETE", "/_search/point_in_time", {"pit_id": [snapshot]}


class OpenSearchStore(ElasticStore):
    """The indexes of one OpenSearch. Safe to use from several threads and processes."""

    @classmethod
    def from_url(cls, url: str, root: str | Path = ".") -> OpenSearchStore:
        """Open ``opensearch://host[:port]``; nothing is connected to yet. Raises ConfigError for the URL."""
        return cls(address_of(url, OPENSEARCH, Path(root)), OpenSearchDialect())
