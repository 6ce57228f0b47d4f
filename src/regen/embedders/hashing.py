"""``hashing/{dimensions}``: deterministic signed feature hashing, without weights or network.

Features are the four-byte sequences of a text (so that similar spellings are near each other) and its whole words,
counted double. It knows nothing of meaning: for tests, demonstrations, and as the floor that a real model must beat.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regen.embedders.tokens import word_starts
from regen.errors import ConfigError
from regen.ports import ModelInfo, Vector, Vectors

REVISION: Final = "1"
"""Raised whenever the same text would get another vector."""
BLOCK_BYTES: Final = 1 << 16  # a block's arrays stay in the second-level cache
LARGEST: Final = 1 << 16

_NAME: Final = re.compile(r"hashing/([1-9][0-9]*)(?:-([0-9]+))?")
_WHITESPACE: Final = b"\t\n\v\f\r\x1c\x1d\x1e\x1f"
_FOLD: Final = bytes(
    32 if byte in _WHITESPACE else ord(chr(byte).lower()) if byte < 128 else byte for byte in range(256)
)
_IN_WORD: Final = bytes(byte >= 128 or chr(byte).isalnum() or byte == ord("_") for byte in range(256))
_PAD: Final = b"   "  # a sequence that starts in a text ends in its padding, never in the next text
_BASE: Final = 0x9E37_79B9_7F4A_7C15  # odd, so that it has an inverse modulo 2**64


class HashingEmbedder:
    """An embedder made of hashes: ``seed`` chooses one of many spaces of the same dimensions.

    Vectors are raw sums, not unit length. A text of whitespace only gets the zero vector, every other text never does.
    """

    def __init__(self, dimensions: int, seed: int = 0) -> None:
        if not 1 <= dimensions <= LARGEST or seed < 0:
            raise ConfigError(
                f"hashing embedder with {dimensions} dimensions and seed {seed}",
                hint=f"dimensions from 1 to {LARGEST}, seed from 0; for example hashing/256 or hashing/256-7",
            )
        name = f"hashing/{dimensions}" + (f"-{seed}" if seed else "")
        self._info = ModelInfo(
            name=name, dimensions=dimensions, revision=REVISION, max_batch_tokens=1 << 20, local=True
        )
        salt = blake2b(f"regen hashing {seed}".encode(), digest_size=12).digest()
        self._gram_salt = np.uint32(int.from_bytes(salt[:4], "little"))
        self._word_salt = np.uint64(int.from_bytes(salt[4:], "little"))

    @classmethod
    def from_name(cls, name: str) -> HashingEmbedder:
        """Read ``hashing/256`` or ``hashing/256-7`` (dimensions, then seed) back. Raises ConfigError."""
        found = _NAME.fullmatch(name)
        if not found:
            raise ConfigError(
                f"{name!r} names no hashing embedder",
                hint="hashing/DIMENSIONS or hashing/DIMENSIONS-SEED, as in hashing/256-7",
            )
        return cls(int(found[1]), int(found[2] or 0))

    @property
    def info(self) -> ModelInfo:
        """Name, dimensions and revision; it has no limit of length and costs nothing."""
        return self._info

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (len(texts), dimensions), float32."""
        dimensions = self._info.dimensions
        vectors = np.zeros((len(texts), dimensions), dtype=np.float32)
        wholes = np.zeros(len(texts), dtype=np.uint64)
        for first, parts in _blocks(texts):
            self._add(parts, vectors[first : first + len(parts)], wholes[first : first + len(parts)])
        # Counts are whole numbers: a half, placed by all features together, can never be cancelled by them.
        slots = _spread(_mixed(wholes), 2 * dimensions)
        vectors[np.arange(len(texts)), slots % dimensions] += np.where(slots < dimensions, 0.5, -0.5).astype(np.float32)
        blank = [row for row, text in enumerate(texts) if not text or text.isspace()]
        vectors[blank] = 0.0
        return vectors

    def embed_query(self, text: str) -> Vector:
        """Return what :meth:`embed_documents` gives for the text."""
        vector: Vector = self.embed_documents([text])[0]
        return vector

    def token_starts(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Words and single other characters, see :mod:`regen.embedders.tokens`."""
        return word_starts(texts)

    def _add(self, parts: list[bytes], vectors: Vectors, wholes: NDArray[np.uint64]) -> None:
        """Add the features of the parts to their rows."""
        data = (b" " + b"".join([part + _PAD for part in parts])).translate(_FOLD)
        lengths = np.fromiter(map(len, parts), dtype=np.int64, count=len(parts)) + len(_PAD)
        row_of = np.repeat(np.arange(len(parts)), lengths)
        gram_at, grams = self._grams(data)
        word_at, words = self._words(data)
        gram_rows, word_rows = row_of[gram_at - 1], row_of[word_at - 1]  # data begins with one space of its own
        size = 2 * self._info.dimensions
        slots = (gram_rows * size + _spread(grams, size), word_rows * size + _spread(words, size))
        counts = np.bincount(np.concatenate([slots[0], slots[1], slots[1]]), minlength=len(parts) * size)
        halves = counts.reshape(len(parts), 2, self._info.dimensions)
        vectors += np.subtract(halves[:, 0], halves[:, 1], dtype=np.float32, casting="unsafe")
        # Hashes of 32 bits below 2**53 in sum: doubles add them exactly, in any order.
        wholes += np.bincount(gram_rows, weights=grams, minlength=len(parts)).astype(np.uint64)

    def _grams(self, data: bytes) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """Positions of all bytes that are no space, and the hashes of the four bytes from there."""
        codes = np.frombuffer(data, dtype=np.uint8)[: len(data) - 3]
        at = np.flatnonzero(codes != 32)
        hashes = np.ndarray((len(data) - 3,), dtype="<u4", buffer=data, strides=(1,))[at].astype(np.uint32)
        hashes ^= self._gram_salt
        for shift, factor in ((16, 0x21F0_AAAD), (15, 0xD35A_2D97)):
            hashes ^= hashes >> np.uint32(shift)
            hashes *= np.uint32(factor)
        hashes ^= hashes >> np.uint32(15)
        return at, hashes

    def _words(self, data: bytes) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """Positions and hashes of all words.

        A word's hash is a polynomial in its bytes modulo 2**64, read off one running sum over the whole block: the
        difference at its ends, shifted to position zero by the inverse power.
        """
        powers, inverses = _powers()
        inside = np.frombuffer(data.translate(_IN_WORD), dtype=np.int8)
        edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
        starts, ends = edges[::2], edges[1::2]
        running = np.cumsum(np.frombuffer(data, dtype=np.uint8) * powers[: len(data)], dtype=np.uint64)
        polynomials = (running[ends - 1] - running[starts - 1]) * inverses[starts]
        return starts, _mixed(polynomials ^ self._word_salt)


def _blocks(texts: Sequence[str]) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the number of a first row and the encoded texts from there; a long text comes alone, in several parts."""
    block: list[bytes] = []
    first = size = 0
    for row, text in enumerate(texts):
        encoded = text.encode("utf-8", "surrogatepass")
        if block and size + len(encoded) > BLOCK_BYTES:
            yield first, block
            block, size = [], 0
        if not block:
            first = row
        if len(encoded) > BLOCK_BYTES:
            yield from ((row, [encoded[at : at + BLOCK_BYTES]]) for at in range(0, len(encoded), BLOCK_BYTES))
            continue
        block.append(encoded)
        size += len(encoded) + len(_PAD)
    if block:
        yield first, block


@cache
def _powers() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Compute the powers of the base and of its inverse modulo 2**64, one for every position in a block."""
    size = BLOCK_BYTES + 8
    inverse = pow(_BASE, -1, 1 << 64)
    return tuple(np.multiply.accumulate(np.full(size, base, dtype=np.uint64)) for base in (_BASE, inverse))  # type: ignore[return-value]


def _mixed(hashes: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """64 bits to 32 well-mixed ones."""
    mixed = (hashes ^ (hashes >> np.uint64(32))) * np.uint64(0xD6E8_FEB8_6659_FD93)
    mixed ^= mixed >> np.uint64(32)
    return (mixed * np.uint64(0xD6E8_FEB8_6659_FD93) >> np.uint64(32)).astype(np.uint32)


def _spread(hashes: NDArray[np.uint32], size: int) -> NDArray[np.int64]:
    """Map 32-bit hashes evenly to 0 … size - 1 without a division."""
    return (hashes.astype(np.uint64) * np.uint64(size) >> np.uint64(32)).astype(np.int64)
