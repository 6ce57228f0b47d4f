"""Taking over a LanceDB table that something else has built, from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lancedb
import numpy as np
import pyarrow as pa
import pytest
import yaml

from regen.embedders.hashing import HashingEmbedder

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Project

TEXTS = {f"p{number}": f"Page {number} tells of subject {number}, and of its history." for number in range(40)}
CONFIG = """\
version: 1
alias: taken
source: {kind: push}
chunking: {kind: whole}
embedding: {model: hashing/64}
store: {url: "lancedb://vectors"}
"""
STORE = "lancedb://vectors"


def write_table(folder: Path, name: str, key: str = "name") -> None:
    """A table of another program: hashing/64's vectors, perhaps under odd column names."""
    vectors = HashingEmbedder(64).embed_documents(list(TEXTS.values()))
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.asarray(vectors).ravel(), pa.float32()), 64)
    table = pa.table({key: list(TEXTS), "text": list(TEXTS.values()), "vector": column, "lang": ["en"] * len(TEXTS)})
    lancedb.connect(str(folder)).create_table(name, table)


@pytest.fixture
def foreign(project: Project) -> Project:
    """A project whose store holds a table of another program."""
    write_table(project.root / "vectors", "old")
    (project.root / "regen.yaml").write_text(CONFIG)
    return project


@pytest.fixture
def bare(project: Project) -> Project:
    """A folder with no regen.yaml, beside a table of another program."""
    write_table(project.root / "theirs", "pages", key="id")
    (project.root / "regen.yaml").unlink(missing_ok=True)
    return project


def test_adopt(foreign: Project) -> None:
    """Columns that no name tells are asked for; then every row is searchable, and no text was embedded for it."""
    error = foreign.json("adopt", STORE, code=1)["error"]
    assert "--id" in error["hint"]
    data = foreign.json("adopt", STORE, "--id", "name")
    assert (data["generation"], data["documents"], data["embedded_texts"]) == (1, len(TEXTS), 0)
    assert (data["collection"], data["store"]) == ("old", STORE)
    assert data["agreement"] > 0.999
    hit = foreign.json("search", TEXTS["p7"], "-k", "1", "--where", "lang=en")["hits"][0]
    assert hit["doc_id"] == "p7"
    assert foreign.json("verify")["consistent"] is True
    assert "already" in foreign.json("adopt", STORE, "--id", "name", code=1)["error"]["message"]


def test_what_was_taken_over_is_told(foreign: Project) -> None:
    """The text names the generation, its size, where it is from and the comparison; metadata may be chosen."""
    text = foreign.run("adopt", STORE, "--id", "name", "--text", "text", "--vector", "vector", "--metadata", "lang").out
    assert "✓ Generation 1 is live: 40 documents as 40 chunks" in text
    assert "old in lancedb://vectors; it was only read" in text
    assert "cosine 1.0000" in text
    assert "wrote" not in text


def test_vectors_of_another_model_are_refused(foreign: Project) -> None:
    """Nothing is taken over when the vectors are not the model's; the user's own regen.yaml stays as it is."""
    other = CONFIG.replace("hashing/64", "wordllama/l2-supercat-64")
    (foreign.root / "regen.yaml").write_text(other)
    assert foreign.json("adopt", STORE, "--id", "name", code=1)["error"]["type"] == "ForeignVectors"
    assert foreign.json("status")["live"] is None
    assert (foreign.root / "regen.yaml").read_text() == other


def test_another_store_than_the_configured_one(foreign: Project) -> None:
    """A collection elsewhere is read there and written into the index's own store."""
    write_table(foreign.root / "elsewhere", "pages", key="id")
    data = foreign.json("adopt", "lancedb://elsewhere", "--model", "hashing/64")
    assert (data["collection"], data["documents"], data["embedded_texts"]) == ("pages", len(TEXTS), 0)
    assert lancedb.connect(str(foreign.root / "elsewhere")).list_tables().tables == ["pages"]
    assert foreign.json("search", TEXTS["p9"], "-k", "1")["hits"][0]["doc_id"] == "p9"


def test_which_collection(foreign: Project) -> None:
    """Of several collections one must be named, and the error names them; one that is not there is told so."""
    write_table(foreign.root / "vectors", "new", key="id")
    error = foreign.json("adopt", STORE, code=1)["error"]
    assert "holds 2 collections" in error["message"]
    assert error["hint"] == "name one, --collection: new, old"
    error = foreign.json("adopt", STORE, "--collection", "ghost", code=1)["error"]
    assert (error["type"], error["hint"]) == ("CollectionMissing", "there are: new, old")
    assert foreign.json("adopt", STORE, "--collection", "new")["collection"] == "new"


def test_model_and_configuration_must_agree(foreign: Project) -> None:
    """``--model`` may repeat what regen.yaml says, not contradict it."""
    error = foreign.json("adopt", STORE, "--model", "hashing/128", code=1)["error"]
    assert "says model 'hashing/64', --model says 'hashing/128'" in error["message"]
    assert foreign.json("adopt", STORE, "--model", "hashing/64", "--id", "name")["generation"] == 1


def test_without_a_configuration_one_is_written(bare: Project) -> None:
    """A collection and the name of its model are enough; the project that is written goes on with it."""
    assert "--model" in bare.json("adopt", "lancedb://theirs", code=2)["error"]["hint"]
    assert not (bare.root / "regen.yaml").exists()
    data = bare.json("adopt", "lancedb://theirs", "--model", "hashing/64")
    assert data["embedded_texts"] == 0
    written = yaml.safe_load((bare.root / "regen.yaml").read_text())
    assert (written["source"], written["text"], written["chunking"]["kind"]) == ({"kind": "push"}, "{text}", "whole")
    assert (written["embedding"]["model"], written["store"]["url"]) == ("hashing/64", "lancedb://.regen/vectors")
    assert bare.json("search", TEXTS["p9"], "-k", "1")["hits"][0]["doc_id"] == "p9"
    assert bare.json("doctor")["healthy"] is True
    assert bare.json("plan")["steps"] == []


@pytest.mark.parametrize("model", ["wordllama/l2-supercat-64", "hashing/none", "nobody/knows"])
def test_a_refusal_leaves_no_configuration(bare: Project, model: str) -> None:
    """A regen.yaml written for vectors that are refused is taken away again, so that another model may be said."""
    bare.json("adopt", "lancedb://theirs", "--model", model, code=1)
    assert not (bare.root / "regen.yaml").exists()
    assert bare.json("adopt", "lancedb://theirs", "--model", "hashing/64")["generation"] == 1


def test_a_store_that_is_not_there(bare: Project) -> None:
    """A path of another machine, or a typing error, makes no folder and says where paths start."""
    for url in ("lancedb://ghost", "lancedb:///home/ann/of/another/machine"):
        error = bare.json("adopt", url, "--model", "hashing/64", code=1)["error"]
        assert f"no collection in {url}" in error["message"]
        assert "another machine" in error["hint"]
    assert not (bare.root / "ghost").exists()
    assert "every store" in bare.json("adopt", "memory://x", "--model", "hashing/64", code=1)["error"]["hint"]
    assert "not a URL" in bare.json("adopt", "old", "--model", "hashing/64", code=1)["error"]["message"]
