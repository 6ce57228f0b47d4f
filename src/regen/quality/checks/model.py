"""The model behind a name still gives the vectors that it gave (I10)."""

from __future__ import annotations

from regen.engine import probes
from regen.errors import ModelChanged
from regen.evaluation.outcome import CheckResult
from regen.quality.checks.context import Context
from regen.quality.checks.telling import failed, passed

NAME = "model_unchanged"


def model_unchanged(context: Context) -> CheckResult:
    """The probe vectors kept with every complete generation are what its model gives now.

    A retained generation counts as well: the way back would lead to a model that is not there any more.
    """
    told, problems, hint = [], [], ""
    for subject in context.others:
        if subject.generation.state == "building" and subject.number != context.candidate.number:
            continue
        try:
            lowest = probes.check(context.catalog, subject.generation, subject.embedder)
        except ModelChanged as error:
            problems.append(f"generation {subject.number}: {error.message}")
            hint = error.hint or hint
        else:
            kept = "no probe vectors are kept" if lowest is None else f"least cosine {lowest:.4f}"
            told.append(f"generation {subject.number}: {kept}")
    return failed(NAME, problems, hint) if problems else passed(NAME, "; ".join(told) or "there is no generation")
