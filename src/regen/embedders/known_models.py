"""What is published of well-known models and does not come with their files: prefixes, sizes, limits, prices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class KnownModel:
    """Facts of one model. ``matryoshka`` and ``price`` (US dollars per million tokens) are as in ModelInfo."""

    dimensions: int
    max_tokens: int
    document_prefix: str = ""
    query_prefix: str = ""
    matryoshka: tuple[int, ...] = ()
    price: float = 0.0


_RETRIEVE: Final = "Represent this sentence for searching relevant passages: "
_INSTRUCT: Final = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"


def _e5(dimensions: int) -> KnownModel:
    return KnownModel(dimensions, 512, "passage: ", "query: ")


def _bge(dimensions: int) -> KnownModel:
    return KnownModel(dimensions, 512, "", _RETRIEVE)


def _qwen(dimensions: int) -> KnownModel:
    sizes = tuple(size for size in (32, 64, 128, 256, 512, 768, 1024, 1536, 2048, 2560, 4096) if size <= dimensions)
    return KnownModel(dimensions, 32_768, "", _INSTRUCT, sizes)


_NOMIC: Final = KnownModel(768, 8192, "search_document: ", "search_query: ", (64, 128, 256, 512, 768))
_MXBAI: Final = KnownModel(1024, 512, "", _RETRIEVE, (512, 1024))
_MINILM: Final = KnownModel(384, 256)

_KNOWN: Final[dict[str, KnownModel]] = {
    # OpenAI shortens the third generation to any size; these are the usual ones.
    "text-embedding-3-small": KnownModel(1536, 8191, matryoshka=(256, 512, 768, 1024, 1536), price=0.02),
    "text-embedding-3-large": KnownModel(3072, 8191, matryoshka=(256, 512, 768, 1024, 1536, 2048, 3072), price=0.13),
    "text-embedding-ada-002": KnownModel(1536, 8191, price=0.10),
    "intfloat/e5-small-v2": _e5(384),
    "intfloat/e5-base-v2": _e5(768),
    "intfloat/e5-large-v2": _e5(1024),
    "intfloat/multilingual-e5-small": _e5(384),
    "intfloat/multilingual-e5-base": _e5(768),
    "intfloat/multilingual-e5-large": _e5(1024),
    "baai/bge-small-en-v1.5": _bge(384),
    "baai/bge-base-en-v1.5": _bge(768),
    "baai/bge-large-en-v1.5": _bge(1024),
    "baai/bge-m3": KnownModel(1024, 8192),
    "nomic-ai/nomic-embed-text-v1.5": _NOMIC,
    "mixedbread-ai/mxbai-embed-large-v1": _MXBAI,
    "qwen/qwen3-embedding-0.6b": _qwen(1024),
    "qwen/qwen3-embedding-4b": _qwen(2560),
    "qwen/qwen3-embedding-8b": _qwen(4096),
    "google/embeddinggemma-300m": KnownModel(
        768, 2048, "title: none | text: ", "task: search result | query: ", (128, 256, 512, 768)
    ),
    "sentence-transformers/all-minilm-l6-v2": _MINILM,
    # The names by which Ollama serves the same models.
    "nomic-embed-text": _NOMIC,
    "mxbai-embed-large": _MXBAI,
    "bge-m3": KnownModel(1024, 8192),
    "all-minilm": _MINILM,
}


def find_known(name: str) -> KnownModel | None:
    """The facts of a model by its published name, whatever the case of its letters, or None."""
    return _KNOWN.get(name.lower())
