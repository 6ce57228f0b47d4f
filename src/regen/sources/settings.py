"""Reading the ``source:`` block of regen.yaml: unknown keys and wrong types are errors that say what is valid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from regen.errors import ConfigError


class SourceSettings:
    """The keys of one ``source:`` block, each checked as it is read. ``kind`` itself is not a setting.

    A key set to null counts as not set. Raises ConfigError for keys that are not in ``valid``.
    """

    def __init__(self, kind: str, settings: Mapping[str, Any], valid: Sequence[str]) -> None:
        self._kind = kind
        for key in settings:
            if key not in valid and key != "kind":
                raise ConfigError(f"source.{key}: the source {kind!r} has no such setting", hint=_hint(key, valid))
        self._values = {key: value for key, value in settings.items() if value is not None}

    def path(self, key: str, root: Path) -> Path:
        """A required path; a relative one starts at ``root``, a leading ``~`` is the home folder."""
        value = self.text(key, "")
        if not value:
            raise ConfigError(f"source.{key} is missing", hint=f"source: {{kind: {self._kind}, {key}: …}}")
        return root / Path(value).expanduser()

    def text(self, key: str, default: str) -> str:
        """A string that is not empty."""
        return default if self._absent(key) else self._text(key, self._values[key])

    def optional_text(self, key: str) -> str | None:
        """A string that is not empty, or None."""
        return None if self._absent(key) else self._text(key, self._values[key])

    def texts(self, key: str, default: Sequence[str]) -> list[str]:
        """One string or a list of strings."""
        if self._absent(key):
            return list(default)
        value = self._values[key]
        return [self._text(key, item) for item in (value if isinstance(value, list | tuple) else [value])]

    def optional_texts(self, key: str) -> list[str] | None:
        """One string or a list of strings, or None."""
        return None if self._absent(key) else self.texts(key, ())

    def number(self, key: str, default: int) -> int:
        """A whole number of at least 1."""
        return default if self._absent(key) else self._number(key)

    def optional_number(self, key: str) -> int | None:
        """A whole number of at least 1, or None."""
        return None if self._absent(key) else self._number(key)

    def _absent(self, key: str) -> bool:
        return key not in self._values

    def _text(self, key: str, value: object) -> str:
        if isinstance(value, Path):
            return str(value)
        if not isinstance(value, str) or not value:
            raise ConfigError(f"source.{key} is {value!r}", hint="a text that is not empty is valid; quote it")
        return value

    def _number(self, key: str) -> int:
        value = self._values[key]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"source.{key} is {value!r}", hint="a whole number of at least 1 is valid")
        return value


def _hint(key: str, valid: Sequence[str]) -> str:
    close = get_close_matches(str(key), valid, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"{meant}valid settings: {', '.join(sorted(valid))}"
