"""Every metric that is promised moves when what it measures does, as Prometheus reads it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from starlette.testclient import TestClient
from tests.server.test_metrics import scraped, value

from regen import Document, Index
from regen.embedders.hashing import HashingEmbedder
from regen.engine.settings import Limits
from regen.errors import EmbedderError
from regen.evaluation.judged import JudgedCollection, JudgedQuery
from regen.ports import Vectors
from regen.quality.settings import EvaluationSettings
from regen.server import Service, create_app
from regen.server.telemetry import Telemetry

Samples = dict[str, list[tuple[dict[str, str], float]]]


class Moody(HashingEmbedder):
    """A model that can be out of order."""

    def __init__(self, dimensions: int) -> None:
        super().__init__(dimensions)
        self.broken = False

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors, or an error."""
        if self.broken:
            raise EmbedderError("the model is out of order")
        return super().embed_documents(texts)


class Reversing:
    """A reranker that turns the order around."""

    name = "reversing"

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """The last one is the best."""
        return [float(at) for at in range(len(texts))]


JUDGED = JudgedCollection(
    "kettles",
    tuple(JudgedQuery(f"q{n}", f"kettle number {n}") for n in range(6)),
    {f"q{n}": {f"d{n}": 1} for n in range(6)},
)


def make(root: Path, model: Moody) -> Index:
    """An index below a folder, with judged queries and a reranker; another model asks for another generation."""
    return Index(
        embedder=model, embedding={"price_per_million_tokens": 1_000.0}, store="lancedb://v", catalog="sqlite:///c.db",
        limits=Limits(retry_attempts=1), evaluation=EvaluationSettings(collections=[JUDGED], searches=5),
        rerank={"model": Reversing(), "budget_ms": 60_000.0}, root=root,
    )  # fmt: skip


@pytest.fixture
def model() -> Moody:
    """The model of the generation that a test makes."""
    return Moody(32)


@pytest.fixture
def index(tmp_path: Path, model: Moody) -> Iterator[Index]:
    """Twenty kettles in generation 1."""
    with make(tmp_path, model) as made:
        made.upsert([Document(f"d{n}", f"kettle number {n}", {"team": "a"}) for n in range(20)])
        yield made


def looked(client: TestClient) -> Samples:
    """All samples of now, not of a moment ago."""
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    service.metrics.collector._seen = None
    return scraped(client)


def test_what_waits_goes_up_and_down(index: Index, model: Moody) -> None:
    """What waits, is stale or mismatched while the model is out of order, and its failures; then all of it is over."""
    with TestClient(create_app(index)) as client:
        before = looked(client)
        assert value(before, "regen_generation_pending_documents", generation="1") == 0
        model.broken = True
        sent = {"documents": [{"id": "d1", "text": "quite another kettle"}, {"id": "new", "text": "a new kettle"}]}
        assert client.post("/v1/documents", json=sent).status_code == 202
        assert client.post("/v1/documents/delete", json={"ids": ["d2"]}).status_code == 202
        deadline = time.monotonic() + 120
        while "regen_upsert_failures_total" not in (during := looked(client)):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert value(during, "regen_upsert_failures_total", error="EmbedderError") >= 1
        assert value(during, "regen_generation_pending_documents", generation="1") >= 2
        assert value(during, "regen_generation_stale_documents", generation="1") == 1
        assert value(during, "regen_generation_stale_chunks", generation="1") == 1
        assert value(during, "regen_generation_mismatched_revisions", generation="1") >= 1
        frontier = "regen_generation_freshness_frontier_timestamp_seconds"
        stands = value(during, frontier, generation="1")
        assert value(looked(client), frontier, generation="1") == stands
        assert value(during, "regen_generation_watermark_revision", generation="1") < value(
            during, "regen_log_revision"
        )
        model.broken = False
        head = int(value(during, "regen_log_revision"))
        assert client.get(f"/v1/revisions/{head}", params={"timeout": 120}).json()["searchable"]
        after = looked(client)
    for name in (
        "pending_documents",
        "stale_documents",
        "stale_chunks",
        "mismatched_revisions",
        "deleted_still_present",
    ):
        assert value(after, f"regen_generation_{name}", generation="1") == 0, name
    assert value(after, frontier, generation="1") > stands
    told = "regen_source_to_searchable_seconds_count"
    assert value(after, told) == value(before, told) + 2
    spent = "regen_embedding_cost_usd_total"
    assert value(after, spent, model=model.info.name) > value(before, spent, model=model.info.name) > 0


def test_deleted_documents_are_counted_until_the_store_has_dropped_them(index: Index) -> None:
    """Logged and not caught up with: no search finds it, and it is still there."""
    index.accept([], ["d3"])
    with TestClient(create_app(index)) as client:
        service: Service = client.app.state.service  # type: ignore[attr-defined]
        service.follower.stop(60)
        index.accept([], ["d4"])
        found = looked(client)
        assert value(found, "regen_generation_deleted_still_present", generation="1") >= 1
        index.catch_up()
        assert value(looked(client), "regen_generation_deleted_still_present", generation="1") == 0


def test_quality_canary_reranking_and_runs(tmp_path: Path, index: Index) -> None:
    """Measures by generation, the canary's share and its searches by route and stage, long work, failures."""
    with make(tmp_path, Moody(48)) as second, TestClient(create_app(second)) as client:
        assert "regen_quality" not in looked(client)
        for body, verb in (({}, "apply"), ({"against": "live"}, "evaluate")):
            assert client.post(f"/v1/{verb}", json=body, params={"wait": 120}).status_code == 200
        assert client.post("/v1/promote", json={"generation": 7}, params={"wait": 60}).status_code == 404
        client.post("/v1/search", json={"query": "kettle"})
        begun = client.post("/v1/rollouts", json={"generation": 2, "weight": 0.5, "reason": "let us see"})
        assert begun.status_code == 201, begun.text
        numbers = {
            client.post("/v1/search", json={"query": "kettle", "key": f"user{n}"}).json()["generation"]
            for n in range(40)
        }
        assert numbers == {1, 2}
        found = looked(client)
        measures = {labels["measure"] for labels, _ in found["regen_quality"] if labels["generation"] == "2"}
        assert measures
        assert value(found, "regen_evaluated_timestamp_seconds", generation="2") > 1.6e9
        assert value(found, "regen_rollout_weight", kind="canary", candidate="2", status="running") == 0.5
        searched = "regen_search_seconds_count"
        assert value(found, searched, route="live") == 1
        assert value(found, searched, route="canary") == 40
        for stage in ("embed", "store", "fence", "rerank"):
            assert value(found, "regen_search_stage_seconds_count", route="canary", stage=stage) == 40, stage
        assert value(found, "regen_runs_total", verb="apply", state="succeeded") == 1
        assert value(found, "regen_runs_total", verb="promote", state="failed") == 1
        assert value(found, "regen_run_seconds_count", verb="evaluate") == 1
        assert client.post("/v1/rollouts/abort", json={"reason": "seen enough"}).status_code == 200
        assert "regen_rollout_weight" not in looked(client)
        assert value(found, "process_cpu_seconds_total") > 0


def test_opentelemetry_is_given_the_same(index: Index) -> None:
    """Every metric that Prometheus reads, with its labels and value, through a provider that somebody configured."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    with TestClient(create_app(index)) as client:
        service: Service = client.app.state.service  # type: ignore[attr-defined]
        telemetry = Telemetry(service.metrics.families, provider.get_meter("regen"))
        telemetry.offer()
        telemetry.offer()
        for _ in range(3):
            client.post("/v1/search", json={"query": "kettle"})
        exported = reader.get_metrics_data()
        found = looked(client)
    assert exported is not None
    points: dict[str, dict[frozenset[tuple[str, object]], float]] = {}
    for resource in exported.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                points[metric.name] = {
                    frozenset((point.attributes or {}).items()): point.value  # type: ignore[union-attr]
                    for point in metric.data.data_points
                }
    named = {name for name in found if not name.endswith("_created")}
    assert len(named) > 40
    assert named - points.keys() <= {"regen_http_requests_total"}, "which the scrape itself has begun"
    assert sum(points["regen_search_seconds_count"].values()) == 3
    for name in ("regen_generation_documents", "regen_generation_chunks", "regen_documents", "regen_catalog_up"):
        assert points[name] == {frozenset(labels.items()): figure for labels, figure in found[name]}, name
    provider.shutdown()
