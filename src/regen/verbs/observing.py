"""The verbs of monitoring: what an index looks like from outside, moment by moment. All only read."""

from __future__ import annotations

import time

from regen.core.observations import BecameSearchable, Cursor, Observation
from regen.engine import probes
from regen.engine.writing import WriteSide
from regen.errors import ModelChanged, RegenError
from regen.monitoring.observing import observe
from regen.ports.catalog import Catalog


class ObservingVerbs:
    """What metrics are made of."""

    alias: str
    _catalog: Catalog
    _writer: WriteSide

    def observe(self, tenant: str | None = None) -> Observation:
        """All figures of this moment. ``tenant`` is the metadata key by which costs are told apart."""
        return observe(self._catalog, self.alias, now=time.time(), tenant=tenant)

    def became_searchable(self, since: Cursor | None = None) -> BecameSearchable:
        """What has become searchable in the live generation since the last look; the first look finds nothing."""
        live = self._catalog.route(self.alias).live
        at = next((item.watermark for item in self._writer.current() if item.number == live), 0)
        if live is None or since is None:
            return BecameSearchable([], Cursor(live or 0, at))
        if since.generation not in {0, live}:  # another one answers: what it was filled with is not news
            return BecameSearchable([], Cursor(live, at))
        return BecameSearchable(self._catalog.became_searchable(live, after=since.revision, upto=at), Cursor(live, at))

    def probe_distances(self) -> dict[int, float]:
        """1 - the lowest cosine of each generation's kept and present probe vectors; its model is asked for them.

        Generations whose model cannot be asked are left out; one that gives other dimensions is at 2.
        """
        found: dict[int, float] = {}
        for generation in self._writer.current():
            try:
                before = probes.kept_vectors(self._catalog, generation)
                if before is not None:
                    embedder = self._writer.models.embedder_for(generation)
                    now = probes.embed(embedder, generation.recipe)
                    found[generation.number] = max(0.0, 1.0 - probes.lowest_cosine(generation, before, now))
            except ModelChanged:
                found[generation.number] = 2.0
            except RegenError:
                continue
        return found
