"""A generation filled by the actors of a Ray cluster, each a worker of its own with the model loaded once.

An actor claims ranges through the catalog, as every worker does. So Ray moves no documents and no vectors. What dies
with an actor or a node is claimed by another one: Ray starts actors anew elsewhere, the catalog knows what is left.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from regen.core.results import Progress, SyncResult
from regen.core.working import WorkResult
from regen.engine.account import Account
from regen.engine.control import Paused
from regen.errors import ConfigError, EmbedderError, MissingExtra, RegenError
from regen.ports.catalog import Generation

if TYPE_CHECKING:
    from regen.engine.writing import OnProgress, WriteSide

TURN_SECONDS: Final = 5.0
"""An actor tells the driver what it has done so often."""
LOOK_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 5.0
"""After so long without a node that has room it is told what is waited for."""
LOCAL: Final = ("sqlite:", "lancedb:", "qdrant+file:", "chroma+file:", "milvus+file:")
PRIVATE: Final = ("memory://", "sqlite://")
_NO_FILE: Final = "the index was not opened from a regen.yaml, so the actors cannot open it"


class Filler(Protocol):
    """What an actor opens: an index."""

    def work_on(self, generation: int, upto: int, seconds: float) -> WorkResult:
        """Claim and bring ranges of one generation for so many seconds, or until none is to be had."""
        ...


@dataclass(frozen=True, slots=True)
class RaySettings:
    """The ``ray`` block of regen.yaml: which cluster, how many actors, what each of them takes."""

    address: str | None = None
    actors: int = 2
    num_cpus: float = 1.0
    num_gpus: float = 0.0

    @property
    def told(self) -> str:
        """What an actor takes, in words."""
        wanted = [(self.num_cpus, "CPU"), (self.num_gpus, "GPU")]
        return " and ".join(f"{count:g} {name}{'' if count == 1 else 's'}" for count, name in wanted if count)


@dataclass(frozen=True, slots=True)
class RayCluster:
    """An executor. ``reopen`` opens the index on any node; ``places`` are the URLs of its catalog and store."""

    settings: RaySettings
    reopen: Callable[[], Filler] | None
    places: tuple[str, ...]

    def require(self) -> None:
        """Whether Ray is there and what the actors need can be reached. Raises MissingExtra, ConfigError."""
        _ray()
        if self.reopen is None:
            raise ConfigError(_NO_FILE, hint="write a regen.yaml (regen init) and use regen.open, or engine threads")
        for url in self.places:
            if url in PRIVATE or url.startswith("memory:") or not url:
                raise ConfigError(
                    f"{url or 'an object that was handed in'} is private to this process: no actor can reach it",
                    hint="name a PostgreSQL database (catalog.url) and a store that every node reaches (store.url)",
                )

    def fill(
        self,
        writer: WriteSide,
        generation: Generation,
        upto: int,
        account: Account,
        result: SyncResult,
        progress: OnProgress | None,
    ) -> None:
        """Let the actors claim ranges until the generation has come so far. Raises Paused, and what they raise."""
        self.require()
        if generation.watermark >= upto:
            return
        ray = _ray()
        with _connected(ray, self.settings.address):
            self._require_reachable(ray)
            filling = _Filling(ray, writer, generation.number, upto, account, result, progress)
            filling.start(self.settings, self.reopen)
            filling.run()

    def _require_reachable(self, ray: Any) -> None:
        """Files are of one host: refuse a cluster of several."""
        hosts = {node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]} | {socket.gethostname()}
        for url in self.places:
            if url.startswith(LOCAL) and len(hosts) > 1:
                raise ConfigError(
                    f"{url.partition(':')[0]} lies on this host, but the Ray cluster has {len(hosts)}: "
                    f"{', '.join(sorted(hosts))}",
                    hint="use PostgreSQL for the catalog (`regen catalog copy`) and a store that all of them reach",
                )


@dataclass(slots=True)
class _Filling:
    """One call of ``fill``."""

    ray: Any
    writer: WriteSide
    number: int
    upto: int
    account: Account
    result: SyncResult
    progress: OnProgress | None
    actors: list[Any] = field(default_factory=list)

    def start(self, settings: RaySettings, reopen: Callable[[], Filler] | None) -> None:
        """Start the actors. Raises what keeps a node from opening the index, told once and as what it is."""
        asked = {"num_cpus": settings.num_cpus, "num_gpus": settings.num_gpus}
        probe = self.ray.remote(**asked)(_try_to_open).remote(reopen)
        while not self.ray.wait([probe], timeout=PATIENCE_SECONDS)[0]:  # the cluster may grow
            self._report(f"waiting for a node with {settings.told}")
        self._get(probe)
        kind = self.ray.remote(**asked, max_restarts=-1, max_task_retries=-1)(Actor)
        self.actors = [kind.remote(reopen) for _ in range(settings.actors)]

    def run(self) -> None:
        """Give every actor one turn after the other until all is in step."""
        turns = {self._turn(actor): actor for actor in self.actors}
        try:
            while not self._is_done():
                ready, _ = self.ray.wait(list(turns), timeout=LOOK_SECONDS)
                for turn in ready:
                    actor = turns.pop(turn)
                    self._count(self._get(turn))
                    turns[self._turn(actor)] = actor
                self._report(f"{len(self.actors)} actors")
            self._let_end(turns)
        except Paused:
            self._let_end(turns)  # what is under way is paid for
            raise
        finally:
            for actor in self.actors:
                self.ray.kill(actor)

    def _let_end(self, turns: Iterable[Any]) -> None:
        """Let turns end that have nothing more to take up, and count them.

        That of an actor without a node never does: what it cost is on the account, though not counted here.
        """
        wanted = list(turns)
        ended, _ = self.ray.wait(wanted, num_returns=len(wanted), timeout=2 * TURN_SECONDS)
        for turn in ended:
            self._count(self._get(turn))

    def _turn(self, actor: Any) -> Any:
        return actor.work_on.remote(self.number, self.upto, TURN_SECONDS)

    def _generation(self) -> Generation:
        return next(item for item in self.writer.catalog.generations() if item.number == self.number)

    def _is_done(self) -> bool:
        now = self._generation()
        if now.paused is not None:
            raise Paused(now.paused)
        return now.watermark >= self.upto

    def _count(self, done: WorkResult) -> None:
        self.result.add(done.chunks, done.failed)
        self.account.note(self._generation(), done.embedded_texts, done.tokens, done.cost_usd)

    def _report(self, note: str) -> None:
        if self.progress is not None:
            counts = self.writer.catalog.counts(self.number)
            total = counts.documents + counts.pending
            self.progress(Progress("index", counts.documents, total, note=note))

    def _get(self, turn: Any) -> Any:
        """What a task returns. Raises its own error, not Ray's wrapping; one of Ray's as ours."""
        faults = self.ray.exceptions
        try:
            return self.ray.get(turn)
        except faults.RayTaskError as error:
            if isinstance(error.cause, RegenError):
                raise error.cause from error
            raise EmbedderError(f"a Ray task failed: {error.cause!r}", hint="`ray logs` has the whole of it") from error
        except faults.RayError as error:
            raise EmbedderError(
                f"the Ray cluster failed: {str(error).strip().splitlines()[0]}",
                hint="what is committed stays: run the same command again when the cluster is up (`ray status`)",
            ) from error


class Actor:
    """Lives on a node of the cluster: opens the index once, and its model with it."""

    def __init__(self, reopen: Callable[[], Filler]) -> None:
        self._index = reopen()

    def work_on(self, generation: int, upto: int, seconds: float) -> WorkResult:
        """One turn."""
        return self._index.work_on(generation, upto, seconds)


def _try_to_open(reopen: Callable[[], Any]) -> None:
    with reopen():
        pass


def _ray() -> Any:
    try:
        import ray  # type: ignore[import-not-found, import-untyped, unused-ignore] # noqa: PLC0415 - an extra, and heavy
    except ImportError:
        raise MissingExtra("engine ray needs Ray", hint="pip install 'regen[ray]'") from None
    return ray


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Connect, or start Ray on this host, unless somebody has; leave things as they were."""
    if ray.is_initialized():
        yield
        return
    try:
        ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None)
    except (ConnectionError, RuntimeError) as error:
        raise ConfigError(
            f"no Ray cluster answers at {address or 'this host'}: {error}",
            hint="ray.address in regen.yaml: the head's host:6379, or ray://host:10001, or nothing for this host alone",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()
