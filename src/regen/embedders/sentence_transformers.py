"""``sentence-transformers/<model>[@dimensions]``: a model of the hub, or a folder, run on this machine.

``sentence-transformers/intfloat/e5-small-v2`` is a model of the hub, a name without a slash one of the organisation
sentence-transformers; a name that starts with ``/``, ``./``, ``../`` or ``~`` is a folder. ``options.path`` says where
the files of a model lie without being part of its name. ``@256`` keeps the first 256 dimensions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from regen.embedders.known_models import find_known
from regen.embedders.model_folder import ModelFolder
from regen.embedders.model_loading import Loaded, load, locate
from regen.errors import ConfigError, EmbedderError, TextRejected
from regen.ports import ModelInfo, Vector, Vectors

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PREFIX: Final = "sentence-transformers/"
BATCH_SIZE: Final = 32
TEXTS_A_CALL: Final = 512

Type = Literal["float32", "float16", "bfloat16"]

_SIZED: Final = re.compile(r"(.+)@([1-9][0-9]*)")
_PATHS: Final = ("/", "./", "../", "~")


@dataclass(frozen=True, slots=True)
class Running:
    """How a model is run: decides how fast, and within rounding not what its vectors are.

    ``device`` is torch's word, such as cpu, cuda or mps; None takes the best there is. ``batch_size`` is how many texts
    are computed at once; ``dtype`` in which numbers.
    """

    device: str | None = None
    batch_size: int = BATCH_SIZE
    dtype: Type = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in get_args(Type):
            raise ConfigError(f"options.dtype is {self.dtype!r}", hint=f"one of {', '.join(get_args(Type))}")
        _require_count("batch_size", self.batch_size)


class SentenceTransformersEmbedder:
    """A transformer on this machine. The weights are loaded when first used, and shared by all objects that run them.

    Thread-safe, one computation at a time. ``info`` and tokens come from the model's files, without torch.
    """

    def __init__(
        self,
        model: str,
        running: Running | None = None,
        *,
        path: str | Path | None = None,
        truncate_dim: int | None = None,
        hub_revision: str | None = None,
        trust_remote_code: bool = False,
        root: str | Path = ".",
    ) -> None:
        """Raises ConfigError for a name or option that cannot be; files are looked for when they are first needed.

        ``path`` is where the model's files lie, ``truncate_dim`` how many dimensions are kept, ``hub_revision`` a
        commit or tag of the hub. Relative paths start at ``root``.
        """
        _require_count("truncate_dim", truncate_dim)
        self._model, self._kept = _split(model, truncate_dim)
        named = self._model if self._model.startswith(_PATHS) else None
        where = path if path is not None else named
        self._path = None if where is None else Path(root).absolute() / Path(where).expanduser()
        self._running = running or Running()
        self._hub_revision, self._trusted = hub_revision, trust_remote_code
        self._lock = Lock()
        self._model_loaded: Loaded | None = None

    def __repr__(self) -> str:
        return f"SentenceTransformersEmbedder({self._model!r})"

    @classmethod
    def from_name(
        cls,
        name: str,
        *,
        path: str | Path | None = None,
        truncate_dim: int | None = None,
        device: str | None = None,
        batch_size: int = BATCH_SIZE,
        dtype: Type = "float32",
        hub_revision: str | None = None,
        trust_remote_code: bool = False,
        root: str | Path = ".",
    ) -> SentenceTransformersEmbedder:
        """Read ``sentence-transformers/all-MiniLM-L6-v2`` back. Raises ConfigError."""
        if not name.startswith(PREFIX) or not name.removeprefix(PREFIX):
            raise ConfigError(f"{name!r} names no sentence-transformers model", hint=f"{PREFIX}all-MiniLM-L6-v2")
        return cls(
            name.removeprefix(PREFIX),
            Running(device, batch_size, dtype),
            path=path,
            truncate_dim=truncate_dim,
            hub_revision=hub_revision,
            trust_remote_code=trust_remote_code,
            root=root,
        )

    @cached_property
    def info(self) -> ModelInfo:
        """Constant, read from the model's files; the revision is a digest of all that makes the vectors."""
        folder, known = self._folder, find_known(self._hub_name)
        size = folder.dimensions or self._loaded().dimensions
        if self._kept is not None and self._kept > size:
            raise ConfigError(
                f"{PREFIX}{self._model} has {size} dimensions, not {self._kept}", hint=f"from 1 to {size}"
            )
        kept = self._kept or size
        document, query = folder.prompts if any(folder.prompts) or not known else (
            known.document_prefix, known.query_prefix,
        )  # fmt: skip
        _require_pooled(folder, document + query)
        return ModelInfo(
            name=f"{PREFIX}{self._model}" + ("" if kept == size else f"@{kept}"),
            dimensions=kept,
            revision=folder.digest,
            max_tokens=self._max_tokens(),
            max_batch_texts=TEXTS_A_CALL,
            document_prefix=document,
            query_prefix=query,
            matryoshka=tuple(length for length in (known.matryoshka if known else ()) if length <= kept),
            local=True,
        )

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (len(texts), dimensions), float32; a text longer than ``info.max_tokens`` is cut."""
        return self._encode(texts, "document")

    def embed_query(self, text: str) -> Vector:
        """The vector of a query, shape (dimensions,): for most models what :meth:`embed_documents` gives."""
        vector: Vector = self._encode([text], "query")[0]
        return vector

    def token_starts(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Character offsets of the model's own tokens, without its special tokens and without cutting."""
        for text in texts:
            _require_unicode(text)
        found = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        starts = (np.array([start for start, _ in one.offsets], dtype=np.int64) for one in found)
        return [np.maximum.accumulate(each) if each.size else each for each in starts]

    @property
    def _hub_name(self) -> str:
        return self._model if "/" in self._model else PREFIX + self._model

    @cached_property
    def _folder(self) -> ModelFolder:
        if self._path is not None:
            return ModelFolder(self._path)
        found = locate(self._hub_name, self._hub_revision)
        if found is None:
            self._loaded()  # downloads it
            found = locate(self._hub_name, self._hub_revision)
        if found is None:
            raise EmbedderError(f"the files of {self._hub_name} are not in the hub's cache although it was loaded")
        return found

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        """The model's tokenizer, a copy of our own: the one that the model uses changes its settings at every call."""
        from tokenizers import Tokenizer  # noqa: PLC0415 - the vendor is imported on first use only

        file = self._folder.tokenizer
        made = Tokenizer.from_file(str(file)) if file else Tokenizer.from_str(self._loaded().tokenizer())
        made.no_padding()
        made.no_truncation()
        return made

    def _max_tokens(self) -> int | None:
        """How many tokens of a text fit beside the special ones."""
        limit = self._folder.max_sequence
        return None if limit is None else limit - int(self._tokenizer.num_special_tokens_to_add(False))

    def _loaded(self) -> Loaded:
        with self._lock:
            if self._model_loaded is None:
                self._model_loaded = load(
                    str(self._path or self._hub_name),
                    device=self._running.device,
                    dtype=self._running.dtype,
                    hub_revision=self._hub_revision,
                    trusted=self._trusted,
                )
            return self._model_loaded

    def _encode(self, texts: Sequence[str], task: Literal["document", "query"]) -> Vectors:
        kept = self.info.dimensions
        if not texts:
            return np.empty((0, kept), dtype=np.float32)
        for text in texts:
            _require_unicode(text)
        vectors = self._loaded().encode(list(texts), task, self._running.batch_size)
        return np.ascontiguousarray(vectors[:, :kept])


def _split(model: str, truncate_dim: int | None) -> tuple[str, int | None]:
    """The model's own name, and the dimensions that its name or the option keeps."""
    sized = _SIZED.fullmatch(model)
    name, kept = (sized[1], int(sized[2])) if sized else (model, None)
    if kept and truncate_dim and kept != truncate_dim:
        raise ConfigError(f"{PREFIX}{model} keeps {kept} dimensions, options.truncate_dim {truncate_dim}")
    # The organisation of that name may be written or left out; the shorter form is the model's name.
    return name.removeprefix(PREFIX), kept or truncate_dim


def _require_pooled(folder: ModelFolder, prefixes: str) -> None:
    if prefixes and not folder.pools_prompts:
        raise ConfigError(
            f"the model in {folder.path} leaves prompts out of its vectors, but regen's prefixes are part of the text",
            hint="set include_prompt to true in the Pooling config.json, or take a model without prompts",
        )


def _require_count(option: str, value: Any) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ConfigError(f"options.{option} is {value!r}", hint="a whole number from 1")


def _require_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TextRejected(
            f"a text is not valid Unicode: {error.reason} at character {error.start}",
            hint="it holds half of a surrogate pair; remove or replace it",
        ) from None
