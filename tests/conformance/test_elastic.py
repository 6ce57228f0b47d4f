"""Elasticsearch and OpenSearch pass the conformance suite, on the loopback server or on real ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.servers import emptied, server_url

from regen.ports import Store, Vector
from regen.stores.elastic_store import ElasticStore
from regen.stores.elasticsearch import ElasticsearchStore
from regen.stores.opensearch import OpenSearchStore
from regen.testing.elastic_fields import Product
from regen.testing.elastic_server import SearchServer
from regen.testing.stores import StoreConformance


class ElasticConformance(StoreConformance):
    """What both have in common. A bulk request is done document by document."""

    atomic_batches = False
    product: Product

    @pytest.fixture(autouse=True)
    def server(self) -> Iterator[None]:
        """A server for the test, or the one that REGEN_TEST_ELASTICSEARCH_URL or REGEN_TEST_OPENSEARCH_URL names."""
        named = server_url(self.product)
        if named is not None:
            self.where = named
            yield
            return
        with SearchServer(self.product) as server:
            self.where = server.url
            yield

    def open(self) -> ElasticStore:
        """Open a store on the server."""
        opener = ElasticsearchStore if self.product == "elasticsearch" else OpenSearchStore
        return opener.from_url(self.where)

    def make_store(self, tmp_path: Path) -> Store:
        """Open a new store."""
        return emptied(self.open())

    def another_handle(self, tmp_path: Path) -> ElasticStore:
        """Open its data once more."""
        return self.open()

    def url(self, tmp_path: Path) -> str:
        """Name its data."""
        return self.where

    def by_alias(self, store: Store, alias: str, query: Vector, k: int) -> list[str]:
        """Ask by the alias as an application would."""
        assert isinstance(store, ElasticStore)
        body: Any = store._dialect.nearest(query, k, 100, [])
        found = store._connection.ask(alias, "POST", f"/{alias}/_search", body)
        return [hit["_source"]["point_id"] for hit in found["hits"]["hits"]]


@pytest.mark.store("elasticsearch")
class TestElasticsearchStore(ElasticConformance):
    """Elasticsearch."""

    product = "elasticsearch"


@pytest.mark.store("opensearch")
class TestOpenSearchStore(ElasticConformance):
    """OpenSearch."""

    product = "opensearch"
