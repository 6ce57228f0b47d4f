"""Where Lance tables lie: a folder, or below a prefix of a bucket of an object store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import lancedb
from lancedb.db import LanceDBConnection

from regen.errors import ConfigError

SCHEME: Final = "lancedb://"
_DISK: Final = {
    "LANCE_IO_THREADS": "4",
    "LANCE_DEFAULT_FRAGMENT_READAHEAD": "1",
    "LANCE_DEFAULT_BATCH_SIZE": "1024",
    "LANCE_SHUFFLE_BATCH_BYTES": "8000000",
}
"""How much the engine reads ahead, for the whole process; what is set already stays. Its own defaults are for object
stores: on a local disk they only cost memory and processor (see docs/adr/0012)."""
_METADATA_BYTES: Final = 64 << 20
"""How much the engine keeps in memory of tables' descriptions. Each version describes all of its fragments, and its own
default is a gigabyte: a first load of a million documents kept 650 MB of versions that nobody asks for again."""
_FORMS: Final = "lancedb://.regen/vectors, lancedb:///srv/v, s3://bucket/prefix, gs://bucket/prefix, az://container/p"


@dataclass(frozen=True, slots=True)
class Place:
    """A folder, or a prefix in a bucket (``folder`` is None). ``shown`` holds no secret and no option.

    ``secrets`` are the options whose values lie in the environment, under the names given here; the engine looks for
    the usual ones by itself (``AWS_ACCESS_KEY_ID``, an instance's role, and so on).
    """

    shown: str
    uri: str
    folder: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_folder(cls, folder: Path) -> Place:
        """A folder, made when it is first written to."""
        return cls(f"{SCHEME}{folder}", str(folder), folder)

    @classmethod
    def of_url(cls, url: str, root: Path) -> Place:
        """Read ``lancedb://folder`` or ``s3://bucket/prefix?endpoint=URL&region=NAME``. Raises ConfigError."""
        scheme, _, rest = url.partition("://")
        if scheme in _PRODUCTS:
            return _bucket(scheme, rest)
        if not url.startswith(SCHEME) or not rest or "://" in rest:
            raise ConfigError(f"{url.partition('?')[0]!r} is not a LanceDB store's URL", hint=f"for example {_FORMS}")
        return cls.of_folder(root.absolute() / rest)

    @property
    def is_there(self) -> bool:
        """Whether there is anything to look at: a folder is made by writing, not by looking."""
        return self.folder is None or self.folder.exists()

    @property
    def free_bytes(self) -> int | None:
        """What is left on the disk of the folder, None where there is no such end."""
        if self.folder is None:
            return None
        there = next(part for part in (self.folder, *self.folder.parents) if part.exists())
        return shutil.disk_usage(there).free

    def connect(self) -> LanceDBConnection:
        """Open it; a folder is made. Raises ConfigError when the environment lacks a variable that the URL names."""
        options = {**self.options, **{option: _secret(name) for option, name in self.secrets.items()}}
        for name, value in _DISK.items() if self.folder is not None else ():
            os.environ.setdefault(name, value)
        given: dict[str, Any] = {} if self.folder is not None else {"storage_options": options}
        session = lancedb.Session(metadata_cache_size_bytes=_METADATA_BYTES)
        database = lancedb.connect(self.uri, read_consistency_interval=timedelta(0), session=session, **given)
        assert isinstance(database, LanceDBConnection)
        return database


@dataclass(frozen=True, slots=True)
class _Product:
    """What an object store is told: options in the URL, and those whose values only the environment may hold.

    They have the engine's full names: by a shorter one, a variable of the environment would go before the URL.
    """

    plain: Mapping[str, str]
    secret: Mapping[str, str]
    usual: str


_PRODUCTS: Final = {
    "s3": _Product(
        {"endpoint": "aws_endpoint", "region": "aws_region", "timeout": "timeout"},
        {
            "access_key_env": "aws_access_key_id",
            "secret_key_env": "aws_secret_access_key",
            "session_token_env": "aws_session_token",
        },
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    "gs": _Product(
        {"service_account": "google_service_account", "timeout": "timeout"}, {}, "GOOGLE_APPLICATION_CREDENTIALS"
    ),
    "az": _Product(
        {"account": "azure_storage_account_name", "endpoint": "azure_storage_endpoint", "timeout": "timeout"},
        {"account_key_env": "azure_storage_account_key"},
        "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    ),
}


def _bucket(scheme: str, rest: str) -> Place:
    product = _PRODUCTS[scheme]
    path, _, query = rest.partition("?")
    path = path.rstrip("/")
    bucket = path.partition("/")[0]
    known = ", ".join((*product.plain, *product.secret))
    if not bucket or "@" in bucket:
        raise ConfigError(
            f"a {scheme}:// URL names a bucket and a prefix in it, and nothing secret",
            hint=f"for example {scheme}://bucket/prefix; credentials are read from {product.usual}",
        )
    try:
        given = dict(parse_qsl(query, strict_parsing=bool(query)))
    except ValueError as error:
        raise ConfigError(
            f"the options of {scheme}://{path} are not understood: {error}", hint=f"options: {known}"
        ) from None
    if unknown := given.keys() - {*product.plain, *product.secret}:
        raise ConfigError(
            f"unknown option {min(unknown)!r} of {scheme}://{path}",
            hint=f"options: {known}; credentials are read from {product.usual}, never from the URL",
        )
    options = {product.plain[name]: value for name, value in given.items() if name in product.plain}
    if given.get("endpoint", "").startswith("http://"):
        options["allow_http"] = "true"
    if "timeout" in options:
        options["timeout"] = f"{options['timeout'].removesuffix('s')}s"
    secrets = {product.secret[name]: value for name, value in given.items() if name in product.secret}
    return Place(f"{scheme}://{path}", f"{scheme}://{path}", None, options, secrets)


def _secret(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ConfigError(
            f"the environment variable {name}, which the store's URL names, is not set",
            hint="set it, or leave the option out: then the usual variables and roles are looked for",
        )
    return value
