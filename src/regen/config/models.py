"""The blocks of regen.yaml as frozen models. Unknown keys are refused; see docs/reference/config.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import (
    Field,
    PlainValidator,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from regen.config.block import Block, Duration, Name, Share, as_custom_error
from regen.config.judging import JudgeSettings, WriterSettings
from regen.config.migration import MigrationSettings
from regen.config.refresh import (
    AlertSettings,
    BesideSource,
    ScheduleSettings,
    SourceBlock,
    TargetSettings,
    split_source,
)
from regen.config.reranking import RerankerSettings
from regen.config.rollout import RolloutSettings, UsageSettings
from regen.config.server import ServerSettings
from regen.core.recipe import Chunking, Metric, Precision, TextTemplate
from regen.errors import ConfigError
from regen.evaluation.conditions import (
    MEASURES,
    CheckCondition,
    Condition,
    ErrorRateCondition,
    Kind,
    LatencyCondition,
    MeasureCondition,
)
from regen.evaluation.outcome import ALL

CHUNKING_KINDS: Final = ("markdown", "tokens", "sentences", "code", "semantic", "whole")
DEFAULT_STORE: Final = "lancedb://.regen/vectors"
DEFAULT_CATALOG: Final = "sqlite:///.regen/catalog.db"
DAY: Final = 86_400.0
DIRECTIONS_ONLY: Final = ("int8", "binary")
"""Precisions that keep a vector's direction, not its length."""


def _filterable(value: object) -> Literal["auto"] | tuple[str, ...]:
    if value == "auto":
        return "auto"
    if isinstance(value, list | tuple) and all(isinstance(key, str) and key for key in value):
        return tuple(dict.fromkeys(value))
    raise ValueError(f"must be auto or a list of metadata keys, not {value!r}")


Filterable = Annotated[Literal["auto"] | tuple[str, ...], PlainValidator(_filterable)]


class ChunkingSettings(Block):
    """How texts are cut. Lengths are in tokens of the embedding model."""

    kind: str = "markdown"
    max_tokens: int = 256
    overlap: int = 0

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, kind: str) -> str:
        if kind in CHUNKING_KINDS or kind.startswith("python:"):
            return kind
        raise PydanticCustomError(
            "literal_error",
            "must be one of {expected}",
            {"expected": ", ".join(CHUNKING_KINDS) + ", python:module:Class"},
        )

    @model_validator(mode="after")
    def _possible(self) -> ChunkingSettings:
        try:
            self.build()
        except ConfigError as error:
            raise as_custom_error(error) from None
        return self

    def build(self) -> Chunking:
        """As the core's value."""
        return Chunking(kind=self.kind, max_tokens=self.max_tokens, overlap=self.overlap)


class EmbeddingSettings(Block):
    """Which model makes the vectors. What is None is as the model itself says; ``options`` go to the embedder.

    ``cache`` of None keeps an embedding cache for models that cost money. ``same_as`` declares that the model is the
    one of that name: then an index of it is taken over without embedding, if the probe texts agree.
    """

    model: Name
    dimensions: int | None = Field(default=None, ge=1)
    revision: str | None = None
    document_prefix: str | None = None
    query_prefix: str | None = None
    normalize: bool = True
    precision: Precision = "float32"
    same_as: str | None = None
    price_per_million_tokens: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    cache: bool | None = None
    options: dict[str, Any] = Field(default_factory=dict)


class StoreSettings(Block):
    """Where the vectors lie."""

    url: Name = DEFAULT_STORE


class CatalogSettings(Block):
    """Where the bookkeeping lies."""

    url: Name = DEFAULT_CATALOG


class LimitSettings(Block):
    """What a run may use. ``concurrency`` of None is as the model itself says; the budget is per run, in US dollars."""

    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    concurrency: int | None = Field(default=None, ge=1)
    budget_usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    max_document_bytes: int = Field(default=20_000_000, ge=1)
    max_delete_share: Share = 0.3
    retry_attempts: int = Field(default=6, ge=1)


class RayBlock(Block):
    """Where `apply --engine ray` finds its cluster (None: Ray on this host), and what each of its actors takes."""

    address: Name | None = None
    actors: int = Field(default=2, ge=1)
    num_cpus: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    num_gpus: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class ChangeSettings(Block):
    """How long the change log keeps what was replaced or deleted, in seconds."""

    keep: Duration = 30 * DAY


class MetadataSettings(Block):
    """Which metadata keys the store can filter by; ``auto`` takes those that the documents have."""

    filterable: Filterable = "auto"


class JudgedCollection(Block):
    """Queries with judged documents, as files."""

    name: Name
    queries: Name
    qrels: Name
    answers: Name | None = None


class EvaluationSettings(Block):
    """What quality is measured on."""

    collections: list[JudgedCollection] = Field(default_factory=list)
    measures: list[Name] = Field(default_factory=lambda: list(MEASURES))
    known_queries: Name | None = None
    judge: JudgeSettings | None = None
    writer: WriterSettings | None = None
    searches: int = Field(default=100, ge=0)
    max_age: Duration = 3_600.0

    @model_validator(mode="after")
    def _answers_have_a_judge(self) -> EvaluationSettings:
        named = [item.name for item in self.collections if item.answers is not None]
        if named and self.judge is None:
            raise ValueError(f"answers of {', '.join(named)} need a judge: `judge: {{model: …}}`")
        return self


class GateCondition(Block):
    """One condition that a generation must meet before it is promoted.

    It is about exactly one of a measure, a latency percentile, the error rate and a check. A measure may have several
    bounds, each judged for itself; without ``collection`` and ``slice`` it holds everywhere, on all queries.
    """

    measure: Name | None = None
    latency: Literal["p50", "p95", "p99"] | None = None
    error_rate: Share | None = None
    check: Name | None = None
    collection: Name | None = None
    slice: Name | None = None
    min: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    min_lift: float | None = Field(default=None, allow_inf_nan=False)
    max_drop: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    max_ratio: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_ms: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    advisory: bool | None = None

    _SUBJECTS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "measure": ("min", "min_lift", "max_drop", "collection", "slice"),
        "latency": ("max_ratio", "max_ms"),
        "error_rate": (),
        "check": ("advisory",),
    }

    @model_validator(mode="after")
    def _one_subject(self) -> GateCondition:
        subjects = [name for name in self._SUBJECTS if getattr(self, name) is not None]
        if len(subjects) != 1:
            raise ValueError("names exactly one of measure, latency, error_rate and check")
        subject = subjects[0]
        own = {subject, *self._SUBJECTS[subject]}
        if strange := sorted(name for name in self.model_fields_set - own if getattr(self, name) is not None):
            raise ValueError(f"{', '.join(strange)} does not go with {subject}")
        if self.measure is not None and not self._bounds():
            raise ValueError("a measure needs min, min_lift or max_drop")
        if self.latency is not None and self.max_ratio is None and self.max_ms is None:
            raise ValueError("a latency condition needs max_ratio or max_ms")
        return self

    def _bounds(self) -> list[tuple[Kind, float]]:
        bounds: list[tuple[Kind, float | None]] = [
            ("min", self.min), ("min_lift", self.min_lift), ("max_drop", self.max_drop)
        ]  # fmt: skip
        return [(kind, value) for kind, value in bounds if value is not None]

    def build(self) -> tuple[Condition, ...]:
        """As the gate's values: one for each bound."""
        if self.measure is not None:
            return tuple(
                MeasureCondition(self.measure, kind, value, self.collection, self.slice or ALL)
                for kind, value in self._bounds()
            )
        if self.latency is not None:
            return (LatencyCondition(self.latency, self.max_ratio, self.max_ms),)
        if self.error_rate is not None:
            return (ErrorRateCondition(self.error_rate),)
        return (CheckCondition(str(self.check), advisory=bool(self.advisory)),)


class Settings(Block):
    """All of regen.yaml. ``root`` is the folder of the file: relative paths and URLs start there."""

    DEFAULT_TEXT: ClassVar[Mapping[str, str]] = {"files": "{title}\n{text}"}

    version: Literal[1]
    alias: str = "default"
    sources: list[SourceBlock] | None = None
    source: SourceBlock | None = Field(default=None, validate_default=True)
    freshness: TargetSettings | None = None
    schedule: ScheduleSettings = Field(default_factory=ScheduleSettings.model_construct)
    alerts: AlertSettings | None = None
    text: str = "{text}"
    chunking: ChunkingSettings = Field(default_factory=ChunkingSettings.model_construct)
    embedding: EmbeddingSettings
    metric: Metric = "cosine"
    index: dict[str, Any] = Field(default_factory=dict)
    metadata: MetadataSettings = Field(default_factory=MetadataSettings.model_construct)
    store: StoreSettings = Field(default_factory=StoreSettings.model_construct)
    catalog: CatalogSettings = Field(default_factory=CatalogSettings.model_construct)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings.model_construct)
    gate: list[GateCondition] = Field(default_factory=list)
    migration: MigrationSettings = Field(default_factory=MigrationSettings.model_construct)
    rollout: RolloutSettings = Field(default_factory=RolloutSettings.model_construct)
    rerank: RerankerSettings | None = None
    usage: UsageSettings = Field(default_factory=UsageSettings.model_construct)
    limits: LimitSettings = Field(default_factory=LimitSettings.model_construct)
    changes: ChangeSettings = Field(default_factory=ChangeSettings.model_construct)
    ray: RayBlock = Field(default_factory=RayBlock.model_construct)
    server: ServerSettings = Field(default_factory=ServerSettings.model_construct)

    _root: Path = PrivateAttr(default_factory=Path.cwd)

    @property
    def root(self) -> Path:
        """The folder from which relative paths and URLs start, absolute."""
        return self._root

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        # A block whose keys are all commented out reads as null: that is the block's defaults.
        data = {key: value for key, value in data.items() if value is not None or not cls._is_optional_block(key)}
        blocks = [data.get("source"), *(data["sources"] if isinstance(data.get("sources"), list) else ())]
        kinds = {str(block.get("kind")) for block in blocks if isinstance(block, dict)}
        if "text" in data or len(kinds) != 1:
            return data
        return {**data, "text": cls.DEFAULT_TEXT.get(kinds.pop(), "{text}")}

    @classmethod
    def _is_optional_block(cls, key: str) -> bool:
        field = cls.model_fields.get(key)
        return field is not None and not field.is_required() and field.default_factory is not None

    @field_validator("alias")
    @classmethod
    def _plain_alias(cls, alias: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", alias):
            raise ValueError(
                "must be 1 to 63 lower-case letters, digits, hyphens and underscores, starting with a letter or digit"
            )
        return alias

    @field_validator("sources")
    @classmethod
    def _some(cls, sources: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
        if sources is not None and not sources:
            raise ValueError("names no source, for example `sources: [{name: docs, kind: files, path: docs}]`")
        return sources

    @field_validator("source")
    @classmethod
    def _one_or_several(cls, source: dict[str, Any] | None, info: ValidationInfo) -> dict[str, Any] | None:
        several = info.data.get("sources")
        if source is None and several is None and "sources" in info.data:
            raise PydanticCustomError("missing", "source is missing")
        if source is not None and several is not None:
            error = ConfigError("stands beside sources", hint="put it into the list, with a name of its own")
            raise as_custom_error(error)
        return source

    @property
    def feeds(self) -> list[tuple[dict[str, Any], BesideSource]]:
        """The sources' own keys, each with what stands beside them."""
        blocks = [self.source] if self.source is not None else self.sources or []
        return [split_source(block) for block in blocks]

    @field_validator("metric")
    @classmethod
    def _metric_that_the_precision_keeps(cls, metric: Metric, info: ValidationInfo) -> Metric:
        precision = info.data["embedding"].precision if "embedding" in info.data else "float32"
        if precision in DIRECTIONS_ONLY and metric != "cosine":
            error = ConfigError(
                f"{metric} compares the lengths of vectors, and embedding.precision {precision} does not keep them",
                hint="write metric: cosine, or precision: float16",
            )
            raise as_custom_error(error)
        return metric

    @field_validator("text")
    @classmethod
    def _possible_template(cls, text: str) -> str:
        try:
            TextTemplate(text)
        except ConfigError as error:
            raise as_custom_error(error) from None
        return text
