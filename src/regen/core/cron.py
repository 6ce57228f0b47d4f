"""Cron expressions: which moments they name. Five fields, or six with seconds first; names of days and months too."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo

from cronsim import CronSim, CronSimError

from regen.errors import ConfigError

_EXAMPLES = "for example '*/15 * * * *' (each quarter of an hour) or '30 4 * * SUN' (Sundays at 4:30)"


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression in a time zone. Raises ConfigError for one that is no expression, or names no moment at all.

    Where clocks change it is as in Debian's cron: a job of a fixed hour that is skipped runs at once afterwards, one
    whose hour comes twice runs once; a job of every hour or every few minutes keeps its distance.
    """

    expression: str
    zone: tzinfo

    def __post_init__(self) -> None:
        fields = len(self.expression.split())
        if fields not in (5, 6):
            found = f"{self.expression!r} has {fields} fields"
            raise ConfigError(found, hint=f"minute, hour, day, month, weekday; {_EXAMPLES}")
        try:
            possible = self.next_after(0.0)
        except CronSimError as error:
            told = str(error).removeprefix("Bad ")
            raise ConfigError(f"{self.expression!r}: the field {told} is not valid", hint=_EXAMPLES) from None
        if possible is None:
            raise ConfigError(f"{self.expression!r} names a day that never comes", hint=_EXAMPLES)

    def next_after(self, moment: float) -> float | None:
        """The first moment after this one, both in seconds since the epoch; None when there is none in fifty years."""
        found = next(CronSim(self.expression, datetime.fromtimestamp(moment, self.zone)), None)
        return None if found is None else found.timestamp()
