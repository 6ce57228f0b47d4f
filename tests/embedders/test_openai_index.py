"""An index on openai/…, end to end: a server that throttles and fails costs time, never a text paid twice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import until

import regen
from regen.embedders.openai_api import OpenAIEmbedder
from regen.engine import probes
from regen.engine.settings import Limits
from regen.errors import BudgetExceeded, EmbedderContract, EmbedderError
from regen.ports import Store
from regen.stores.memory import MemoryStore
from regen.testing.openai_server import (
    MODEL,
    EmbeddingServer,
    Fault,
    HangUp,
    Received,
    Refuse,
    Throttle,
    reordered,
    served_as,
    truncated,
)

PROBE_REQUESTS = 2  # of four texts each
TEXTS = {f"doc-{number}": f"Note {number}: the pump of machine {number * 7} was replaced." for number in range(60)}


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    """A server without faults; a test sets its plan."""
    with EmbeddingServer() as made:
        yield made


@pytest.fixture
def make(server: EmbeddingServer, tmp_path: Path) -> Iterator[Callable[..., regen.Index]]:
    """Makes indexes on the server, and closes them."""
    with ExitStack() as made:

        def opened(
            limits: Limits | None = None, store: Store | str = "memory://", batch: int = 4, **embedding: Any
        ) -> regen.Index:
            options = {"base_url": server.base_url, "native_dimensions": 64, "max_batch_texts": batch, "timeout": 20.0}
            index = regen.Index(
                embedder=f"openai/{MODEL}",
                embedding={"options": options, **embedding},
                store=store,
                root=tmp_path,
                limits=limits or Limits(),
            )
            return made.enter_context(index)

        yield opened


def paid(server: EmbeddingServer) -> list[str]:
    """What was paid for but the probe texts, which each generation sends once."""
    return [text for text in server.paid_texts if text not in probes.TEXTS]


def _documents(texts: dict[str, str] = TEXTS) -> list[regen.Document]:
    return [regen.Document(id=name, text=text) for name, text in texts.items()]


def _found(index: regen.Index) -> dict[str, str]:
    """What an exact question for each text finds first, by document."""
    return {name: index.search(text, k=1).hits[0].doc_id for name, text in TEXTS.items()}


def test_through_throttling_and_failures_every_text_is_paid_once(
    server: EmbeddingServer, make: Callable[..., regen.Index]
) -> None:
    """Of a provider that refuses, fails, hangs up and shuffles, everything is indexed, counted and paid once."""

    def plan(number: int, _request: Received) -> Fault | None:
        faults: dict[int, Fault] = {
            0: Refuse(500),
            1: Throttle(0.1),
            3: HangUp(),
            4: Refuse(503),
            8: Throttle(0.1, None),
        }
        return faults.get(number, reordered())

    server.plan = plan
    index = make(price_per_million_tokens=20.0)
    result = index.upsert(_documents())
    assert (result.documents.added, result.documents.failed, result.embedded_texts) == (60, 0, 60)
    assert Counter(paid(server)) == Counter(TEXTS.values())
    statuses = Counter(request.status for request in server.requests)
    assert statuses[200] == 15 + PROBE_REQUESTS
    assert min(statuses[429], statuses[500], statuses[0]) >= 1
    counted = sum(map(len, OpenAIEmbedder(MODEL).token_starts(list(TEXTS.values()))))
    assert result.tokens == counted
    assert result.cost_usd == pytest.approx(counted * 20e-6)
    assert index.upsert(_documents()).embedded_texts == 0
    assert len(paid(server)) == 60, "what has not changed is not sent again"
    server.plan = lambda _number, _request: None
    assert _found(index) == {name: name for name in TEXTS}


def test_retry_after_holds_all_threads_of_a_run(server: EmbeddingServer, make: Callable[..., regen.Index]) -> None:
    """When the provider stops four calls at once, the run sends nothing before the time is over, and then finishes."""
    wave = threading.Barrier(4)

    def plan(number: int, _request: Received) -> Fault | None:
        if number >= 4:
            return None
        wave.wait(20)  # the four are under way before the first is told to wait
        return Throttle(1.0)

    server.plan = plan
    result = make(limits=Limits(concurrency=4)).upsert(_documents())
    assert result.documents.added == 60
    assert server.early == 0
    assert [request.status for request in server.requests] == [429] * 4 + [200] * (15 + PROBE_REQUESTS)
    assert Counter(paid(server)) == Counter(TEXTS.values())


def test_a_budget_stops_before_it_is_passed(server: EmbeddingServer, make: Callable[..., regen.Index]) -> None:
    """The call that would pass the budget is not sent; with more money the rest is paid, and nothing twice."""
    embedder, price = OpenAIEmbedder(MODEL), 1000.0
    poor = Limits(budget_usd=0.3, concurrency=1)
    store = MemoryStore()
    index = make(limits=poor, store=store, price_per_million_tokens=price)
    with pytest.raises(BudgetExceeded, match=r"pass the budget of \$0\.30"):
        index.upsert(_documents())
    spent = sum(map(len, embedder.token_starts(server.paid_texts))) * price / 1e6
    assert 0.15 < spent <= 0.3
    assert len(server.requests) == len(server.paid_texts) / 4
    rich = make(store=store, batch=256)
    rich.upsert(_documents())
    assert Counter(paid(server)) == Counter(TEXTS.values())
    assert _found(rich) == {name: name for name in TEXTS}


def test_a_text_that_the_provider_refuses_is_a_dead_letter(
    server: EmbeddingServer, make: Callable[..., regen.Index]
) -> None:
    """One text above the provider's limit is found by halving the call; the others are indexed and paid once."""
    server.max_tokens = 40
    long = {"doc-long": "word " * 100}
    index = make()
    result = index.upsert(_documents(TEXTS | long))
    assert result.documents.failed == 1
    assert Counter(paid(server)) == Counter(TEXTS.values())
    assert _found(index) == {name: name for name in TEXTS}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (truncated(), EmbedderContract),
        (served_as("test-model-v2"), EmbedderContract),
        (Throttle(code="insufficient_quota"), EmbedderError),
        (Refuse(401, "Incorrect API key", None, "invalid_api_key"), EmbedderError),
        (Throttle(3600.0), EmbedderError),
    ],
)
def test_what_cannot_be_healed_stops_at_once_and_the_index_goes_on(
    server: EmbeddingServer, make: Callable[..., regen.Index], fault: Fault, kind: type[EmbedderError]
) -> None:
    """An answer that cannot be trusted, an empty account, a wrong key, an hour's wait: one request, a clear error."""
    index = make(limits=Limits(concurrency=1))
    index.upsert(_documents(dict(list(TEXTS.items())[:30])))
    vector = server.vectors([TEXTS["doc-7"]])[0]
    before = len(server.requests)
    server.plan = lambda _number, _request: fault
    with pytest.raises(kind):
        index.upsert(_documents())
    assert len(server.requests) == before + 1
    assert index.search(vector.tolist(), space=index.recipe.space, k=1).hits[0].doc_id == "doc-7"


def test_a_closed_index_keeps_no_connection(
    server: EmbeddingServer, make: Callable[..., regen.Index], tmp_path: Path
) -> None:
    """What an index opened by a model's name it closes; a model that was handed in is left to its owner."""
    index = make()
    index.upsert(_documents())
    assert server.connections > 0
    index.close()
    until(lambda: server.connections == 0, "no connection is left", seconds=10.0)
    named = OpenAIEmbedder.from_name(f"openai/{MODEL}", base_url=server.base_url, native_dimensions=64)
    with closing(named) as embedder:
        with regen.Index(embedder=embedder, store="memory://", catalog="sqlite://", root=tmp_path) as other:
            other.upsert(_documents())
        held = server.connections
        embedder.embed_query("still open")
        assert 0 < server.connections == held
