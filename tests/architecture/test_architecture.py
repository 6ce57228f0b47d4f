"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import regen
from regen import registry
from regen.errors import ConfigError

ROOT = Path(regen.__file__).parent
HEAVY = {
    "alembic", "anyio", "ir_measures", "jinja2", "lancedb", "numpy", "pandas", "pyarrow", "pydantic", "rich", "scipy",
    "sqlalchemy", "stamina", "typer", "watchfiles", "wordllama", "yaml",
}  # fmt: skip
EMPTY_NAMES = {"base", "common", "helpers", "misc", "utilities", "utils"}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package with its file."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def loaded_by(statement: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import regen", "import regen.errors", "import regen.cli"])
def test_importing_is_light(statement: str) -> None:
    """Nothing heavy is loaded before it is used: the import stays a matter of milliseconds."""
    found = loaded_by(statement)
    assert "regen" in found
    allowed = {"typer", "rich", "anyio"} if "cli" in statement else set()
    assert found & (HEAVY - allowed) == set()


def test_a_store_is_loaded_only_when_it_is_named() -> None:
    """An index in memory never loads LanceDB or a real model."""
    found = loaded_by("import regen; regen.Index(embedder='hashing/8', store='memory://', catalog='sqlite://')")
    assert "sqlalchemy" in found
    assert found & {"lancedb", "wordllama", "watchfiles", "pydantic"} == set()


def test_a_store_is_loaded_only_when_it_is_asked(tmp_path: Path) -> None:
    """Who looks at the catalog alone waits for no store's library; who searches gets it."""
    given = f"embedder='hashing/8', root={str(tmp_path)!r}"
    found = loaded_by(f"import regen; regen.Index({given}).status()")
    assert found & {"lancedb", "pyarrow", "pandas", "wordllama"} == set()
    assert "lancedb" in loaded_by(f"import regen; regen.Index({given}).upsert([regen.Document('a', 'text')])")


def test_the_public_names_resolve() -> None:
    """Every name of ``regen.__all__`` is there, is listed in the module's own dir, and unknown ones say so."""
    for name in regen.__all__:
        assert getattr(regen, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Indx'"):
        regen.Indx  # noqa: B018
    assert set(regen.__all__) == set(regen._HOMES)


def test_every_module_can_be_imported_alone() -> None:
    """No import depends on another one having come first; those of absent vendors say which."""
    names = [name for name, path in modules() if "migrations" not in path.parts]
    assert len(names) > 60
    missing = {name: lacking for name in names if (lacking := lacking_for(name)) is not None}
    assert {name for name, lacking in missing.items() if lacking.startswith("regen")} == set()


def lacking_for(name: str) -> str | None:
    """The package that importing a module fails for, None when it can be imported."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        return error.name or name
    return None


def test_the_dependency_rule_holds() -> None:
    """The contracts of pyproject.toml are kept: edges, shell, ports, core, adapters that do not know each other."""
    linter = Path(sys.executable).parent / "lint-imports"
    if not linter.exists():
        pytest.skip("import-linter is not installed (pip install -e '.[dev]')")
    done = subprocess.run(
        [str(linter), "--no-cache"], cwd=ROOT.parents[1], env={"PYTHONPATH": str(ROOT.parent), "PATH": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_no_module_is_named_for_nothing() -> None:
    """A name says what is inside; these say nothing."""
    assert [name for name, _ in modules() if name.rpartition(".")[2] in EMPTY_NAMES] == []


def test_every_module_says_what_it_is() -> None:
    """The first statement of each module is its docstring."""
    assert [name for name, path in modules() if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_functions_and_modules_stay_readable() -> None:
    """No function has more than sixty lines, docstring included, and no module more than five hundred."""
    sources = {name: path.read_text() for name, path in modules() if "migrations" not in path.parts}
    functions = {
        f"{name}.{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for name, source in sources.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
    }
    assert [name for name, lines in functions.items() if lines > 60] == []
    assert [name for name, source in sources.items() if len(source.splitlines()) > 500] == []


@pytest.mark.parametrize(
    "kind", [registry.SOURCES, registry.EMBEDDERS, registry.STORES, registry.CATALOGS, registry.RERANKERS]
)
def test_every_name_of_the_registry_leads_somewhere(kind: registry.Kind) -> None:
    """The strings by which adapters are known name modules and classes that exist, or an extra that brings them."""
    for adapter in kind.adapters.values():
        if adapter.extra is None:
            assert callable(registry._load(adapter))
        else:
            told = what_loading_says(adapter)
            assert told is None or f"pip install 'regen[{adapter.extra}]'" in told


def what_loading_says(adapter: registry.Adapter) -> str | None:
    """The error that loading an adapter gives, None when it loads."""
    try:
        registry._load(adapter)
    except ConfigError as error:
        return str(error)
    return None


def test_no_path_of_a_machine_and_no_secret_is_in_the_code() -> None:
    """What is written here runs elsewhere."""
    texts = {name: path.read_text() for name, path in modules()}
    for mark in ("/home/", "/root/", "/Users/", "C:\\\\Users"):
        assert [name for name, text in texts.items() if mark in text] == []
