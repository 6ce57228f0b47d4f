"""A Pinecone of our own on the loopback: control plane and data plane, as its public API description has them.

    with PineconeServer(lag=0.2) as server:
        os.environ["PINECONE_API_KEY"] = server.key
        store = PineconeStore.from_url(server.url("handbook"))

It is eventually consistent: queries see a write ``lag`` seconds after it was acknowledged, fetches and lists
``fetch_lag`` seconds, and tell by their headers how far they have seen. It refuses what Pinecone refuses: other
dimensions, zero vectors, metadata of other types or beyond 40 KB, large requests and answers, unknown operators and
fields, writes through an alias. ``aliases=False`` makes it one that has none yet.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

import numpy as np

from regen.testing.api_server import Answer, ApiServer, Plan, Refused, Request
from regen.testing.pinecone_filters import BadFilter, check_filter, is_id, metadata_problem
from regen.testing.pinecone_state import IndexState, Namespace, View

_MOST_RECORDS: Final = 1000
_MOST_REQUEST: Final = 2 * 2**20
_MOST_ANSWER: Final = 4 * 2**20
_MOST_HITS: Final = 10_000
_PAGE: Final = 100
_INDEX_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?")
_ALIAS_NAME: Final = re.compile(r"[!\"$'-*,-.0-:<>@-\[\]-~]{1,512}")
_KNOWN: Final = {
    "/vectors/upsert": {"vectors", "namespace"},
    "/vectors/delete": {"ids", "deleteAll", "namespace", "filter"},
    "/query": {"topK", "vector", "namespace", "filter", "includeValues", "includeMetadata"},
    "/namespaces": {"name", "schema"},
    "/namespace-aliases": {"name", "target_namespace"},
}


class PineconeServer(ApiServer):
    """The server. State is kept in memory, and survives its clients."""

    def __init__(
        self,
        *,
        lag: float = 0.0,
        fetch_lag: float | None = None,
        aliases: bool = True,
        says_lsn: bool = True,
        key: str = "pc-key-of-the-tests",
        plan: Plan | None = None,
    ) -> None:
        super().__init__(plan)
        self.key, self.lag, self.fetch_lag = key, lag, lag if fetch_lag is None else fetch_lag
        self.has_aliases, self.says_lsn = aliases, says_lsn
        self.indexes: dict[str, IndexState] = {}
        self._lock = threading.RLock()

    def url(self, index: str) -> str:
        """The URL of a store here; its key is ``key``."""
        return f"pinecone://{index}?control=http://127.0.0.1:{self.port}&timeout=20"

    def error(self, status: int, message: str) -> Answer:
        """An error of the data plane."""
        return Answer(status, {"code": status, "message": message, "details": []})

    def respond(self, request: Request) -> Answer:
        """Check the key, and find who answers."""
        if request.headers.get("api-key") != self.key:
            raise Refused(Answer(401, b"Invalid API Key"))
        with self._lock:
            if request.path.startswith("/of/"):
                _, _, name, *rest = request.path.split("/", 3)
                if name not in self.indexes:
                    _refuse(404, f"index {name} not found")
                return self._data(self.indexes[name], request, "/" + "".join(rest))
            return self._control(request)

    # ── control plane ──

    def _control(self, request: Request) -> Answer:
        if request.path == "/indexes" and request.method == "GET":
            return Answer(200, {"indexes": [self._described(one) for one in self.indexes.values()]})
        if request.path == "/indexes" and request.method == "POST":
            return self._create(request.body)
        name = request.path.removeprefix("/indexes/")
        if name not in self.indexes:
            raise Refused(Answer(404, {"error": {"code": "NOT_FOUND", "message": f"{name} not found"}, "status": 404}))
        if request.method == "DELETE":
            del self.indexes[name]
            return Answer(202)
        return Answer(200, self._described(self.indexes[name]))

    def _create(self, body: Any) -> Answer:
        name, wanted = body["name"], body["schema"]["fields"]["_values"]
        if not _INDEX_NAME.fullmatch(name):
            raise Refused(Answer(400, {"error": {"code": "INVALID_ARGUMENT", "message": f"bad name {name}"}}))
        if name in self.indexes:
            raise Refused(
                Answer(409, {"error": {"code": "ALREADY_EXISTS", "message": "Resource already exists"}, "status": 409})
            )
        if not 1 <= wanted["dimension"] <= 20_000 or wanted["metric"] not in {"cosine", "dotproduct", "euclidean"}:
            raise Refused(Answer(400, {"error": {"code": "INVALID_ARGUMENT", "message": f"bad field {wanted}"}}))
        self.indexes[name] = IndexState(name, wanted["dimension"], wanted["metric"], body.get("tags") or {})
        return Answer(201, self._described(self.indexes[name]))

    def _described(self, index: IndexState) -> dict[str, Any]:
        field = {"type": "dense_vector", "dimension": index.dimension, "metric": index.metric}
        return {
            "name": index.name,
            "host": f"http://127.0.0.1:{self.port}/of/{index.name}",
            "status": {"ready": True, "state": "Ready"},
            "schema": {"fields": {"_values": field}},
            "deployment": {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1", "environment": "x"},
            "deletion_protection": "disabled",
            "tags": index.tags,
        }

    # ── data plane ──

    def _data(self, index: IndexState, request: Request, path: str) -> Answer:
        if path in _KNOWN and isinstance(request.body, dict) and (odd := request.body.keys() - _KNOWN[path]):
            _refuse(400, f"unknown field {min(odd)!r}")
        answers: dict[tuple[str, str], Callable[[IndexState, Request], Answer]] = {
            ("POST", "/vectors/upsert"): self._upsert,
            ("POST", "/vectors/delete"): self._delete,
            ("GET", "/vectors/fetch"): self._fetch,
            ("GET", "/vectors/list"): self._list,
            ("POST", "/query"): self._query,
            ("POST", "/describe_index_stats"): self._stats,
            ("GET", "/namespaces"): self._list_namespaces,
            ("POST", "/namespaces"): self._create_namespace,
        }
        if answer := answers.get((request.method, path)):
            return answer(index, request)
        if path.startswith("/namespaces/"):
            return self._one_namespace(index, request, path.removeprefix("/namespaces/"))
        if path.startswith("/namespace-aliases"):
            return self._aliases(index, request, path.removeprefix("/namespace-aliases").removeprefix("/"))
        return _refuse(404, f"no such path: {path}")

    def _upsert(self, index: IndexState, request: Request) -> Answer:
        vectors = request.body["vectors"]
        if request.size > _MOST_REQUEST:
            _refuse(400, f"Request size {request.size} exceeds the maximum supported size of {_MOST_REQUEST} bytes")
        if not 0 < len(vectors) <= _MOST_RECORDS:
            _refuse(400, f"Vectors: {len(vectors)} exceed the limit of {_MOST_RECORDS}")
        changes = [(one["id"], _checked(one, index.dimension)) for one in vectors]
        lsn = self._written_to(index, request.body.get("namespace")).write(list(changes))
        return Answer(200, {"upsertedCount": len(vectors)}, self._lsn("x-pinecone-request-lsn", lsn))

    def _delete(self, index: IndexState, request: Request) -> Answer:
        ids = request.body.get("ids")
        if not ids or len(ids) > _MOST_RECORDS or not all(map(is_id, ids)):
            _refuse(400, "only deletes of 1 to 1000 ids are played here")
        name = request.body.get("namespace") or "__default__"
        self._refuse_alias(index, name)
        if name not in index.namespaces:
            _refuse(404, "Namespace not found")
        lsn = index.namespaces[name].write([(one, None) for one in ids])
        return Answer(200, {}, self._lsn("x-pinecone-request-lsn", lsn))

    def _fetch(self, index: IndexState, request: Request) -> Answer:
        name, namespace = self._read_from(index, request.query.get("namespace", [""])[0])
        records = namespace.fetched.records
        found = {one: records[one] for one in request.query.get("ids", []) if one in records}
        return Answer(200, {"vectors": found, "namespace": name, "usage": {"readUnits": 1}})

    def _list(self, index: IndexState, request: Request) -> Answer:
        name, namespace = self._read_from(index, request.query.get("namespace", [""])[0])
        prefix = request.query.get("prefix", [""])[0]
        ids = sorted(one for one in namespace.fetched.records if one.startswith(prefix))
        page, following = _page(ids, request)
        answer: dict[str, Any] = {"vectors": [{"id": one} for one in page], "namespace": name}
        return Answer(200, answer | following)

    def _query(self, index: IndexState, request: Request) -> Answer:
        body, k = request.body, request.body.get("topK")
        if not isinstance(k, int) or not 1 <= k <= _MOST_HITS:
            _refuse(400, f"topK {k} must be between 1 and {_MOST_HITS}")
        vector = np.array(body["vector"], np.float32)
        if len(vector) != index.dimension:
            _refuse(400, f"Vector dimension {len(vector)} does not match the dimension of the index {index.dimension}")
        if (asked := body.get("filter")) is not None:
            _check_filter(asked)
        name, namespace = self._read_from(index, body.get("namespace"))
        matches = []
        for key, score in namespace.queried.nearest(vector, k, asked, index.metric):
            record = namespace.queried.records[key]
            match: dict[str, Any] = {"id": key, "score": score}
            match |= {"metadata": record["metadata"]} if body.get("includeMetadata") else {}
            match |= {"values": record["values"]} if body.get("includeValues") else {"values": []}
            matches.append(match)
        if len(json.dumps(matches)) > _MOST_ANSWER:
            _refuse(400, f"query result size exceeds the maximum of {_MOST_ANSWER} bytes")
        seen = self._lsn("x-pinecone-max-indexed-lsn", namespace.queried.lsn)
        return Answer(200, {"matches": matches, "namespace": name, "usage": {"readUnits": 1}}, seen)

    def _stats(self, index: IndexState, request: Request) -> Answer:
        if request.body.get("filter"):
            _refuse(400, "Serverless and Starter indexes do not support describing index stats with metadata filtering")
        # half of what was written last is not in the statistics yet
        counts = {name: {"vectorCount": len(one.queried.records) // 2} for name, one in index.namespaces.items()}
        total = sum(one["vectorCount"] for one in counts.values())
        return Answer(200, {"namespaces": counts, "dimension": index.dimension, "totalVectorCount": total})

    # ── namespaces and aliases ──

    def _list_namespaces(self, index: IndexState, request: Request) -> Answer:
        page, following = _page(sorted(index.namespaces), request)
        described = [self._namespace(index, name) for name in page]
        return Answer(200, {"namespaces": described, "total_count": len(index.namespaces)} | following)

    def _create_namespace(self, index: IndexState, request: Request) -> Answer:
        name = request.body["name"]
        if name in index.namespaces or name in index.aliases:
            _refuse(409, f"namespace {name} already exists")
        self._written_to(index, name)
        return Answer(200, self._namespace(index, name))

    def _one_namespace(self, index: IndexState, request: Request, name: str) -> Answer:
        if request.method == "DELETE":
            self._refuse_alias(index, name)
        name = index.resolved(name)
        if name not in index.namespaces:
            _refuse(404, f"Namespace {name} not found")
        if request.method == "DELETE":
            if any(target == name for target, _ in index.aliases.values()):
                _refuse(400, f"namespace {name} is the target of an alias", "NAMESPACE_IS_ALIAS_TARGET")
            del index.namespaces[name]
            return Answer(202)
        return Answer(200, self._namespace(index, name))

    def _namespace(self, index: IndexState, name: str) -> dict[str, Any]:
        return {"name": name, "record_count": str(len(index.namespaces[name].queried.records)), "size_bytes": "0"}

    def _aliases(self, index: IndexState, request: Request, name: str) -> Answer:
        if not self.has_aliases:
            _refuse(404, "no such path: /namespace-aliases")
        if request.headers.get("x-pinecone-api-version", "") < "2026-07":
            _refuse(400, "this needs API version 2026-07", "API_VERSION_TOO_OLD")
        if not name and request.method == "GET":
            wanted = request.query.get("target_namespace")
            names = sorted(one for one, (target, _) in index.aliases.items() if not wanted or target == wanted[0])
            page, following = _page(names, request)
            described = [_alias(index, one) for one in page]
            return Answer(200, {"namespace_aliases": described, "total_count": len(names)} | following)
        if not name:
            return self._set_alias(index, request.body["name"], request, new=True)
        if name not in index.aliases:
            _refuse(404, f"alias {name} not found", "ALIAS_NOT_FOUND")
        if request.method == "DELETE":
            del index.aliases[name]
            return Answer(200)
        return (
            self._set_alias(index, name, request, new=False)
            if request.method == "PATCH"
            else Answer(200, _alias(index, name))
        )

    def _set_alias(self, index: IndexState, name: str, request: Request, *, new: bool) -> Answer:
        target = request.body.get("target_namespace")
        if not _ALIAS_NAME.fullmatch(name) or name in {"__default__", ".", ".."}:
            _refuse(400, f"alias name {name!r} is invalid", "ALIAS_NAME_INVALID")
        if new and name in index.namespaces:
            _refuse(409, f"{name} is a namespace", "NAME_IN_USE_BY_NAMESPACE")
        if new and name in index.aliases:
            _refuse(409, f"alias {name} exists", "ALIAS_ALREADY_EXISTS", {"target_namespace": index.aliases[name][0]})
        if target in index.aliases:
            _refuse(400, f"{target} is an alias", "TARGET_IS_ALIAS")
        if target not in index.namespaces:
            _refuse(400, f"target namespace {target} does not exist", "TARGET_NAMESPACE_NOT_FOUND")
        index.aliases[name] = target, datetime.now(UTC).isoformat()
        return Answer(200, _alias(index, name))

    def _refuse_alias(self, index: IndexState, name: str) -> None:
        if name in index.aliases:
            _refuse(400, f"{name} is a namespace alias: writes address a namespace", "WRITE_TO_ALIAS")

    def _written_to(self, index: IndexState, name: str | None) -> Namespace:
        name = name or "__default__"
        self._refuse_alias(index, name)
        if not is_id(name):
            _refuse(400, f"namespace name {name!r} is invalid")
        if name not in index.namespaces:
            index.namespaces[name] = Namespace(View(self.lag), View(self.fetch_lag))
        return index.namespaces[name]

    def _read_from(self, index: IndexState, name: str | None) -> tuple[str, Namespace]:
        """A read of a namespace that is not there finds nothing, and says so as if it were."""
        resolved = index.resolved(name or "__default__")
        namespace = index.namespaces.get(resolved) or Namespace(View(0), View(0))
        namespace.catch_up()
        return resolved, namespace

    def _lsn(self, header: str, lsn: int) -> dict[str, str]:
        return {header: str(lsn)} if self.says_lsn else {}


def _checked(vector: Any, dimension: int) -> dict[str, Any]:
    if odd := vector.keys() - {"id", "values", "metadata"}:
        _refuse(400, f"unknown field {min(odd)!r}")
    if not is_id(vector["id"]):
        _refuse(400, f"Vector ID must be ASCII of 1 to 512 characters, but got {vector['id']!r}")
    values = np.array(vector["values"], np.float32)
    if len(values) != dimension:
        _refuse(400, f"Vector dimension {len(values)} does not match the dimension of the index {dimension}")
    if not values.any():
        _refuse(400, f"Dense vectors must contain at least one non-zero value. Vector ID {vector['id']} has only zeros")
    metadata = vector.get("metadata") or {}
    if problem := metadata_problem(metadata):
        _refuse(400, f"{problem} (vector {vector['id']})")
    numbers = {key: float(one) for key, one in metadata.items() if isinstance(one, int) and not isinstance(one, bool)}
    return {"id": vector["id"], "values": values.tolist(), "metadata": metadata | numbers}


def _check_filter(asked: Any) -> None:
    try:
        check_filter(asked)
    except BadFilter as error:
        _refuse(400, str(error))


def _page(names: list[str], request: Request) -> tuple[list[str], dict[str, Any]]:
    limit = int(request.query.get("limit", [str(_PAGE)])[0])
    if not 1 <= limit <= _PAGE:
        _refuse(400, f"limit {limit} must be between 1 and {_PAGE}")
    after = request.query.get("paginationToken", [""])[0]
    left = [one for one in names if one > after]
    return left[:limit], {"pagination": {"next": left[limit - 1]}} if len(left) > limit else {}


def _alias(index: IndexState, name: str) -> dict[str, Any]:
    target, at = index.aliases[name]
    return {"name": name, "target_namespace": target, "created_at": at, "updated_at": at}


def _refuse(status: int, message: str, reason: str = "", metadata: dict[str, str] | None = None) -> NoReturn:
    details = [{"reason": reason, "metadata": metadata or {}}] if reason else []
    raise Refused(Answer(status, {"code": 3, "message": message, "details": details}))
