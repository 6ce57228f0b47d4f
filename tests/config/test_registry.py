"""Names to adapters: found, not found, and python:module:Name."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest

from regen import registry
from regen.errors import ConfigError, MissingExtra

MODULE = '''
from regen.ports import ScanBatch

class Plain:
    """A whole source."""
    name, full = "plain", True
    def __init__(self, size: int = 1) -> None:
        self.size = size
    def scan(self, known):
        yield ScanBatch()

class FromSettings(Plain):
    @classmethod
    def from_settings(cls, settings, root):
        made = cls(settings["size"])
        made.root = root
        return made

def factory(size: int = 7):
    return Plain(size)

instance = Plain(9)

class Nothing:
    """No source, store or catalog at all."""
'''


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A project folder with a module of its own."""
    (tmp_path / "regen_test_module.py").write_text(MODULE)
    yield tmp_path
    sys.modules.pop("regen_test_module", None)


@pytest.mark.parametrize(("name", "size"), [("Plain", 3), ("FromSettings", 3), ("factory", 3)])
def test_python_classes_and_factories(root: Path, name: str, size: int) -> None:
    """A class or a factory gets the free keys of its block."""
    source = registry.make_source({"kind": f"python:regen_test_module:{name}", "size": 3}, root)
    assert source.name == "plain"
    assert source.size == size  # type: ignore[attr-defined]
    assert str(root) not in sys.path


def test_python_instance(root: Path) -> None:
    """An instance is taken as it is, and takes no options."""
    assert registry.make_source({"kind": "python:regen_test_module:instance"}, root).size == 9  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="is an instance and takes no options: size"):
        registry.make_source({"kind": "python:regen_test_module:instance", "size": 3}, root)


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("python:regen_test_module:Plan", "has no 'Plan'", "did you mean 'Plain'? it offers: FromSettings"),
        ("python:regen_test_modul:Plain", "there is no module 'regen_test_modul'", "looked in"),
        ("python:regen_test_module", "not of the form python:module:Name", "for example"),
        ("python:regen_test_module:Nothing", "is no source: it lacks full, name, scan", "regen.ports.Source"),
        ("python:regen_test_broken:X", "failed: SyntaxError", "python -c"),
        ("python:regen_test_needy:X", "No module named 'not_there_at_all'", "install what provides 'not_there_at_all'"),
    ],
)  # fmt: skip
def test_python_names_that_do_not_work(root: Path, name: str, message: str, hint: str) -> None:
    """The error names what was looked for and what the module offers."""
    (root / "regen_test_broken.py").write_text("def :")
    (root / "regen_test_needy.py").write_text("import not_there_at_all")
    with pytest.raises(ConfigError) as caught:
        registry.make_source({"kind": name}, root)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_wrong_options_are_told_with_the_valid_ones(root: Path) -> None:
    """A key that a class does not take is an error before anything is made."""
    with pytest.raises(ConfigError, match="unexpected keyword argument 'colour'") as caught:
        registry.make_source({"kind": "python:regen_test_module:Plain", "colour": 3}, root)
    assert caught.value.hint == "its options: size"


def test_a_namesake_of_another_project_is_refused(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Python keeps one module of a name: a second project's would silently be the first one's."""
    registry.make_source({"kind": "python:regen_test_module:Plain"}, root)
    other = tmp_path_factory.mktemp("other")
    (other / "regen_test_module.py").write_text(MODULE)
    with pytest.raises(ConfigError, match="already loaded from"):
        registry.make_source({"kind": "python:regen_test_module:Plain"}, other)


@pytest.mark.parametrize(
    ("make", "message", "hint"),
    [
        (lambda: registry.make_source({"kind": "fils"}, "."), "unknown source 'fils'", "did you mean files?"),
        (lambda: registry.make_source({}, "."), "source.kind is None", "docstrings, files, jsonl, push"),
        (lambda: registry.make_embedder("wordlama/x"), "unknown embedding model 'wordlama/x'", "mean wordllama/…?"),
        (lambda: registry.make_store("lance://x", "."), "unknown store 'lance://x'", "did you mean lancedb://…?"),
        (lambda: registry.make_store("vectors", "."), "'vectors' is not a URL", "lancedb://…, memory://…"),
        (lambda: registry.make_catalog("sqlit:///x", "."), "unknown catalog 'sqlit:///x'", "did you mean sqlite://…?"),
        (lambda: registry.make_catalog("zzz://x", "."), "unknown catalog", "valid: postgresql://…, sqlite://…"),
    ],
)  # fmt: skip
def test_unknown_names(make: object, message: str, hint: str) -> None:
    """An unknown name is told with the valid ones and the closest."""
    with pytest.raises(ConfigError) as caught:
        make()  # type: ignore[operator]
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_every_target_in_the_tables_exists() -> None:
    """A name in a table that leads nowhere would only be noticed by a user. Vendors need not be installed for that."""
    kinds = (
        registry.SOURCES, registry.EMBEDDERS, registry.STORES, registry.CATALOGS, registry.JUDGES, registry.WRITERS
    )  # fmt: skip
    adapters = [adapter for kind in kinds for adapter in kind.adapters.values()]
    own = [value for value in vars(registry).values() if isinstance(value, registry.Adapter)]
    for adapter in [*adapters, *own]:
        module, _, attribute = adapter.target.partition(":")
        spec = importlib.util.find_spec(module)
        assert spec is not None, adapter.target
        assert spec.origin is not None
        body = ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body
        assert attribute in {item.name for item in body if isinstance(item, ast.FunctionDef | ast.ClassDef)}


def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """An adapter whose vendor is not installed says what to install."""
    (root / "regen_test_vendor.py").write_text("import not_there_at_all")
    monkeypatch.syspath_prepend(str(root))
    with pytest.raises(MissingExtra) as caught:
        registry._load(registry.Adapter("regen_test_vendor:X", extra="pgvector"))
    assert caught.value.hint == "pip install 'regen[pgvector]'"


def test_installed_entry_points_are_found(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """Another package's adapter is found by its name, listed among the valid ones, and told when it is broken."""
    monkeypatch.syspath_prepend(str(root))
    points = [
        EntryPoint("good", "regen_test_module:FromSettings", "regen.sources"),
        EntryPoint("broken", "regen_test_module:Gone", "regen.sources"),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "regen.sources" else [])
    assert registry.make_source({"kind": "good", "size": 4}, root).size == 4  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"'broken' .* cannot be loaded"):
        registry.make_source({"kind": "broken"}, root)
    with pytest.raises(ConfigError) as caught:
        registry.make_source({"kind": "goood"}, root)
    assert "did you mean good?" in (caught.value.hint or "")


def test_builtin_adapters_are_made(tmp_path: Path) -> None:
    """Each kind's simplest adapter is made from its name."""
    assert registry.make_source({"kind": "push"}, tmp_path).full is False
    assert registry.make_embedder("hashing/32").info.dimensions == 32
    assert registry.make_store("memory://", tmp_path).collections() == []


def test_objects_are_adapted_as_embedders() -> None:
    """Any object with the two LangChain methods is an embedder."""
    plain = SimpleNamespace(
        embed_documents=lambda texts: [[1.0, 2.0] for _ in texts], embed_query=lambda text: [1.0, 2.0]
    )
    embedder = registry.make_embedder(plain, name="plain")
    assert embedder.info.dimensions == 2
    assert embedder.embed_documents(["a", "b"]).shape == (2, 2)
