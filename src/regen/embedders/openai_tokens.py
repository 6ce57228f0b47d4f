"""How many tokens a text has for OpenAI's models: estimated by script, or counted by tiktoken when asked to.

tiktoken downloads its vocabulary when it first needs it, and a count that depends on whether that worked would cut the
same document differently on two machines. So the estimate is the default everywhere, and tiktoken an explicit choice.

The estimate gives each character the share of a token that it has in ``cl100k_base``, rounded up for each word. It is
1.3 to 1.5 times the real count for English, Markdown and Python, and 1.0 to 1.6 times for texts in other languages.
Random letters and digits (keys, base64) are up to 2.2 times as many as estimated; a call that is too large for it is
refused by the provider and split.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from regen.embedders.tokens import weighted_starts
from regen.errors import ConfigError, MissingExtra, TextRejected

WHOLE: Final = 20
ENCODING: Final = "cl100k_base"
URL: Final = "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken"

# Twentieths of a token for each character of a range; later ranges override earlier ones, bounds are inclusive.
_SHARES: Final[tuple[tuple[int, int, int], ...]] = (
    (0x0, 0x10FFFF, 60),  # scripts that the vocabulary hardly knows: up to a token a byte
    (0x21, 0x7E, 20), (0x41, 0x5A, 6), (0x61, 0x7A, 5), (0x30, 0x39, 10), (0x5F, 0x5F, 10), (0x5B, 0x60, 20),
    (0xA1, 0x24F, 10), (0x300, 0x36F, 20), (0x370, 0x3FF, 21), (0x400, 0x52F, 9), (0x590, 0x5FF, 25),
    (0x600, 0x6FF, 18), (0x900, 0xDFF, 30), (0x900, 0x97F, 24), (0xE00, 0xE7F, 22), (0x1E00, 0x1EFF, 20),
    (0x2000, 0x206F, 20), (0x200C, 0x200F, 60), (0x20A0, 0x2BFF, 40), (0x3000, 0x30FF, 20), (0x3400, 0x4DBF, 60),
    (0x4E00, 0x9FFF, 20), (0xAC00, 0xD7AF, 26), (0xFF00, 0xFFEF, 30), (0xFE00, 0xFE0F, 40),
)  # fmt: skip


def estimated_starts(texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """For each text the character offsets of its estimated tokens, ascending; the same on every machine."""
    return weighted_starts(texts, _weights(), WHOLE)


def exact_starts(texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """For each text the character offsets at which tiktoken's tokens start. Raises as :func:`require_tiktoken`."""
    encoding = require_tiktoken()
    return [_offsets(encoding, text) for text in texts]


@cache
def require_tiktoken() -> Any:
    """The real encoding, without any download. Raises MissingExtra, or ConfigError when its file is not there."""
    try:
        import tiktoken  # noqa: PLC0415 - optional
    except ModuleNotFoundError:
        raise MissingExtra("the library 'tiktoken' is not installed", hint="pip install 'regen[openai]'") from None
    path = _vocabulary()
    if not path.is_file():
        raise ConfigError(
            f"tiktoken's vocabulary {ENCODING} is not on this machine: there is no {path}",
            hint=f"fetch it once with `python -c \"import tiktoken; tiktoken.get_encoding('{ENCODING}')\"` and keep "
            "TIKTOKEN_CACHE_DIR, or use `count_tokens: estimate`",
        )
    return tiktoken.get_encoding(ENCODING)


def _vocabulary() -> Path:
    """Where tiktoken keeps the file that it downloads."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    name = sha1(URL.encode()).hexdigest()  # noqa: S324 - tiktoken's choice, and no secret
    return Path(folder or Path(tempfile.gettempdir()) / "data-gym-cache") / name


def _offsets(encoding: Any, text: str) -> NDArray[np.int64]:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TextRejected(f"a text is not valid Unicode: {error.reason} at character {error.start}") from None
    tokens = encoding.encode(text, disallowed_special=())
    if not tokens:
        return np.empty(0, dtype=np.int64)
    return np.asarray(encoding.decode_with_offsets(tokens)[1], dtype=np.int64)


@cache
def _weights() -> NDArray[np.uint8]:
    table = np.zeros(0x110000, dtype=np.uint8)
    for first, last, share in _SHARES:
        table[first : last + 1] = share
    table.flags.writeable = False
    return table
