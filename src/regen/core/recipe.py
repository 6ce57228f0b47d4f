"""A recipe: everything that decides what a vector is, and the space it puts its vectors into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from string import Formatter
from typing import Any, Final, Literal, TypeAlias, get_args

from regen.core.documents import Metadata, canonical_json, digest
from regen.errors import ConfigError, DocumentError

Metric: TypeAlias = Literal["cosine", "dot", "l2"]
Precision: TypeAlias = Literal["float32", "float16", "int8", "binary"]
PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)
CHUNKER_VERSION: Final = 1
"""Raised whenever the built-in chunkers would cut the same text differently: old generations keep theirs."""


@dataclass(frozen=True)
class TextTemplate:
    """What is embedded: ``{text}`` is the chunk, every other key names document metadata.

    A metadata key that the template names counts as content: editing it re-embeds.
    """

    template: str = "{text}"

    def __post_init__(self) -> None:
        try:
            parsed = list(Formatter().parse(self.template))
        except ValueError as error:
            raise ConfigError(
                f"text template {self.template!r} cannot be parsed: {error}", hint="write {{ for a literal brace"
            ) from None
        for _, name, spec, conversion in parsed:
            if name is not None and (not name.strip() or spec or conversion):
                raise ConfigError(
                    f"text template {self.template!r} has a field that is not a plain key",
                    hint='use "{text}" and metadata keys only, for example "{title}\\n{text}"',
                )
        if not any(name == "text" for _, name, _, _ in parsed):
            raise ConfigError(
                f"text template {self.template!r} does not contain {{text}}", hint='for example "{title}\\n{text}"'
            )

    @cached_property
    def _parts(self) -> tuple[tuple[str, str | None], ...]:
        return tuple((literal, name) for literal, name, _, _ in Formatter().parse(self.template))

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The metadata keys that count as content, sorted."""
        return tuple(sorted({name for _, name in self._parts if name and name != "text"}))

    def values(self, metadata: Metadata) -> tuple[str, ...]:
        """The content-bearing metadata of a document, in the order of :attr:`keys`.

        Raises DocumentError when a key is missing: silence would embed something else than was asked for.
        """
        return tuple(self._value(key, metadata) for key in self.keys)

    def _value(self, key: str, metadata: Metadata) -> str:
        value = metadata.get(key)
        if value is None:
            raise DocumentError(
                f"metadata key {key!r}, which the text template {self.template!r} names, is missing",
                hint="add the key to the document, or take it out of `text:`",
            )
        return value if isinstance(value, str) else canonical_json(value).decode()

    def render(self, text: str, values: tuple[str, ...]) -> str:
        """The embedded text of one chunk: the template with the chunk and the values of :meth:`values`."""
        if self.template == "{text}":
            return text.strip()
        known = dict(zip(self.keys, values, strict=True))
        return "".join(
            literal + ("" if name is None else text if name == "text" else known[name]) for literal, name in self._parts
        ).strip()


@dataclass(frozen=True)
class Chunking:
    """How a text is cut: ``max_tokens`` and ``overlap`` are counted by the embedder's own tokenizer."""

    kind: str = "markdown"
    max_tokens: int = 256
    overlap: int = 0
    version: int = CHUNKER_VERSION

    def __post_init__(self) -> None:
        if self.max_tokens < 8:
            raise ConfigError(f"chunking.max_tokens is {self.max_tokens}", hint="at least 8; 128 to 512 is usual")
        if not 0 <= self.overlap <= self.max_tokens // 2:
            raise ConfigError(
                f"chunking.overlap is {self.overlap}", hint=f"from 0 to half of max_tokens ({self.max_tokens // 2})"
            )


@dataclass(frozen=True)
class Embedding:
    """Which model makes the vectors, and how it is called. ``dimensions`` is what the model then returns."""

    model: str
    dimensions: int
    revision: str = ""
    document_prefix: str = ""
    query_prefix: str = ""
    normalize: bool = True
    precision: Precision = "float32"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what the vectors of a generation are. Equal recipes give equal generations."""

    embedding: Embedding
    text: TextTemplate = field(default_factory=TextTemplate)
    chunking: Chunking = field(default_factory=Chunking)
    metric: Metric = "cosine"
    index: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        precision = self.embedding.precision
        if precision not in PRECISIONS:
            raise ConfigError(f"embedding.precision is {precision!r}", hint=f"valid are {', '.join(PRECISIONS)}")
        if precision in {"int8", "binary"} and self.metric != "cosine":
            raise ConfigError(
                f"precision {precision} with the metric {self.metric}",
                hint="int8 and binary keep directions, not lengths: use the cosine metric, or float16",
            )

    @cached_property
    def space(self) -> str:
        """The fingerprint of the space: what must be equal for two document vectors to be compared (I1)."""
        part = self.embedding
        decides: tuple[object, ...] = (
            part.model, part.revision, part.dimensions, part.document_prefix, part.normalize,
        )  # fmt: skip
        if part.precision != "float32":
            decides = (*decides, part.precision)
        return digest(canonical_json(decides)).hex()[:16]

    @cached_property
    def query_space(self) -> str:
        """The fingerprint of the query side: the space plus the query prefix. Cached query vectors are keyed by it."""
        return digest(canonical_json((self.space, self.embedding.query_prefix))).hex()[:16]

    @cached_property
    def fingerprint(self) -> str:
        """The identity of the whole recipe."""
        return digest(canonical_json(self.to_dict())).hex()[:16]

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON values, as the catalog keeps it."""
        return {
            "embedding": asdict(self.embedding),
            "text": self.text.template,
            "chunking": asdict(self.chunking),
            "metric": self.metric,
            "index": dict(self.index),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """Read back what :meth:`to_dict` wrote."""
        return cls(
            embedding=Embedding(**data["embedding"]),
            text=TextTemplate(data["text"]),
            chunking=Chunking(**data["chunking"]),
            metric=data["metric"],
            index=data["index"],
        )


def describe_difference(old: Recipe, new: Recipe) -> list[str]:
    """One readable line per part in which two recipes differ, for example "embedding.model: a -> b"."""
    before, after = _flat(old.to_dict()), _flat(new.to_dict())
    return [
        f"{key}: {before.get(key)!r} -> {after.get(key)!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
