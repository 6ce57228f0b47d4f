"""Prometheus metrics: what this server does, counted as it happens, and how the index is, asked when somebody looks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, ProcessCollector, generate_latest

from regen.core.results import SearchResult
from regen.errors import RegenError
from regen.index import Index
from regen.ports.service import RequestedRun
from regen.server.collecting import IndexCollector
from regen.server.tracing import stages

MILLISECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
FRESHNESS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 86_400.0)
SECONDS: Final = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0, 43_200.0)


class Metrics:
    """The metrics of one service, in a registry of their own."""

    def __init__(self, index: Index, tenant: str | None = None) -> None:
        self.registry = made = CollectorRegistry()
        ProcessCollector(registry=made)
        self.requests = Counter(
            "regen_http_requests", "Requests by route and status.", ["method", "route", "status"], registry=made
        )
        self.request_seconds = Histogram(
            "regen_http_request_seconds", "How long requests take.", ["method", "route"], buckets=MILLISECONDS,
            registry=made,
        )  # fmt: skip
        self.search_seconds = Histogram(
            "regen_search_seconds", "How long searches take, by route.", ["route"], buckets=MILLISECONDS, registry=made
        )
        self.stage_seconds = Histogram(
            "regen_search_stage_seconds", "How long each stage of a search takes: embed, store, fence, rerank.",
            ["route", "stage"], buckets=MILLISECONDS, registry=made,
        )  # fmt: skip
        self.search_failures = Counter(
            "regen_search_failures", "Searches that failed, by error.", ["error"], registry=made
        )
        self.upsert_failures = Counter(
            "regen_upsert_failures", "Attempts to bring accepted changes in step that failed, by error.", ["error"],
            registry=made,
        )  # fmt: skip
        self.runs = Counter("regen_runs", "Runs that ended here, by verb and state.", ["verb", "state"], registry=made)
        self.run_seconds = Histogram(
            "regen_run_seconds", "How long runs take.", ["verb"], buckets=SECONDS, registry=made
        )

        searchable = Histogram(
            "regen_source_to_searchable_seconds", "From the source's change of a document to its being searchable.",
            buckets=FRESHNESS, registry=made,
        )  # fmt: skip
        self.collector = IndexCollector(index, searchable, tenant)
        made.register(self.collector)

    def exposed(self) -> bytes:
        """All of it in Prometheus's text format."""
        self._feed()
        return generate_latest(self.registry)

    def families(self) -> list[Metric]:
        """All of it as Prometheus's values."""
        self._feed()
        return list(self.registry.collect())

    def _feed(self) -> None:
        with suppress(RegenError):  # the gauge of the catalog tells
            self.collector.feed()

    @contextmanager
    def searching(self) -> Iterator[Callable[[SearchResult], None]]:
        """Count the search that the block makes; it hands in the result."""
        started = time.perf_counter()

        def searched(result: SearchResult) -> None:
            route = result.explanation.route.partition(" ")[0]  # "generation 7" is one route, whatever the number
            self.search_seconds.labels(route).observe(time.perf_counter() - started)
            for stage, milliseconds in stages(result).items():
                self.stage_seconds.labels(route, stage).observe(milliseconds / 1e3)

        try:
            yield searched
        except Exception as error:
            self.search_failures.labels(type(error).__name__).inc()
            raise

    def requested(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self.requests.labels(method, route, str(status)).inc()
        self.request_seconds.labels(method, route).observe(seconds)

    def catch_up_failed(self, error: Exception) -> None:
        """Count an attempt to catch up that failed."""
        self.upsert_failures.labels(type(error).__name__).inc()

    def run_ended(self, run: RequestedRun, seconds: float) -> None:
        """Count a run that ended here."""
        self.runs.labels(run.verb, run.state).inc()
        self.run_seconds.labels(run.verb).observe(seconds)
