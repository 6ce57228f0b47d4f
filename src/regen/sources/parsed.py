"""Docstrings found by parsing a module's file, without importing it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from regen.sources.docstring import Docstring

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_Documented: TypeAlias = ast.ClassDef | _Function


def parsed_docstrings(module: str, file: Path, library: Path) -> Iterator[Docstring]:
    """The public docstrings of one file, in its order, then those it takes over from private modules of ``library``.

    Raises SyntaxError, ValueError or OSError.
    """
    tree = _parse(file)
    if doc := ast.get_docstring(tree):
        yield Docstring(module, "module", "", doc)
    yield from _module_docstrings(tree, module, None)
    for node in _statements(tree.body):
        if isinstance(node, ast.ImportFrom) and (private := _private_file(node, file, library)):
            names = {alias.name for alias in node.names}
            yield from _module_docstrings(_parse(private), module, None if "*" in names else names)


def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes(), filename=file.name)


def _private_file(node: ast.ImportFrom, file: Path, library: Path) -> Path | None:
    """The file of the private module that is imported from, None when it is public or compiled."""
    if not node.module or not node.module.rpartition(".")[2].startswith("_") or node.level > 1:
        return None
    found = (file.parent if node.level else library).joinpath(*node.module.split(".")).with_suffix(".py")
    return found if found.is_file() and not found.name.startswith("__") else None


def _module_docstrings(tree: ast.Module, module: str, names: set[str] | None) -> Iterator[Docstring]:
    definitions = [node for node in _statements(tree.body) if isinstance(node, _Documented)]
    private = {node.name: node for node in definitions if isinstance(node, ast.ClassDef) and node.name.startswith("_")}
    for node in definitions:
        if names is None or node.name in names:
            yield from _docstrings(node, module, private, in_class=False)


def _docstrings(
    node: _Documented, owner: str, private: Mapping[str, ast.ClassDef], *, in_class: bool
) -> Iterator[Docstring]:
    if node.name.startswith("_"):
        return
    name, doc = f"{owner}.{node.name}", ast.get_docstring(node)
    if not isinstance(node, ast.ClassDef):
        if doc:
            yield Docstring(name, "method" if in_class else "function", _signature(node, bound=in_class), doc)
        return
    if doc:
        yield Docstring(name, "class", _class_signature(node), doc)
    for cls in _with_private_bases(node, private):
        for member in _statements(cls.body):
            if isinstance(member, _Documented):
                yield from _docstrings(member, name, private, in_class=True)


def _with_private_bases(node: ast.ClassDef, private: Mapping[str, ast.ClassDef]) -> Iterator[ast.ClassDef]:
    """The class, and the private classes of its module that it inherits from: their methods are public as its own."""
    yield node
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in private and private[base.id] is not node:
            yield from _with_private_bases(private[base.id], private)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a body, those under ``if``, ``try`` and ``with`` included."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            yield from _statements([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            handlers = [statement for handler in node.handlers for statement in handler.body]
            yield from _statements([*node.body, *handlers, *node.orelse, *node.finalbody])
        elif isinstance(node, ast.With):
            yield from _statements(node.body)


def _class_signature(node: ast.ClassDef) -> str:
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            return f"{node.name}({_arguments(member, bound=True)})"
    return ""


def _signature(node: _Function, *, bound: bool) -> str:
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    if not decorators.isdisjoint({"property", "cached_property", "functools.cached_property"}):
        return ""
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({_arguments(node, bound=bound and 'staticmethod' not in decorators)}){returns}"


def _arguments(node: _Function, *, bound: bool) -> str:
    """The arguments as a caller sees them: without ``self`` or ``cls``."""
    arguments = ast.unparse(node.args)
    if not bound or not (node.args.posonlyargs or node.args.args):
        return arguments
    _, _, rest = arguments.partition(",")
    return rest.removeprefix(" /,").removeprefix(" /").strip()
