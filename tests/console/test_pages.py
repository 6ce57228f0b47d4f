"""Every page without a browser: what it says, that it is harmless, and what it says where there is nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient
from tests.console.conftest import HOSTILE, cranfield

from regen.core.alarms import Alert
from regen.index import Index

PATHS = (
    "/console", "/console?window=hour", "/console/search", "/console/search?q=heat+transfer&generation=1&against=2",
    "/console/generations", "/console/generations/1", "/console/generations/2", "/console/generations/2/promote",
    "/console/generations/2/rollout", "/console/generations/2/retire", "/console/rollback", "/console/evaluation",
    "/console/evaluation/1", "/console/plan",
    "/console/backfill", "/console/rollout", "/console/letters", "/console/history", "/console/settings",
    "/console/login", "/console/document?id=1", f"/console/document?id={quote(HOSTILE.id)}",
)  # fmt: skip
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Outline(HTMLParser):
    """What a page is made of: tags and attributes, and whether every tag is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> does not close what is open"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def every(self, name: str) -> list[dict[str, str | None]]:
        """The attributes of every tag of a name."""
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.mark.parametrize("path", PATHS)
def test_a_page_is_whole_and_asks_for_nothing_from_outside(pages: TestClient, path: str) -> None:
    """Well-formed, one h1, no inline script or style, unique ids, and every address is one of our own."""
    answer = pages.get(path)
    assert answer.status_code == 200
    found = Outline(answer.text)
    assert found.open == []
    assert len(found.every("h1")) == 1
    assert found.every("style") == []
    assert [item for item in found.every("script") if not str(item.get("src", "")).startswith("/console/static/")] == []
    assert [tag for tag, item in found.tags if "style" in item or any(name.startswith("on") for name in item)] == []
    addresses = [str(item[name]) for _, item in found.tags for name in ("href", "src", "action") if item.get(name)]
    assert len(addresses) > 5
    assert [item for item in addresses if not item.startswith(("/console", "?", "#"))] == []
    ids = [item["id"] for _, item in found.tags if "id" in item]
    assert len(ids) == len(set(ids))
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", PATHS)
def test_every_field_has_its_label(pages: TestClient, path: str) -> None:
    """Whoever cannot see the page is told what each field is for, and each form carries its mark."""
    found = Outline(pages.get(path).text)
    labelled = {item.get("for") for item in found.every("label")}
    fields = [item for name in ("input", "select") for item in found.every(name) if item.get("type") != "hidden"]
    loose = [
        item for item in fields if item.get("type") not in {"checkbox", "radio"} and item.get("id") not in labelled
    ]
    assert loose == []
    sent = [item for item in found.every("form") if item.get("method") == "post"]
    marks = [item for item in found.every("input") if item.get("name") == "csrf"]
    assert len(marks) == len(sent)


def test_the_overview_answers_three_questions(pages: TestClient) -> None:
    """Fresh, right, affordable: each in words, with real figures."""
    page = pages.get("/console").text
    assert "1 document could not be processed" in page
    assert "Generation 1 was never measured" in page
    assert re.search(r"\$0\.0\d+ in 7 days", page)
    assert "generation 2 fits the configuration" in page


def test_alarms_are_on_the_first_page(pages: TestClient, migrating: Index) -> None:
    """Those that are on, since when, what they involve, and that nobody could be told; then those that are over."""
    catalog = migrating._catalog
    on = Alert("check known_queries", "check", "<b>one</b> is lost", 1.0, error="no answer in 10 s", documents=("1",))
    before = migrating.pulse()
    catalog.keep_alert("handbook", on)
    assert migrating.pulse() != before, "a page that is open follows"
    catalog.keep_alert("handbook", Alert("freshness wiki", "freshness", "late", 1.0, resolved_at=2.0, told="fired"))
    page = pages.get("/console").text
    catalog.forget_alert("handbook", "check known_queries")
    catalog.forget_alert("handbook", "freshness wiki")
    assert "1 alarm about what is live" in page
    assert "known_queries" in page
    assert "&lt;b&gt;one&lt;/b&gt; is lost" in page
    assert "nobody could be told: <bdi>no answer in 10 s" in page
    assert 'href="/console/document?id=1"' in page
    assert "ended <time" in page
    assert "known_queries" not in pages.get("/console").text


def test_the_index_that_holds_nothing_says_what_to_do(empty: TestClient) -> None:
    """Every page of an empty index is there, and the first one names the first step."""
    for path in PATHS:
        if not re.search(r"generations/|evaluation/|document|q=", path):
            assert empty.get(path).status_code == 200, path
    page = empty.get("/console").text
    assert "Nothing can be searched yet" in page
    assert "regen sync" in page
    assert "There is no rollout." in empty.get("/console/rollout").text
    assert empty.get("/console/search?q=anything").status_code == 422


def test_search_shows_what_the_fence_did(pages: TestClient, real_data: Path) -> None:
    """As the public, as a team, and as everybody; conditions; a comparison of two generations."""
    public = pages.get("/console/search", params={"q": "boundary layer flow", "k": "100"}).text
    team = pages.get("/console/search", params={"q": "boundary layer flow", "k": "100", "as": "team:aero"}).text
    ids = [set(re.findall(r'class="document" href="/console/document\?id=([^"]+)"', page)) for page in (public, team)]
    restricted = {item.id for item in cranfield(real_data, 200) if item.access}
    assert ids[0] - {quote(HOSTILE.id, safe="")}
    assert ids[0] & restricted == set()
    assert ids[1] & restricted
    assert "Fence:" in public
    filtered = pages.get("/console/search", params={"q": "flow", "where": "part=3; part>=2"}).text
    assert (
        "part: <bdi>3" in re.sub(r"</?bdi>part", "part", filtered).replace("part</bdi>", "part")
        or "3</bdi>" in filtered
    )
    compared = pages.get("/console/search", params={"q": "flow", "generation": "1", "against": "2"}).text
    assert re.search(r"\d+ of \d+ documents in both answers", compared)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"where": "part=="}, "is not a condition"),
        ({"k": "0"}, "whole number from 1 to 100"),
        ({"k": "many"}, "hits cannot be asked for"),
        ({"generation": "77"}, "there is no generation"),
        ({"against": "<b>"}, "there is no generation"),
    ],
)
def test_a_question_that_cannot_be_asked_says_why(pages: TestClient, given: dict[str, str], said: str) -> None:
    """At the field, with what is valid; what was typed stays."""
    answer = pages.get("/console/search", params={"q": "heat & mass", **given})
    assert answer.status_code == 422
    assert said in answer.text
    assert 'value="heat &amp; mass"' in answer.text


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "\"'><img src=x>", "\u202eabc \u0645\u0631", "x" * 10_000, "\0"]
)
def test_hostile_queries_are_only_text(pages: TestClient, text: str) -> None:
    """What is asked for comes back as text, whatever it looks like."""
    answer = pages.get("/console/search", params={"q": text, "everyone": "on"})
    assert answer.status_code in {200, 422}
    found = Outline(answer.text)
    assert [item for item in found.every("script") if "src" not in item] == []
    assert [item for item in found.every("img") if not str(item.get("src")).startswith("/console/static/")] == []
    assert "\u202e" not in answer.text


def test_a_hostile_document_is_only_text(pages: TestClient) -> None:
    """Id, text and metadata that would like to be markup, in results, in its own page and in the history."""
    shown = [
        pages.get("/console/search", params={"q": "alert boundary", "where": "part=9", "everyone": "on"}).text,
        pages.get("/console/document", params={"id": HOSTILE.id}).text,
        pages.get("/console/history").text,
    ]
    for page in shown:
        assert "&lt;script&gt;alert(&#39;id&#39;)" in page
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "\u202e" not in page


def test_what_is_not_there_is_told(pages: TestClient) -> None:
    """Generations, evaluations, runs, documents and pages that do not exist, in the words of the command line."""
    for path, said in {
        "/console/generations/99": "there is no generation 99",
        "/console/evaluation/99": "there is no evaluation 99",
        "/console/document?id=nobody": "nothing is known of a document",
        "/console/nowhere": "there is no page",
        "/console/static/secret.txt": "there is no",
    }.items():
        answer = pages.get(path)
        assert answer.status_code == 404, path
        assert said in answer.text
        assert "text/html" in answer.headers["content-type"]
    assert pages.get("/console/generations/two").status_code == 422


def test_the_report_is_a_page_of_its_own(pages: TestClient) -> None:
    """To be kept or sent on: self-contained, without a script."""
    answer = pages.get("/console/evaluation/1/report")
    assert answer.status_code == 200
    assert "<style>" in answer.text
    assert "script-src" not in answer.headers["content-security-policy"]


def test_assets_are_kept_and_change_their_address(pages: TestClient) -> None:
    """A browser may keep them for ever: another content has another address."""
    page = pages.get("/console").text
    addresses = set(re.findall(r"/console/static/[\w.]+\?v=\w+", page))
    assert len(addresses) == 4
    for address in addresses:
        answer = pages.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize("change", ["no cookie", "no mark", "another mark", "another site", "another origin"])
def test_a_form_of_somebody_else_does_nothing(pages: TestClient, migrating: Index, change: str) -> None:
    """Without our own page's mark and cookie, or from another site, nothing is promoted."""
    mark = re.search(r'name="csrf" value="(\w+)"', pages.get("/console/generations/2/promote").text)
    assert mark is not None
    form = {"csrf": mark[1], "confirm": "handbook", "force": "on", "reason": "attack"}
    headers: dict[str, str] = {}
    if change == "no cookie":
        pages.cookies.clear()
    elif change == "no mark":
        del form["csrf"]
    elif change == "another mark":
        form["csrf"] = "0" * 64
    elif change == "another site":
        headers["Sec-Fetch-Site"] = "cross-site"
    else:
        headers["Origin"] = "https://evil.example"
    answer = pages.post("/console/generations/2/promote", data=form, headers=headers)
    assert answer.status_code == 403
    assert "nothing was done" in answer.text
    assert migrating.status().live == 1


@pytest.mark.parametrize("typed", ["", "Handbook", "handbook2", "<b>handbook</b>"])
def test_a_wrong_confirmation_does_nothing(pages: TestClient, migrating: Index, typed: str) -> None:
    """The alias must be typed letter for letter; the page says what was typed, and keeps the reason."""
    mark = re.search(r'name="csrf" value="(\w+)"', pages.get("/console/generations/2/promote").text)
    assert mark is not None
    answer = pages.post(
        "/console/generations/2/promote", data={"csrf": mark[1], "confirm": typed, "reason": "better & newer"}
    )
    assert answer.status_code == 422
    assert "nothing was done" in answer.text
    assert 'value="better &amp; newer"' in answer.text
    assert migrating.status().live == 1


def test_only_own_addresses_follow_a_login() -> None:
    """Nobody is sent elsewhere after logging in."""
    from regen.server.console.pages.entrance import own_address

    for good in ("/console", "/console/search?q=a", "/console?window=day"):
        assert own_address(good) == good
    for bad in (
        "https://evil.example",
        "//evil.example",
        "/console//evil",
        "/consoleevil",
        "/v1/status",
        "/console/\\x",
        "/console/\r\nx",
    ):
        assert own_address(bad) == "/console"
