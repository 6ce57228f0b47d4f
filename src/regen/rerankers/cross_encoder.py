"""``cross-encoder/<model>``: a transformer that reads query and text together, run on this machine.

``cross-encoder/BAAI/bge-reranker-base`` is a model of the hub, a name without a slash one of the organisation
cross-encoder (``cross-encoder/ms-marco-MiniLM-L6-v2``); a name that starts with ``/``, ``./``, ``../`` or ``~`` is a
folder. ``options.path`` says where the files of a model lie without being part of its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np

from regen.errors import ConfigError, MissingExtra, RerankerError
from regen.ports.reranking import Scores

PREFIX: Final = "cross-encoder/"
BATCH_SIZE: Final = 32
EXTRA: Final = "pip install 'regen[sentence-transformers]'"
_PATHS: Final = ("/", "./", "../", "~")


@dataclass(frozen=True, slots=True)
class Running:
    """How a model is run. ``max_length`` is how many tokens of query and text together it reads (None: all it can).

    ``device`` is torch's word, such as cpu, cuda or mps; None takes the best there is.
    """

    device: str | None = None
    batch_size: int = BATCH_SIZE
    max_length: int | None = None
    hub_revision: str | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        wanted: tuple[tuple[str, object], ...] = (("batch_size", self.batch_size), ("max_length", self.max_length))
        for option, value in wanted:
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ConfigError(f"options.{option} is {value!r}", hint="a whole number from 1")


class CrossEncoderReranker:
    """A cross-encoder of sentence-transformers. The weights are loaded by the first call, which takes seconds.

    Thread-safe, one computation at a time.
    """

    def __init__(self, model: str, running: Running | None = None, *, path: str | Path | None = None) -> None:
        self._model, self._running = model, running or Running()
        self._path = None if path is None else Path(path)
        self._lock = Lock()
        self._loaded: Any = None

    def __repr__(self) -> str:
        return f"CrossEncoderReranker({self._model!r})"

    @classmethod
    def from_name(
        cls,
        name: str,
        *,
        path: str | Path | None = None,
        device: str | None = None,
        batch_size: int = BATCH_SIZE,
        max_length: int | None = None,
        hub_revision: str | None = None,
        trust_remote_code: bool = False,
        root: str | Path = ".",
    ) -> CrossEncoderReranker:
        """Read ``cross-encoder/ms-marco-MiniLM-L6-v2`` back; relative paths start at ``root``. Raises ConfigError."""
        model = name.removeprefix(PREFIX)
        if not name.startswith(PREFIX) or not model:
            raise ConfigError(f"{name!r} names no cross-encoder", hint=f"{PREFIX}ms-marco-MiniLM-L6-v2")
        where = path if path is not None else model if model.startswith(_PATHS) else None
        placed = None if where is None else Path(root).absolute() / Path(where).expanduser()
        return cls(model, Running(device, batch_size, max_length, hub_revision, trust_remote_code), path=placed)

    @property
    def name(self) -> str:
        """``cross-encoder/`` and the model's name."""
        return PREFIX + self._model

    def rerank(self, query: str, texts: Sequence[str]) -> Scores:
        """The model's scores of the pairs, shape (len(texts),). Raises MissingExtra, ConfigError, RerankerError."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            try:
                found = self._loaded.predict(
                    [(query, text) for text in texts],
                    batch_size=self._running.batch_size,
                    show_progress_bar=False,
                    convert_to_numpy=True,
                )
            except RuntimeError as error:  # of torch: too little memory, a broken device
                raise RerankerError(
                    f"{self.name} cannot compute: {str(error).partition(chr(10))[0]}",
                    hint=f"lower options.batch_size ({self._running.batch_size}) or options.max_length",
                ) from error
        scores = np.asarray(found, dtype=np.float32)
        return scores[:, 0] if scores.ndim == 2 and scores.shape[1] == 1 else scores

    def _load(self) -> Any:
        try:
            from sentence_transformers import CrossEncoder  # noqa: PLC0415 - takes seconds and is not always needed
        except ModuleNotFoundError as error:
            raise MissingExtra(f"the library {error.name!r} is not installed", hint=EXTRA) from None
        running, source = self._running, self._source
        if self._path is not None and not self._path.is_dir():
            raise ConfigError(
                f"{self.name}: there is no folder {self._path}", hint="options.path names the model's files"
            )
        try:
            model = CrossEncoder(
                source,
                device=running.device,
                max_length=running.max_length,
                revision=running.hub_revision,
                trust_remote_code=running.trust_remote_code,
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise RerankerError(
                f"the model {source} cannot be loaded: {type(error).__name__}: {error}",
                hint="is the name right, and can the hub be reached? options.path names a folder instead",
            ) from error
        labels = int(model.config.num_labels)
        if labels != 1:
            raise ConfigError(
                f"{self.name} gives {labels} scores a pair: it classifies, and says nothing of relevance",
                hint="take a model with one output, such as cross-encoder/ms-marco-MiniLM-L6-v2",
            )
        return model

    @property
    def _source(self) -> str:
        if self._path is not None:
            return str(self._path)
        return self._model if "/" in self._model else PREFIX + self._model
