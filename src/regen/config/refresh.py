"""The blocks of regen.yaml about time: when sources are refreshed, how fresh they must be, and what else runs when."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, field_validator, model_validator

from regen.config.block import Block, Duration, Holds, Name, as_custom_error
from regen.core.cron import Cron
from regen.core.freshness import Target
from regen.core.refresh import Policy
from regen.errors import ConfigError

HOUR: Final = 3_600.0
BESIDE: Final = ("refresh", "freshness")
"""The keys of a source's block that are not the source's own."""


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        error = ConfigError(
            f"{name!r} is no time zone", hint="a name of the IANA database, such as Europe/Berlin or UTC"
        )
        raise as_custom_error(error) from None
    return name


def _possible(expression: str) -> str:
    try:
        Cron(expression, ZoneInfo("UTC"))
    except ConfigError as error:
        raise as_custom_error(error) from None
    return expression


Zone = Annotated[str, AfterValidator(_known_zone)]
Expression = Annotated[str, AfterValidator(_possible)]


class TargetSettings(Block):
    """How long a change at the source may take until it is searchable, at most, and over which past it is measured."""

    p50: Duration | None = None
    p95: Duration | None = None
    p99: Duration | None = None
    window: Duration = HOUR

    @model_validator(mode="after")
    def _something(self) -> TargetSettings:
        if self.p50 is None and self.p95 is None and self.p99 is None:
            raise ValueError("needs p50, p95 or p99, for example `freshness: {p99: 5s}`")
        if not self.window > 0:
            raise ValueError("window must be more than 0")
        return self

    def build(self) -> Target:
        """As the core's value."""
        return Target(self.p50, self.p95, self.p99, self.window)


class RefreshSettings(Block):
    """When a source is read again: by the clock, and how long a change that is seen may wait."""

    cron: Expression | None = None
    timezone: Zone = "UTC"
    at_most_every: Duration = 0.0
    quiet_for: Duration = 0.0
    wait_at_most: Duration | None = None

    @model_validator(mode="after")
    def _consistent(self) -> RefreshSettings:
        try:
            self.build()
        except ConfigError as error:
            raise as_custom_error(error) from None
        return self

    def build(self) -> Policy:
        """As the core's value."""
        cron = None if self.cron is None else Cron(self.cron, ZoneInfo(self.timezone))
        return Policy(cron, self.at_most_every, self.quiet_for, self.wait_at_most)


class JobSettings(Block):
    """When something that is no source runs."""

    cron: Expression
    timezone: Zone = "UTC"

    def build(self) -> Policy:
        """As the core's value."""
        return Policy(Cron(self.cron, ZoneInfo(self.timezone)), at_once=False)


class EvaluateJobSettings(JobSettings):
    """When the live generation is evaluated, and whether the documents that alarms involve are embedded anew."""

    reprocess: bool = False


class CheckJobSettings(JobSettings):
    """When checks are run by themselves, and which."""

    names: list[Name] = Field(default_factory=lambda: ["model_unchanged", "known_queries"], min_length=1)


class ScheduleSettings(Block):
    """What runs by the clock beside the sources."""

    evaluate: EvaluateJobSettings | None = None
    checks: CheckJobSettings | None = None
    gc: JobSettings | None = None


class AlertSettings(Block):
    """Who is told of alarms: the names of the environment variables that hold an address and a secret."""

    webhook_url_env: Name
    secret_env: Name | None = None
    after_failures: int = Field(default=3, ge=1)
    timeout: Duration = 10.0

    @field_validator("webhook_url_env", "secret_env")
    @classmethod
    def _a_name(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(
                "must be the name of an environment variable: neither address nor secret stands in the file"
            )
        return name

    @field_validator("timeout")
    @classmethod
    def _some_time(cls, timeout: float) -> float:
        if not 0 < timeout <= 300:
            raise ValueError("must be more than 0 and at most 5m")
        return timeout


class BesideSource(Block):
    """What a source's block may hold beside the source's own keys."""

    refresh: RefreshSettings | None = None
    freshness: TargetSettings | None = None


def split_source(block: Mapping[str, Any]) -> tuple[dict[str, Any], BesideSource]:
    """A source's own keys, and what stands beside them. Raises ValidationError."""
    own = {key: value for key, value in block.items() if key not in BESIDE}
    return own, BesideSource.model_validate({key: block[key] for key in BESIDE if key in block})


def checked_source(block: dict[str, Any]) -> dict[str, Any]:
    """A source's block whose kind is named and whose own keys the source itself will judge."""
    if not isinstance(block.get("kind"), str) or not block["kind"]:
        raise ValueError("needs a kind, for example `source: {kind: files, path: docs}`")
    split_source(block)
    return block


SourceBlock = Annotated[dict[str, Any], Holds(BesideSource), AfterValidator(checked_source)]
