"""A server on this machine that speaks the REST interface of Elasticsearch or OpenSearch, and misbehaves when told to.

    with SearchServer("elasticsearch") as server:
        store = ElasticsearchStore.from_url(server.url)

It is written from the products' references, for the products' own clients, and is no search engine: it shows that
requests are right and that errors are handled, and nothing more. It refuses what the products refuse: unknown
settings, mapping parameters, queries and sections, vectors of another dimension, ids that are too long, bodies that are
too large. Documents are seen by searches after a refresh only. Vectors are left out of answers from 9.2 on.

What goes wrong is a plan, as of :mod:`regen.testing.api_server`; :class:`~regen.testing.elastic_cluster.RefuseItems`
refuses documents of a bulk request one by one. Every request is kept, and the status of every answer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from regen.testing.api_server import Answer, ApiServer, Plan, Refused, Request
from regen.testing.elastic_cluster import Cluster, RefuseItems
from regen.testing.elastic_fields import Product, ServerError

_VERSIONS: Final[dict[Product, str]] = {"elasticsearch": "9.2.1", "opensearch": "3.3.0"}
_VENDOR: Final = "application/vnd.elasticsearch+"
MOST_BYTES: Final = 100 * 2**20
"""http.max_content_length."""


class SearchServer(ApiServer):
    """The server; started by ``with``.

    ``authorization`` is the header that must come with each request, None for a server without security. Without
    ``names_itself`` an Elasticsearch does not say what it is, as something that imitates it.
    """

    def __init__(
        self,
        product: Product = "elasticsearch",
        *,
        version: str = "",
        authorization: str | None = None,
        names_itself: bool = True,
        most_bytes: int = MOST_BYTES,
        plan: Plan | None = None,
    ) -> None:
        super().__init__(plan)
        self.product, self.version = product, version or _VERSIONS[product]
        self.authorization, self.names_itself, self.most_bytes = authorization, names_itself, most_bytes
        self.refusing: RefuseItems | None = None
        self.cluster = Cluster(product, self.version)
        self.statuses: dict[int, int] = {}

    @property
    def url(self) -> str:
        """What ``store.url`` takes."""
        return f"{self.product}://127.0.0.1:{self.port}"

    def parsed(self, raw: bytes) -> bytes:
        """The body as it is: of a bulk request it is lines."""
        return raw

    def answer(self, request: Request) -> Answer | None:
        """What is answered, None for a connection that is dropped."""
        answer = super().answer(request)
        self.statuses[request.number] = 0 if answer is None else answer.status
        if answer is None or self.product == "opensearch" or not self.names_itself:
            return answer
        return replace(answer, headers=answer.headers | {"x-elastic-product": "Elasticsearch"})

    def respond(self, request: Request) -> Answer:
        """The answer to a request with which nothing goes wrong."""
        try:
            self._admit(request)
            return Answer(200, self.cluster.answered(request, self.refusing))
        except ServerError as error:
            closing = {"connection": "close"} if error.status == 413 else {}  # what is too much is not read
            raise Refused(Answer(error.status, error.body, closing)) from None

    def error(self, status: int, message: str) -> Answer:
        """An error as both word it."""
        kind = "circuit_breaking_exception" if status == 429 else ""
        return Answer(status, ServerError(status, kind, message).body)

    def _admit(self, request: Request) -> None:
        if self.authorization is not None and request.headers.get("authorization") != self.authorization:
            raise ServerError(401, "security_exception", "missing or refused authentication credentials")
        if request.size > self.most_bytes:
            raise ServerError(413, "", "Request Entity Too Large")
        kind = request.headers.get("content-type", "")
        if request.body and "json" not in kind:
            raise ServerError(406, "", f"Content-Type header [{kind}] is not supported")
        major = int(self.version.split(".", maxsplit=1)[0])
        accepted: Any = request.headers.get("accept", "")
        if self.product == "elasticsearch" and _VENDOR in accepted and f"compatible-with={major}" not in accepted:
            raise ServerError(
                400,
                "media_type_header_exception",
                f"Accept version must be either version {major} or {major - 1}, but found "
                f"{accepted.rpartition('=')[2]}. Accept={accepted}",
            )
