"""How the index is, as Prometheus's gauges: asked when somebody looks, at most every few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from prometheus_client import Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from regen.core.observations import Cursor, GenerationObserved, Observation
from regen.errors import RegenError
from regen.index import Index
from regen.server.logs import LOG

FRESH: Final = 5.0
"""Seconds for which an observation is shown again: several scrapers ask no more than one."""

Figure = tuple[str, str, Callable[[GenerationObserved], float]]
OF_GENERATIONS: Final[Sequence[Figure]] = (
    ("documents", "Documents that the generation holds.", lambda it: it.documents),
    ("chunks", "Chunks that the generation holds.", lambda it: it.chunks),
    ("pending_documents", "Documents whose newest revision is not in the generation yet.", lambda it: it.pending),
    ("failed_documents", "Dead letters of the generation.", lambda it: it.failed),
    ("stale_documents", "Documents that are searchable in an older revision.", lambda it: it.stale_documents),
    ("stale_chunks", "Chunks of older revisions.", lambda it: it.stale_chunks),
    ("mismatched_revisions", "Placements of another revision than the log's.", lambda it: it.mismatched_revisions),
    (
        "deleted_still_present", "Deleted documents whose chunks are still in the store.",
        lambda it: it.deleted_still_present,
    ),
    (
        "freshness_frontier_timestamp_seconds", "Everything logged before this time is searchable.",
        lambda it: it.frontier,
    ),
    ("watermark_revision", "Everything up to this revision is searchable.", lambda it: it.watermark),
)  # fmt: skip


class IndexCollector(Collector):
    """Gauges of an index; and the histogram of how long changes took, fed with what has become searchable since."""

    def __init__(self, index: Index, searchable: Histogram, tenant: str | None) -> None:
        self._index, self._searchable, self._tenant = index, searchable, tenant
        self._lock = threading.Lock()
        self._seen: Observation | None = None
        self._cursor: Cursor | None = None
        self._probes: dict[int, float] = {}

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not look at the catalog."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All gauges, of a moment ago at most. What cannot be asked is absent, and counted."""
        up = GaugeMetricFamily("regen_catalog_up", "Whether the catalog could be asked.")
        try:
            seen = self._observed()
        except RegenError as error:
            LOG.warning("not_observed", detail=str(error))
            up.add_metric([], 0.0)
            return [up]
        up.add_metric([], 1.0)
        return [up, *_of_index(seen), *_of_generations(seen), *_of_quality(seen), *_of_cost(seen), *self._of_probes()]

    def feed(self) -> None:
        """Look for what has become searchable in the live generation."""
        with self._lock:
            found = self._index.became_searchable(self._cursor)
            self._cursor = found.cursor
        for seconds in found.seconds:
            self._searchable.observe(seconds)

    def probe(self) -> None:
        """Ask each generation's model for its probe texts again, and keep how far it has moved."""
        self._probes = self._index.probe_distances()

    def _observed(self) -> Observation:
        with self._lock:
            if self._seen is None or time.time() - self._seen.at > FRESH:
                self._seen = self._index.observe(self._tenant)
            return self._seen

    def _of_probes(self) -> Iterator[Metric]:
        told = GaugeMetricFamily(
            "regen_probe_distance", "How far a model's probe vectors have moved: 1 - cosine.", labels=["generation"]
        )
        for number, distance in self._probes.items():
            told.add_metric([str(number)], distance)
        yield told


def _of_index(seen: Observation) -> Iterator[Metric]:
    for name, what, value in (
        ("regen_documents", "Documents that exist.", seen.documents),
        ("regen_log_revision", "The newest change's revision.", seen.head),
        ("regen_live_generation", "The generation that answers searches; 0 before the first.", seen.live or 0),
        ("regen_alarms", "What the live generation's newest evaluation found wrong with it.", seen.alarms),
        ("regen_alerts_untold", "Alarms, and ends of alarms, that the webhook could not be told.", seen.untold),
    ):
        told = GaugeMetricFamily(name, what)
        told.add_metric([], value)
        yield told
    alerts = GaugeMetricFamily("regen_alerts", "Alarms that are on, by kind.", labels=["kind"])
    for kind, count in seen.alerts.items():
        alerts.add_metric([kind], count)
    yield alerts
    letters = GaugeMetricFamily(
        "regen_dead_letters", "Documents that could not be processed, by generation or source.", labels=["stage"]
    )
    for stage, count in seen.dead_letters.items():
        letters.add_metric([stage], count)
    yield letters
    rollout = GaugeMetricFamily(
        "regen_rollout_weight", "The share of callers that a candidate answers.", labels=["kind", "candidate", "status"]
    )
    if seen.rollout is not None:
        it = seen.rollout
        rollout.add_metric([it.kind, str(it.candidate), it.status], it.weight)
    yield rollout


def _of_generations(seen: Observation) -> Iterator[Metric]:
    about = GaugeMetricFamily(
        "regen_generation_info", "What a generation is.", labels=["generation", "state", "model", "space"]
    )
    for item in seen.generations:
        about.add_metric([str(item.number), item.state, item.model, item.space], 1.0)
    yield about
    for name, what, figure in OF_GENERATIONS:
        told = GaugeMetricFamily(f"regen_generation_{name}", what, labels=["generation", "state"])
        for item in seen.generations:
            told.add_metric([str(item.number), item.state], figure(item))
        yield told


def _of_quality(seen: Observation) -> Iterator[Metric]:
    told = GaugeMetricFamily(
        "regen_quality", "A measure by the newest evaluation.", labels=["generation", "collection", "measure"]
    )
    for item in seen.qualities:
        told.add_metric([str(item.generation), item.collection, item.measure], item.value)
    yield told
    made = GaugeMetricFamily(
        "regen_evaluated_timestamp_seconds", "When the newest evaluation was made.", labels=["generation"]
    )
    for number, at in seen.evaluated_at.items():
        made.add_metric([str(number)], at)
    yield made


def _of_cost(seen: Observation) -> Iterator[Metric]:
    paid, tokens = (
        CounterMetricFamily(name, what, labels=["generation", "model"])
        for name, what in (
            ("regen_embedding_cost_usd", "US dollars paid to embedding models."),
            ("regen_embedded_tokens", "Tokens sent to embedding models."),
        )
    )
    for cost in seen.costs:
        paid.add_metric([str(cost.generation), cost.model], cost.usd)
        tokens.add_metric([str(cost.generation), cost.model], cost.tokens)
    yield from (paid, tokens)
    shares = GaugeMetricFamily(
        "regen_embedding_cost_share_usd", "What of the cost falls to a source and tenant, by the chunks they have.",
        labels=["source", "tenant", "model"],
    )  # fmt: skip
    sums: dict[tuple[str, str, str], float] = {}
    for share in seen.shares:
        key = (share.source, share.tenant, share.model)
        sums[key] = sums.get(key, 0.0) + share.usd
    for labels, usd in sums.items():
        shares.add_metric(list(labels), usd)
    yield shares
