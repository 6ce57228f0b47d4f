"""What a run may spend and has spent: one budget for all its threads and generations, written down before each call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from regen.core.results import GcReport, SyncResult, VerifyReport
from regen.errors import BudgetExceeded
from regen.ports.catalog import Catalog, Cost, Generation

Keep: TypeAlias = Callable[[int, int, float], None]
ROUNDING: Final = 1e-9
"""US dollars by which sums of many small prices may differ from the price of the sum."""


@dataclass(slots=True)
class Purse:
    """What one run may still spend. ``earlier`` is what counts against the limit from runs before it."""

    limit: float | None = None
    earlier: float = 0.0
    usd: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def require(self, usd: float) -> None:
        """Raise BudgetExceeded if so much more would pass the limit. Called while ``lock`` is held."""
        spent = self.earlier + self.usd
        if self.limit is not None and spent + usd > self.limit + ROUNDING:
            raise BudgetExceeded(
                f"the next call would cost ${usd:.4f} and pass the budget of ${self.limit:.2f} (spent: ${spent:.4f})",
                hint="raise limits.budget_usd and run the same command again: nothing is paid twice",
            )


@dataclass(slots=True)
class Spent:
    """What was sent to one generation's model; ``tokens`` are exact where there is a price or a limit, else estimated.

    ``keep`` writes down what costs money.
    """

    texts: int = 0
    tokens: int = 0
    usd: float = 0.0
    purse: Purse = field(default_factory=Purse)
    keep: Keep | None = None

    def pay(self, texts: int, tokens: int, usd: float) -> None:
        """Count a call that is about to be made. Raises BudgetExceeded, and then it must not be made.

        The money is on the catalog's account before the provider is asked: a process that is killed has never spent
        more than its successor knows of.
        """
        with self.purse.lock:
            self.purse.require(usd)
            if usd and self.keep is not None:
                self.keep(texts, tokens, usd)
            self.purse.usd += usd
            self.texts += texts
            self.tokens += tokens
            self.usd += usd


class Account:
    """The spending of one run. What has no price is on the catalog's account when the run ends, the rest at once."""

    def __init__(self, catalog: Catalog, budget_usd: float | None) -> None:
        self._catalog = catalog
        self._opened: list[tuple[Generation, Spent, bool]] = []
        self.purse = Purse(budget_usd)

    def counts_earlier(self, generation: Generation) -> None:
        """Let the budget cover what this generation has cost before: stopped and begun again it is no second budget."""
        self.purse.earlier = self._catalog.spent_on(generation.number)

    def open(self, generation: Generation, price: float, *, shared: bool = False) -> Spent:
        """An entry for a generation, whose model costs so much for a million tokens.

        ``shared``: others fill it as well, and the budget is for all of them together.
        """
        within = self.purse.limit if shared else None
        spent = Spent(purse=self.purse, keep=self._keeper(generation, within) if price > 0 else None)
        self._opened.append((generation, spent, price > 0))
        return spent

    def note(self, generation: Generation, texts: int, tokens: int, usd: float) -> None:
        """Count what other processes have spent for this run; they have written it down themselves."""
        self._opened.append((generation, Spent(texts, tokens, usd), True))

    def _keeper(self, generation: Generation, within: float | None) -> Keep:
        entry: int | None = None

        def keep(texts: int, tokens: int, usd: float) -> None:
            nonlocal entry
            cost = Cost(generation.number, generation.recipe.embedding.model, texts, tokens, usd)
            entry = self._catalog.pay(entry, cost, at=time.time(), within=within)

        return keep

    @property
    def used(self) -> bool:
        """Whether any text was sent to a model."""
        return any(spent.texts for _, spent, _ in self._opened)

    def add_to(self, result: SyncResult | VerifyReport | GcReport) -> None:
        """Tell a run's result what it has spent."""
        result.embedded_texts = sum(spent.texts for _, spent, _ in self._opened)
        result.cost_usd = sum(spent.usd for _, spent, _ in self._opened)
        if isinstance(result, SyncResult):
            result.tokens = sum(spent.tokens for _, spent, _ in self._opened)

    def unwritten(self) -> Sequence[Cost]:
        """What the catalog has not been told of."""
        return [
            Cost(generation.number, generation.recipe.embedding.model, spent.texts, spent.tokens, spent.usd)
            for generation, spent, kept in self._opened
            if spent.texts and not kept
        ]
