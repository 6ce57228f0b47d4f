"""What the loopback server holds: indexes, aliases and points in time, and what each request does to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import count
from threading import RLock
from typing import Any, Final

import orjson

from regen.testing.api_server import Request
from regen.testing.elastic_fields import Json, Product, ServerError, illegal
from regen.testing.elastic_index import Index, Snapshot
from regen.testing.elastic_queries import searched, sort_keys, sort_order, tested

_NAME: Final = re.compile(r"[^\\/*?\"<>| ,#:A-Z+_-][^\\/*?\"<>| ,#:A-Z]*")
_SNAPSHOTS: Final[dict[Product, str]] = {"elasticsearch": "_pit", "opensearch": "point_in_time"}
_KNOWN_PARAMS: Final = {
    "refresh", "require_alias", "filter_path", "keep_alive", "allow_partial_search_results", "timeout",
    "allow_partial_pit_creation", "wait_for_active_shards", "expand_wildcards", "pretty", "human",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RefuseItems:
    """Refuse these of a bulk request's documents, and do the others. ``which`` is asked with the document's id."""

    which: Callable[[str], bool] = lambda _document: True
    status: int = 429
    kind: str = "es_rejected_execution_exception"
    reason: str = "rejected execution of primary operation"

    def check(self, document: str) -> None:
        """Raise ServerError for a document that is to be refused."""
        if self.which(document):
            raise ServerError(self.status, self.kind, self.reason)


class Cluster:
    """Indexes by name, and the aliases that point at them. Thread-safe: one request at a time."""

    def __init__(self, product: Product, version: str) -> None:
        self.product, self.number = product, version
        self.version = tuple(int(part) for part in version.split(".")[:2])
        self.indexes: dict[str, Index] = {}
        self.aliases: dict[str, set[str]] = {}
        self._snapshots: dict[str, tuple[Index, Snapshot]] = {}
        self._names = count(1)
        self._lock = RLock()

    def answered(self, asked: Request, refusing: RefuseItems | None) -> Json:
        """What is answered. Raises ServerError."""
        if unknown := asked.query.keys() - _KNOWN_PARAMS:
            raise illegal(f"request [{asked.path}] contains unrecognized parameter: [{min(unknown)}]")
        with self._lock:
            return self._routed(asked, refusing)

    def forget_snapshots(self) -> None:
        """Lose all points in time, as a node that is started anew does."""
        with self._lock:
            self._snapshots.clear()

    # ── routes ──

    def _routed(self, asked: Request, refusing: RefuseItems | None) -> Json:
        match asked.method, _parts(asked):
            case "GET", []:
                return self._info()
            case "GET", ["_mapping"]:
                return self._mappings(asked)
            case _, [("_search" | "_bulk" | "_aliases" | "_alias" | "_pit"), *_]:
                return self._of_all(asked, refusing)
            case _, [name]:
                return self._of_index(asked.method, name, _json(asked))
            case _, [name, *rest]:
                return self._below(asked, name, rest, refusing)
        raise self._no_handler(asked)

    def _of_all(self, asked: Request, refusing: RefuseItems | None) -> Json:
        snapshots = _SNAPSHOTS[self.product]
        match asked.method, _parts(asked):
            case "POST", ["_search"]:
                return self._searched(_json(asked), None)
            case "POST" | "PUT", ["_bulk"]:
                return self._bulk(asked, None, refusing)
            case "POST", ["_aliases"]:
                return self._act(_json(asked)["actions"])
            case "GET", ["_alias", alias]:
                return self._alias(alias)
            case "DELETE", [*_, last] if last == snapshots:
                return self._close(_json(asked))
        raise self._no_handler(asked)

    def _of_index(self, method: str, name: str, body: Json) -> Json:
        if method == "PUT":
            return self._create(name, body)
        if method == "DELETE":
            return self._drop(name)
        raise ServerError(405, "", f"Incorrect HTTP method for uri [/{name}] and method [{method}]")

    def _below(self, asked: Request, name: str, rest: list[str], refusing: RefuseItems | None) -> Json:
        match asked.method, rest:
            case "POST" | "PUT", ["_bulk"]:
                return self._bulk(asked, name, refusing)
            case "PUT", ["_mapping"]:
                self.index(name).add_fields(_json(asked))
                return {"acknowledged": True}
            case "GET", ["_mapping"]:
                index = self.index(name)
                return {index.name: {"mappings": index.mapping}}
            case "POST", ["_refresh"]:
                self.index(name).refresh()
                return {"_shards": _SHARDS}
            case "GET" | "POST", ["_count"]:
                return self._counted(name, _json(asked))
            case "POST", ["_search"]:
                return self._searched(_json(asked), name)
            case "POST", [*_, last] if last == _SNAPSHOTS[self.product]:
                return self._open(name, asked)
            case "GET", ["_doc", document]:
                return self._document(name, document)
        raise self._no_handler(asked)

    def _no_handler(self, asked: Request) -> ServerError:
        return ServerError(400, "", f"no handler found for uri [{asked.path}] and method [{asked.method}]")

    # ── indexes and aliases ──

    def index(self, name: str) -> Index:
        """The index of a name or an alias. Raises ServerError when there is none."""
        if name in self.indexes:
            return self.indexes[name]
        targets = self.aliases.get(name)
        if not targets:
            raise ServerError(404, "index_not_found_exception", f"no such index [{name}]")
        if len(targets) > 1:
            raise illegal(f"alias [{name}] has more than one index associated with it")
        return self.indexes[next(iter(targets))]

    def _info(self) -> Json:
        version: Json = {"number": self.number, "build_flavor": "default", "lucene_version": "10.3.1"}
        if self.product == "opensearch":
            version = {"distribution": "opensearch", "number": self.number, "lucene_version": "10.3.1"}
        return {"name": "loopback", "cluster_name": "loopback", "cluster_uuid": "_na_", "version": version}

    def _mappings(self, asked: Request) -> Json:
        found = {name: {"mappings": index.mapping} for name, index in self.indexes.items()}
        pattern = _param(asked, "filter_path")
        return found if not pattern else _filtered(found, pattern.split("."))

    def _create(self, name: str, body: Json) -> Json:
        if not _NAME.fullmatch(name) or len(name.encode()) > 255:
            raise ServerError(400, "invalid_index_name_exception", f"Invalid index name [{name}]")
        if name in self.indexes or name in self.aliases:
            raise ServerError(400, "resource_already_exists_exception", f"index [{name}] already exists")
        index = Index(self.product, (self.version[0], self.version[1]), name, body)
        for alias in body.get("aliases", {}):
            self._check_alias(alias)
        self.indexes[name] = index
        for alias in body.get("aliases", {}):
            self.aliases.setdefault(alias, set()).add(name)
        return {"acknowledged": True, "shards_acknowledged": True, "index": name}

    def _drop(self, name: str) -> Json:
        if name in self.aliases:
            raise illegal(
                f"The provided expression [{name}] matches an alias, specify the corresponding concrete indices"
            )
        self.index(name)
        del self.indexes[name]
        for targets in self.aliases.values():
            targets.discard(name)
        self.aliases = {alias: targets for alias, targets in self.aliases.items() if targets}
        return {"acknowledged": True}

    def _check_alias(self, alias: str) -> None:
        if alias in self.indexes:
            raise ServerError(
                400,
                "invalid_alias_name_exception",
                f"Invalid alias name [{alias}]: an index or data stream exists with the same name as the alias",
            )

    def _act(self, actions: list[Json]) -> Json:
        after = {alias: set(targets) for alias, targets in self.aliases.items()}
        for action in actions:
            ((kind, asked),) = action.items()
            if asked["index"] not in self.indexes:
                raise ServerError(404, "index_not_found_exception", f"no such index [{asked['index']}]")
            if kind == "add":
                self._check_alias(asked["alias"])
                after.setdefault(asked["alias"], set()).add(asked["index"])
            elif kind == "remove":
                if asked["index"] not in after.get(asked["alias"], ()):
                    raise ServerError(404, "aliases_not_found_exception", f"aliases [{asked['alias']}] missing")
                after[asked["alias"]].discard(asked["index"])
            else:
                raise illegal(f"[{kind}] is no action that is understood here")
        self.aliases = {alias: targets for alias, targets in after.items() if targets}
        return {"acknowledged": True, "errors": False}

    def _alias(self, alias: str) -> Json:
        if alias not in self.aliases:
            raise ServerError(404, "", f"alias [{alias}] missing")
        return {name: {"aliases": {alias: {}}} for name in self.aliases[alias]}

    # ── documents ──

    def _bulk(self, asked: Request, name: str | None, refusing: RefuseItems | None) -> Json:
        if not asked.body.endswith(b"\n"):
            raise illegal("The bulk request must be terminated by a newline [\\n]")
        items: list[Json] = []
        touched: dict[str, Index] = {}
        for kind, meta, document in _operations(asked.body):
            about = {"_index": meta.get("_index", name), "_id": meta.get("_id", "")}
            try:
                if refusing is not None:
                    refusing.check(about["_id"])
                index = self._written(str(about["_index"]), kind, required=_param(asked, "require_alias") == "true")
                touched[index.name] = index
                result, status = _done(index, kind, about["_id"], document)
                items.append({kind: {**about, "result": result, "status": status}})
            except ServerError as error:
                cause = {"type": error.kind, "reason": error.reason}
                items.append({kind: {**about, "status": error.status, "error": cause}})
        if _param(asked, "refresh", "false") in {"true", "wait_for", ""}:
            for index in touched.values():
                index.refresh()
        return {"took": 1, "errors": any("error" in next(iter(item.values())) for item in items), "items": items}

    def _written(self, name: str, kind: str, *, required: bool) -> Index:
        """The index to write to. One that is not there is made, as the products do by default."""
        if required and kind != "delete" and name not in self.aliases:
            raise ServerError(
                404,
                "index_not_found_exception",
                f"no such index [{name}] and [require_alias] request flag is [true] and [{name}] is not an alias",
            )
        if name not in self.indexes and name not in self.aliases and kind in {"index", "create"}:
            self._create(name, {})
        return self.index(name)

    def _document(self, name: str, document: str) -> Json:
        index = self.index(name)
        held = index.live.get(document)
        if held is None:
            raise ServerError(404, "", "found: false")
        return {"_index": index.name, "_id": document, "found": True, "_source": index.shown(held, True)}

    # ── reading ──

    def _counted(self, name: str, body: Json) -> Json:
        index = self.index(name)
        test = tested(index, body.get("query", {"match_all": {}}))
        return {"count": sum(test(one) for one in index.seen.documents.values()), "_shards": _SHARDS}

    def _searched(self, body: Json, name: str | None) -> Json:
        pit = body.get("pit")
        if pit is None:
            if name is None:
                raise illegal("a search of all indexes is not understood here")
            index = self.index(name)
            snapshot = index.seen
        elif name is not None:
            raise illegal("[indices] cannot be used with point in time")
        else:
            index, snapshot = self._snapshot(pit["id"])
        found = searched(index, snapshot, body)
        start, size = body.get("from", 0), body.get("size", 10)
        order = sort_order(body, snapshot) if sort_keys(body) else None
        hits = []
        for document, score in found[start : start + size]:
            hit: Json = {"_index": index.name, "_id": document.id, "_score": score if order is None else None}
            shown = index.shown(document, body.get("_source", True))
            hit |= {} if shown is None else {"_source": shown}
            hit |= {} if order is None else {"sort": order(document)}
            hits.append(hit)
        own = {"pit_id": pit["id"]} if pit is not None else {}
        return {"took": 1, "timed_out": False, "_shards": _SHARDS, "hits": {"hits": hits}, **own}

    def _snapshot(self, name: str) -> tuple[Index, Snapshot]:
        if name not in self._snapshots:
            raise ServerError(404, "search_context_missing_exception", f"No search context found for id [{name}]")
        return self._snapshots[name]

    def _open(self, name: str, asked: Request) -> Json:
        if "keep_alive" not in asked.query:
            raise illegal("[keep_alive] is required")
        index = self.index(name)
        own = f"pit{next(self._names)}"
        self._snapshots[own] = index, index.seen
        return {"id": own} if self.product == "elasticsearch" else {"pit_id": own, "_shards": _SHARDS}

    def _close(self, body: Json) -> Json:
        names = [body["id"]] if self.product == "elasticsearch" else body["pit_id"]
        for name in names:
            self._snapshots.pop(name, None)
        return {"succeeded": True, "num_freed": len(names)}


_SHARDS: Final[Json] = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}


def _parts(asked: Request) -> list[str]:
    return [part for part in asked.path.split("/") if part]


def _json(asked: Request) -> Json:
    return dict(orjson.loads(asked.body)) if asked.body else {}


def _param(asked: Request, name: str, default: str = "") -> str:
    return asked.query.get(name, [default])[0]


def _operations(body: bytes) -> Iterator[tuple[str, Json, Json | None]]:
    lines = iter(body.rstrip(b"\n").split(b"\n"))
    for line in lines:
        ((kind, meta),) = orjson.loads(line).items()
        if kind not in {"index", "create", "update", "delete"}:
            raise illegal(
                f"Malformed action/metadata line, expected one of [create, delete, index, update], not [{kind}]"
            )
        if unknown := meta.keys() - {"_index", "_id", "retry_on_conflict", "require_alias", "routing"}:
            raise illegal(f"Action/metadata line contains an unknown parameter [{min(unknown)}]")
        yield kind, meta, None if kind == "delete" else orjson.loads(next(lines))


def _done(index: Index, kind: str, identity: str, document: Json | None) -> tuple[str, int]:
    if kind == "delete":
        return ("deleted", 200) if index.remove(identity) else ("not_found", 404)
    assert document is not None
    if kind == "update":
        if unknown := document.keys() - {"doc", "detect_noop"}:
            raise illegal(f"[UpdateRequest] unknown field [{min(unknown)}]")
        return "updated" if index.update(identity, document["doc"]) else "noop", 200
    is_new = index.put(identity, document, create=kind == "create")
    return ("created", 201) if is_new else ("updated", 200)


def _filtered(found: Any, pattern: list[str]) -> Any:
    """What ``filter_path`` leaves of an answer: branches that lead nowhere are gone."""
    if not pattern:
        return found
    if not isinstance(found, dict):
        return {}
    kept = {name: _filtered(one, pattern[1:]) for name, one in found.items() if fnmatchcase(name, pattern[0])}
    return {name: one for name, one in kept.items() if one != {}}
