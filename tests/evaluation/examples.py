"""Evaluations as they come out of real ones: met, not met, undecided, without a baseline, hostile, checks only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from regen.evaluation.outcome import (
    ALL,
    Arm,
    CheckResult,
    Comparison,
    Evaluation,
    Latency,
    QueryOutcome,
    Signal,
    Verdict,
)

EVALUATED_AT: Final = 1_790_000_000.0  # 2026-09-21 13:33 UTC
MEASURES: Final = ("nDCG@10", "R@100", "RR")
COLLECTIONS: Final = ("support", "engineering", "people-and-policies")
BOUNDS: Final[Mapping[str, float]] = {"nDCG@10": 0.0, "R@100": -0.01}
CONDITIONS: Final[Mapping[str, str]] = {"nDCG@10": "min_lift 0", "R@100": "max_drop 0.01"}
SUBJECTS: Final = (
    "reset a forgotten password", "export all invoices of a year", "rotate the signing key", "leave for parents",
    "restore a deleted workspace", "limit the size of uploads", "who approves travel abroad", "set up single sign-on",
    "read replicas that lag behind", "change the billing address", "retry a failed webhook", "home office allowance",
)  # fmt: skip
FORMS: Final = (
    "how do I {}",
    "{}",
    "what happens when I {} and the session has expired",
    "{} not working since the update",
)
HOSTILE: Final = (
    "<script>alert('x')</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></svg><h1>owned</h1>",
    "{{ 7 * 7 }}{% for x in y %}",
    "\u202egnp.exe\x00\x1b[31mred\ud800",
    "a-very-long-identifier/" * 40 + "end-of-it.md",
)


def outcome(collection: str, number: int, lift: float) -> QueryOutcome:
    """One query whose relevant documents lie at ranks drawn for either side; the lift moves the candidate's up."""
    rng = np.random.default_rng([number, COLLECTIONS.index(collection)])
    subject, form = SUBJECTS[number % len(SUBJECTS)], FORMS[number // len(SUBJECTS) % len(FORMS)]
    pool = [f"{collection}/{name.replace(' ', '-')}-{at}.md" for at, name in enumerate(SUBJECTS * 3)]
    relevant = {pool[at]: int(grade) for at, grade in zip(rng.permutation(36)[:3], (2, 1, 1), strict=True)}
    relevant[pool[(number + 5) % 36]] = 0
    changed = rng.random() < 0.6
    old = _ranked(pool, relevant, rng, 0.8)
    new = _ranked(pool, relevant, rng, 0.8 + 4 * lift) if changed else old
    tags = ("lang=en" if number % 3 else "lang=de", f"kind={'question' if number % 2 else 'keywords'}")
    return QueryOutcome(
        collection, f"q{number:03}", form.format(subject), tags, _values(old, relevant), _values(new, relevant),
        old, new, relevant,
    )  # fmt: skip


def _ranked(pool: Sequence[str], relevant: Mapping[str, int], rng: np.random.Generator, pull: float) -> tuple[str, ...]:
    noise = rng.normal(size=len(pool))
    order = sorted(range(len(pool)), key=lambda at: noise[at] + pull * relevant.get(pool[at], 0), reverse=True)
    return tuple(pool[at] for at in order[:18])


def _values(ranked: Sequence[str], relevant: Mapping[str, int]) -> dict[str, float]:
    """Near enough to the real measures for a picture; the report does not compute them."""
    gains = [relevant.get(document, 0) / np.log2(at + 2) for at, document in enumerate(ranked[:10])]
    ideal = sum(grade / np.log2(at + 2) for at, grade in enumerate(sorted(relevant.values(), reverse=True)))
    found = [at for at, document in enumerate(ranked) if relevant.get(document, 0)]
    return {
        "nDCG@10": float(sum(gains) / ideal),
        "R@100": len(found) / 3,
        "RR": 1 / (found[0] + 1) if found else 0.0,
    }


def comparison(collection: str, slice_name: str, measure: str, queries: Sequence[QueryOutcome]) -> Comparison:
    """A comparison with a normal interval: the report shows intervals, it does not compute them."""
    old = np.array([query.baseline[measure] for query in queries])
    new = np.array([query.candidate[measure] for query in queries])
    delta, error = float((new - old).mean()), float((new - old).std() / np.sqrt(len(queries)))
    low, high = delta - 1.96 * error, delta + 1.96 * error
    bound = BOUNDS.get(measure) if slice_name == ALL else None
    verdict = _judged(low, high, bound or 0.0)
    return Comparison(
        collection, slice_name, measure, float(old.mean()), float(new.mean()), delta, low, high,
        min(1.0, float(np.exp(-abs(delta / (error or 1.0)) * 2))), 2.8 * error, verdict, len(queries),
        delta / (float((new - old).std()) or 1.0), 140 if verdict == "cannot_tell" else None,
        CONDITIONS.get(measure) if bound is not None else None,
        "" if bound is None else f"{measure} on {collection}: {verdict}", bound,
    )  # fmt: skip


def _judged(low: float, high: float, bound: float) -> Verdict:
    return "promote" if low >= bound else "hold" if high < bound else "cannot_tell"


def compared(lifts: Mapping[str, float], queries: int = 100) -> tuple[list[Comparison], list[QueryOutcome]]:
    """Comparisons and query outcomes of collections whose candidate is better by about so much."""
    comparisons: list[Comparison] = []
    outcomes: list[QueryOutcome] = []
    for collection, lift in lifts.items():
        own = [outcome(collection, number, lift) for number in range(queries)]
        slices = {ALL: own}
        for query in own:
            for tag in query.tags:
                slices.setdefault(tag, []).append(query)
        comparisons += [comparison(collection, name, m, part) for name, part in slices.items() for m in MEASURES]
        outcomes += own
    return comparisons, outcomes


def arm(generation: int, comparisons: Sequence[Comparison], side: str, model: str, p95: float) -> Arm:
    """One generation's side with the means of its collections."""
    means: dict[str, dict[str, float]] = {}
    for item in comparisons:
        if item.slice == ALL:
            means.setdefault(item.collection, {})[item.measure] = getattr(item, side)
    overall = {name: float(np.mean([found[name] for found in means.values()])) for name in MEASURES if means}
    latency = Latency(p95 / 2.4, p95, p95 * 1.9, 0.0 if p95 < 20 else 0.0033, 300)
    cost = 0.0 if "wordllama" in model else 1.8423
    return Arm(generation, overall, means, latency, model, f"{model}@{generation:04x}a93e", 5183, 21_407, cost)


CHECKS: Final = (
    CheckResult("known_queries", True, "50 of 50 known queries return their document within 3 ranks of before"),
    CheckResult("deleted_documents", True, "12 deleted documents are gone from generations 6, 7 and 8"),
    CheckResult("permissions", True, "4 principals see nobody's documents but their own, in 120 searches"),
    CheckResult("recall", True, "the index finds 99.4 % of what an exact search finds (200 queries, k = 10)"),
    CheckResult(
        "fresh_content", False, "2 of 30 fresh documents come after their older versions", gates=False,
        hint="mark the older versions archived, or add a recency rule", documents=("people/leave-2024.md", "vpn.md"),
    ),
)  # fmt: skip


def evaluation(lifts: Mapping[str, float], verdict: Verdict, reasons: Sequence[str], queries: int = 100) -> Evaluation:
    """A whole evaluation of generation 8 against generation 7."""
    comparisons, outcomes = compared(lifts, queries)
    return Evaluation(
        arm(7, comparisons, "baseline", "wordllama/l2-supercat-64", 11.8),
        arm(8, comparisons, "candidate", "openai/text-embedding-3-small", 14.2),
        tuple(comparisons),
        CHECKS,
        verdict,
        tuple(reasons),
        tuple(outcomes),
        (
            Signal("overlap@10", 0.612, "of ten results, six are the same documents as before"),
            Signal("rbo", 0.57, "rank-biased overlap at p = 0.9: many first places changed"),
        ),
        ("support: 3 judgments name documents that the index does not hold (kb/old-1.md, kb/old-2.md, kb/old-9.md)",),
        ("2 queries without judgments were left out of every mean: q301, q302",),
        18_204, "chunking markdown/256, text {title}\\n{text}, embedding openai/text-embedding-3-small", "handbook",
        EVALUATED_AT, 8.42,
        {
            "test": "paired randomisation, 10,000 permutations", "correction": "Holm over 6 comparisons",
            "interval": "95 %, paired bootstrap (BCa)", "seed": "20260921",
        },
    )  # fmt: skip


def promoted(queries: int = 100) -> Evaluation:
    """Clearly better everywhere."""
    reasons = [
        "nDCG@10 rose in all three collections, and no interval reaches below zero.",
        "R@100 fell nowhere by more than 0.01.",
        "p95 latency is 1.20 times that of generation 7; the gate allows 1.5.",
    ]
    return evaluation(dict.fromkeys(COLLECTIONS, 0.25), "promote", reasons, queries)


def held() -> Evaluation:
    """Better in one collection, worse in another, and a leak of permissions."""
    found = evaluation(
        {"support": 0.3, "engineering": -0.18, "people-and-policies": 0.01},
        "hold",
        [
            "engineering: nDCG@10 fell; even the upper end of the interval is below zero.",
            "The check permissions failed: 1 document was returned to somebody who may not see it.",
        ],
    )
    leak = CheckResult(
        "permissions", False, "team:sales was given 1 document that its access list does not allow",
        hint="run regen verify --repair, then evaluate again", documents=("people/salaries-2026.md",),
    )  # fmt: skip
    return replace(found, checks=(leak, *(check for check in found.checks if check.name != "permissions")))


def undecided() -> Evaluation:
    """Twenty judged queries and a small difference."""
    reason = "support: nDCG@10 may have risen or fallen; about 140 more judged queries would settle it."
    return evaluation({"support": 0.02}, "cannot_tell", [reason], 20)


def first() -> Evaluation:
    """Nothing is live yet: the candidate is measured on its own."""
    found = promoted(30)
    bare = tuple(replace(query, baseline={}, baseline_documents=()) for query in found.queries)
    floors = tuple(
        replace(
            item, baseline=item.candidate, delta=0.0, ci_low=0.0, ci_high=0.0, p_value=1.0, verdict="promote",
            condition="min 0.5", bound=None, detail=f"{item.collection}: {item.candidate:.4f}; min 0.5 is met",
        )
        for item in found.comparisons
        if item.measure == "nDCG@10" and item.slice == ALL
    )  # fmt: skip
    return replace(
        found,
        baseline=None,
        comparisons=floors,
        queries=bare,
        signals=(),
        problems=(),
        reasons=("Every check passed.",),
    )


def checks_only() -> Evaluation:
    """No judged collection at all."""
    found = promoted(2)
    old = replace(found.baseline, measures={}, collections={}) if found.baseline else None
    new = replace(found.candidate, measures={}, collections={})
    reasons = ("Every check that gates passed. No judged collection says how good the results are.",)
    return replace(
        found,
        baseline=old,
        candidate=new,
        comparisons=(),
        queries=(),
        signals=(),
        problems=(),
        notes=(),
        reasons=reasons,
    )


def hostile() -> Evaluation:
    """Every text that others write tries to break the page."""
    bad = " ".join(HOSTILE)
    found = undecided()
    poisoned = tuple(
        replace(
            query, collection=HOSTILE[0], query_id=HOSTILE[1], text=bad, tags=HOSTILE,
            baseline_documents=HOSTILE, candidate_documents=HOSTILE[::-1], grades=dict.fromkeys(HOSTILE, 1),
        )
        for query in found.queries
    )  # fmt: skip
    return replace(
        found,
        alias=HOSTILE[0],
        candidate=replace(found.candidate, model=bad, space=HOSTILE[1]),
        comparisons=tuple(
            replace(item, collection=HOSTILE[0], slice=item.slice if item.slice == ALL else bad, measure=HOSTILE[2],
                    condition=HOSTILE[3], detail=bad)
            for item in found.comparisons
        ),
        checks=(CheckResult(HOSTILE[0] + HOSTILE[4], False, bad, hint=bad, documents=HOSTILE * 10),),
        signals=(Signal(HOSTILE[0] + HOSTILE[4], 0.5, bad),),
        reasons=HOSTILE, queries=poisoned, problems=HOSTILE, notes=(bad,), recipe=bad, method={HOSTILE[0]: bad},
    )  # fmt: skip


EXAMPLES: Final[Mapping[str, Callable[[], Evaluation]]] = {
    "promote": promoted,
    "hold": held,
    "cannot_tell": undecided,
    "first": first,
    "checks_only": checks_only,
    "hostile": hostile,
}
