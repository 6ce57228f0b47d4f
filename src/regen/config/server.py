"""The block of regen.yaml that is about the service."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, field_validator

from regen.config.block import Block, Duration, Name, Rate

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures by a private key. Those by a shared secret are not offered: who verifies them can also forge them."""
USUAL: Final[tuple[Algorithm, ...]] = ("RS256", "ES256", "EdDSA")
DEFAULT_PORT: Final = 8321
MEGABYTE: Final = 1_000_000


def _one_or_several(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[list[Name], BeforeValidator(_one_or_several)]


class JwtSettings(Block):
    """Whose tokens are believed, and which of their claims say who searches.

    ``jwks`` is a file, or an https address that is asked again when a token names an unknown key. ``principals`` maps a
    claim to the form of the principals that it gives: ``{groups: "team:{}"}``.
    """

    jwks: Name
    issuer: Name
    audience: Names
    algorithms: list[Algorithm] = Field(default_factory=lambda: list(USUAL), min_length=1)
    leeway: Duration = 30.0
    cache: Duration = 600.0
    principals: dict[str, str] = Field(default_factory=lambda: {"sub": "user:{}"})
    scopes: Name = "scope"

    @field_validator("principals")
    @classmethod
    def _one_place_each(cls, forms: dict[str, str]) -> dict[str, str]:
        if strange := [form for form in forms.values() if form.count("{}") != 1]:
            raise ValueError(f"{strange[0]!r} must hold {{}} once, where the claim's value goes: 'team:{{}}'")
        return forms

    @field_validator("jwks")
    @classmethod
    def _no_plain_http(cls, jwks: str) -> str:
        if jwks.startswith("http://") and not jwks.startswith(("http://127.0.0.1", "http://localhost", "http://[::1]")):
            raise ValueError("keys that come over http can be exchanged on the way: write https://, or a file")
        return jwks


class EventFields(Block):
    """Which columns of a changed row are a document's id, text, access list and version; the others are metadata."""

    id: Name = "id"
    text: Name = "text"
    access: Name = "access"
    version: Name = "version"


class ServerSettings(Block):
    """How ``regen serve`` listens, whom it lets in, and how much it takes.

    ``rate_limit`` is for each key (or address, of those without); ``max_body`` in bytes; ``tenant`` is the metadata key
    by which costs are told apart.
    """

    host: Name = "127.0.0.1"
    port: int = Field(default=DEFAULT_PORT, ge=0, le=65_535)
    rate_limit: Rate = 100.0
    max_body: int = Field(default=16 * MEGABYTE, ge=1_000)
    jwt: JwtSettings | None = None
    events: EventFields = Field(default_factory=EventFields)
    tenant: Name | None = None
    session: Duration = 8 * 3_600.0
    stop_within: Duration = 20.0
