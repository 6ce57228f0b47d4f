"""cross-encoder/…: its name, its options and its errors everywhere; a tiny model for real where torch is installed."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from regen import registry
from regen.errors import ConfigError, MissingExtra, RerankerError
from regen.ports.reranking import Reranker
from regen.testing.rerankers import QUERY, TEXTS, RerankerConformance

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


class Stand:
    """Stands in for the vendor's class: what it was made with, and what it was asked."""

    made: ClassVar[list[Stand]] = []
    labels: ClassVar[int] = 1
    fails: ClassVar[Exception | None] = None

    def __init__(self, source: str, **options: Any) -> None:
        if isinstance(self.fails, OSError):
            raise self.fails
        self.source, self.options = source, options
        self.config = SimpleNamespace(num_labels=self.labels)
        self.asked: list[tuple[Sequence[tuple[str, str]], dict[str, Any]]] = []
        self.made.append(self)

    def predict(self, pairs: Sequence[tuple[str, str]], **options: Any) -> Any:
        """Minus the text's length."""
        if self.fails is not None:
            raise self.fails
        self.asked.append((pairs, options))
        return np.array([-float(len(text)) for _, text in pairs])


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> type[Stand]:
    """The stand-in, in the place of sentence_transformers."""
    module = ModuleType("sentence_transformers")
    module.CrossEncoder = Stand  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    for name, value in (("made", []), ("labels", 1), ("fails", None)):
        monkeypatch.setattr(Stand, name, value)
    return Stand


@pytest.mark.parametrize(
    ("name", "source"),
    [("ms-marco-MiniLM-L6-v2", "cross-encoder/ms-marco-MiniLM-L6-v2"), ("BAAI/bge-reranker-base",) * 2],
)
def test_names_of_the_hub(vendor: type[Stand], name: str, source: str) -> None:
    """A name without a slash is of the usual organisation; the model is loaded once, by the first call."""
    reranker = registry.make_reranker(f"cross-encoder/{name}", {"max_length": 128, "device": "cpu", "batch_size": 4})
    assert vendor.made == []
    assert reranker.rerank(QUERY, ["abc", "a"]).tolist() == [-3, -1]
    reranker.rerank(QUERY, ["x"])
    (made,) = vendor.made
    assert (made.source, made.options["max_length"], made.options["device"]) == (source, 128, "cpu")
    assert made.asked[0][0] == [(QUERY, "abc"), (QUERY, "a")]
    assert made.asked[0][1]["batch_size"] == 4
    assert reranker.name == f"cross-encoder/{name}"


@pytest.mark.parametrize(("name", "options"), [("./tiny", {}), ("acme/tiny", {"path": "tiny"})])
def test_a_relative_folder_starts_at_the_project(
    vendor: type[Stand], tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    """By the name or by the option; where there is no folder, that is said and nothing is looked for on the hub."""
    reranker = registry.make_reranker(f"cross-encoder/{name}", options, root=tmp_path)
    with pytest.raises(ConfigError, match="there is no folder"):
        reranker.rerank(QUERY, ["x"])
    (tmp_path / "tiny").mkdir()
    reranker.rerank(QUERY, ["x"])
    assert Path(vendor.made[0].source).resolve() == (tmp_path / "tiny").resolve()


def test_a_classifier_is_refused(vendor: type[Stand], monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of three classes says nothing of relevance."""
    monkeypatch.setattr(vendor, "labels", 3)
    with pytest.raises(ConfigError, match="gives 3 scores a pair"):
        registry.make_reranker("cross-encoder/nli").rerank(QUERY, ["x"])


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("out of memory\nTraceback"), "cannot compute: out of memory$"),
        (OSError("404"), "cannot be loaded"),
    ],
)
def test_failures_say_what_to_do(
    vendor: type[Stand], monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    """Too little memory, and a model that is not there, each with its way out."""
    monkeypatch.setattr(vendor, "fails", error)
    with pytest.raises(RerankerError) as caught:
        registry.make_reranker("cross-encoder/x").rerank(QUERY, ["x"])
    assert re.search(message, caught.value.message)
    assert "options." in (caught.value.hint or "")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint is the command that installs it."""
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtra) as caught:
        registry.make_reranker("cross-encoder/x").rerank(QUERY, ["x"])
    assert caught.value.hint == "pip install 'regen[sentence-transformers]'"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cross-encoder/", {}, "names no cross-encoder"),
        ("cross-encoder/x", {"batch_size": 0}, "options.batch_size is 0"),
        ("cross-encoder/x", {"max_length": "long"}, "options.max_length is 'long'"),
        ("cross-encoder/x", {"devise": "cpu"}, "its options: path, device, batch_size, max_length"),
    ],
)
def test_wrong_names_and_options(name: str, options: dict[str, Any], message: str) -> None:
    """What cannot be is said at once."""
    with pytest.raises(ConfigError, match=message):
        registry.make_reranker(name, options)


# ── for real ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two small layers with random weights and a vocabulary of characters, saved as a model folder."""
    torch = pytest.importorskip("torch", reason="make test-all installs it")
    pytest.importorskip("sentence_transformers", reason="make test-all installs it", exc_type=ImportError)
    transformers: Any = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("cross-encoder")
    letters = [chr(code) for code in range(33, 127)]
    words = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    torch.manual_seed(7)
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, num_labels=1, initializer_range=0.5,
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    transformers.BertTokenizer(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
class TestTinyModel(RerankerConformance):
    understands = False
    tolerance = 1e-3

    @pytest.fixture(autouse=True)
    def _folder(self, tiny: Path) -> None:
        self.folder = tiny

    def make_reranker(self) -> Reranker:
        """Make a reranker of the folder."""
        return registry.make_reranker("cross-encoder/acme/tiny", {"path": str(self.folder), "device": "cpu"})

    def test_scores_are_the_librarys(self, reranker: Reranker) -> None:
        """What the library itself predicts for the pairs, and not all the same."""
        from sentence_transformers import CrossEncoder

        expected = CrossEncoder(str(self.folder), device="cpu").predict([(QUERY, text) for text in TEXTS])
        found = reranker.rerank(QUERY, TEXTS)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        assert len({round(score, 4) for score in found.tolist()}) == len(TEXTS)
