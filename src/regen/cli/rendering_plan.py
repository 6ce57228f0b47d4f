"""Plans as lines: the steps, their reasons and costs, the strategy, and the answer to "must I re-embed?"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from rich.text import Text

from regen.cli.layout import good, labelled, note, table
from regen.cli.quantities import count, duration, money
from regen.core.plan import Decision, Plan, Step, Totals

_PATHS: Final[Mapping[str, str]] = {
    "embed": "every text is embedded anew",
    "derive": "the new vectors are made of those that are there",
    "rechunk": "texts that both generations have copy their vectors",
    "copy": "the vectors are copied as they are",
    "query": "only queries are embedded differently",
    "nothing": "nothing that decides a vector has changed",
}


def plan_lines(plan: Plan) -> Iterator[Text]:
    """The steps of a plan with their reasons and costs, and the sum."""
    if plan.empty:
        yield good(f"Nothing to do: in step at revision {count(plan.catalog_revision)}")
    else:
        yield Text(_plan_headline(plan), style="bold")
        rows = [(step.action, *_costs(step), step.reason) for step in plan.steps]
        if len(plan.steps) > 1:
            rows.append(("total", *_costs(plan.totals), ""))
        header = ("step", "documents", "chunks", "to embed", "tokens", "cost", "time", "reason")
        yield from table(header, rows, right=range(1, 7)) if rows else ()
        if plan.strategy_reason:
            yield labelled("strategy", f"{plan.strategy} ({plan.strategy_reason})")
        if plan.totals.seconds:
            yield labelled("ready in", f"about {duration(plan.totals.seconds)}, by the rates measured on this machine")
    if plan.amends is not None:
        yield note(plan.amends)
    if plan.decision is not None:
        yield from decision_lines(plan.decision)
    for text in plan.notes:
        yield note(text)


def decision_lines(decision: Decision) -> Iterator[Text]:
    """The answer to "must I re-embed?", with its grounds and what would cost less."""
    yield Text("")
    yield Text.assemble(
        ("Must I re-embed?  ", "bold"), (decision.must_embed, "bold cyan"), f" ({_PATHS[decision.path]})"
    )
    for at, ground in enumerate(decision.grounds):
        yield labelled("" if at else "grounds", ground)
    for at, way in enumerate(decision.cheaper):
        yield labelled("" if at else "cheaper", way)


def _plan_headline(plan: Plan) -> str:
    if plan.from_generation is None:
        where = f"first generation ({plan.to_generation})"
    elif plan.from_generation == plan.to_generation:
        where = f"generation {plan.to_generation}"
    else:
        where = f"generation {plan.from_generation} → {plan.to_generation}, {plan.strategy}"
    return f"Plan for {where}, from revision {count(plan.catalog_revision)}"


def _costs(item: Step | Totals) -> tuple[str, ...]:
    counts = (item.documents, item.chunks, item.texts_to_embed, item.tokens)
    time = f"~ {duration(item.seconds)}" if item.seconds else "–"
    return (*(count(number) for number in counts), money(item.cost_usd) if item.cost_usd else "–", time)
