"""A Weaviate of our own on the loopback: REST for the schema and aliases, gRPC for objects, by the client's own stubs.

    with WeaviateServer() as server:
        store = WeaviateStore.from_url(server.url)

It refuses what Weaviate refuses: names and types that a schema does not allow, objects that do not fit (each by itself,
in an answer that is otherwise a success), other dimensions, unknown operators, filters on what is not indexed, names
that an alias and a class would share. ``version`` makes it an older one: before 1.32 it has no aliases. ``refuse`` says
of an object why it is not written, ``broken`` what a gRPC call fails with.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent import futures
from typing import Any, Final, Self
from uuid import UUID

import grpc
import numpy as np
from weaviate.proto.v1 import (
    aggregate_pb2,
    base_pb2,
    batch_delete_pb2,
    batch_pb2,
    properties_pb2,
    search_get_pb2,
    weaviate_pb2_grpc,
)

from regen.testing.api_server import Answer, ApiServer, Plan, Request
from regen.testing.weaviate_state import ClassState, Object, Refusal, checked_property, checked_schema

_MOST_RESULTS: Final = 10_000
_DEFAULT_RESULTS: Final = 10


class WeaviateServer(ApiServer):
    """The server. State is kept in memory, and survives its clients."""

    def __init__(self, *, version: str = "1.34.0", key: str | None = None, plan: Plan | None = None) -> None:
        super().__init__(plan)
        self.version, self.key = version, key
        self.classes: dict[str, ClassState] = {}
        self.aliases: dict[str, str] = {}
        self.refuse: Callable[[dict[str, Any]], str | None] = lambda _: None
        self.broken: Callable[[str], grpc.StatusCode | None] = lambda _: None
        self.lock = threading.RLock()
        self._grpc = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1)])
        self.grpc_port = self._grpc.add_insecure_port("127.0.0.1:0")
        weaviate_pb2_grpc.add_WeaviateServicer_to_server(_Objects(self), self._grpc)  # type: ignore[no-untyped-call]  # generated
        self._grpc.add_generic_rpc_handlers((_Health(),))

    def __enter__(self) -> Self:
        self._grpc.start()
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        self._grpc.stop(0).wait()
        super().__exit__()

    @property
    def url(self) -> str:
        """The URL of a store here."""
        return f"weaviate://127.0.0.1:{self.port}:{self.grpc_port}?timeout=60"

    def error(self, status: int, message: str) -> Answer:
        """An error of the REST API."""
        return Answer(status, {"error": [{"message": message}]})

    def respond(self, request: Request) -> Answer:
        """Check the key, and find who answers."""
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return self.error(
                401, "anonymous access not enabled. Please authenticate through one of the available methods"
            )
        with self.lock:
            try:
                return self._answer(request)
            except Refusal as refusal:
                return self.error(422, str(refusal))

    def _answer(self, request: Request) -> Answer:
        _, _, kind, *rest = request.path.split("/")
        name = rest[0] if rest else ""
        if kind == "meta":
            return Answer(200, {"hostname": "http://[::]:8080", "version": self.version, "modules": {}})
        if kind == "schema":
            return self._schema(request, name, rest[1:])
        if kind == "aliases" and tuple(map(int, self.version.split(".")[:2])) >= (1, 32):
            return self._aliases(request, name)
        return self.error(404, f"path {request.path} was not found")

    def _schema(self, request: Request, name: str, rest: list[str]) -> Answer:
        if not name:
            if request.method == "GET":
                return Answer(200, {"classes": [one.schema for one in self.classes.values()]})
            made = checked_schema(request.body)
            if made["class"] in self.classes or made["class"] in self.aliases:
                raise Refusal(f"class name {made['class']} already exists")
            self.classes[made["class"]] = ClassState(made)
            return Answer(200, made)
        if request.method == "DELETE":
            self.classes.pop(name, None)  # its aliases stay
            return Answer(200)
        state = self.classes.get(self.aliases.get(name, name))
        if state is None:
            return Answer(404, b"")
        if rest == ["properties"]:
            made = checked_property(request.body, state.properties)
            state.schema["properties"].append(made)
            return Answer(200, made)
        return Answer(200, state.schema)

    def _aliases(self, request: Request, name: str) -> Answer:
        if not name and request.method == "GET":
            wanted = request.query.get("class")
            held = [
                {"alias": alias, "class": target}
                for alias, target in self.aliases.items()
                if not wanted or target == wanted[0]
            ]
            return Answer(200, {"aliases": held})
        name, body = name or request.body["alias"], request.body or {}
        if request.method in {"POST", "PUT"}:
            if (request.method == "PUT") != (name in self.aliases):
                return self.error(404, "alias not found") if request.method == "PUT" else self._taken(name)
            if name in self.classes:
                return self._taken(name)
            if body["class"] not in self.classes:
                return self.error(422, f"create alias: class {body['class']} does not exist")
            self.aliases[name] = body["class"]
        elif name not in self.aliases:
            return self.error(404, "alias not found")
        elif request.method == "DELETE":
            del self.aliases[name]
            return Answer(204, b"")
        return Answer(200, {"alias": name, "class": self.aliases[name]})

    def _taken(self, name: str) -> Answer:
        return self.error(422, f"create alias: {name} is the name of a class or an alias")


class _Health(grpc.GenericRpcHandler):  # type: ignore[misc]  # of a library without types
    """The health service: always serving."""

    def service(self, handler_call_details: Any) -> Any:
        """Answer a check."""
        if handler_call_details.method != "/grpc.health.v1.Health/Check":
            return None
        return grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"\x08\x01")


class _Objects(weaviate_pb2_grpc.WeaviateServicer):
    """The gRPC service."""

    def __init__(self, server: WeaviateServer) -> None:
        self._server = server

    def Search(self, request: Any, context: Any) -> Any:  # noqa: N802 - the service's name
        """Objects by filter, vector or words, or the next ones after a uuid."""
        state = self._begin("Search", request.collection, context)
        with self._server.lock, _told(context):
            limit = request.limit or _DEFAULT_RESULTS
            if limit + request.offset > _MOST_RESULTS:
                raise Refusal(f"query maximum results exceeded: {limit}")
            among = state.passing(request.filters) if request.HasField("filters") else None
            return search_get_pb2.SearchReply(results=_results(state, request, among, limit))

    def BatchObjects(self, request: Any, context: Any) -> Any:  # noqa: N802 - the service's name
        """Write objects; what is wrong with any of them is in the answer."""
        self._begin("BatchObjects", None, context)
        errors = []
        with self._server.lock:
            for at, one in enumerate(request.objects):
                try:
                    self._write(one)
                except Refusal as refusal:
                    errors.append(batch_pb2.BatchObjectsReply.BatchError(index=at, error=str(refusal)))
        return batch_pb2.BatchObjectsReply(errors=errors)

    def BatchDelete(self, request: Any, context: Any) -> Any:  # noqa: N802 - the service's name
        """Delete what satisfies a filter."""
        state = self._begin("BatchDelete", request.collection, context)
        with self._server.lock, _told(context):
            gone = state.passing(request.filters)
            state.remove(gone)
            return batch_delete_pb2.BatchDeleteReply(matches=len(gone), successful=len(gone))

    def Aggregate(self, request: Any, context: Any) -> Any:  # noqa: N802 - the service's name
        """Count objects."""
        state = self._begin("Aggregate", request.collection, context)
        single = aggregate_pb2.AggregateReply.Single(objects_count=len(state.objects))
        return aggregate_pb2.AggregateReply(single_result=single)

    def _begin(self, method: str, collection: str | None, context: Any) -> Any:
        server = self._server
        if (code := server.broken(method)) is not None:
            context.abort(code, f"{method} is broken by the plan")
        told = dict(context.invocation_metadata())
        if server.key is not None and told.get("authorization") != f"Bearer {server.key}":
            context.abort(
                grpc.StatusCode.UNAUTHENTICATED, "unauthorized: invalid api key, please provide a valid api key"
            )
        if collection is None:
            return None
        state = server.classes.get(server.aliases.get(collection, collection))
        if state is None:
            context.abort(grpc.StatusCode.UNKNOWN, f"could not find class {collection} in schema")
        elif state.schema["multiTenancyConfig"]["enabled"]:
            said = f"class {state.name} has multi-tenancy enabled, but request was without tenant"
            context.abort(grpc.StatusCode.UNKNOWN, said)
        return state

    def _write(self, one: Any) -> None:
        server = self._server
        state = server.classes.get(one.collection)
        if state is None:
            raise Refusal(f"class {one.collection} not found in schema")
        properties = _properties(one.properties)
        if (reason := server.refuse(properties)) is not None:
            raise Refusal(reason)
        vectors = {item.name: np.frombuffer(item.vector_bytes, "<f4") for item in one.vectors}
        if one.vector_bytes:
            vectors["default"] = np.frombuffer(one.vector_bytes, "<f4")
        state.write(UUID(one.uuid), properties, vectors)


class _told:  # noqa: N801 - used like a function
    """Turns a refusal into the error of a call."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __enter__(self) -> None:
        """Nothing."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Refusal):
            self._context.abort(grpc.StatusCode.UNKNOWN, str(error))


def _results(state: ClassState, request: Any, among: set[UUID] | None, limit: int) -> list[Any]:
    if request.HasField("near_vector"):
        name, query = _query(request.near_vector)
        found = state.nearest(name, query, among, limit)
        return [_result(uuid, state.objects[uuid], request, distance=distance) for uuid, distance in found]
    if request.HasField("bm25_search"):
        asked = request.bm25_search
        found = state.by_words(asked.query, list(asked.properties), among, limit)
        return [_result(uuid, state.objects[uuid], request, score=score) for uuid, score in found]
    if request.after and among is not None:
        raise Refusal("where cannot be set with after and limit parameters")
    uuids = state.after(UUID(request.after) if request.after else None, _MOST_RESULTS**2 if among else limit)
    return [_result(one, state.objects[one], request) for one in uuids if among is None or one in among][:limit]


def _query(near: Any) -> tuple[str, Any]:
    names = list(near.targets.target_vectors) or list(near.target_vectors) or ["default"]
    for item in (*near.vector_for_targets, *near.vectors):
        if raw := item.vector_bytes or (item.vectors[0].vector_bytes if getattr(item, "vectors", ()) else b""):
            return names[0], np.frombuffer(raw, "<f4")
    return names[0], np.frombuffer(near.vector_bytes, "<f4") if near.vector_bytes else np.array(near.vector, np.float32)


def _result(
    uuid: UUID, held: Object, request: Any, *, distance: float | None = None, score: float | None = None
) -> Any:
    told = search_get_pb2.MetadataResult(id=str(uuid), id_as_bytes=uuid.bytes)
    if request.metadata.distance and distance is not None:
        told.distance, told.distance_present = distance, True
    if request.metadata.score and score is not None:
        told.score, told.score_present = score, True
    names = list(held.vectors) if request.metadata.vector else list(request.metadata.vectors)
    for name in names:
        if name in held.vectors:
            kind = base_pb2.Vectors.VECTOR_TYPE_SINGLE_FP32
            raw = held.vectors[name].astype("<f4").tobytes()
            told.vectors.append(base_pb2.Vectors(name=name, vector_bytes=raw, type=kind))
    wanted = set(request.properties.non_ref_properties) if request.HasField("properties") else set()
    if not request.HasField("properties") or request.properties.return_all_nonref_properties:
        wanted = set(held.properties)
    fields = {name: _value(value) for name, value in held.properties.items() if name in wanted}
    properties = search_get_pb2.PropertiesResult(non_ref_props=properties_pb2.Properties(fields=fields))
    return search_get_pb2.SearchResult(properties=properties, metadata=told)


def _properties(given: Any) -> dict[str, Any]:
    held = {name: value for name, value in given.non_ref_properties.items() if value is not None}
    for lists in (given.text_array_properties, given.number_array_properties, given.boolean_array_properties):
        for item in lists:
            raw = getattr(item, "values_bytes", b"")
            held[item.prop_name] = np.frombuffer(raw, "<f8").tolist() if raw else list(item.values)
    return held


def _value(value: Any) -> Any:
    if isinstance(value, list):
        texts = properties_pb2.TextValues(values=[one for one in value if isinstance(one, str)])
        if len(texts.values) == len(value):
            return properties_pb2.Value(list_value=properties_pb2.ListValue(text_values=texts))
        raw = np.array(value, "<f8").tobytes()
        return properties_pb2.Value(
            list_value=properties_pb2.ListValue(number_values=properties_pb2.NumberValues(values=raw))
        )
    if isinstance(value, bool):
        return properties_pb2.Value(bool_value=value)
    if isinstance(value, str):
        return properties_pb2.Value(text_value=value)
    return properties_pb2.Value(number_value=value)
