"""A process that is killed while a generation is filled and served: the next one goes on, on a store of files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.serving.filling import CHUNKING, QUERIES, documents, plain

from regen import UNRESTRICTED, Index
from regen.embedders.hashing import HashingEmbedder
from regen.engine.settings import Limits, Migration, Strategy

MODELS = {f"hashing/{size}": HashingEmbedder(size) for size in (64, 256)}
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.serving.test_killed import QUERIES, UNRESTRICTED, opened

batches = 0

def report(progress):
    global batches
    batches += progress.stage == "index" and progress.done > 0
    if batches == 3:
        os.kill(os.getpid(), signal.SIGKILL)

index = opened(Path(sys.argv[1]), 256, sys.argv[2])
index.apply(progress=report)
for query in QUERIES:
    index.search(query, principals=UNRESTRICTED)
index._on_read.settle(20)
os.kill(os.getpid(), signal.SIGKILL)
"""


def opened(root: Path, size: int, strategy: Strategy = "auto") -> Index:
    """The index, asked for a model, a few documents a batch."""
    return Index(
        embedder=MODELS[f"hashing/{size}"], models=MODELS, store="lancedb://vectors", catalog="sqlite:///catalog.db",
        root=root, chunking=CHUNKING, limits=Limits(batch_documents=8), migration=Migration(strategy),
    )  # fmt: skip


@pytest.mark.parametrize("strategy", ["rolling", "on_read"])
def test_the_next_process_goes_on(tmp_path: Path, strategy: Strategy) -> None:
    """It serves what is there, merged, and finishes: the list is then the new generation's, with nothing lost."""
    with opened(tmp_path, 64) as index:
        index.upsert(documents(60))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), strategy], cwd=Path(__file__).parents[2], timeout=120,
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert killed.returncode == -9, killed.stderr
    with opened(tmp_path, 256, strategy) as index:
        rollout = index.rollout()
        assert rollout is not None
        assert (rollout.kind, rollout.candidate) == (strategy, 2)
        held = index._catalog.counts(2).documents
        assert 0 < held < 60
        found = [index.search(query, 20, principals=UNRESTRICTED) for query in QUERIES]
        assert {hit.generation for result in found for hit in result} == {1, 2}
        index.apply()
        assert index._catalog.counts(2).documents == 60
        for query in QUERIES:
            alone = index.search(query, 20, principals=UNRESTRICTED, generation=2)
            assert plain(index.search(query, 20, principals=UNRESTRICTED)) == plain(alone)
        assert index.verify().consistent
    assert len(list((tmp_path / "vectors").glob("*.lance"))) == 2
