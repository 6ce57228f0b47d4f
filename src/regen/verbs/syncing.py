"""Bringing the index in step with its sources, by hand, as they change, and by the clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from regen import registry
from regen.core.documents import Document
from regen.core.refresh import Leads, Policy, Ran, StandsBy
from regen.core.results import DocumentCounts, SyncResult
from regen.engine.scan import Scanner, claimed, log_observed, read_and_log, require_ids
from regen.engine.scans import Scanned, log_all
from regen.engine.schedule import Runner, Task
from regen.engine.settings import Limits
from regen.engine.writing import OnProgress, WriteSide
from regen.errors import ConfigError
from regen.ports import PartialSource, ScanBatch, Source
from regen.ports.catalog import SOURCE_STAGE, Catalog
from regen.ports.feeds import Feed, Feeds

if TYPE_CHECKING:
    from regen.core.recipe import Recipe


class SyncVerbs:
    """Documents come from sources, which are scanned or followed, or are pushed."""

    alias: str
    _feeds: Feeds
    _catalog: Catalog
    _writer: WriteSide
    _limits: Limits
    _root: Path

    @property
    def recipe(self) -> Recipe:
        """The recipe that the configuration asks for."""
        raise NotImplementedError

    def _writer_run(self, verb: str, log: Callable[[], DocumentCounts], progress: OnProgress | None) -> SyncResult:
        raise NotImplementedError

    def _timed_tasks(self) -> list[Task]:
        raise NotImplementedError

    def upsert(self, documents: Iterable[Document]) -> SyncResult:
        """Create or replace documents; they are searchable when this returns. Unchanged ones cost nothing.

        Raises ConfigError for ids that are no strings, DuplicateDocument for ids of another source when pushing is
        configured as a source beside it; a document that cannot be processed is a dead letter.
        """
        if isinstance(documents, Document):
            raise ConfigError("upsert takes several documents", hint="write index.upsert([document])")
        return self._writer_run("upsert", lambda: self._log_pushed(list(documents)), None)

    def delete(self, ids: Iterable[str]) -> SyncResult:
        """Delete documents. When this returns no search finds them (I3); unknown ids are ignored."""
        if isinstance(ids, str):
            raise ConfigError("delete takes several ids", hint=f"write index.delete([{ids!r}])")
        wanted = list(ids)
        require_ids(wanted)

        def log() -> DocumentCounts:
            self._catalog.unearth(SOURCE_STAGE, wanted)
            return DocumentCounts(deleted=self._catalog.tombstone(wanted, at=time.time()))

        return self._writer_run("delete", log, None)

    def sync(
        self,
        source: str | None = None,
        *,
        allow_mass_delete: bool = False,
        progress: OnProgress | None = None,
    ) -> SyncResult:
        """Bring every current generation in step with one source, by its name, or with all of them.

        What goes wrong with one source is raised when the others are in step. Raises MassDelete, SourceError,
        BudgetExceeded, ConfigError.
        """
        return self._sync(self._feeds.chosen(source), allow_mass_delete=allow_mass_delete, progress=progress)

    def sync_ids(
        self, ids: Iterable[str], progress: OnProgress | None = None, *, source: str | None = None
    ) -> SyncResult:
        """Bring just these documents of a source in step; of several sources, name one.

        Raises ConfigError for a source that cannot read by id.
        """
        feeds = self._feeds.chosen(source)
        if len(feeds) > 1:
            raise ConfigError("of which source are these documents?", hint=f"name one of {', '.join(self._names())}")
        wanted = list(ids)
        if not feeds or not isinstance(feeds[0].source, PartialSource):
            raise ConfigError("the source cannot deliver single documents", hint="run a whole `regen sync`")
        return self._sync_ids(feeds[0], feeds[0].source, wanted, progress)

    def retry(self, progress: OnProgress | None = None) -> SyncResult:
        """Try all dead letters again: those of the source by a sync, those of the model by processing them anew."""

        def before() -> None:  # under the lease, for the same reason as in replay
            self._catalog.revive()

        return self._sync(list(self._feeds), allow_mass_delete=False, progress=progress, before=before)

    def watch(self, stop: threading.Event, on_sync: Callable[[SyncResult], None]) -> None:
        """Sync, then follow the sources until ``stop`` is set; ``on_sync`` is told of each round that did something.

        Sources that cannot be followed are left out. While another process follows them, nothing happens; this one
        takes over when that one ends. The first error ends it, and is raised; :meth:`scheduler` goes on.
        """
        heard: set[str] = set()

        def told(event: Ran | Leads | StandsBy) -> None:
            if not isinstance(event, Ran):
                return
            if event.error is not None:
                raise event.error
            counts = event.result.documents
            if event.job not in heard or counts.changed or counts.failed:
                heard.add(event.job)
                on_sync(event.result)

        self.scheduler(timed=False).run(stop, told)

    def scheduler(self, *, follow: bool = True, timed: bool = True) -> Runner:
        """What keeps the index in step from now on; a thread may run it, see :meth:`engine.schedule.Runner.run`.

        ``follow``: sources that tell of their changes are listened to, and refreshed by their ``refresh`` block.
        ``timed``: what has a ``cron`` expression runs when its moment comes, or at once where one was missed: sources,
        evaluations, checks, gc; and alarms are told.
        Raises ConfigError when there is nothing to follow, or nothing to run by the clock.
        """
        tasks = [task for feed in self._feeds if (task := self._task(feed, follow=follow, timed=timed))]
        tasks += self._timed_tasks() if timed else []
        if not tasks and not timed:
            raise ConfigError(
                "no source can be watched", hint="watch works with `kind: files`; a `cron` expression with any"
            )
        if not tasks:
            raise ConfigError(
                "nothing is to run by the clock",
                hint='for example `source: {…, refresh: {cron: "*/15 * * * *"}}`',
            )
        return Runner(self.alias, self._catalog, tasks)

    def background(self) -> Runner | None:
        """What a service runs; None where neither refresh nor schedule, alerts or a freshness target asks for any.

        It is what :meth:`scheduler` makes, but a source that is to be refreshed by the clock alone is not followed.
        Raises ConfigError for what cannot work.
        """
        beside = self._timed_tasks()
        if not beside and all(feed.policy == Policy() for feed in self._feeds):
            return None
        tasks = [task for feed in self._feeds if (task := self._task(feed, follow=_takes_changes(feed), timed=True))]
        return Runner(self.alias, self._catalog, [*tasks, *beside]) if tasks or beside else None

    # ── how ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _task(self, feed: Feed, *, follow: bool, timed: bool) -> Task | None:
        """The job that refreshes a source, None for one that is neither followed nor timed."""
        watched = feed.watchable if follow else None
        policy = feed.policy if timed else replace(feed.policy, cron=None)
        if watched is None and policy.cron is None:
            return None

        def run(ids: Collection[str] | None) -> SyncResult:
            if ids is None or watched is None:
                return self._sync([feed], allow_mass_delete=False)
            return self._sync_ids(feed, watched, list(ids))

        if watched is not None:
            policy = replace(policy, at_once=False)  # it runs when it is listened to: nothing falls between the two
        return Task(feed.job, policy, run, None if watched is None else watched.watch)

    def _sync(
        self,
        feeds: Collection[Feed],
        *,
        allow_mass_delete: bool,
        progress: OnProgress | None = None,
        before: Callable[[], None] | None = None,
    ) -> SyncResult:
        scanned = Scanned()

        def log() -> DocumentCounts:
            nonlocal scanned
            if before is not None:
                before()
            scanned = self._log_scanned(feeds, allow_mass_delete=allow_mass_delete, progress=progress)
            return scanned.counts

        result = self._writer_run("sync", log, progress)
        scanned.raise_failures()
        return result

    def _sync_ids(
        self, feed: Feed, source: PartialSource, ids: list[str], progress: OnProgress | None = None
    ) -> SyncResult:
        def log() -> DocumentCounts:
            return read_and_log(self._scanner(feed, progress), source, self._catalog, ids)

        return self._writer_run("sync", log, progress)

    def _log_scanned(
        self,
        feeds: Collection[Feed],
        *,
        allow_mass_delete: bool,
        progress: OnProgress | None,
        only: set[bytes] | None = None,
    ) -> Scanned:
        """Bring sources into the change log, and remember when that was. Raises when none could be read."""
        started = time.time()
        scanners = [self._scanner(feed, progress) for feed in feeds]
        scanned = log_all(scanners, self._catalog, allow_mass_delete=allow_mass_delete, only=only)
        if not scanned.well:
            scanned.raise_failures()
        now = time.time()
        for feed in feeds:
            if feed.name in scanned.well:
                self._catalog.amend_job(
                    self.alias, feed.job, at=now, started_at=started, finished_at=now, succeeded_at=started,
                    failures=0, failed_at=None, error="",
                )  # fmt: skip
        return scanned

    def _log_pushed(self, documents: list[Document]) -> DocumentCounts:
        push = self._push()
        feed = next((feed for feed in self._feeds if type(feed.source) is type(push.source)), None)
        scanner, counts = self._scanner(feed or push), DocumentCounts()
        scanner.takes = feed is None
        observed = scanner.judge(ScanBatch(documents))
        if scanner.claims:
            raise claimed(
                feed.name if feed else push.name, [(owner, item.document.id) for owner, item in scanner.claims]
            )
        failing = set(self._catalog.buried(SOURCE_STAGE))
        log_observed(scanner, self._catalog, observed, observed.candidates, counts, failing)
        return counts

    def _is_pushed(self, name: str) -> bool:
        """Whether documents of a source are handed over by the caller, who means what is handed over last."""
        push = self._push()
        feed = next((feed for feed in self._feeds if feed.name == name), push)
        return feed.name == name and type(feed.source) is type(push.source)

    def _push(self) -> Feed:
        """Where documents that are handed over belong, unless a source is configured for them."""
        return Feed(registry.make_source({"kind": "push"}, self._root))

    def _scanners(self, progress: OnProgress | None = None) -> list[Scanner]:
        """All sources, ready to be scanned; where there is none, the one that is pushed to."""
        if not len(self._feeds):
            return [self._scanner(self._push(), progress)]
        return [self._scanner(feed, progress) for feed in self._feeds]

    def _scanner(self, feed: Feed, progress: OnProgress | None = None) -> Scanner:
        others: dict[str, Source] = self._feeds.others(feed)
        return Scanner(feed.source, self._catalog, self._content_keys(), self._limits, progress, others)

    def _content_keys(self) -> tuple[str, ...]:
        """What counts as content is decided by the recipe that search is answered by."""
        current = self._writer.current()
        live = self._catalog.route(self.alias).live
        return next((item.recipe.text.keys for item in current if item.number == live), self.recipe.text.keys)

    def _names(self) -> list[str]:
        return [feed.name for feed in self._feeds]


def _takes_changes(feed: Feed) -> bool:
    """Whether a source is to be followed: one with nothing but an expression for the clock waits for its moment."""
    policy = feed.policy
    return policy.cron is None or policy.quiet_for > 0 or policy.wait_at_most is not None
