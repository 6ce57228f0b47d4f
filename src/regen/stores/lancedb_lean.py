"""LanceDB's import without the client of its cloud's namespaces: half of the time that importing it would take.

LanceDB imports the package ``lance_namespace_urllib3_client`` for the names of some of its models. That package's own
``__init__`` also makes the whole client, hundreds of checked calls, which an embedded store never needs. Here the
package stands in ``sys.modules`` with its parts importable and its ``__init__`` not run yet: it runs when somebody asks
the package for a name.
"""

from __future__ import annotations

import importlib.util
import sys
from threading import RLock
from types import ModuleType
from typing import Any, Final

CLIENT: Final = "lance_namespace_urllib3_client"
_RUNNING: Final = RLock()


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
