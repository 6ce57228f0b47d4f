"""The catalog port on any SQLAlchemy engine, put together from its subjects."""

from __future__ import annotations

from regen.catalog.auditing import Audits
from regen.catalog.callers import Callers
from regen.catalog.documents import DocumentLog
from regen.catalog.evaluations import Evaluations
from regen.catalog.generations import Generations
from regen.catalog.insight import Insight
from regen.catalog.jobs import Jobs
from regen.catalog.leases import Leases
from regen.catalog.letters import Letters
from regen.catalog.observing import Observations
from regen.catalog.requests import Requests
from regen.catalog.rerankers import Rerankers
from regen.catalog.rollouts import Rollouts
from regen.catalog.usage import Usage
from regen.catalog.work import WorkQueue
from regen.catalog.workers import Workers


class SqlCatalog(
    DocumentLog,
    WorkQueue,
    Generations,
    Leases,
    Letters,
    Usage,
    Evaluations,
    Audits,
    Rollouts,
    Rerankers,
    Insight,
    Workers,
    Callers,
    Requests,
    Observations,
    Jobs,
):
    """Implements ``regen.ports.catalog.Catalog``."""
