"""Schema migrations with Alembic. A fresh catalog is built by the same migrations as an old one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from regen.catalog.database import translated, unreachable
from regen.catalog.schema import SCHEMA_VERSION
from regen.errors import CatalogError, SchemaMismatch

SCRIPTS: Final = Path(__file__).parent / "migrations"


def migrate(engine: Engine, prepare: Callable[[Connection], None] | None = None) -> None:
    """Bring the catalog to this version's schema. Raises SchemaMismatch when it was written by a newer regen.

    ``prepare`` is called first in the transaction that migrates: it lets one process in at a time.
    """
    try:
        with engine.connect() as connection:
            version = current_version(connection)
        if version == SCHEMA_VERSION:
            return
        with engine.execution_options(regen_write=True).begin() as connection:
            if prepare is not None:
                prepare(connection)
            version = current_version(connection)
            if version != SCHEMA_VERSION:  # another process may have been quicker
                _upgrade(connection, version)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise unreachable(error.orig) from error
        raise CatalogError(
            f"the catalog cannot be opened: {error.orig}",
            hint="check the path, its permissions, the free disk space, and that the file is a catalog",
        ) from error


def verify(engine: Engine) -> None:
    """Check that the catalog is of this version's schema, and change nothing. Raises SchemaMismatch."""
    with translated(), engine.connect() as connection:
        version = current_version(connection)
    if version != SCHEMA_VERSION:
        found = "there is no catalog" if version is None else f"the catalog has schema {version}"
        raise SchemaMismatch(
            f"{found}, and this version of regen needs schema {SCHEMA_VERSION}",
            hint="a service only checks the schema; run `regen status` once, as a user who may change it",
        )


def current_version(connection: Connection) -> str | None:
    """The schema version of a catalog, None for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection, version: str | None) -> None:
    # Alembic costs a tenth of a second to import: only who migrates pays.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["connection"] = connection
    revisions = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in revisions:
        raise SchemaMismatch(
            f"the catalog has schema {version}, which this version of regen (schema {SCHEMA_VERSION}) does not know",
            hint="it was written by a newer regen: upgrade regen",
        )
    command.upgrade(config, "head")
