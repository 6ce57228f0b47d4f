"""Docstrings of what is written in C, for which there is no file to parse: found by importing a few known modules."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

from regen.sources.docstring import Docstring, Kind

# Each is safe to import: no output, no window, no network, no deprecation warning. Some have a file too, but take much
# of what they offer from C (os.listdir, struct.pack, collections.deque).
IMPORTED: Final = frozenset(
    """
    array atexit binascii bisect builtins cmath collections contextvars csv datetime decimal errno fcntl functools gc
    hashlib heapq io itertools marshal math mmap operator os pickle queue random re select signal socket sqlite3
    ssl string struct sys threading time types unicodedata weakref zlib
    """.split()  # noqa: SIM905 (a paragraph of names reads better than a column)
)
_BOUND: Final = re.compile(r"^\(\$\w+(?:, )?(?:/(?:, )?)?")


def compiled_docstrings(module: str) -> Iterator[Docstring]:
    """The public docstrings of one module's compiled parts, by name; none when this Python lacks the module."""
    try:
        loaded = importlib.import_module(module)
    except ImportError:  # a Python may be built without it
        return
    yield from _docstring(module, "module", loaded)
    for name, value in sorted(vars(loaded).items()):
        if not name.startswith("_") and _is_own(value, loaded):
            if isinstance(value, type):
                yield from _docstring(f"{module}.{name}", "class", value)
                yield from _methods(f"{module}.{name}", value)
            else:
                yield from _docstring(f"{module}.{name}", "function", value)


def _is_own(value: Any, module: ModuleType) -> bool:
    """Whether it is a class or C function that this module offers as its own, and not one imported from elsewhere."""
    if not isinstance(value, type) and not inspect.isbuiltin(value):
        return False
    home = getattr(value, "__module__", None) or module.__name__
    return home == module.__name__ or home.startswith("_") or home in {"posix", "nt"}


def _methods(owner: str, cls: type) -> Iterator[Docstring]:
    """The methods of a class, those included that it has from a private base (socket.socket from _socket.socket)."""
    own = [base for base in cls.__mro__ if base is cls or base.__module__.startswith("_")]
    for name in sorted({name for base in own for name, value in vars(base).items() if inspect.isroutine(value)}):
        if not name.startswith("_"):
            yield from _docstring(f"{owner}.{name}", "method", getattr(cls, name))


def _docstring(name: str, kind: Kind, value: object) -> Iterator[Docstring]:
    if isinstance(doc := getattr(value, "__doc__", None), str):
        yield Docstring(name, kind, "" if kind == "module" else _signature(name, value), inspect.cleandoc(doc))


def _signature(name: str, value: object) -> str:
    # What C code says of its arguments, as it stands: inspect.signature evaluates the defaults, which can fail.
    arguments = getattr(value, "__text_signature__", None)
    return name.rpartition(".")[2] + _BOUND.sub("(", arguments) if isinstance(arguments, str) else ""
