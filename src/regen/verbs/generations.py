"""The verbs of a generation's life: pause and resume its backfill, go back to it, give it up, tell its history."""

from __future__ import annotations

from regen.core.results import PauseResult, SwitchResult
from regen.engine.writing import WriteSide
from regen.ports.catalog import Catalog, Switch
from regen.serving.reading import ReadSide


class GenerationVerbs:
    """What moves generations, but for building and promoting them."""

    alias: str
    _catalog: Catalog
    _writer: WriteSide
    _reader: ReadSide

    def pause(self, generation: int | None = None, *, reason: str = "") -> PauseResult:
        """Let a backfill (default: the one there is), wherever it runs, stop before its next batch; see ``resume``.

        Syncs and searches go on. Raises NotFound, NotPromotable for a generation that is not being filled.
        """
        return self._writer.lifecycle.pause(generation, reason=reason)

    def resume(self, generation: int | None = None) -> PauseResult:
        """End a pause: the next ``apply`` goes on where the backfill stopped. Raises as ``pause`` does."""
        return self._writer.lifecycle.resume(generation)

    def rollback(self, to: int | None = None, *, reason: str = "", expected_version: int | None = None) -> SwitchResult:
        """Go back to the previous generation, or another retained one; it has every change made since (I8).

        Raises NotPromotable, AliasMoved, NotFound.
        """
        return self._writer.lifecycle.rollback(to, reason=reason or "rolled back", expected=expected_version)

    def retire(self, generation: int) -> None:
        """Give a generation up and drop its collection. Raises NotPromotable for the live one, NotFound."""
        self._writer.lifecycle.retire(generation)
        self._reader.forget()

    @property
    def live(self) -> int | None:
        """The generation that answers searches, None before the first one is complete."""
        return self._catalog.route(self.alias).live

    def switches(self) -> list[Switch]:
        """The alias's history, newest first: who pointed it where, when and why."""
        return self._catalog.switches(self.alias)
