"""Who does the work of a generation that is shared: this process beside the workers, or the actors of a Ray cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from regen.core.results import SyncResult
from regen.engine.account import Account
from regen.engine.sharing import Claimant
from regen.ports.catalog import Generation

if TYPE_CHECKING:
    from regen.engine.writing import OnProgress, WriteSide

Engine: TypeAlias = Literal["threads", "ray"]


class Executor(Protocol):
    """Brings a generation in step by claiming its documents, as workers do."""

    def fill(
        self,
        writer: WriteSide,
        generation: Generation,
        upto: int,
        account: Account,
        result: SyncResult,
        progress: OnProgress | None,
    ) -> None:
        """Return when all that was logged up to a revision is in step, whoever did it. Raises Paused."""
        ...


class Threads:
    """This process alone, by threads: one claimant beside whoever else works."""

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def fill(
        self,
        writer: WriteSide,
        generation: Generation,
        upto: int,
        account: Account,
        result: SyncResult,
        progress: OnProgress | None,
    ) -> None:
        """Claim ranges until the generation has come so far."""
        spent = account.open(generation, writer.price(generation), shared=generation.state == "building")
        Claimant(writer, self._owner).follow(generation, upto, spent, result, progress)
