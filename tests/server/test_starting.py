"""What ``regen serve`` loads before it answers: no clock, but the modules that take the time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import regen

SERVE = """
import json, sys
from pathlib import Path
import regen.cli.app, regen.server.listening, regen
from regen.config import load_settings
settings = load_settings(Path("regen.yaml")).server
with regen.open("regen.yaml") as index:
    app = regen.server.listening.create_app(index, settings)
    loaded = sorted(sys.modules)
    app.state.service.start()
    found = index.search("a text", 1, principals=[])
    assert found.hits[0].doc_id == "a"
    app.state.service.stop()
print(json.dumps(loaded))
"""
NOT_BEFORE_IT_IS_ASKED_FOR = {
    "scipy": "a rollout's intervals and evaluations",
    "ir_measures": "evaluations",
    "cryptography": "tokens of an issuer",
    "jwt": "tokens of an issuer",
    "lance_namespace_urllib3_client.api": "the cloud of LanceDB",
    "ray": "another engine",
    "torch": "other models",
    "pandas": "nothing of ours",
}
MOST = 1_280
"""Modules that are loaded when it begins to listen; each takes about a millisecond."""


def test_what_it_loads_before_it_answers(tmp_path: Path) -> None:
    """Neither statistics nor cryptography, nor a cloud's client: half of what starting once took."""
    (tmp_path / "regen.yaml").write_text(
        "version: 1\nalias: a\nsource: {kind: push}\nembedding: {model: hashing/16}\ntext: '{text}'\n"
    )
    with regen.open(tmp_path / "regen.yaml") as index:
        index.upsert([regen.Document("a", "a text")])
    ended = subprocess.run(
        [sys.executable, "-c", SERVE], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    loaded = json.loads(ended.stdout)
    assert "lancedb" not in loaded, "the first search loads it"
    assert "fastapi" in loaded
    assert [name for name in loaded if name in NOT_BEFORE_IT_IS_ASKED_FOR] == []
    assert len(loaded) < MOST


def test_a_package_that_was_put_off_is_whole_when_it_is_asked(tmp_path: Path) -> None:
    """Its parts can be imported before, and its own names are there as soon as somebody wants one."""
    package = tmp_path / "late_package"
    package.mkdir()
    (package / "__init__.py").write_text("from late_package.part import VALUE\nRAN = True\n")
    (package / "part.py").write_text("VALUE = 7\n")
    script = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from regen.stores.lancedb_lean import put_off
put_off("late_package")
put_off("no_such_package")
import late_package.part
assert late_package.part.VALUE == 7
assert "RAN" not in vars(late_package)
from late_package import RAN, VALUE
assert (RAN, VALUE) == (True, 7)
try:
    late_package.missing
except AttributeError as error:
    assert "missing" in str(error)
else:
    raise SystemExit("no error")
put_off("late_package")
assert late_package.RAN
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)


def test_lancedb_is_whole_without_the_checks_of_its_methods() -> None:
    """Its classes are what they are, and the package that checks them does so again for everybody else."""
    script = """
import importlib.util
from regen.stores.lancedb import LanceStore
if importlib.util.find_spec("overrides") is not None:
    import overrides
    try:
        class Child(overrides.EnforceOverrides):
            @overrides.override
            def nothing_of_that_name(self): ...
    except TypeError as error:
        assert "nothing_of_that_name" in str(error) or "match" in str(error).lower(), error
    else:
        raise SystemExit("not checked any more")
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)
