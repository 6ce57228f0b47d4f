"""Jobs that run by the clock or on changes, and alarms."""

from __future__ import annotations

from typing import Any, Final

import orjson
from sqlalchemy import delete, insert, select, update

from regen.catalog import schema
from regen.catalog.database import Database
from regen.core.alarms import Alert
from regen.ports.jobs import Job

_jobs, _alerts = schema.jobs.c, schema.alerts.c
_JOB: Final = tuple(Job.__slots__)
_ALERT: Final = tuple(Alert.__slots__)


class Jobs(Database):
    """Statements on ``jobs`` and ``alerts``."""

    def jobs(self, alias: str) -> dict[str, Job]:
        """All jobs of an index, by name."""
        statement = select(*(_jobs[name] for name in _JOB)).where(_jobs.alias == alias).order_by(_jobs.name)
        with self.glancing() as connection:
            return {row[0]: Job(*row) for row in connection.execute(statement)}

    def amend_job(self, alias: str, name: str, *, at: float, **changes: Any) -> None:
        """Set these fields of a job, which is added if it is not there."""
        mine = (_jobs.alias == alias) & (_jobs.name == name)
        with self.writing("job") as connection:
            if connection.execute(select(_jobs.name).where(mine)).first() is None:
                connection.execute(insert(schema.jobs).values(alias=alias, name=name, since=at))
            if changes:
                connection.execute(update(schema.jobs).where(mine).values(**changes))

    def alerts(self, alias: str) -> list[Alert]:
        """The alarms that are on, and those whose end is still to be told, oldest first."""
        statement = select(*(_alerts[name] for name in _ALERT)).where(_alerts.alias == alias)
        with self.glancing() as connection:
            found = connection.execute(statement.order_by(_alerts.fired_at, _alerts.key))
            return [_alert(dict(zip(_ALERT, row, strict=True))) for row in found]

    def keep_alert(self, alias: str, alert: Alert) -> None:
        """Add an alarm, or put it in the place of the one with its key."""
        values = {name: getattr(alert, name) for name in _ALERT}
        values["documents"] = orjson.dumps(alert.documents).decode()
        with self.writing("job") as connection:
            connection.execute(delete(schema.alerts).where(_alerts.alias == alias, _alerts.key == alert.key))
            connection.execute(insert(schema.alerts).values(alias=alias, **values))

    def forget_alert(self, alias: str, key: str) -> None:
        """Remove an alarm; does nothing if it is not there."""
        with self.writing() as connection:
            connection.execute(delete(schema.alerts).where(_alerts.alias == alias, _alerts.key == key))


def _alert(values: dict[str, Any]) -> Alert:
    return Alert(**{**values, "documents": tuple(orjson.loads(values["documents"]))})
