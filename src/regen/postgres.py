r"""What the catalog and the store share on PostgreSQL: the address, connections, and texts that hold a NUL.

PostgreSQL's text type holds every character but NUL, and documents may hold it. A NUL is written as ``\1\1`` and a
``\1`` as ``\1\2``: equal texts stay equal, different ones different, and their order by code point stays the same.
"""

from __future__ import annotations

import re
import select
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import sql
from psycopg.abc import Buffer
from psycopg.pq import Format
from psycopg.types.array import ListDumper
from psycopg.types.string import StrBinaryDumper, StrDumperUnknown, TextBinaryLoader, TextLoader

from regen.errors import ConfigError

_FORM: Final = "postgresql://user@host:5432/database?schema=regen"
DEFAULT_SCHEMA: Final = "regen"
_PATIENCE: Final = {
    "connect_timeout": "10",
    "keepalives_idle": "20",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": "40000",
}
"""Within 40 seconds it is found out that a server's machine, or the network to it, is gone; else it takes hours."""
STANDSTILL_SECONDS: Final = 20
"""A process that stands still for so long within a transaction loses it. Less than a lease: who takes over can write.

No transaction of ours waits for anything but the database, so only a process that is frozen stands still in one.
"""
_STANDSTILL: Final = "idle_in_transaction_session_timeout"
_BOUNDED: Final = "SELECT set_config({name}, {value}, false) WHERE current_setting({name}) = '0'"
"""Where a database, a user or the URL's ``options`` say how long, it is as they say."""
AT_LEISURE: Final = f"SET LOCAL {_STANDSTILL} = 0"
"""Lets one transaction stand still: it locks nothing that others wait for, and goes at the pace of something else."""
REFUSED: Final = re.compile(
    r"authentication failed|no password supplied|role .* does not exist|no pg_hba.conf entry|permission denied for data"
)
"""What a server says that is there, and does not let this user in: to try again would not help."""
_NUL, _MARK = "\0", "\1"


@dataclass(frozen=True, slots=True)
class Address:
    """A database and the schema in it that is regen's. ``url`` names both, and holds no secret."""

    url: str
    schema: str
    _target: str = field(repr=False)

    @classmethod
    def of(cls, url: str, default: str = DEFAULT_SCHEMA) -> Address:
        """Read ``postgresql://[user@][host][:port]/database[?schema=name&…]``; further options are libpq's.

        ``default`` is the schema where the URL names none.

        Raises ConfigError for another form, and for a password.
        """
        scheme, separator, rest = url.partition("://")
        if not separator or scheme.partition("+")[0] not in {"postgresql", "postgres"}:
            raise ConfigError(f"{scheme!r} is not PostgreSQL's scheme", hint=f"for example {_FORM}")
        try:
            parts = urlsplit(f"postgresql://{rest}")
            _ = parts.port  # refused if it is no number
            options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        except ValueError as error:
            raise ConfigError(f"the PostgreSQL URL is not understood: {error}", hint=f"for example {_FORM}") from None
        if parts.password is not None or "password" in options:
            raise ConfigError(
                "the PostgreSQL URL holds a password, which would be kept and shown wherever the URL is",
                hint="leave it out; PostgreSQL's client takes it from PGPASSWORD, from ~/.pgpass, or from a service "
                "file (?service=name)",
            )
        schema = options.pop("schema", default)
        if not schema or len(schema.encode()) > 63 or _NUL in schema:
            raise ConfigError(f"{schema!r} is not a schema's name", hint="up to 63 bytes, for example ?schema=regen")
        query = urlencode(_PATIENCE | options, quote_via=quote)
        return cls(url, schema, urlunsplit(("postgresql", parts.netloc, parts.path, query, "")))

    def connect(
        self, *, path: tuple[str, ...] = (), autocommit: bool = False, bounds: Mapping[str, str] = MappingProxyType({})
    ) -> psycopg.Connection[Any]:
        """A connection whose names are those of the schema, then those of the schemas of ``path``.

        ``bounds`` are further settings that hold where nobody else has bounded what they bound.
        """
        connection = psycopg.connect(self._target, autocommit=True, application_name="regen")
        try:
            connection.adapters.register_dumper(str, _BinaryDumper)
            connection.adapters.register_dumper(str, _Dumper)  # the last is preferred: a text of no type yet
            connection.adapters.register_dumper(list, _ListDumper)
            for name in ("text", "varchar"):
                connection.adapters.register_loader(name, _Loader)
                connection.adapters.register_loader(name, _BinaryLoader)
            names = sql.SQL(", ").join(map(sql.Identifier, (self.schema, *path)))
            settings = {_STANDSTILL: f"{STANDSTILL_SECONDS}s"} | dict(bounds)
            bounded = [sql.SQL(_BOUNDED).format(name=name, value=value) for name, value in settings.items()]
            connection.execute(sql.SQL("; ").join([sql.SQL("SET search_path TO {}").format(names), *bounded]))
            connection.autocommit = autocommit
        except BaseException:
            connection.close()
            raise
        return connection


IDENTITY: Final = (
    "SELECT concat_ws('/', system_identifier, oid, current_user) FROM pg_control_system(), pg_database "
    "WHERE datname = current_database()"
)
"""Asks which database a connection is to, of which server, as which user: by whatever address it was reached."""


def hung_up(connection: Any) -> bool:
    """Whether an idle connection's other end is gone: then, and only then, there is something to read on it."""
    if connection.closed:
        return True
    if not select.select([connection.fileno()], [], [], 0)[0]:
        return False
    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        return True
    return False


def escaped(text: str) -> str:
    """A text as PostgreSQL can hold it."""
    if _NUL in text or _MARK in text:
        return text.replace(_MARK, "\1\2").replace(_NUL, "\1\1")
    return text


def unescaped(text: str) -> str:
    """The text that :func:`escaped` was given."""
    return text.replace("\1\1", _NUL).replace("\1\2", _MARK) if _MARK in text else text


class _Dumper(StrDumperUnknown):
    def dump(self, obj: str) -> Buffer | None:
        return super().dump(escaped(obj))


class _BinaryDumper(StrBinaryDumper):
    def dump(self, obj: str) -> Buffer | None:
        return super().dump(escaped(obj))


class _ListDumper(ListDumper):
    """Of texts alone an array is made in one step: psycopg asks its dumper for each, and whether it needs quotes."""

    def dump(self, obj: list[Any]) -> Buffer | None:
        if set(map(type, obj)) != {str}:
            return super().dump(obj)
        whole, texts = "".join(obj), obj
        if _NUL in whole or _MARK in whole:
            texts = [escaped(text) for text in texts]
        if '"' in whole or "\\" in whole:
            texts = [text.replace("\\", "\\\\").replace('"', '\\"') for text in texts]
        return ('{"' + '","'.join(texts) + '"}').encode()


class _Loader(TextLoader):
    format = Format.TEXT

    def load(self, data: Buffer) -> str:
        return unescaped(str(data, "utf-8"))


class _BinaryLoader(TextBinaryLoader):
    format = Format.BINARY

    def load(self, data: Buffer) -> str:
        return unescaped(str(data, "utf-8"))
