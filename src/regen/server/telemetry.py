"""The metrics for OpenTelemetry: what Prometheus reads, a meter provider that somebody has configured is given.

One source of figures, two ways out. A histogram goes out as its parts (``_bucket`` with ``le``, ``_count``, ``_sum``),
for OpenTelemetry's own kind cannot be filled with what was counted already.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from prometheus_client import Metric

FRESH: Final = 1.0
"""Seconds for which one reading serves: a provider asks instrument after instrument."""
PARTS: Final[Mapping[str, Sequence[str]]] = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",)}
"""The samples of a kind by the endings of their names; of all others it is the name itself."""


class Telemetry:
    """Instruments that are asked for what ``read`` gives. Safe to use from several threads."""

    def __init__(self, read: Callable[[], Iterable[Metric]], meter: Meter) -> None:
        self._read, self._meter = read, meter
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._seen: dict[str, list[Observation]] = {}
        self._read_at = float("-inf")

    def offer(self) -> None:
        """Make an instrument of every metric that there is now and was not before; costs little where nobody asks."""
        for family in self._read():
            for ending in PARTS.get(family.type, ("",)):
                name = family.name + ending
                if name not in self._known:
                    self._known.add(name)
                    self._instrument(name, family)

    def _instrument(self, name: str, family: Metric) -> None:
        def asked(_options: CallbackOptions) -> Iterable[Observation]:
            return self._observed().get(name, ())

        make = self._meter.create_observable_counter if family.type in PARTS else self._meter.create_observable_gauge
        make(name, [asked], description=family.documentation)

    def _observed(self) -> Mapping[str, list[Observation]]:
        with self._lock:
            if time.monotonic() - self._read_at > FRESH:
                seen: dict[str, list[Observation]] = {}
                for family in self._read():
                    for sample in family.samples:
                        seen.setdefault(sample.name, []).append(Observation(sample.value, dict(sample.labels)))
                self._seen, self._read_at = seen, time.monotonic()
            return self._seen
