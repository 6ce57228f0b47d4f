"""What a worker tells, and what ``status`` shows of workers, as lines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from rich.text import Text

from regen.cli.layout import bad, good, labelled, listed, note
from regen.cli.quantities import ago, count, counted, duration, money
from regen.core.results import WorkerStatus
from regen.core.working import WorkEvent, WorkResult


def event_line(event: WorkEvent) -> Text:
    """One event, with the time of day."""
    about = "" if event.generation is None else f"generation {event.generation}: "
    said = {
        "range": f"{counted(event.documents, 'document')} in step",
        "lost": f"a range was taken over by another worker: {event.detail}",
        "failed": event.detail,
        "live": "complete; it answers the searches now",
        "ready": "complete; regen promote makes it live",
        "idle": "nothing is behind",
    }
    return Text(
        f"{time.strftime('%H:%M:%S')} {about}{said[event.event]}", style="dim" if event.event == "range" else ""
    )


def work_lines(done: WorkResult) -> Iterator[Text]:
    """What a worker has done in all."""
    spent = money(done.cost_usd) if done.cost_usd else ""
    ranges = f"in {counted(done.ranges, 'range')}" if done.ranges else ""
    yield good(listed([f"{counted(done.documents, 'document')} brought in step", ranges, duration(done.seconds)]))
    if done.embedded_texts:
        yield labelled("embedded", listed([counted(done.embedded_texts, "text"), spent]))
    if done.failed:
        yield bad(f"{counted(done.failed, 'document')} could not be processed: regen status tells why")
    if done.lost:
        yield note(f"{counted(done.lost, 'range')} taken over by other workers, as this one was too slow to renew")
    for text in done.notes:
        yield note(text)


def worker_lines(workers: Sequence[WorkerStatus], now: float) -> Iterator[Text]:
    """Who is at work."""
    for worker in workers:
        at = f"generation {worker.generation}" if worker.generation is not None else ""
        seen = "" if worker.alive else f"not seen for {duration(worker.seen_seconds)}"
        name = f"{worker.host}:{worker.pid}"
        done = f"{count(worker.documents)} done"
        yield labelled("worker", listed([name, f"since {ago(worker.since, now)}", done, at, seen]))
        if worker.failure is not None:
            yield labelled("", f"waits: {worker.failure}")
