"""regen.yaml as frozen settings: every mistake is an error that names its place and what is valid.

``load_settings`` reads a file, ``parse_settings`` a text; ``render_template`` is what ``regen init`` writes.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from regen.config.document import YamlDocument, parse_yaml
from regen.config.explain import closest, explain, place, suggestion
from regen.config.migration import MigrationSettings
from regen.config.models import (
    DEFAULT_CATALOG,
    DEFAULT_STORE,
    CatalogSettings,
    ChangeSettings,
    ChunkingSettings,
    EmbeddingSettings,
    EvaluationSettings,
    GateCondition,
    LimitSettings,
    MetadataSettings,
    Settings,
    StoreSettings,
)
from regen.config.quantities import parse_duration, parse_share
from regen.config.secrets import find_secrets, has_password, mask_credentials
from regen.config.template import Detected, detect, render_adopting, render_template
from regen.errors import ConfigError

__all__ = [
    "DEFAULT_CATALOG",
    "DEFAULT_STORE",
    "CatalogSettings",
    "ChangeSettings",
    "ChunkingSettings",
    "Detected",
    "EmbeddingSettings",
    "EvaluationSettings",
    "GateCondition",
    "LimitSettings",
    "MetadataSettings",
    "MigrationSettings",
    "Settings",
    "StoreSettings",
    "closest",
    "detect",
    "load_settings",
    "mask_credentials",
    "parse_duration",
    "parse_settings",
    "parse_share",
    "render_adopting",
    "render_template",
    "suggestion",
]


def load_settings(path: str | Path = "regen.yaml") -> Settings:
    """Read a regen.yaml. Raises ConfigError that names the file, the line, what is valid and the closest match."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"there is no {path}", hint="write one with `regen init`, or name another with --config FILE"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint="--config names a file") from None
    return parse_settings(text, root=path.parent, name=str(path))


def parse_settings(text: str, *, root: str | Path, name: str = "regen.yaml") -> Settings:
    """Settings from the text of a regen.yaml whose relative paths start at ``root``. Raises ConfigError."""
    document = parse_yaml(text, name)
    _refuse_secrets(document, name)
    try:
        settings = Settings.model_validate(dict(document.values))
    except ValidationError as error:
        raise explain(error, document, Settings, name) from None
    settings._root = Path(root).resolve()  # noqa: SLF001 - the one place that sets it
    return settings


def _refuse_secrets(document: YamlDocument, name: str) -> None:
    for path in find_secrets(document.values):
        key, line = str(path[-1]), document.line_of(path)
        where = f"{name}:{line}: {place(path)}" if line else f"{name}: {place(path)}"
        if key == "url" or has_password(str(_at(document, path))):
            raise ConfigError(
                f"{where} holds a password; secrets never stand in the file",
                hint="leave the password out of the URL; let the environment or the driver's password file give it",
            )
        raise ConfigError(
            f"{where} holds a secret; secrets never stand in the file",
            hint=f"put it into an environment variable and name that: `{key}_env: NAME`",
        )


def _at(document: YamlDocument, path: tuple[str | int, ...]) -> object:
    value: object = document.values
    for part in path:
        value = value[part] if isinstance(value, dict | list) else None  # type: ignore[index]
    return value
