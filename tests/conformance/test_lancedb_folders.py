"""Where a LanceDB store's folder is not, or is not as it should be: nothing is made by looking, and errors teach."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from regen.errors import CollectionMissing, StoreError
from regen.ports import CollectionSpec, ForeignColumns
from regen.stores.lancedb import LanceStore
from regen.testing.store_cases import make_collection, make_points

_AS_NOBODY = """
import os, pathlib, sys
from regen.errors import StoreError
from regen.ports import CollectionSpec
from regen.stores.lancedb import LanceStore
LanceStore(pathlib.Path(sys.argv[1])).count("g1")  # what is loaded by its first use may lie where only root may look
os.setuid(65534)
store = LanceStore(pathlib.Path(sys.argv[1]))
print(store.collections(), store.count("g1"))
try:
    store.create("g2", CollectionSpec(4))
except StoreError as error:
    print(error)
"""


def test_looking_makes_no_folder(tmp_path: Path) -> None:
    """A folder that is not there holds nothing, has nothing to drop, and is not made by asking."""
    store = LanceStore(tmp_path / "gone")
    assert store.collections() == []
    store.drop("g1")
    with pytest.raises(CollectionMissing, match=r"'g1' in lancedb://.*gone: there is no such folder(.|\n)*mounted"):
        store.count("g1")
    with pytest.raises(CollectionMissing, match="'g1'"):
        list(store.foreign("g1", ForeignColumns()))
    assert not (tmp_path / "gone").exists()
    store.create("g1", CollectionSpec(4))
    assert store.collections() == ["g1"]


def test_a_folder_that_goes_and_comes_back(tmp_path: Path) -> None:
    """While a disk is not mounted collections are missing; when it is back the same object reads them."""
    store = LanceStore(tmp_path / "disk")
    make_collection(store, make_points(["a", "b"]))
    (tmp_path / "disk").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        store.count("g1")
    (tmp_path / "elsewhere").rename(tmp_path / "disk")
    assert store.count("g1") == 2


@pytest.mark.parametrize("kind", ["file", "below a file", "dangling link"])
def test_something_else_lies_there(tmp_path: Path, kind: str) -> None:
    """A file or a link to nowhere where the folder should be is named when something is written."""
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "link").symlink_to("/nowhere/of/another/machine")
    folder = tmp_path / {"file": "file", "below a file": "file/below", "dangling link": "link"}[kind]
    with pytest.raises(StoreError, match=r"is no folder(.|\n)*another machine's"):
        LanceStore(folder).create("g1", CollectionSpec(4))


def test_a_link_to_a_folder_is_that_folder(tmp_path: Path) -> None:
    """Through a symbolic link the same collections are read and written."""
    make_collection(LanceStore(tmp_path / "real"), make_points(["a"]))
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    linked = LanceStore(tmp_path / "link")
    assert linked.count("g1") == 1
    linked.upsert("g1", make_points(["b"]))
    assert LanceStore(tmp_path / "real").count("g1") == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not write here")
def test_a_read_only_folder_is_read(tmp_path: Path) -> None:
    """Where we may not write, reading works, and writing says which folder must be writable."""
    make_collection(LanceStore(tmp_path / "vectors"), make_points(["a"]))
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    told = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, str(tmp_path / "vectors")], capture_output=True, text=True, check=False
    )
    assert told.stdout.startswith("['g1'] 1\n"), told.stderr
    assert "cannot be written (collection 'g2')" in told.stdout
    assert "the folder of store.url must be writable" in told.stdout
