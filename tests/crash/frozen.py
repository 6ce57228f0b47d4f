"""A process that can be stopped in the middle of a transaction of the catalog's, and what it does when it goes on."""

from __future__ import annotations

import sys

from regen.catalog.leases import require
from regen.catalog.postgres import open_catalog
from regen.testing.catalog_cases import lease, log, numbered


def main() -> None:
    """Log a document, telling when the first attempt is within its transaction; say how often it was begun."""
    catalog = open_catalog(sys.argv[1], migrating=False)
    held, began, hold = lease(catalog, "host:1:frozen"), 0, catalog.hold

    def stand(connection: object, counter: str) -> None:
        nonlocal began
        began += 1
        hold(connection, counter)  # type: ignore[arg-type]  # as it was given
        if began == 1:
            require(connection, held)  # type: ignore[arg-type]  # as it was given
            print("within", flush=True)
            sys.stdin.readline()

    catalog.hold = stand  # type: ignore[method-assign]  # the moment in which others wait for this process
    log(catalog, *numbered(1, first=7))
    print(began, flush=True)
    catalog.close()


if __name__ == "__main__":
    main()
