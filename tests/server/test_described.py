"""The reference names every route with its scope, and the description every status and body."""

from __future__ import annotations

import re
from pathlib import Path

from starlette.testclient import TestClient

PAGE = Path(__file__).parents[2] / "docs/reference/http.md"
SCOPED = re.compile(r"^\| `([A-Z]+) (\S+)` \| (?:(\w+) )?\| .+ \|$", re.MULTILINE)


def test_the_reference_names_every_route(client: TestClient) -> None:
    """Each route of the description stands in the table once, and no other does."""
    described = {
        (method.upper(), path)
        for path, methods in client.get("/openapi.json").json()["paths"].items()
        for method in methods
    }
    listed = [(method, path) for method, path, _ in SCOPED.findall(PAGE.read_text(encoding="utf-8"))]
    assert len(listed) == len(set(listed))
    assert set(listed) == described


def test_every_answer_is_described_with_its_body(client: TestClient) -> None:
    """Each status of each route has a schema, and each route its own words."""
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method, route in methods.items():
            assert route.get("description"), f"{method} {path}"
            assert {"401", "403", "413", "422", "429", "500", "503"} <= route["responses"].keys()
            for status, answer in route["responses"].items():
                kinds = answer["content"].values()
                assert all(kind["schema"] for kind in kinds), f"{method} {path} {status}"
