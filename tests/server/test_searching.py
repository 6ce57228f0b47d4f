"""Search over HTTP."""

from __future__ import annotations

from starlette.testclient import TestClient

from regen import Index


def found(client: TestClient, **asked: object) -> list[str]:
    """The ids of the documents that a search finds."""
    answer = client.post("/v1/search", json=asked)
    assert answer.status_code == 200, answer.text
    return [hit["doc_id"] for hit in answer.json()["hits"]]


def test_a_search_answers_as_the_index_does(client: TestClient, index: Index) -> None:
    """Hits, scores and metadata are those of the call in the process."""
    answer = client.post("/v1/search", json={"query": "reset my password", "k": 2, "explain": True}).json()
    assert answer["hits"] == index.search("reset my password", 2).to_dict()["hits"]
    assert answer["explanation"]["route"] == "live"
    assert found(client, query="reset", where={"lang": "de"}) == []


def test_nobody_in_particular_sees_public_documents_only(client: TestClient) -> None:
    """What is for a team is found only by who says to be of it, which open access may."""
    asked = {"query": "who earns how much money"}
    assert "salary" not in found(client, **asked)
    assert found(client, **asked, principals=["team:people"])[0] == "salary"


def test_errors_are_problems_in_the_words_of_the_command_line(client: TestClient) -> None:
    """A generation that is not there, a filter that is none, a path that is none."""
    answer = client.post("/v1/search", json={"query": "x", "generation": 7})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json() == {
        "type": "urn:regen:NotFound",
        "title": "not found",
        "status": 404,
        "detail": "there is no generation 7",
        "instance": "/v1/search",
        "hint": "there are: [1]",
        "retryable": False,
    }
    wrong = client.post("/v1/search", json={"query": "x", "where": {"lang": {"like": "e%"}}})
    assert (wrong.status_code, "unknown operator 'like'" in wrong.json()["detail"]) == (422, True)
    assert client.post("/v1/search", json={"query": "x", "vector": [1.0]}).status_code == 422
    assert client.get("/v1/nothing").json()["type"] == "urn:regen:PlainProblem"


def test_health_and_status(client: TestClient) -> None:
    """The server tells that it is there, what it serves, and how fresh that is."""
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok", "alias": "default", "live": 1}
    assert client.get("/v1/status").json()["documents"] == 3
