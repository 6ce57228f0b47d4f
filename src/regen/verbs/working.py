"""``work``: be one of the processes that keep an index in step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from regen.core.results import WorkerStatus
from regen.core.working import WorkEvent, WorkResult
from regen.engine.lease import LEASE_SECONDS
from regen.engine.settings import Limits
from regen.engine.sharing import is_alive
from regen.engine.turns import take_turn
from regen.engine.working import Worker
from regen.engine.writing import WriteSide


class WorkVerbs:
    """Any number of processes, on any hosts, share what is to be done."""

    _writer: WriteSide
    _limits: Limits

    def work_on(self, generation: int, upto: int, seconds: float) -> WorkResult:
        """Claim and bring ranges of one generation for so many seconds, or until none is to be had: an actor's turn."""
        return take_turn(self._writer, generation, upto, seconds)

    def workers(self) -> list[WorkerStatus]:
        """Who works, or did when last seen, the longest first."""
        now = time.time()
        return [
            WorkerStatus(
                item.host, item.pid, item.since, max(0.0, now - item.seen_at), item.documents, item.generation,
                is_alive(item, now), item.failure,
            )
            for item in self._writer.catalog.workers(self._writer.alias)
        ]  # fmt: skip

    def work(
        self,
        stop: threading.Event | None = None,
        *,
        until_idle: bool = False,
        concurrency: int | None = None,
        lease: float = LEASE_SECONDS,
        told: Callable[[WorkEvent], None] = lambda _event: None,
    ) -> WorkResult:
        """Bring every current generation in step, beside any number of others that do, until ``stop`` is set.

        Or, with ``until_idle``, until nothing is behind. The source is not read: that is what ``sync`` does. A
        generation that is being built is filled if ``apply`` has asked for it. ``concurrency`` is how many calls of the
        model are made at once (default: ``limits.concurrency``), ``lease`` for how many seconds others leave this
        worker's documents to it after it has died. Raises BudgetExceeded, and what waiting does not mend.
        """
        limits = self._limits if concurrency is None else replace(self._limits, concurrency=concurrency)
        return Worker(self._writer, stop or threading.Event(), told, limits, lease).run(until_idle=until_idle)
