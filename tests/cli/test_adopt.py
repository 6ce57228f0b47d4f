"""Taking over a LanceDB table that something else has built, from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from regen.embedders.hashing import HashingEmbedder

if TYPE_CHECKING:
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


@pytest.fixture
def foreign(project: Project) -> Project:
    """A project whose store holds a table of another program: hashing/64's vectors, odd column names."""
    vectors = HashingEmbedder(64).embed_documents(list(TEXTS.values()))
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.asarray(vectors).ravel(), pa.float32()), 64)
    table = pa.table({"name": list(TEXTS), "text": list(TEXTS.values()), "vector": column, "lang": ["en"] * len(TEXTS)})
    lancedb.connect(str(project.root / "vectors")).create_table("old", table)
    (project.root / "regen.yaml").write_text(CONFIG)
    return project


def test_adopt(foreign: Project) -> None:
    """Columns that no name tells are asked for; then every row is searchable, and no text was embedded for it."""
    error = foreign.json("adopt", "old", code=1)["error"]
    assert "--id" in error["hint"]
    data = foreign.json("adopt", "old", "--id", "name")
    assert (data["generation"], data["documents"], data["embedded_texts"]) == (1, len(TEXTS), 0)
    assert data["agreement"] > 0.999
    hit = foreign.json("search", TEXTS["p7"], "-k", "1", "--where", "lang=en")["hits"][0]
    assert hit["doc_id"] == "p7"
    assert foreign.json("verify")["consistent"] is True
    assert "already" in foreign.json("adopt", "old", "--id", "name", code=1)["error"]["message"]


def test_what_was_taken_over_is_told(foreign: Project) -> None:
    """The text names the generation, its size and the comparison; metadata may be chosen."""
    text = foreign.run("adopt", "old", "--id", "name", "--text", "text", "--vector", "vector", "--metadata", "lang").out
    assert "✓ Generation 1 is live: 40 documents as 40 chunks" in text
    assert "cosine 1.0000" in text


def test_vectors_of_another_model_are_refused(foreign: Project) -> None:
    """Nothing is taken over when the vectors are not the model's."""
    (foreign.root / "regen.yaml").write_text(CONFIG.replace("hashing/64", "wordllama/l2-supercat-64"))
    assert foreign.json("adopt", "old", "--id", "name", code=1)["error"]["type"] == "ForeignVectors"
    assert foreign.json("status")["live"] is None
