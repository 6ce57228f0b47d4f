"""LanceDB's import without the client of its cloud's namespaces, nor checks of its own methods: half of its time.

LanceDB imports the package ``lance_namespace_urllib3_client`` for the names of some of its models. That package's own
``__init__`` also makes the whole client, hundreds of checked calls, which an embedded store never needs. Here the
package stands in ``sys.modules`` with its parts importable and its ``__init__`` not run yet: it runs when somebody asks
the package for a name.

On Python 3.11 LanceDB lets the package ``overrides`` check of a hundred methods, by decompiling what surrounds each,
that they override another one; from 3.12 on it does not, and here neither.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from types import ModuleType
from typing import Any, Final, TypeVar

CLIENT: Final = "lance_namespace_urllib3_client"
_RUNNING: Final = RLock()
Method = TypeVar("Method")


class Unrun(ModuleType):
    """A package whose ``__init__`` runs at the first look at a name that it does not have yet."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        with _RUNNING:
            if self.__class__ is Unrun:
                # first: what __init__ imports looks at the package, too
                self.__class__ = ModuleType  # type: ignore[assignment]  # which Python allows for modules
                assert self.__spec__ is not None
                assert self.__spec__.loader is not None
                self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def put_off(package: str = CLIENT) -> None:
    """Let a package's ``__init__`` wait; nothing where it was imported already, or is not there."""
    if package in sys.modules:
        return
    spec = importlib.util.find_spec(package)
    if spec is None or spec.loader is None or spec.submodule_search_locations is None:
        return
    module = Unrun(package)
    module.__spec__, module.__loader__, module.__file__ = spec, spec.loader, spec.origin
    module.__path__ = list(spec.submodule_search_locations)
    module.__package__ = package
    sys.modules[package] = module


def load() -> None:
    """Import LanceDB."""
    put_off()
    with _without_checks():
        importlib.import_module("lancedb")


@contextmanager
def _without_checks() -> Iterator[None]:
    """While this is entered, ``override`` of the package ``overrides`` only marks what it decorates."""
    if sys.version_info >= (3, 12) or importlib.util.find_spec("overrides") is None:
        yield
        return
    overrides: Any = importlib.import_module("overrides")
    checks = overrides.override
    overrides.override = _mark
    try:
        yield
    finally:
        overrides.override = checks


def _mark(method: Method) -> Method:
    method.__override__ = True  # type: ignore[attr-defined]  # what the classes' metaclass looks for
    return method
