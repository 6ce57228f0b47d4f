"""keys: who may call the service."""

from __future__ import annotations

import time
from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from regen.cli.exits import UsageError
from regen.cli.session import Session
from regen.cli.verb import verb

if TYPE_CHECKING:
    from rich.text import Text

    from regen.index import Index
    from regen.ports.service import ApiKey


class Action(Enum):
    """What can be done with keys."""

    CREATE = "create"
    REVOKE = "revoke"
    LIST = "list"


@verb
def keys(
    session: Session,
    action: Annotated[Action, typer.Argument(metavar="create|revoke|list", help="What to do.")],
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Who uses the key; to revoke one, its name or id.")
    ] = None,
    *,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", "-s", metavar="S", help="search, write, operate, admin or act_as; repeatable."),
    ] = None,
    as_who: Annotated[
        list[str] | None,
        typer.Option("--as", metavar="WHO", help="A principal that its searches are made with; repeatable."),
    ] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="R", help="Requests that it may make: 100/s, 600/min.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="After which it is not valid any more: 90d, 12h.")
    ] = None,
) -> None:
    """Make a key for the service, which is shown this once; end one; or list them."""
    if action is not Action.LIST and name is None:
        raise UsageError(f"keys {action.value} needs a name", hint=f"for example: regen keys {action.value} web")
    with session.index() as index:
        if action is Action.LIST:
            found = index.api_keys()
            session.answer({"keys": [key.to_dict() for key in found]}, _listed(found))
        elif action is Action.REVOKE:
            revoked = index.revoke_key(str(name))
            session.answer(revoked.to_dict(), [f"The key {revoked.name} opens nothing any more, within two seconds."])
        else:
            _create(session, index, str(name), scope or [], as_who or [], rate, expires)


def _create(  # noqa: PLR0917 - the verb's options
    session: Session,
    index: Index,
    name: str,
    scopes: list[str],
    principals: list[str],
    rate: str | None,
    expires: str | None,
) -> None:
    from regen.config.quantities import parse_duration, parse_rate  # noqa: PLC0415 - only where one is made

    try:
        per_second = None if rate is None else parse_rate(rate)
        lasting = None if expires is None else parse_duration(expires)
    except ValueError as error:
        raise UsageError(str(error)) from None
    key, made = index.create_key(name, scopes, principals=principals, per_second=per_second, expires_in=lasting)
    session.answer({**made.to_dict(), "key": key}, [key])
    if not session.json:
        session.remark("This is the only time that it is shown: regen keeps a digest of it.")


def _listed(found: list[ApiKey]) -> Iterator[Text | str]:
    from regen.cli.layout import labelled  # noqa: PLC0415 - heavy; only when a verb has run

    if not found:
        yield "There is no key: the service lets in whoever is on this machine."
    for key in found:
        yield labelled(key.name, f"{key.id}  {', '.join(key.scopes)}  {_state(key)}")
        if key.principals:
            yield labelled("", f"searches as {', '.join(key.principals)}")


def _state(key: ApiKey) -> str:
    now = time.time()
    if key.revoked_at is not None:
        return f"revoked {_day(key.revoked_at)}"
    if key.expires_at is not None:
        return f"{'expired' if key.expires_at <= now else 'valid until'} {_day(key.expires_at)}"
    return f"since {_day(key.created_at)}"


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(moment))
