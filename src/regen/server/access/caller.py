"""Who calls, as the service knows them once their key or token has been checked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from regen.core.keys import SCOPES, Scope
from regen.errors import RegenError


class Unauthenticated(RegenError):
    """Nobody is known to be calling: no key, no token, or one that is not believed."""


class Forbidden(RegenError):
    """The caller is known, and may not do that."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. ``id`` is what limits and idempotency keys are counted by, ``name`` what the audit log shows.

    ``principals`` are those that searches are made with, unless a caller that may ``act_as`` others names some.
    """

    id: str
    name: str
    scopes: frozenset[Scope]
    principals: frozenset[str] = frozenset()

    def may(self, scope: Scope) -> bool:
        """Whether the scope is among the caller's."""
        return scope in self.scopes or (scope != "act_as" and "admin" in self.scopes)

    def require(self, scope: Scope) -> None:
        """Raise Forbidden without the scope."""
        if not self.may(scope):
            held = ", ".join(sorted(self.scopes)) or "none"
            raise Forbidden(
                f"this needs the scope {scope}; {self.name} has {held}",
                hint=f"use a key that has it: `regen keys create NAME --scope {scope}`",
            )

    def principals_for(self, named: Collection[str] | None) -> frozenset[str]:
        """The principals of a search: the caller's own, or those that it may name. Raises Forbidden."""
        if named is None:
            return self.principals
        if not self.may("act_as"):
            raise Forbidden(
                f"{self.name} may not say as whom it searches: its principals are bound to it",
                hint="leave principals out, or use a key with the scope act_as",
            )
        return frozenset(named)


def open_caller() -> Caller:
    """Whoever is on this machine, where no key was made: they could read the files as well."""
    return Caller("open", "anonymous", frozenset(SCOPES))
