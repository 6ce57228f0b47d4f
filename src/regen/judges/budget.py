"""A hard limit on money: what a call could cost at most is set aside before it is made."""

from __future__ import annotations

import math
from threading import Condition
from typing import Final

from regen.errors import BudgetExceeded, ConfigError

MILLION: Final = 1_000_000
NOTHING: Final = 1e-12
MESSAGE_TOKENS: Final = 16
"""More than any provider adds to a message for its role and its marks."""


class Budget:
    """Counts US dollars. Thread-safe.

    Prices are per million tokens, None where there is none. ``limit`` needs prices. Raises ConfigError without them.
    """

    def __init__(self, limit: float | None, input_price: float | None, output_price: float | None) -> None:
        named = {
            "budget_usd": limit,
            "input_price_per_million_tokens": input_price,
            "output_price_per_million_tokens": output_price,
        }
        for option, value in named.items():
            _require_amount(option, value)
        if limit is not None and (input_price is None or output_price is None):
            raise ConfigError(
                f"options.budget_usd is {limit:g}, but what the model costs is not said",
                hint="state options.input_price_per_million_tokens and options.output_price_per_million_tokens",
            )
        self._limit, self._input, self._output = limit, input_price or 0.0, output_price or 0.0
        self._changed = Condition()
        self._spent = self._held = 0.0

    @property
    def spent_usd(self) -> float:
        """What was spent so far."""
        return self._spent

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """US dollars for so many tokens."""
        return (input_tokens * self._input + output_tokens * self._output) / MILLION

    def most(self, texts: list[str], output_tokens: int) -> float:
        """What a call can cost at most: no token is shorter than a byte of UTF-8."""
        size = sum(len(text.encode("utf-8", "replace")) + MESSAGE_TOKENS for text in texts)
        return self.cost(size, output_tokens)

    def hold(self, amount: float, what: str) -> None:
        """Set money aside for a call; a thread holds one amount at a time. Raises BudgetExceeded.

        Where only what others have set aside stands in the way, it waits for them: most calls cost far less than they
        could.
        """
        with self._changed:
            while self._limit is not None and self._spent + self._held + amount > self._limit:
                if not self._held or self._spent + amount > self._limit:
                    raise BudgetExceeded(
                        f"{what}: the next call could cost {amount:.6f} US dollars, and {self._spent:.6f} of "
                        f"options.budget_usd = {self._limit:g} are spent",
                        hint="what was answered is kept in the cache, where one is named, and is not paid again: raise "
                        "the budget to go on",
                    )
                self._changed.wait()
            self._held += amount

    def settle(self, held: float, cost: float) -> None:
        """The call is over and has cost so much."""
        with self._changed:
            self._held = self._held - held
            if self._held < NOTHING:  # what rounding has left
                self._held = 0.0
            self._spent += cost
            self._changed.notify_all()


def _require_amount(option: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ConfigError(f"options.{option} is {value!r}", hint="US dollars, 0 or more")
