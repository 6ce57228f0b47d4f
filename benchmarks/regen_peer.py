"""regen behind the command line of the peers' scripts, so that one driver runs all of them alike.

    python -m benchmarks.regen_peer sync|dump|seq STATE CORPUS [model=a|b|c] [split=0|1]

With ``split=0`` a document is one chunk, as the other scripts have it; else regen's own chunks. A sync does what a user
would do: with another model it is ``apply`` and ``promote``.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.workload import PEERS, ListSource, documents

from regen.core.documents import UNRESTRICTED
from regen.core.recipe import Chunking
from regen.index import Index

CHUNK_TOKENS = 190
"""A paragraph of the long documents is one chunk, also with a sentence more; two never are."""


class Counted:
    """The driver's embedder, which counts what it is sent."""

    def __init__(self, inner: Any) -> None:
        self._inner, self.model_name = inner, f"trivial/{inner.model}"

    def embed_documents(self, texts: Sequence[str]) -> Any:
        """Vectors of shape (len(texts), dimensions)."""
        return self._inner.encode(list(texts))

    def embed_query(self, text: str) -> Any:
        """As a document."""
        return self._inner.encode([text])[0]


@dataclass
class Handle:
    """An open index and its source."""

    index: Index
    source: ListSource


def open_(state: str, opts: Mapping[str, str], emb: Any) -> Handle:
    """An index in a folder, as the peers are set up."""
    source = ListSource()
    split = opts.get("split", "0") == "1"
    others = [Counted(type(emb)(name)) for name in "abc" if name != emb.model]
    index = Index(
        embedder=Counted(emb),
        models={f"Counted/{one.model_name}": one for one in others},
        store="lancedb://vectors",
        catalog="sqlite:///catalog.db",
        source=source,
        chunking=Chunking("markdown", CHUNK_TOKENS) if split else Chunking("whole"),
        promote="auto",
        root=Path(state),
    )
    return Handle(index, source)


def sync(handle: Handle, docs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Bring the index in step: what one who runs it every night would call."""
    handle.source.documents = documents([dict(one) for one in docs])
    result = handle.index.apply()
    return {"notes": result.notes}


def dump(handle: Handle) -> list[list[str]]:
    """All that a search can return: [source, text, version]."""
    index = handle.index
    if index.status().live is None:
        return []
    vector = np.full(index.recipe.embedding.dimensions, 1.0, dtype=np.float32)
    found = index.search(vector, 1_000_000, space=index.recipe.space, principals=UNRESTRICTED)
    return [[hit.doc_id, hit.text, hit.metadata["version"]] for hit in found]


def close(handle: Handle) -> None:
    """Let go of it."""
    handle.index.close()


def main() -> None:
    """Run as the driver of the peers would."""
    sys.path.insert(0, str(PEERS))
    spec = importlib.util.spec_from_file_location("peer_main", PEERS / "peer_main.py")
    assert spec is not None
    assert spec.loader is not None
    driver = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(driver)
    driver.main(sys.modules[__name__])


if __name__ == "__main__":
    main()
