"""API keys: how they are written, and what is kept of them.

    regen_1f0c9a7be4d2_p3Jx…        the word regen, the key's id, its secret (32 random bytes)

Only a digest of the secret is kept. A random secret of that length cannot be guessed, so a slow digest, which passwords
need, would only slow every request down.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

Scope: TypeAlias = Literal["search", "write", "operate", "admin", "act_as"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
"""What a caller may do. ``admin`` may do everything but ``act_as``, which lets searches name their own principals."""
WORD: Final = "regen"
ID_BYTES: Final = 6
SECRET_BYTES: Final = 32


class ShownKey(NamedTuple):
    """A key as a caller shows it: which one it says it is, and the digest of the secret."""

    id: str
    digest: bytes


def spell(key_id: str, secret: str) -> str:
    """A key as it is handed out."""
    return f"{WORD}_{key_id}_{secret}"


def parse(shown: str) -> ShownKey | None:
    """What a caller has shown, None for what is no key."""
    word, _, rest = shown.partition("_")
    key_id, _, secret = rest.partition("_")
    return ShownKey(key_id, digest_of(secret)) if word == WORD and key_id and secret else None


def digest_of(secret: str) -> bytes:
    """What is kept of a secret (32 bytes)."""
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()
