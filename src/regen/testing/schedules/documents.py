"""The documents of all schedules: few, in numbered versions that share texts with each other."""

from __future__ import annotations

import random
from functools import cache
from typing import Final

from regen.core.chunking import make_chunker
from regen.core.documents import Document
from regen.core.recipe import Chunking
from regen.embedders.hashing import HashingEmbedder

PUSHED: Final = ("p0", "p1", "p2", "p3")
SOURCED: Final = ("s0", "s1", "s2")
VERSIONS: Final = 7
DIMENSIONS: Final = 16
SMALL, LARGE = Chunking("sentences", 12), Chunking("sentences", 28)
RECIPES: Final = {"A": (0, SMALL), "B": (7, SMALL), "C": (7, LARGE)}
"""By name: the seed of its model, and its chunking. A to B embeds everything, B to C what is new in larger chunks."""
_ACCESS: Final = {2: ("ann",), 4: (), 5: ("ann", "bob")}
_WORDS: Final = ("river", "stone", "cloud", "garden", "window", "market", "teacher", "engine", "letter", "harbour")


@cache
def document(doc_id: str, version: int) -> Document:
    """A document in one of its versions: no two of them have the same texts, most have some in common."""
    chance = random.Random(f"{doc_id} {version}")  # noqa: S311 - no secret
    own = [_sentence(f"{doc_id} {number}") for number in range(3)]
    text = chance.sample(own, chance.randint(1, 3)) + chance.sample([_sentence("shared"), _sentence("common")], 1)
    text.insert(chance.randrange(len(text) + 1), f"This is what version {version} of document {doc_id} says about it.")
    metadata: dict[str, object] = {"number": version}
    if version % 2:
        metadata["lang"] = "en" if version == 1 else "de"
    if version % 3 == 2:
        metadata[f"extra{version}"] = "x"
    return Document(doc_id, " ".join(text), metadata, _ACCESS.get(version))


@cache
def texts(doc_id: str, version: int, chunking: Chunking) -> frozenset[str]:
    """The texts that one version is cut into."""
    text = document(doc_id, version).text
    (spans,) = make_chunker(chunking, HashingEmbedder(DIMENSIONS).token_starts).split([text])
    return frozenset(text[span.start : span.end].strip() for span in spans)


def _sentence(name: str) -> str:
    chance = random.Random(name)  # noqa: S311 - no secret
    return " ".join([f"About {name}:", *(chance.choice(_WORDS) for _ in range(6))]) + "."
