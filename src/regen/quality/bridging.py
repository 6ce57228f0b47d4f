"""A bridge for the time of a backfill: a map from the new space to the old, fitted and judged before anybody uses it.

The pairs are the backfill's own first documents: their new vectors are placed where they belong, so nothing is paid
twice, and their old ones are read from the live generation. Then the blends are measured by searches of the live
generation; where none is surely better than doing nothing the bridge stays off (``regen.spaces.bridge``).
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import orjson

from regen.core.chunks import point_id, unpack
from regen.core.documents import UNRESTRICTED
from regen.core.priority import pilot_cut
from regen.core.results import SyncResult
from regen.engine.on_read import Placer
from regen.engine.writing import WriteSide
from regen.errors import EvaluationError, MapRefused
from regen.evaluation.judged import JudgedCollection, JudgedQuery, assemble
from regen.evaluation.measures import measure, rank_documents
from regen.ports import Vector, Vectors
from regen.ports.catalog import Generation
from regen.ports.placements import Work
from regen.serving.reading import ReadSide, ask
from regen.serving.search import embed_query
from regen.spaces.bridge import MOST_QUERIES, WEIGHTS, BridgeDecision, blend, choose_weight, sample_size
from regen.spaces.maps import Map, fit

MEASURE: Final = "nDCG@10"
DEPTH: Final = 10
HELD_OUT: Final = 200
SEED: Final = 0
FIRST_WORDS: Final = 24


@dataclass(slots=True)
class Built:
    """The state of a bridge's rollout, and what placing its sample came to. With weight 0 it is off, for a reason."""

    state: dict[str, Any]
    result: SyncResult = field(default_factory=SyncResult)

    @property
    def weight(self) -> float:
        """How much of the new model's query is used."""
        return float(self.state["weight"])


@dataclass(frozen=True, slots=True)
class BridgeBuilder:
    """Fits and judges the bridge from ``target``'s queries to ``live``'s vectors."""

    writer: WriteSide
    reader: ReadSide
    live: Generation
    target: Generation

    def build(self, collections: Sequence[JudgedCollection]) -> Built:
        """Place the sample, fit, measure, decide. Whatever forbids a bridge is a reason, not an error."""
        recipe = self.live.recipe
        if recipe.metric == "l2" and not recipe.embedding.normalize:
            return _off("its metric compares lengths, which a blended query does not keep")
        wanted = sample_size(self.target.recipe.embedding.dimensions, recipe.embedding.dimensions)
        placed = self._place_sample(wanted)
        try:
            fitted = self._fit(*self._pairs(wanted))
            if problem := fitted.score.problem:
                return _off(problem, result=placed, pairs=fitted.pairs)
            return self._decide(fitted, collections, placed)
        except (MapRefused, EvaluationError) as error:
            return _off(f"{error.message}", result=placed)

    # ── the map ─────────────────────────────────────────────────────────────────────────────────────────────

    def _place_sample(self, wanted: int) -> SyncResult:
        """Place documents drawn by chance until the new generation holds about so many chunks."""
        catalog, total, placer = self.writer.catalog, SyncResult(), Placer(self.writer)
        counts, documents = catalog.counts(self.live.number), catalog.alive()
        chunks = max(1.0, counts.chunks / max(1, counts.documents))
        missing = math.ceil((wanted - catalog.counts(self.target.number).chunks) / chunks)
        share = min(1.0, 1.2 * missing / max(1, documents))
        while missing > 0:
            placed = placer.place_next(self.target.number, min(missing, 500), pilot_cut(share))
            if not placed.documents:
                break
            missing -= placed.documents
            total = total.plus(placed.result)
        return total

    def _pairs(self, most: int) -> tuple[Vectors, Vectors]:
        """New and old vectors of texts that both generations hold as the same chunk; row i of both is the same text."""
        catalog = self.writer.catalog
        new_points: list[str] = []
        old_points: list[str] = []
        for page in catalog.placements(self.target.number):
            held = catalog.placed(self.live.number, [facts.doc_id for facts, _ in page])
            for facts, placement in page:
                other = held.get(facts.doc_id)
                old = dict(unpack(other.chunks)) if other is not None else {}
                for chunk, token in unpack(placement.chunks):
                    if chunk in old:
                        new_points.append(point_id(chunk, token))
                        old_points.append(point_id(chunk, old[chunk]))
            if len(new_points) >= most:
                break
        return self._fetched(new_points[:most], old_points[:most])

    def _fetched(self, new_points: list[str], old_points: list[str]) -> tuple[Vectors, Vectors]:
        new, old = self._by_point(self.target, new_points), self._by_point(self.live, old_points)
        both = [(new[a], old[b]) for a, b in zip(new_points, old_points, strict=True) if a in new and b in old]
        shapes = self.target.recipe.embedding.dimensions, self.live.recipe.embedding.dimensions
        if not both:
            return np.zeros((0, shapes[0]), np.float32), np.zeros((0, shapes[1]), np.float32)
        return np.stack([pair[0] for pair in both]), np.stack([pair[1] for pair in both])

    def _by_point(self, generation: Generation, points: list[str]) -> dict[str, Vector]:
        ids, vectors = self.reader.store_of(generation).fetch(generation.collection, points)
        return dict(zip(ids, vectors, strict=True))

    def _fit(self, new: Vectors, old: Vectors) -> Map:
        return fit(
            "ridge", new, old, seed=SEED, source_space=self.target.recipe.space, target_space=self.live.recipe.space
        )

    # ── the decision ────────────────────────────────────────────────────────────────────────────────────────

    def _decide(self, fitted: Map, collections: Sequence[JudgedCollection], placed: SyncResult) -> Built:
        judged = [item for item in collections if item.judged] or [self._known_items()]
        values = [self._measured(fitted, item) for item in judged]
        nothing = np.concatenate([value[0.0] for value in values])
        blends = {weight: np.concatenate([value[weight] for value in values]) for weight in WEIGHTS}
        decision = choose_weight(nothing, blends, seed=SEED)
        return Built(_state(decision, fitted, " and ".join(item.name for item in judged)), placed)

    def _measured(self, fitted: Map, collection: JudgedCollection) -> dict[float, Vector]:
        """Each judged query's value by weight; 0 is the live generation as it is."""
        chance = np.random.default_rng(SEED)
        queries = list(collection.judged)
        if len(queries) > MOST_QUERIES:
            queries = [queries[at] for at in sorted(chance.choice(len(queries), MOST_QUERIES, replace=False))]
        part = assemble(collection.name, queries, {query.id: collection.qrels[query.id] for query in queries})
        rankings: dict[float, dict[str, list[tuple[str, float]]]] = {weight: {} for weight in (0.0, *WEIGHTS)}
        for query in queries:
            for weight, ranking in self._answers(query, fitted).items():
                rankings[weight][query.id] = ranking
        found = {weight: measure(part, ranked, [MEASURE])[MEASURE] for weight, ranked in rankings.items()}
        return {
            weight: np.array([by_query[query.id] for query in queries], dtype=np.float32)
            for weight, by_query in found.items()
        }

    def _answers(self, query: JudgedQuery, fitted: Map) -> dict[float, list[tuple[str, float]]]:
        live, target = self.live, self.target
        old = embed_query(query.text, live.recipe, self.reader.embedder_for(live))
        new = embed_query(query.text, target.recipe, self.reader.embedder_for(target))
        bridged = fitted.apply(new, space=target.recipe.space)
        counts = self.writer.catalog.counts(live.number)
        k = math.ceil(DEPTH * min(4.0, max(1.0, counts.chunks / max(1, counts.documents))))
        principals = UNRESTRICTED if query.principals is None else query.principals
        asked, route = (
            ask(query.text, k, None, principals, live.number, None),
            self.writer.catalog.route(self.reader.alias),
        )
        answers: dict[float, list[tuple[str, float]]] = {}
        for weight in (0.0, *WEIGHTS):
            vector = blend(old[None], bridged[None], weight)[0] if weight else old
            result = self.reader.answer_vector(asked, vector, live, route, "bridge")
            hits = result.hits if result is not None else []
            answers[weight] = rank_documents((hit.doc_id, hit.score) for hit in hits)[:DEPTH]
        return answers

    def _known_items(self) -> JudgedCollection:
        """Where nothing is judged: documents that the map has not seen, asked for by a part of themselves."""
        catalog = self.writer.catalog
        works = catalog.behind(
            self.target.number, after=0, upto=catalog.head(), lane=None, limit=HELD_OUT, max_bytes=1_000_000
        )
        items = [(work.doc_id, _part(work)) for work in works if not work.deleted]
        queries = [JudgedQuery(doc, words) for doc, words in items if words]
        if not queries:
            raise EvaluationError("nothing is judged, and no document is held out to be asked for")
        return assemble("held-out documents", queries, {query.id: {query.id: 1} for query in queries})


def _part(work: Work) -> str:
    """A title, or the first words."""
    title = orjson.loads(work.metadata).get("title")
    return title.strip() if isinstance(title, str) and title.strip() else " ".join(work.text.split()[:FIRST_WORDS])


def _state(decision: BridgeDecision, fitted: Map, judged: str) -> dict[str, Any]:
    used = decision.weight > 0
    return {
        "weight": decision.weight,
        "reason": decision.reason,
        "nothing": decision.nothing,
        "naive": decision.means[1.0],
        "gain": decision.gain,
        "queries": decision.queries,
        "judged": judged,
        "pairs": fitted.pairs,
        "map": base64.b64encode(fitted.to_bytes()).decode() if used else None,
    }


def _off(reason: str, *, result: SyncResult | None = None, pairs: int = 0) -> Built:
    return Built({"weight": 0.0, "reason": reason, "pairs": pairs, "map": None}, result or SyncResult())
