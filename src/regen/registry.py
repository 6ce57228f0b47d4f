"""Names to adapters: the only module that knows them, and only as strings.

A name is looked up in the tables here, then among the installed entry points (groups ``regen.sources``,
``regen.embedders``, ``regen.stores``, …). ``python:module:Name`` names a class, a factory or an instance by import
path; the project's folder comes first on the path while it is imported.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final, cast

from regen.core.chunking import Chunker
from regen.core.recipe import Chunking
from regen.errors import ConfigError, MissingExtra
from regen.ports import Embedder, Source, Store, VectorCache
from regen.ports.catalog import Catalog
from regen.ports.judges import Judge, Writer
from regen.ports.reranking import Encoder, Reranker


@dataclass(frozen=True, slots=True)
class Adapter:
    """Where an adapter is (``module:Name``), and the extra that brings its vendor, None when regen itself does."""

    target: str
    extra: str | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of adapter: what it is called in messages, where it is said in regen.yaml, its names and its group."""

    word: str
    key: str
    adapters: Mapping[str, Adapter]
    group: str
    form: str

    def names(self) -> list[str]:
        """Every valid name, installed entry points included."""
        return sorted({*self.adapters, *(point.name for point in entry_points(group=self.group))})


SOURCES: Final = Kind(
    "source",
    "source.kind",
    {
        "files": Adapter("regen.sources.files:FilesSource"),
        "jsonl": Adapter("regen.sources.jsonl:JsonlSource"),
        "push": Adapter("regen.sources.push:PushSource"),
        "docstrings": Adapter("regen.sources.docstrings:DocstringsSource"),
    },
    "regen.sources",
    "{name}",
)
EMBEDDERS: Final = Kind(
    "embedding model",
    "embedding.model",
    {
        "wordllama": Adapter("regen.embedders.wordllama:WordLlamaEmbedder"),
        "hashing": Adapter("regen.embedders.hashing:HashingEmbedder"),
        "openai": Adapter("regen.embedders.openai_api:OpenAIEmbedder", "openai"),
        "sentence-transformers": Adapter(
            "regen.embedders.sentence_transformers:SentenceTransformersEmbedder", "sentence-transformers"
        ),
    },
    "regen.embedders",
    "{name}/…",
)
STORES: Final = Kind(
    "store",
    "store.url",
    {
        "chroma": Adapter("regen.stores.chroma:ChromaStore", "chroma"),
        "elasticsearch": Adapter("regen.stores.elasticsearch:ElasticsearchStore", "elasticsearch"),
        "lancedb": Adapter("regen.stores.lancedb:LanceStore"),
        "s3": Adapter("regen.stores.lancedb:LanceStore"),
        "gs": Adapter("regen.stores.lancedb:LanceStore"),
        "az": Adapter("regen.stores.lancedb:LanceStore"),
        "memory": Adapter("regen.stores.memory:MemoryStore"),
        "opensearch": Adapter("regen.stores.opensearch:OpenSearchStore", "opensearch"),
        "qdrant": Adapter("regen.stores.qdrant:QdrantStore", "qdrant"),
        "milvus": Adapter("regen.stores.milvus:MilvusStore", "milvus"),
        "postgresql": Adapter("regen.stores.pgvector:PgvectorStore", "pgvector"),
        "weaviate": Adapter("regen.stores.weaviate:WeaviateStore", "weaviate"),
        "pinecone": Adapter("regen.stores.pinecone:PineconeStore", "pinecone"),
    },
    "regen.stores",
    "{name}://…",
)
CATALOGS: Final = Kind(
    "catalog",
    "catalog.url",
    {
        "sqlite": Adapter("regen.catalog.sqlite:open_catalog"),
        "postgresql": Adapter("regen.catalog.postgres:open_catalog", "pgvector"),
    },
    "regen.catalogs",
    "{name}://…",
)
JUDGES: Final = Kind(
    "judge",
    "evaluation.judge",
    {
        "lexical": Adapter("regen.judges.lexical:LexicalJudge"),
        "openai": Adapter("regen.judges.openai_chat:ChatJudge", "openai"),
    },
    "regen.judges",
    "{name}",
)
WRITERS: Final = Kind(
    "writer",
    "evaluation.writer",
    {"openai": Adapter("regen.judges.openai_chat:ChatWriter", "openai")},
    "regen.writers",
    "{name}/…",
)
RERANKERS: Final = Kind(
    "reranker",
    "rerank.model",
    {
        "cross-encoder": Adapter("regen.rerankers.cross_encoder:CrossEncoderReranker"),
        "http": Adapter("regen.rerankers.http_api:HttpReranker"),
        "bi-encoder": Adapter("regen.rerankers.bi_encoder:BiEncoderReranker"),
    },
    "regen.rerankers",
    "{name}/…",
)
_ADAPT: Final = Adapter("regen.embedders.adapted:adapt")
_ADAPT_JUDGE: Final = Adapter("regen.judges.langchain_chat:adapt_judge")
_ADAPT_WRITER: Final = Adapter("regen.judges.langchain_chat:adapt_writer")
_CHECKED: Final = Adapter("regen.embedders.checked:CheckedEmbedder")
_PRICED: Final = Adapter("regen.embedders.priced:PricedEmbedder")
_LIMITED: Final = Adapter("regen.embedders.limits:RateLimitedEmbedder")
_RETRYING: Final = Adapter("regen.embedders.retrying:RetryingEmbedder")
_COPY: Final = Adapter("regen.catalog.copying:copy_catalog")
_CACHE: Final = Adapter("regen.embedders.cached:EmbeddingCache")
_CHECKED_RERANKER: Final = Adapter("regen.rerankers.checked:CheckedReranker")
_PYTHON: Final = "python:"


def make_source(settings: Mapping[str, Any], root: str | Path) -> Source:
    """The source of a ``source:`` block; relative paths start at ``root``.

    Raises ConfigError for an unknown kind, unknown keys, or an object that is no source.
    """
    root, kind = Path(root), settings.get("kind")
    if not isinstance(kind, str):
        raise ConfigError(f"source.kind is {kind!r}", hint=f"valid kinds: {', '.join(SOURCES.names())}")
    if not kind.startswith(_PYTHON):
        return cast("Source", _find(SOURCES, kind, kind).from_settings(settings, root))
    found = load_python(kind, root)
    if hasattr(found, "from_settings"):
        return cast("Source", _checked(found.from_settings(settings, root), Source, kind))
    free = {key: settings[key] for key in settings if key != "kind"}
    return cast("Source", _checked(_made(found, free, kind, Source), Source, kind))


def make_embedder(
    model: str | object, options: Mapping[str, Any] | None = None, *, root: str | Path = ".", name: str | None = None
) -> Embedder:
    """The embedder of a model's name, or around any object with ``embed_documents`` and ``embed_query``.

    ``options`` are handed to the embedder. Raises ConfigError for an unknown model or options.
    """
    options = dict(options or {})
    if not isinstance(model, str):
        return cast("Embedder", _load(_ADAPT)(model, name or _own_name(model)))
    if model.startswith(_PYTHON):
        made = _made(load_python(model, Path(root)), options, model, Embedder, enough=("embed_documents",))
        return cast("Embedder", _load(_ADAPT)(made, name or model))
    factory = _find(EMBEDDERS, model.partition("/")[0], model).from_name
    _check_arguments(factory, (model,), options, model)
    placed = {"root": Path(root)} if _takes(factory, "root") else {}  # only a model that lies in files needs it
    return cast("Embedder", factory(model, **placed | options))


def _own_name(model: object) -> str:
    """What tells one object's model from another's: its class, and the model that it says it is of.

    LangChain's and others' say so as ``model_name`` or ``model``: two models of one class must never be taken for one.
    """
    stated = (getattr(model, attribute, None) for attribute in ("model_name", "model", "model_id"))
    own = next((value for value in stated if isinstance(value, str) and value), None)
    return type(model).__name__ if own is None else f"{type(model).__name__}/{own}"


def wrap_embedder(
    embedder: Embedder,
    *,
    requests_per_minute: int | None,
    tokens_per_minute: int | None,
    attempts: int,
    price_per_million_tokens: float | None,
) -> Embedder:
    """An embedder held to its contract, retried, limited and priced, from the inside out."""
    wrapped = _load(_CHECKED)(embedder)
    if price_per_million_tokens is not None:
        wrapped = _load(_PRICED)(wrapped, price_per_million_tokens)
    if requests_per_minute is not None or tokens_per_minute is not None:
        wrapped = _load(_LIMITED)(wrapped, requests_per_minute, tokens_per_minute)
    return cast("Embedder", _load(_RETRYING)(wrapped, attempts))


def make_cache(path: str | Path) -> VectorCache:
    """The embedding cache in a file, made if it is not there."""
    return cast("VectorCache", _load(_CACHE)(path))


def make_chunker(name: str, settings: Chunking, root: str | Path) -> Chunker:
    """The chunker that ``python:module:Name`` names: made with ``settings`` if it takes them. Raises ConfigError."""
    found = load_python(name, Path(root))
    made = _made(found, {"settings": settings}, name, Chunker) if isinstance(found, type) else found
    return cast("Chunker", _checked(made, Chunker, name))


def make_store(url: str, root: str | Path) -> Store:
    """The vector store of a URL such as ``lancedb://.regen/vectors``. Raises ConfigError for an unknown scheme."""
    if url.startswith(_PYTHON):
        return cast("Store", _checked(_made(load_python(url, Path(root)), {}, url, Store), Store, url))
    factory = _find(STORES, _scheme(url, STORES), url).from_url
    # A store that lies nowhere needs no folder to start from.
    return cast("Store", factory(url, root=Path(root)) if _takes(factory, "root") else factory(url))


def require_store(url: str) -> None:
    """Raise ConfigError for a URL that is of no known kind of store; nothing is loaded."""
    if not url.startswith(_PYTHON):
        _finding(STORES, _scheme(url, STORES), url)


def make_catalog(url: str, root: str | Path) -> Catalog:
    """The catalog of a URL such as ``sqlite:///.regen/catalog.db``. Raises ConfigError for an unknown scheme."""
    if url.startswith(_PYTHON):
        return cast("Catalog", _checked(_made(load_python(url, Path(root)), {}, url, Catalog), Catalog, url))
    return cast("Catalog", _find(CATALOGS, _scheme(url, CATALOGS), url)(url, root=Path(root)))


def copy_catalog(origin: str, target: str, root: str | Path) -> dict[str, int]:
    """Copy the catalog of one URL into the empty one of another; how many rows each table has.

    Raises ConfigError for a URL, CatalogError when the target holds anything or the copy differs.
    """
    path = origin.removeprefix("sqlite:///")
    if path != origin and not (Path(root) / path).is_file():  # opening it would make it
        raise ConfigError(f"there is no catalog {origin}", hint=f"looked for {Path(root) / path}")
    with ExitStack() as opened:
        catalogs = []
        for url in (origin, target):
            catalogs.append(make_catalog(url, root))
            opened.callback(catalogs[-1].close)
        return {item.table: item.rows for item in _load(_COPY)(*catalogs)}


def make_judge(name: str | object, options: Mapping[str, Any] | None = None, root: str | Path = ".") -> Judge:
    """The judge of ``lexical``, ``openai/<model>`` or ``python:module:Name``, or around a LangChain chat model.

    ``options`` are handed to the judge. Raises ConfigError for an unknown judge or options.
    """
    return cast("Judge", _made_chat(JUDGES, _ADAPT_JUDGE, Judge, name, dict(options or {}), Path(root)))


def make_writer(name: str | object, options: Mapping[str, Any] | None = None, root: str | Path = ".") -> Writer:
    """The writer of ``openai/<model>`` or ``python:module:Name``, or around a LangChain chat model.

    ``options`` are handed to the writer. Raises ConfigError for an unknown writer or options.
    """
    return cast("Writer", _made_chat(WRITERS, _ADAPT_WRITER, Writer, name, dict(options or {}), Path(root)))


def make_reranker(
    model: str | object,
    options: Mapping[str, Any] | None = None,
    *,
    root: str | Path = ".",
    encoder: Callable[[str, Mapping[str, Any]], Encoder] | None = None,
) -> Reranker:
    """The reranker of a name such as ``cross-encoder/ms-marco-MiniLM-L6-v2``, or of an object, held to its contract.

    ``options`` are handed to the reranker; ``encoder`` makes the model that a bi-encoder orders by. Raises ConfigError.
    """
    options, root = dict(options or {}), Path(root)
    if not isinstance(model, str):
        made = _checked(model, Reranker, type(model).__name__)
    elif model.startswith(_PYTHON):
        made = _checked(_made(load_python(model, root), options, model, Reranker), Reranker, model)
    else:
        factory = _find(RERANKERS, model.partition("/")[0], model).from_name
        given = {"root": root, "encoder": encoder}
        placed = {key: value for key, value in given.items() if _takes(factory, key)}
        _check_arguments(factory, (model,), placed | options, model)
        made = factory(model, **placed | options)
    return cast("Reranker", _load(_CHECKED_RERANKER)(made))


def _made_chat(
    kind: Kind, adapt: Adapter, port: type, name: str | object, options: dict[str, Any], root: Path
) -> object:
    if not isinstance(name, str):
        return _load(adapt)(name)
    if name.startswith(_PYTHON):
        made = _made(load_python(name, root), options, name, port, enough=("invoke",))
        return _load(adapt)(made, name)
    factory = _find(kind, name.partition("/")[0], name).from_name
    _check_arguments(factory, (name,), options, name)
    placed = {"root": root} if _takes(factory, "root") else {}
    return factory(name, **placed | options)


def load_python(name: str, root: str | Path) -> Any:
    """What ``python:module:Name`` names. ``root`` comes first on the import path while the module is imported.

    Raises ConfigError that tells what was looked for and what the module offers.
    """
    module_name, _, attribute = name.removeprefix(_PYTHON).partition(":")
    if not module_name or not attribute:
        raise ConfigError(
            f"{name!r} is not of the form python:module:Name", hint="for example python:my_module:MyClass"
        )
    root = Path(root).resolve()
    _refuse_namesake(module_name, root, name)
    with _first_on_path(root):
        module = _import(module_name, name, root)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            offered = [key for key, value in vars(module).items() if not key.startswith("_") and callable(value)]
            raise ConfigError(
                f"{name}: {module.__file__ or module_name} has no {attribute!r}",
                hint=_hint(attribute, offered, "it offers") if offered else "it offers no class or function",
            )
        found = getattr(found, part)
    return found


def _import(module_name: str, name: str, root: Path) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise ConfigError(
                f"{name}: there is no module {error.name!r}",
                hint=f"looked in {root} and in the installed packages of {sys.prefix}",
            ) from None
        raise ConfigError(
            f"{name}: importing {module_name!r} failed: {error}", hint=f"install what provides {error.name!r}"
        ) from error
    except Exception as error:
        raise ConfigError(
            f"{name}: importing {module_name!r} failed: {type(error).__name__}: {error}",
            hint=f"see it in full with: python -c 'import {module_name}'",
        ) from error


@contextmanager
def _first_on_path(root: Path) -> Iterator[None]:
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(root))


def _refuse_namesake(module_name: str, root: Path, name: str) -> None:
    # Python imports a name once per process: a second project's module of that name would silently be the first one's.
    top = module_name.partition(".")[0]
    spec, loaded = PathFinder.find_spec(top, [str(root)]), sys.modules.get(top)
    if loaded is None or spec is None or spec.origin is None or loaded.__file__ is None:
        return
    if Path(spec.origin).resolve() != Path(loaded.__file__).resolve():
        raise ConfigError(
            f"{name}: a module {top!r} is already loaded from {loaded.__file__}, but {spec.origin} is meant",
            hint="give one of the two another name",
        )


def _made(found: Any, arguments: dict[str, Any], name: str, port: type, *, enough: tuple[str, ...] = ()) -> Any:
    """Make an instance of a class or by a factory; an instance is taken as it is."""
    is_instance = not isinstance(found, type) and (
        not _lacking(found, port) or (bool(enough) and all(hasattr(found, member) for member in enough))
    )
    if is_instance or not callable(found):
        if arguments:
            raise ConfigError(f"{name} is an instance and takes no options: {', '.join(arguments)}")
        return found
    _check_arguments(found, (), arguments, name)
    return found(**arguments)


def _takes(call: Any, name: str) -> bool:
    return name in inspect.signature(call).parameters


def _check_arguments(call: Any, given: tuple[Any, ...], options: Mapping[str, Any], name: str) -> None:
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):
        return  # written in C: it will speak for itself
    try:
        signature.bind(*given, **options)
    except TypeError as error:
        valid = [key for index, key in enumerate(signature.parameters) if index >= len(given) and key != "root"]
        hint = f"its options: {', '.join(valid)}" if valid else "it takes no options"
        raise ConfigError(f"{name} cannot be made with these options: {error}", hint=hint) from None


def _checked(made: Any, port: type, name: str) -> Any:
    lacking = _lacking(made, port)
    if lacking:
        raise ConfigError(
            f"{name} gives a {type(made).__name__}, which is no {port.__name__.lower()}: it lacks {', '.join(lacking)}",
            hint=f"implement regen.ports.{port.__name__}",
        )
    return made


def _lacking(made: Any, port: type) -> list[str]:
    return [member for member in dir(port) if not member.startswith("_") and not hasattr(made, member)]


def _scheme(url: str, kind: Kind) -> str:
    scheme, separator, _ = url.partition("://")
    if not separator:
        forms = ", ".join(kind.form.format(name=name) for name in kind.names())
        raise ConfigError(f"{kind.key} {url!r} is not a URL", hint=f"valid forms: {forms}, python:module:Name")
    return scheme.partition("+")[0].lower()


def _find(kind: Kind, name: str, full_name: str) -> Any:
    return _finding(kind, name, full_name)()


def _finding(kind: Kind, name: str, full_name: str) -> Callable[[], Any]:
    """What loads the adapter of a name. Raises ConfigError for a name that is not known."""
    if name in kind.adapters:
        return partial(_load, kind.adapters[name])
    for point in entry_points(group=kind.group):
        if point.name == name:
            return partial(_load_entry_point, point)
    valid = [kind.form.format(name=each) for each in kind.names()]
    near = get_close_matches(name.lower(), kind.names(), n=1, cutoff=0.6)
    meant = f"did you mean {kind.form.format(name=near[0])}? " if near else ""
    raise ConfigError(
        f"{kind.key}: unknown {kind.word} {full_name!r}", hint=f"{meant}valid: {', '.join(valid)}, python:module:Name"
    )


def _load(adapter: Adapter) -> Any:
    module, _, attribute = adapter.target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "regen":
            raise
        command = f"pip install 'regen[{adapter.extra}]'" if adapter.extra else f"pip install {error.name}"
        raise MissingExtra(f"the library {error.name!r} is not installed", hint=command) from None


def _load_entry_point(point: EntryPoint) -> Any:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"the installed adapter {point.name!r} ({point.value}) cannot be loaded: {error}",
            hint=f"its package registers it under {point.group}; reinstall or remove it",
        ) from error


def _hint(word: str, valid: list[str], lead: str) -> str:
    near = get_close_matches(word, valid, n=1, cutoff=0.6)
    listed = f"{lead}: {', '.join(sorted(valid))}"
    return f"did you mean {near[0]!r}? {listed}" if near else listed
