"""What Prometheus, OpenTelemetry and the log are told."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from regen import Document, Index
from regen.config.server import ServerSettings
from regen.core.alarms import KINDS, Alert
from regen.server import Service, create_app
from regen.server.logs import without_secrets

OBSERVABILITY = Path(__file__).parents[2] / "docs/observability"
PAGE = Path(__file__).parents[2] / "docs/how-to/observe.md"


def scraped(client: TestClient) -> dict[str, list[tuple[dict[str, str], float]]]:
    """All samples by name."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def value(found: dict[str, list[tuple[dict[str, str], float]]], name: str, **labels: str) -> float:
    """The sum of the samples with these labels; there must be one."""
    matching = [figure for has, figure in found[name] if labels.items() <= has.items()]
    assert matching, f"{name} {labels}"
    return sum(matching)


def test_what_happens_is_counted(client: TestClient, index: Index) -> None:
    """Searches by route and stage, requests, what became searchable and how long that took, dead letters."""
    client.get("/metrics")
    for _ in range(3):
        client.post("/v1/search", json={"query": "reset"})
    client.post("/v1/search", json={"query": "reset", "generation": 9})
    sent = {"documents": [{"id": "new", "text": "something new"}, {"id": "empty", "text": ""}]}
    client.post("/v1/documents", json=sent, params={"wait": "searchable"})
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    service.metrics.collector._seen = None
    found = scraped(client)
    assert value(found, "regen_search_seconds_count", route="live") == 3
    assert value(found, "regen_search_stage_seconds_count", route="live", stage="fence") == 3
    assert value(found, "regen_search_failures_total", error="NotFound") == 1
    assert value(found, "regen_http_requests_total", route="/v1/search", status="200") == 3
    assert value(found, "regen_source_to_searchable_seconds_count") == 1
    assert (
        value(found, "regen_generation_documents", generation="1", state="live")
        == index.status().generations[0].documents
    )
    assert value(found, "regen_generation_pending_documents", generation="1") == 0
    assert value(found, "regen_dead_letters", stage="1") == 1
    assert value(found, "regen_live_generation") == 1
    assert value(found, "regen_generation_freshness_frontier_timestamp_seconds", generation="1") > 1.6e9
    assert value(found, "process_resident_memory_bytes") > 1e6
    assert value(found, "regen_probe_distance", generation="1") < 1e-5


def test_alarms_are_counted_by_kind(client: TestClient, index: Index) -> None:
    """Each kind is there before there is any; one that is over is counted no more, one that nobody heard of apart."""
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    assert {labels["kind"]: count for labels, count in scraped(client)["regen_alerts"]} == dict.fromkeys(KINDS, 0)
    for alert in (
        Alert("freshness wiki", "freshness", "late", 1.0),
        Alert("job source wiki", "job", "failed 3 times", 1.0, error="no answer"),
        Alert("job source mail", "job", "failed 3 times", 1.0, resolved_at=2.0),
    ):
        index._catalog.keep_alert(index.alias, alert)
    service.metrics.collector._seen = None
    found = scraped(client)
    assert {labels["kind"]: count for labels, count in found["regen_alerts"] if count} == {"freshness": 1, "job": 1}
    assert value(found, "regen_alerts_untold") == 1


def test_what_is_behind_shows(index: Index) -> None:
    """Changes that nobody has caught up with are pending and stale; the frontier stands still at the oldest."""
    index.accept([Document("reset", "Quite another text."), Document("more", "More.")], ["backup"])
    seen = index.observe()
    one = seen.generations[0]
    assert (one.pending, one.stale_documents, one.stale_chunks, one.mismatched_revisions) == (3, 1, 1, 2)
    assert (one.deleted_still_present, one.watermark < seen.head, one.frontier < seen.at) == (1, True, True)
    index.catch_up()
    one = index.observe().generations[0]
    assert (one.pending, one.stale_chunks, one.mismatched_revisions, one.deleted_still_present) == (0, 0, 0, 0)


def test_cost_by_model_source_and_tenant(tmp_path: Path) -> None:
    """What was paid falls to tenants by their chunks, and all of it to somebody."""
    priced = {"price_per_million_tokens": 1_000_000.0}
    with Index(embedder="hashing/8", embedding=priced, store="memory://", catalog="sqlite://", root=tmp_path) as index:
        texts = [Document(f"{n}", f"text number {n}", {"team": "a" if n % 4 else "b"}) for n in range(8)]
        index.upsert(texts)
        with TestClient(create_app(index, ServerSettings(tenant="team"))) as client:
            found = scraped(client)
    paid = value(found, "regen_embedding_cost_usd_total")
    assert paid > 0
    assert value(found, "regen_embedding_cost_share_usd", tenant="b") == pytest.approx(paid / 4)
    assert value(found, "regen_embedding_cost_share_usd", tenant="a") == pytest.approx(paid * 3 / 4)


def named_metrics(expression: str) -> set[str]:
    """The metrics that a PromQL expression names."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(by|without|on|ignoring)\s*\([^)]*\)', " ", expression)
    return set(re.findall(r"\b((?:regen|process)_[a-z_]+)", bare))


def test_every_metric_of_the_dashboard_and_the_alerts_exists(client: TestClient) -> None:
    """A panel or rule that asks for what is not there would look well for ever. Each alert says what to do."""
    known = known_metrics(client)
    rules = [
        rule
        for group in yaml.safe_load((OBSERVABILITY / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]
    dashboard = json.loads((OBSERVABILITY / "dashboard.json").read_text(encoding="utf-8"))
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len(rules) >= 8
    assert len(panels) >= 14
    for expression in [*panels, *(rule["expr"] for rule in rules)]:
        named = named_metrics(expression)
        assert named, expression
        assert named <= known, expression
        assert expression.count("(") == expression.count(")"), expression
    for rule in rules:
        assert {"alert", "expr", "for", "labels", "annotations"} <= rule.keys()
        assert {"summary", "description"} <= rule["annotations"].keys()
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


def known_metrics(client: TestClient) -> set[str]:
    """The names of all samples, also of those that have none yet."""
    found: set[str] = set()
    for family in text_string_to_metric_families(client.get("/metrics").text):
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
        found |= {family.name + ending for ending in endings}
    return found


def test_every_metric_is_documented(client: TestClient) -> None:
    """The page tells what each is for."""
    text = PAGE.read_text(encoding="utf-8")
    ours = {name for name in known_metrics(client) if name.startswith("regen_") and not name.endswith("_created")}
    bare = {re.sub(r"_(bucket|count|sum)$", "", name) for name in ours}
    assert len(bare) > 30
    assert {name for name in bare if f"`{name}`" not in text} == set()


@pytest.fixture(scope="module")
def exporter() -> Iterator[InMemorySpanExporter]:
    """Where spans go."""
    made = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(made))
    trace.set_tracer_provider(provider)
    return made  # type: ignore[return-value]


def test_spans_tell_of_stages_and_go_on_with_the_callers_trace(client: TestClient, exporter: Any) -> None:
    """A search's request, the search and its stages are of one trace, which the caller began."""
    exporter.clear()
    parent = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    client.post("/v1/search", json={"query": "reset"}, headers=parent)
    client.post("/v1/gc", json={}, params={"wait": 60})
    spans = exporter.get_finished_spans()
    of_trace = {span.name for span in spans if f"{span.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"}
    assert of_trace >= {"POST /v1/search", "regen.search", *(f"regen.search.{s}" for s in ("embed", "store", "fence"))}
    assert "regen.run.gc" in {span.name for span in spans}


def test_the_log_has_ids_and_no_secrets(client: TestClient, caplog: pytest.LogCaptureFixture, index: Index) -> None:
    """A line a request with its id, which the answer has too; keys, tokens and passwords are starred out."""
    key, _ = index.create_key("web", ["search"])
    with caplog.at_level(logging.INFO, "regen.server"):
        shown = {"X-Request-ID": "r1", "Authorization": f"Bearer {key}"}
        answer = client.post(f"/v1/search?key={key}", json={"query": "x"}, headers=shown)
    assert answer.headers["x-request-id"] == "r1"
    lines = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    assert [line["request"] for line in lines if line["event"] == "request"] == ["r1"]
    assert key not in str(lines)
    told = without_secrets(None, "", {"event": f"{key} eyJhbGciOi.eyJzdWI.c2ln https://me:hunter2@host"})["event"]
    assert all(secret not in told for secret in (key, "eyJ", "hunter2"))


def test_the_log_tells_the_run_and_the_trace(
    client: TestClient, caplog: pytest.LogCaptureFixture, exporter: InMemorySpanExporter
) -> None:
    """What happens in a run names it and its trace, which is the one of its span."""
    exporter.clear()
    with caplog.at_level(logging.INFO, "regen.server"):
        number = client.post("/v1/gc", json={}, params={"wait": 60}).json()["id"]
    lines = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    told = [line for line in lines if line["event"] in {"run_begun", "run_ended"}]
    assert [(line["event"], line["run"]) for line in told] == [("run_begun", number), ("run_ended", number)]
    [span] = [span for span in exporter.get_finished_spans() if span.name == "regen.run.gc"]
    assert {line["trace_id"] for line in told} == {f"{span.context.trace_id:032x}"}
