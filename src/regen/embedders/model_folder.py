"""What the files of a sentence-transformers model say of it, read without loading the weights or importing torch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any, Final

from regen.errors import ConfigError

DOCUMENT_PROMPTS: Final = ("document", "passage", "corpus", "search_document", "retrieval.passage")
QUERY_PROMPTS: Final = ("query", "search_query", "retrieval.query")
"""Names under which models keep their prompts; the first that is there counts."""

_POOLING_MODES: Final = re.compile(r"pooling_mode_(?!.*prompt)\w+")
_TRAINED: Final = ("*.safetensors", "pytorch_model*.bin")  # the first kind that is there is the one that is loaded
_VOCABULARIES: Final = (
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
_SEQUENCE_CONFIGS: Final = ("sentence_bert_config.json", "sentence_*_config.json")
_IRRELEVANT: Final = ("_name_or_path", "transformers_version", "_commit_hash", "__version__", "name_or_path")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Module:
    """One step of the model: its kind, for example Pooling, and the folder of its files."""

    kind: str
    folder: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its settings, empty if it has none."""
        found: dict[str, Any] = read_json(self.folder / "config.json")
        return found


@dataclass(frozen=True)
class ModelFolder:
    """The folder of one model. What its files do not tell is None."""

    path: Path

    def __post_init__(self) -> None:
        if not any((self.path / name).is_file() for name in ("modules.json", "config.json")):
            found = "there is no such folder" if not self.path.is_dir() else "it has no modules.json and no config.json"
            raise ConfigError(
                f"no sentence-transformers model in {self.path}: {found}",
                hint="name the folder that `SentenceTransformer.save` wrote, or a model of the hub",
            )

    @cached_property
    def modules(self) -> list[Module]:
        """The steps in order. A bare transformer is pooled by its mean, as sentence-transformers does."""
        listed = read_json(self.path / "modules.json", of=list)
        if not listed:
            return [Module("Transformer", self.path), Module("Mean", self.path)]
        return [Module(str(step["type"]).rpartition(".")[2], self.path / step.get("path", "")) for step in listed]

    @property
    def complete(self) -> bool:
        """Whether the weights of every step are there, as far as can be told: an interrupted download lacks them."""
        return any(True for step in self.modules for _ in _weights(step.folder))

    @cached_property
    def dimensions(self) -> int | None:
        """The length of a vector, None if one of the steps is of a kind that is not known here."""
        size: int | None = None
        for step in self.modules:
            if step.kind == "Transformer":
                size = _number(step.config, "hidden_size", "dim", "d_model")
            elif step.kind == "Pooling":
                size = _pooled(step.config)
            elif step.kind == "Dense":
                size = _number(step.config, "out_features")
            elif step.kind not in ("Mean", "Normalize", "Dropout", "LayerNorm"):
                return None
        return size

    @cached_property
    def max_sequence(self) -> int | None:
        """How many tokens the model takes, its special tokens among them."""
        first = self.modules[0]
        if limit := _number(self._sequence_config, "max_seq_length"):
            return limit
        limits = [
            _number(read_json(first.folder / "tokenizer_config.json"), "model_max_length"),
            _number(first.config, "max_position_embeddings"),
        ]
        # A tokenizer without a limit says so by an absurd one.
        return min((limit for limit in limits if limit is not None and limit < 10**9), default=None)

    @cached_property
    def prompts(self) -> tuple[str, str]:
        """What the model was trained to see before a document and before a query; empty where its files say nothing."""
        kept = read_json(self.path / "config_sentence_transformers.json").get("prompts")
        prompts = kept if isinstance(kept, dict) else {}
        document, query = (
            next((str(prompts[name]) for name in names if prompts.get(name)), "")
            for names in (DOCUMENT_PROMPTS, QUERY_PROMPTS)
        )
        return document, query

    @property
    def pools_prompts(self) -> bool:
        """Whether a prompt counts as text; False of models that leave it out of the mean, such as Instructor."""
        return all(step.config.get("include_prompt", True) for step in self.modules if step.kind == "Pooling")

    @property
    def tokenizer(self) -> Path | None:
        """The file of the fast tokenizer, None if there is none."""
        found = self.modules[0].folder / "tokenizer.json"
        return found if found.is_file() else None

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that identify what makes the vectors.

        Counted are steps, settings, weights and vocabulary, by their whole content; not where they lie, which release
        wrote them, README, prompts (which are in the recipe) or other forms of the same weights.
        """
        digest = blake2b(digest_size=8)
        for name, identity in self._identities():
            digest.update(f"{name}\0{identity}\n".encode())
        return digest.hexdigest()

    def _identities(self) -> Iterator[tuple[str, str]]:
        yield "sequence", _canonical(self._sequence_config)
        for number, step in enumerate(self.modules):
            yield f"{number} kind", step.kind
            yield f"{number} config", _canonical(step.config)
            for path in _weights(step.folder):
                yield f"{number} {path.name}", _content(path)
        for path in self._vocabulary():
            yield path.name, _content(path)

    def _vocabulary(self) -> list[Path]:
        folder = self.modules[0].folder
        return (
            [self.tokenizer]
            if self.tokenizer
            else [folder / name for name in _VOCABULARIES if (folder / name).is_file()]
        )

    @cached_property
    def _sequence_config(self) -> dict[str, Any]:
        for pattern in _SEQUENCE_CONFIGS:
            for path in sorted(self.modules[0].folder.glob(pattern)):
                found: dict[str, Any] = read_json(path)
                return found
        return {}


def read_json(path: Path, of: type = dict) -> Any:
    """The object or list that a file holds, an empty one if there is no file. Raises ConfigError for anything else."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return of()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", hint="download or save the model again") from None
    if not isinstance(found, of):
        raise ConfigError(f"{path} holds a {type(found).__name__} instead of a {of.__name__}")
    return found


def _weights(folder: Path) -> list[Path]:
    """The files of a step's weights, in the form that is loaded."""
    for pattern in _TRAINED:
        if found := sorted(folder.glob(pattern)):
            return found
    return []


def _content(path: Path) -> str:
    """SHA-256 of a file. The hub's cache names a large file by it, and then it need not be read."""
    blob = path.resolve().name
    if path.is_symlink() and _SHA256.fullmatch(blob):
        return blob
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _canonical(config: Mapping[str, Any]) -> str:
    return json.dumps({key: config[key] for key in config if key not in _IRRELEVANT}, sort_keys=True)


def _number(config: Mapping[str, Any], *keys: str) -> int | None:
    for key in keys:
        value = config.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return int(value)
    return None


def _pooled(config: Mapping[str, Any]) -> int | None:
    """The length of a pooled vector: one part for each way of pooling."""
    size = _number(config, "embedding_dimension", "word_embedding_dimension")
    modes = config.get("pooling_mode")
    if modes is None:
        modes = [key for key, value in config.items() if _POOLING_MODES.fullmatch(key) and value]
    return None if size is None else size * (max(1, len(modes)) if isinstance(modes, list | tuple) else 1)
