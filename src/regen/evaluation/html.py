"""An evaluation as one self-contained HTML page: what a team looks at before it promotes.

The page asks for nothing from outside and runs no script; a content security policy in it forbids both. Queries and
document ids, which others wrote, are escaped by the template and isolated in their direction.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from regen.evaluation import changed, sections, wording
from regen.evaluation.outcome import CheckResult, Evaluation

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATE: Final = "report.html.j2"
STYLE: Final = "report.css"
MOST_CHECK_DOCUMENTS: Final = 20


def render_html(evaluation: Evaluation) -> str:
    """The report of an evaluation as one HTML document. Pure: the same evaluation gives the same page."""
    return _template().render(
        title=_title(evaluation),
        style=_packaged(STYLE),
        **_verdict(evaluation),
        **_measured(evaluation),
        **_background(evaluation),
    )


def _title(evaluation: Evaluation) -> str:
    new, old = evaluation.candidate, evaluation.baseline
    candidate = "The candidate" if new.generation is None else f"Generation {new.generation}"
    if old is None:
        return f"{candidate}, measured on its own"
    return f"{candidate} against {'the baseline' if old.generation is None else f'generation {old.generation}'}"


def _verdict(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "alias": wording.visible(evaluation.alias),
        "verdict": evaluation.verdict,
        "words": wording.VERDICTS[evaluation.verdict],
        "reasons": sections.shown(evaluation.reasons),
        "next_step": wording.next_step(evaluation),
        "evaluated": wording.moment(evaluation.evaluated_at),
    }


def _measured(evaluation: Evaluation) -> dict[str, Any]:
    old, new = evaluation.baseline, evaluation.candidate
    return {
        "compared": old is not None,
        "columns": (_arm_name(old, "Baseline"), _arm_name(new, "Candidate")),
        "summary": sections.summary_rows(old, new),
        "means": sections.measure_rows(old.measures if old else {}, new.measures),
        "collections": sections.collections_of(evaluation),
        "bounds": any(item.bound is not None for item in evaluation.comparisons),
        "measure": changed.leading_measure(evaluation),
        "queries": changed.shown_queries(evaluation),
        "judged": len(evaluation.queries),
        "latency": sections.latency_rows(old, new),
    }


def _arm_name(arm: Any, role: str) -> str:
    return role if arm is None or arm.generation is None else f"{role} (generation {arm.generation})"


def _background(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "checks": tuple(map(_check, sorted(evaluation.checks, key=lambda check: (check.passed, not check.gates)))),
        "failed": sum(not check.passed for check in evaluation.checks),
        "signals": [(item.name, f"{item.value:.3f}", wording.visible(item.detail, 600)) for item in evaluation.signals],
        "problems": sections.shown(evaluation.problems),
        "notes": sections.shown(evaluation.notes),
        "computed": tuple(_computed(evaluation)),
    }


def _check(check: CheckResult) -> dict[str, Any]:
    return {
        "name": check.name,
        "passed": check.passed,
        "gates": check.gates,
        "detail": wording.visible(check.detail, 600),
        "hint": wording.visible(check.hint or "", 600),
        "documents": sections.shown(check.documents[:MOST_CHECK_DOCUMENTS], 160),
        "more": max(len(check.documents) - MOST_CHECK_DOCUMENTS, 0),
    }


def _computed(evaluation: Evaluation) -> Iterable[tuple[str, str]]:
    """Label and value of how the figures came about; what is not known is left out."""
    for label, value in evaluation.method.items():
        yield wording.visible(label.replace("_", " ").capitalize()), wording.visible(value, 600)
    if judge := evaluation.answers.get("judge"):
        cost = wording.dollars(evaluation.answers["cost_usd"])
        judged = wording.counted(evaluation.answers["judged"], "answer", "answers")
        yield "Judge of answers", f"{wording.visible(judge)}: {judged}, {cost}"
    if evaluation.recipe:
        yield "Recipe", wording.visible(evaluation.recipe, 600)
    yield "Catalog revision", wording.count(evaluation.catalog_revision)
    yield "Evaluated", f"{wording.moment(evaluation.evaluated_at)}, in {wording.elapsed(evaluation.seconds)}"


@cache
def _template() -> Template:
    """The page's template: autoescaped, and strict, so that a name it does not get is an error."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined  # noqa: PLC0415 - only when a page is made

    environment = Environment(
        loader=FunctionLoader(_packaged),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE)


def _finalize(value: Any) -> Any:
    """The last thing that happens to a value before it is escaped; drawings, which are escaped already, pass."""
    return wording.printable(value) if type(value) is str else value


def _packaged(name: str) -> str:
    return files("regen.evaluation").joinpath(name).read_text(encoding="utf-8")
