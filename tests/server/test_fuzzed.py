"""The service against its own description: whatever is sent, no defect shows, and every answer is a described one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from regen import Document, Index
from regen.config.server import ServerSettings
from regen.server import create_app

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
QUICK, THOROUGH = 6, 60
STREAMED = {"/v1/runs/{number}/events"}
"""A stream of a run that waits has no end."""


@pytest.fixture(scope="module")
def index() -> Iterator[Index]:
    """An index in memory, with something in it."""
    with Index(embedder="hashing/8", store="memory://", catalog="sqlite://") as made:
        made.upsert([Document(f"d{n}", f"text number {n}", {"lang": "en"}) for n in range(20)])
        yield made


@pytest.fixture(scope="module")
def described(index: Index) -> Any:
    """The application's description, with an administrator's key for everything."""
    app = create_app(index, ServerSettings.model_validate({"rate_limit": "1000000/s", "max_body": 1_000_000}))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.fixture(scope="module")
def key(index: Index) -> str:
    """A key that may do everything."""
    return index.create_key("fuzz", ["admin", "act_as"], per_second=1e9)[0]


def send(case: Any, key: str) -> None:
    """Send a case, and look at the answer. Nothing is waited for: a run that is begun is an answer."""
    case.headers = {**(case.headers or {}), "Authorization": f"Bearer {key}"}
    of_runs = any(
        named.name == "wait" and "schema" in named.definition and "maximum" in str(named.definition)
        for named in case.operation.query
    )
    if of_runs and isinstance((case.query or {}).get("wait", 0), int | float):
        case.query = {**(case.query or {}), "wait": 0}  # its default may be half a minute
    if isinstance((case.query or {}).get("timeout"), int | float):
        case.query["timeout"] = 0
    case.validate_response(case.call(), checks=CHECKS)


def fuzz(described: Any, key: str, examples: int) -> dict[str, int]:
    """Send so many cases of each operation; how many were sent of each."""
    sent: dict[str, int] = {}
    for found in described.get_all_operations():
        operation = found.ok()
        if operation.path in STREAMED:
            continue

        @settings(
            max_examples=examples, deadline=None, phases=[Phase.explicit, Phase.generate], derandomize=True,
            database=None, suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def each(case: Any) -> None:
            sent[case.operation.label] = sent.get(case.operation.label, 0) + 1
            send(case, key)

        each()
    return sent


def test_a_few_requests_of_each_kind(described: Any, key: str) -> None:
    """A share of the cases that fits among the quick tests."""
    sent = fuzz(described, key, QUICK)
    assert len(sent) > 40
    assert sum(sent.values()) >= 150


@pytest.mark.slow
def test_many_requests_of_each_kind(described: Any, key: str) -> None:
    """Over two thousand cases."""
    assert sum(fuzz(described, key, THOROUGH).values()) >= 2_000
