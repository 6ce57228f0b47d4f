"""``wordllama/l2-supercat-{64,128,256}``: static token embeddings on the processor, weights and tokenizer in the wheel.

A vector is the plain mean of its tokens' embeddings, exactly as ``WordLlama.embed(norm=False)`` computes it: raw, not
unit length. The vectors of 64 and 128 dimensions are the first components of those of 256. A text without tokens (the
empty text) gets the zero vector; any other text, whitespace or unknown script included, has tokens and gets a real one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regen.embedders.pieces import PieceTokenizer
from regen.errors import ConfigError, EmbedderError, MissingExtra, TextRejected
from regen.ports import ModelInfo, Vector, Vectors

DIMENSIONS: Final = (64, 128, 256)
BATCH: Final = 512

_NAME: Final = re.compile(r"wordllama/l2-supercat-(64|128|256)")
_FILES: Final = ("weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json")
_SAMPLES: Final = 64
_SAMPLE_BYTES: Final = 4096
_loading: Final = Lock()


class _Model(NamedTuple):
    """The token embeddings by dimensions, each float32 of shape (vocabulary, dimensions), and the tokenizer."""

    tables: dict[int, NDArray[np.float32]]
    tokenizer: PieceTokenizer


class WordLlamaEmbedder:
    """A small real model: no GPU, no key, no network. Loaded when first used; all objects share the weights."""

    def __init__(self, dimensions: int = 256) -> None:
        if dimensions not in DIMENSIONS:
            raise ConfigError(
                f"wordllama/l2-supercat has no {dimensions} dimensions",
                hint="valid are " + ", ".join(map(str, DIMENSIONS)),
            )
        self._info = ModelInfo(
            name=f"wordllama/l2-supercat-{dimensions}",
            dimensions=dimensions,
            revision=weights_digest(),
            family="wordllama/l2-supercat",
            matryoshka=tuple(size for size in DIMENSIONS if size <= dimensions),
            local=True,
        )

    @classmethod
    def from_name(cls, name: str) -> WordLlamaEmbedder:
        """Read ``wordllama/l2-supercat-256`` back. Raises ConfigError."""
        found = _NAME.fullmatch(name)
        if not found:
            raise ConfigError(
                f"{name!r} names no WordLlama model",
                hint="valid are " + ", ".join(f"wordllama/l2-supercat-{size}" for size in DIMENSIONS),
            )
        return cls(int(found[1]))

    @property
    def info(self) -> ModelInfo:
        """Name, dimensions, and as revision a digest of the weights and tokenizer files."""
        return self._info

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Means of token embeddings, float32 of shape (len(texts), dimensions), not normalised."""
        table, tokenizer = _model(self._info.dimensions)
        vectors = np.zeros((len(texts), self._info.dimensions), dtype=np.float32)
        for first in range(0, len(texts), BATCH):
            batch = texts[first : first + BATCH]
            with _rejecting(batch):
                tokens = tokenizer.ids(batch)
            for row, ids in enumerate(tokens, first):
                if ids.size:
                    # One text at a time: the gathered rows stay in cache, which beats any larger batch.
                    table.take(ids, axis=0).sum(axis=0, out=vectors[row])
                    vectors[row] /= ids.size
        return vectors

    def embed_query(self, text: str) -> Vector:
        """Return what :meth:`embed_documents` gives for the text: the model knows no difference."""
        vector: Vector = self.embed_documents([text])[0]
        return vector

    def token_starts(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Character offsets of the model's own tokens; one that begins with a space starts at the space."""
        with _rejecting(texts):
            return _model(self._info.dimensions)[1].starts(texts)


@cache
def weights_digest() -> str:
    """Identify the weights and the tokenizer by their files: sizes and 64 blocks of 4 KiB spread evenly over each.

    Every training run changes every block, so the samples tell models apart, in a millisecond instead of 20.
    """
    digest = blake2b(digest_size=8)
    for name in _FILES:
        path = package() / name
        try:
            _add_samples(digest, path)
        except OSError as error:
            raise EmbedderError(f"the WordLlama model cannot be read: {error}", hint=_REINSTALL) from None
    return digest.hexdigest()


_REINSTALL: Final = "its wheel carries the file: reinstall it with `pip install --force-reinstall wordllama`"


def _add_samples(digest: blake2b, path: Path) -> None:
    size = path.stat().st_size
    digest.update(size.to_bytes(8, "little"))
    with path.open("rb") as file:
        for sample in range(_SAMPLES):
            file.seek(max(size - _SAMPLE_BYTES, 0) * sample // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))


def package() -> Path:
    """Where the vendor's package lies, found without importing it."""
    spec = find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("the WordLlama library is not installed", hint="pip install wordllama")
    return Path(next(iter(spec.submodule_search_locations)))


def _model(dimensions: int) -> tuple[NDArray[np.float32], PieceTokenizer]:
    with _loading:
        model = _load()
        table = model.tables.get(dimensions)
        if table is None:
            table = model.tables[dimensions] = np.ascontiguousarray(model.tables[DIMENSIONS[-1]][:, :dimensions])
        return table, model.tokenizer


@cache
def _load() -> _Model:
    with _quiet_logging():
        from wordllama import WordLlama  # noqa: PLC0415 - takes 0.2 s and is not always needed
    # The vendor looks for the tokenizer in a folder that its wheel lacks, unless the wheel is named as its cache.
    try:
        model = WordLlama.load(cache_dir=package(), disable_download=True)
    except OSError as error:
        raise EmbedderError(f"the WordLlama model cannot be loaded: {error}", hint=_REINSTALL) from error
    return _Model({DIMENSIONS[-1]: model.embedding}, PieceTokenizer(model.tokenizer))


@contextmanager
def _quiet_logging() -> Iterator[None]:
    """Undo what importing the vendor does to the program's logging: it configures the root logger at level INFO."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@contextmanager
def _rejecting(texts: Sequence[str]) -> Iterator[None]:
    """Say what the tokenizer's TypeError about a text means, when one of the texts is the reason."""
    try:
        yield
    except TypeError:
        for text in texts:
            _require_unicode(text)
        raise


def _require_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TextRejected(
            f"a text is not valid Unicode: {error.reason} at character {error.start}",
            hint="it holds half of a surrogate pair; remove or replace it",
        ) from None
