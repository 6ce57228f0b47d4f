"""Searches work: put to the candidate as users put them, none fails."""

from __future__ import annotations

import time

from regen.evaluation.lines import counted
from regen.evaluation.outcome import CheckResult
from regen.quality.checks.context import Context
from regen.quality.checks.held import current_text, excerpt
from regen.quality.checks.telling import failed, passed

NAME = "searches"


def searches(context: Context) -> CheckResult:
    """Real queries, or beginnings of documents where there are none, are answered without an error.

    How long answers take is judged by the gate's conditions on latency, not here.
    """
    texts = _texts(context)
    if not texts:
        return passed(NAME, "there is no text to search by")
    problems, slowest = [], 0.0
    for text in texts:
        started = time.perf_counter()
        try:
            context.candidate.search(text, context.k)
        except Exception as error:  # noqa: BLE001 - whatever a model or a store raises, a reader would get
            problems.append(
                f"{text[:60]!r}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            )
        slowest = max(slowest, time.perf_counter() - started)
    told = counted(len(texts), "search", "searches")
    if not problems:
        return passed(NAME, f"{told}, no error, the slowest in {slowest * 1e3:.1f} ms")
    return failed(
        NAME, [f"{len(problems)} of {told} failed; {problems[0]}"], "`regen doctor` checks the model and the store"
    )


def _texts(context: Context) -> list[str]:
    """Queries first; a few, as every answer that the evaluation measures is counted as well."""
    queries = [query.text for query in context.known]
    queries += [query.text for item in context.collections for query in item.judged]
    if queries:
        return queries[: context.texts]
    drawn = context.catalog.sampled(min(10, context.texts), seed=context.seed + 3)
    texts = (current_text(context.catalog, item.doc_id, item.revision) for item in drawn)
    return [excerpt(text) for text in texts if text and text.strip()]
