"""verify and gc: every generation's catalog and store compared, in whatever store it lies; what nothing names, removed.

A store that cannot be reached hides its own generations only: the others are looked at, mended and tended as usual.
"""

from __future__ import annotations

import time

from regen.core.results import GcReport, SyncResult, VerifyReport
from regen.engine.account import Account
from regen.engine.lease import HeldLease, is_dead
from regen.engine.repair import Differences, apply_repair, collect_orphans, compare
from regen.engine.sharing import is_alive
from regen.engine.stores import UNREACHABLE, behind_the_others
from regen.engine.writing import OnProgress, WriteSide
from regen.ports.catalog import Generation

COUNTS = ("missing", "orphans", "stale", "mixed_space", "wrong_payload", "points")


def verify(writer: WriteSide, *, repair: bool, progress: OnProgress | None = None) -> VerifyReport:
    """Compare catalog and store of each generation that is not being built; with ``repair`` mend and look again.

    The first generation ever is looked at before it is complete, too. Raises NotFound when there is none.
    """
    report = VerifyReport(generation=writer.live_or_newest().number)
    with writer.recorded("verify", always=False) as (result, account):
        for generation in writer.followers():
            try:
                with writer.lease(generation) as lease:
                    if writer.is_current(generation):
                        fresh = writer.fresh(generation)
                        found = compare(fresh, writer.stores.of(fresh), writer.catalog, progress)
                        if repair and not found.report.consistent:
                            found = _mend(writer, found, fresh, lease, result, account, progress=progress)
                        _add(report, found.report, fresh)
            except UNREACHABLE as error:
                report.out_of_reach.append(generation.number)
                report.details.append(f"generation {generation.number}: {error.message}")
        account.add_to(report)
    report.details += [note for note in result.notes if note not in report.details]
    report.consistent = report.consistent and not report.out_of_reach
    report.generations.sort()
    _look_at_alias(writer, report, repair=repair)
    return report


def _mend(
    writer: WriteSide,
    found: Differences,
    generation: Generation,
    lease: HeldLease,
    result: SyncResult,
    account: Account,
    *,
    progress: OnProgress | None,
) -> Differences:
    """Put right what differs, and compare again."""
    if found.collection_missing:
        writer.prepare_collection(generation)
    store = writer.stores.of(generation)
    mended = apply_repair(found, generation, store, writer.catalog, lease.require)
    writer.reconcile_into(result, account, writer.fresh(generation), lease, progress)
    again = compare(writer.fresh(generation), store, writer.catalog, progress)
    again.report.repaired = mended
    return again


def _add(report: VerifyReport, one: VerifyReport, generation: Generation) -> None:
    report.generations.append(generation.number)
    for name in (*COUNTS, "repaired"):
        setattr(report, name, getattr(report, name) + getattr(one, name))
    report.consistent = report.consistent and one.consistent
    report.details += [f"generation {generation.number}: {detail}" for detail in one.details]


def _look_at_alias(writer: WriteSide, report: VerifyReport, *, repair: bool) -> None:
    """Whether the store's own alias, where it has one, is where the catalog's is; with ``repair`` it is set."""
    astray = writer.lifecycle.astray()
    if astray is not None and repair and writer.lifecycle.follow() is None:
        report.repaired += 1
    elif astray is not None:
        report.consistent = False
        report.details.append(astray)


def collect(writer: WriteSide, *, now: bool) -> GcReport:
    """Remove orphans, old changes and what only they named; with ``now`` everything but the present.

    What a store out of reach keeps from being done is raised when all the rest is.
    """
    report = GcReport()
    for held in writer.catalog.leases():
        if is_dead(held.owner) or held.expires_at < time.time():
            writer.catalog.release(held)
    for worker in writer.catalog.workers(writer.alias):
        if not is_alive(worker, time.time()):
            writer.catalog.leave(worker.owner)
    report.notes += [note for note in [writer.lifecycle.follow()] if note]
    writer.lifecycle.expire(report, now=now)
    writer.abandon(report, now=now)
    failures: list[tuple[Generation, Exception]] = []
    with writer.recorded("gc", always=False) as (result, account):
        current = writer.current()
        for generation in current:
            try:
                _tend(writer, generation, result, account, report, now=now)
            except UNREACHABLE as error:
                failures.append((generation, error))
        account.add_to(report)
    report.notes += result.notes
    purged = writer.catalog.purge(changes_before=time.time() - (0.0 if now else writer.limits.keep_changes))
    report.contents, report.changes, report.tombstones = purged.contents, purged.changes, purged.tombstones
    if failures:
        raise behind_the_others(failures, current, report.notes)
    return report


def _tend(
    writer: WriteSide, generation: Generation, result: SyncResult, account: Account, report: GcReport, *, now: bool
) -> None:
    with writer.lease(generation) as lease:
        if generation.state != "building":
            writer.reconcile_into(result, account, writer.fresh(generation), lease, None)
        else:
            writer.prepare_collection(generation)  # a crash may have come before it was made
        report.points += collect_orphans(generation, writer.stores.of(generation), writer.catalog, lease.require)
        report.maintenance += writer.maintain(generation, force=now)
