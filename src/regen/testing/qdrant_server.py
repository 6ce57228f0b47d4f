"""A Qdrant of our own on the loopback: as much of its public REST API as writing and counting points needs.

    with QdrantServer(version="1.16.0", plan=plan) as server:
        os.environ["QDRANT_API_KEY"] = server.key
        store = QdrantStore.from_url(server.url)

It shows what requests are sent, and what becomes of errors and lost connections; searches it cannot answer. It refuses
what Qdrant refuses: a missing or wrong key, collections that are not there, vectors of other dimensions. With
``lazy=True`` it acknowledges writes without having done them in time.
"""

from __future__ import annotations

import threading
from typing import Any, Final, NoReturn

from regen.testing.api_server import Answer, ApiServer, Plan, Refused, Request

_OPTIMIZERS: Final = {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1000, "default_segment_number": 0,
                      "flush_interval_sec": 5}  # fmt: skip


class QdrantServer(ApiServer):
    """The server. ``collections`` holds what was made, with the points by id."""

    def __init__(self, *, version: str = "1.16.0", lazy: bool = False, plan: Plan | None = None) -> None:
        super().__init__(plan)
        self.version, self.lazy, self.key = version, lazy, "qd-key-of-the-tests"
        self.collections: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The URL of a store here; its key is ``key``."""
        return f"qdrant://127.0.0.1:{self.port}?timeout=5"

    def error(self, status: int, message: str) -> Answer:
        """An error as Qdrant words it."""
        return Answer(status, {"status": {"error": message}, "time": 0.0})

    def respond(self, request: Request) -> Answer:
        """Check the key, and answer what is known."""
        if request.headers.get("api-key") != self.key:
            raise Refused(Answer(401, b"Must provide an API key or an Authorization bearer token"))
        parts = [part for part in request.path.split("/") if part]
        if not parts:
            return Answer(200, {"title": "qdrant - vector search engine", "version": self.version})
        if parts[0] != "collections":
            self._refuse(404, f"there is no {request.path}")
        with self._lock:
            return Answer(200, {"result": self._collections(request, parts[1:]), "status": "ok", "time": 0.0})

    def _collections(self, request: Request, parts: list[str]) -> Any:
        if not parts:
            return {"collections": [{"name": name} for name in self.collections]}
        if parts[1:] == ["exists"]:
            return {"exists": parts[0] in self.collections}
        if len(parts) == 1 and request.method == "PUT":
            self.collections[parts[0]] = {"made": request.body, "points": {}}
            return True
        held = self.collections.get(parts[0])
        if held is None:
            self._refuse(404, f"Not found: Collection `{parts[0]}` doesn't exist!")
        if len(parts) == 1:
            return self._described(held)
        if parts[1:] == ["index"]:
            return self._done()
        return self._points(request, held, "/".join(parts[1:]))

    def _described(self, held: dict[str, Any]) -> dict[str, Any]:
        made = held["made"]
        config = {
            "params": {"vectors": made["vectors"], "sparse_vectors": made.get("sparse_vectors")},
            "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000},
            "optimizer_config": _OPTIMIZERS,
            "metadata": made.get("metadata"),
        }
        return {"status": "green", "optimizer_status": "ok", "segments_count": 1, "config": config,
                "payload_schema": {}, "points_count": len(held["points"])}  # fmt: skip

    def _points(self, request: Request, held: dict[str, Any], what: str) -> Any:
        points: dict[str, Any] = held["points"]
        if (request.method, what) == ("PUT", "points"):
            batch, wanted = request.body["batch"], held["made"]["vectors"]["size"]
            if wrong := next((len(vector) for vector in batch["vectors"] if len(vector) != wanted), None):
                self._refuse(400, f"Wrong input: Vector dimension error: expected dim: {wanted}, got {wrong}")
            points.update(zip(batch["ids"], zip(batch["vectors"], batch["payloads"], strict=True), strict=True))
            return self._done()
        if what == "points/delete":
            for one in request.body["points"]:
                points.pop(one, None)
            return self._done()
        if what == "points/count":
            return {"count": len(points)}
        return self._refuse(404, f"there is no {request.path}")

    def _done(self) -> dict[str, Any]:
        return {"operation_id": len(self.requests), "status": "acknowledged" if self.lazy else "completed"}

    def _refuse(self, status: int, message: str) -> NoReturn:
        raise Refused(self.error(status, message))
