"""Finds a model of the hub on this machine, and loads the weights of a sentence-transformers model once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Final, Literal
from weakref import WeakValueDictionary

import numpy as np

from regen.embedders.model_folder import ModelFolder
from regen.errors import ConfigError, EmbedderError, MissingExtra
from regen.ports import Vectors

EXTRA: Final = "pip install 'regen[sentence-transformers]'"
_OFFLINE: Final = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_ON: Final = ("1", "on", "yes", "true")
_Key = tuple[str, str | None, str, str | None, bool]


class Loaded:
    """A model in memory. One computation at a time: its tokenizer and its device are not made for several."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._lock = Lock()

    @property
    def dimensions(self) -> int:
        """The length of a vector."""
        return len(self.encode(["a"], "document", 1)[0])

    def encode(self, texts: list[str], task: Literal["document", "query"], batch_size: int) -> Vectors:
        """Vectors of shape (len(texts), dimensions), without any prompt. Raises EmbedderError for too little memory."""
        # Models with two towers choose by the task; releases before 5.0 know one way only.
        encode = getattr(self._model, f"encode_{task}", self._model.encode)
        try:
            with self._lock:
                found = encode(texts, prompt="", batch_size=batch_size, show_progress_bar=False, convert_to_numpy=True)
        except RuntimeError as error:
            if type(error).__name__ != "OutOfMemoryError":
                raise
            raise EmbedderError(
                f"the model's device has too little memory: {error}",
                hint=f"lower options.batch_size ({batch_size}) or chunking.max_tokens, or choose options.dtype float16",
            ) from None
        return np.asarray(found, dtype=np.float32)

    def tokenizer(self) -> str:
        """The fast tokenizer as JSON. Raises EmbedderError if the model has none."""
        backend = getattr(self._model.tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise EmbedderError(
                "the model has no fast tokenizer, so where its tokens start cannot be told",
                hint="save it with a tokenizer.json",
            )
        return str(backend.to_str())


_loaded: Final[WeakValueDictionary[_Key, Loaded]] = WeakValueDictionary()
_loading: Final = Lock()


def load(source: str, *, device: str | None, dtype: str, hub_revision: str | None, trusted: bool) -> Loaded:
    """The model of a folder or of the hub. Objects that run the same model in the same way share it.

    Raises MissingExtra, ConfigError for a model or device that is not there, EmbedderError for files that are broken.
    """
    key = (source, device, dtype, hub_revision, trusted)
    with _loading:
        model = _loaded.get(key)
        if model is None:
            model = _loaded[key] = Loaded(_load(source, device, dtype, hub_revision, trusted=trusted))
        return model


def locate(name: str, revision: str | None) -> ModelFolder | None:
    """The folder of a model in the hub's cache, None if it must be downloaded first.

    Raises ConfigError when it is not there and downloads are switched off.
    """
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - the vendor is imported on first use only
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingExtra("the library 'huggingface_hub' is not installed", hint=EXTRA) from None
    try:
        folder = ModelFolder(Path(snapshot_download(name, revision=revision, local_files_only=True)))
        if folder.complete:
            return folder
    except HFValidationError as error:
        raise ConfigError(f"{name!r} is no name of the hub: {error}", hint="a folder is written ./like/this") from None
    except (LocalEntryNotFoundError, ConfigError):
        pass  # nothing of it, or the beginning of a download, is there
    if any(os.environ.get(name, "").lower() in _ON for name in _OFFLINE):
        raise _not_here(name)
    return None


def _not_here(name: str) -> ConfigError:
    return ConfigError(
        f"the model {name} is not on this machine, and downloads are switched off (HF_HUB_OFFLINE)",
        hint=f"run `hf download {name}` once where there is a network, or name a folder with its files by options.path",
    )


def _load(source: str, device: str | None, dtype: str, hub_revision: str | None, *, trusted: bool) -> Any:
    try:
        import torch  # noqa: PLC0415 - takes seconds and is not always needed
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtra(f"the library {error.name!r} is not installed", hint=EXTRA) from None
    if device is not None:
        _require_device(torch, device)
    try:
        with _quiet():
            model = SentenceTransformer(source, device=device, revision=hub_revision, trust_remote_code=trusted)
    except (OSError, ValueError, RuntimeError) as error:
        raise EmbedderError(
            f"the model {source} cannot be loaded: {type(error).__name__}: {error}",
            hint="is the name right, and can the hub be reached? options.path names a folder with the files instead",
        ) from error
    return model.to(getattr(torch, dtype)).eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the vendor's progress bar out of ours."""
    from transformers import utils  # noqa: PLC0415 - loaded by now

    logging: Any = utils.logging  # its functions have no types, where it is installed
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _require_device(torch: Any, device: str) -> None:
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"options.device is {device!r}, which this machine or this build of torch does not have: {reason}",
            hint="cpu works everywhere; leave device out for the best there is",
        ) from None
