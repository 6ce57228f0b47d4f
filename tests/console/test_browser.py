"""The console in a real browser: a migration seen through, by mouse and by keys, for everybody, and harmless."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from tests.console.browser import axe_source, launch, serving, watched
from tests.console.conftest import HOSTILE, cranfield, make_index
from tests.console.test_pages import PATHS

from regen import Document
from regen.embedders.hashing import HashingEmbedder
from regen.engine.settings import Limits
from regen.index import Index

MAIN = ("/console", "/console/search?q=flow&everyone=on", "/console/evaluation", "/console/generations/2/promote")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests here."""
    with sync_playwright() as playwright:
        found = launch(playwright)
        yield found
        found.close()


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> Iterator[Index]:
    """Generation 1 is live, and another model is configured: nothing was done about it yet."""
    root = tmp_path_factory.mktemp("wanted")
    with make_index(root, real_data, "wordllama/l2-supercat-64") as index:
        index.upsert(cranfield(real_data, 200))
    with make_index(root, real_data, "wordllama/l2-supercat-256") as index:
        yield index


@pytest.fixture(scope="module")
def address(migrating: Index) -> Iterator[str]:
    """The console of an index whose second generation is ready."""
    with serving(migrating) as found:
        yield found


def confirm(page: Page, button: str, typed: str, reason: str) -> None:
    """Fill the confirmation in and send it."""
    page.get_by_label("Why").fill(reason)
    page.get_by_label(re.compile("^Type handbook")).fill(typed)
    page.get_by_role("button", name=button).click()


def test_a_migration_from_plan_to_rollback(browser: Browser, wanted: Index) -> None:
    """Plan, apply while watching, evaluate, compare, promote with the alias typed, search, roll back; the history."""
    with serving(wanted) as base, watched(browser, base) as seen:
        page = seen.open("/console/plan")
        page.get_by_role("button", name="Make a plan").click()
        expect(page.get_by_role("heading", name="From generation 1 to 2")).to_be_visible()
        expect(page.get_by_role("table")).to_contain_text("embed chunks")
        page.get_by_role("button", name="Apply exactly this").click()
        page.wait_for_url("**/console/runs/*")
        page.get_by_role("link", name="Generation 2", exact=True).click()
        expect(page.get_by_role("heading", name="Generation 2 ready")).to_be_visible()

        page.get_by_role("button", name="Evaluate against generation 1").click()
        page.get_by_role("link", name="Look at the evaluation").click()
        verdict = wanted.evaluations()[0].verdict
        expect(
            page.get_by_role("heading", name={"promote": "Promote", "hold": "Hold"}.get(verdict, "Cannot tell")).first
        ).to_be_visible()
        assert page.locator("svg.winloss").count() >= 3
        page.get_by_label("Query", exact=True).fill("shock waves on a cone")
        page.get_by_role("button", name="Compare").click()
        expect(page.locator("section.results")).to_have_count(2)

        seen.expected.add(422)
        page = seen.open("/console/generations/2/promote")
        confirm(page, "Promote generation 2", "hand", "a better model")
        expect(page.get_by_text("nothing was done")).to_be_visible()
        assert wanted.status().live == 1
        if verdict != "promote":
            page.get_by_label("Overrule the gate").check()
        confirm(page, "Promote generation 2", "handbook", "a better model")
        expect(page.get_by_role("status")).to_contain_text("Generation 2 answers now")
        assert wanted.status().live == 2

        page = seen.open("/console/search?q=shock+waves+on+a+cone&everyone=on")
        expect(page.get_by_role("heading", name="generation 2")).to_be_visible()
        assert page.locator("li.hit").count() == 10

        page = seen.open("/console/rollback")
        confirm(page, "Roll back", "handbook", "readers complain")
        expect(page.get_by_role("status")).to_contain_text("Generation 1 answers again")
        assert wanted.status().live == 1
        page = seen.open("/console/history")
        switches = page.get_by_role("region", name="Switches of the alias")
        expect(switches).to_contain_text("readers complain")
        expect(switches).to_contain_text("a better model")


def test_by_keys_alone(browser: Browser, address: str) -> None:
    """From the first page to a confirmation and back without a mouse; the help, the search field, light and dark."""
    with watched(browser, address) as seen:
        page = seen.open("/console")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
        page.keyboard.press("t")
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        page.keyboard.press("g")
        page.keyboard.press("g")
        page.wait_for_url("**/console/generations")
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url("**/console/generations/2")
        tab_to(page, "Promote…")
        page.keyboard.press("Enter")
        page.wait_for_url("**/console/generations/2/promote")
        tab_to(page, "Leave it")
        page.keyboard.press("Enter")
        page.wait_for_url("**/console/generations/2")
        page.keyboard.press("/")
        page.wait_for_url("**/console/search")
        expect(page.get_by_role("searchbox")).to_be_focused()
        page.keyboard.type("flow g o over a wing?")
        page.keyboard.press("Enter")
        page.wait_for_url("**/console/search?q=flow*")
        expect(page.locator("li.hit").first).to_be_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("j")
        page.keyboard.press("j")
        expect(page.locator("li.hit").nth(1)).to_be_focused()


def tab_to(page: Page, name: str) -> None:
    """Press Tab until what is focused has this text, which must not take long."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == name:
            return
    pytest.fail(f"{name} is not reached by Tab")


def faults(page: Page) -> list[tuple[str, str]]:
    """What the accessibility checker finds wrong with a page as it is now, in its colours."""
    page.evaluate(axe_source())
    found: dict[str, Any] = page.evaluate("axe.run()")
    assert len(found["passes"]) > 10
    return [(item["id"], item["nodes"][0]["html"][:160]) for item in found["violations"]]


def faults_in_both(page: Page) -> list[tuple[str, str]]:
    """The same in light and in dark."""
    found = []
    for scheme in ("light", "dark"):
        page.evaluate(f"document.documentElement.dataset.theme = '{scheme}'")
        found += faults(page)
    return found


@pytest.mark.parametrize(
    ("scheme", "paths"),
    [("light", MAIN), *(pytest.param(scheme, PATHS, marks=pytest.mark.slow) for scheme in ("light", "dark"))],
)
def test_pages_are_for_everybody(browser: Browser, address: str, scheme: str, paths: Sequence[str]) -> None:
    """No page has a fault that the accessibility checker finds: contrast, names, labels, roles, headings."""
    with watched(browser, address, scheme=scheme) as seen:
        found = {path: faults(seen.open(path)) for path in paths}
    assert {path: each for path, each in found.items() if each} == {}


@pytest.mark.parametrize("width", [360, 1440])
def test_nothing_reaches_beyond_the_edge(browser: Browser, address: str, width: int) -> None:
    """No page scrolls sideways, on a phone or on a desk; what must be wide scrolls in its own place."""
    with watched(browser, address, width=width) as seen:
        wide = {}
        for path in PATHS:
            reach = seen.open(path).evaluate("document.documentElement.scrollWidth")
            if reach > width:
                wide[path] = reach
    assert wide == {}


def test_hostile_text_stays_text(browser: Browser, address: str) -> None:
    """Ids, texts, metadata and queries that would like to run: shown, and nothing happens."""
    with watched(browser, address) as seen:
        for query in (
            HOSTILE.id,
            '"><img src=x onerror=alert(1)>',
            "\u202e\u0645\u0631\u062d\u0628\u0627",
            "x" * 7_000,
        ):
            page = seen.open("/console/search")
            page.get_by_role("searchbox").fill(query)
            page.get_by_label("whoever may see it").check()
            page.get_by_role("button", name="Search").click()
            expect(page.locator("li.hit").first).to_be_visible()
            assert page.get_by_role("searchbox").input_value() == query.replace("\u202e", "\ufffd")
        page.get_by_role("searchbox").fill("alert boundary")
        page.get_by_label("Where").fill("part=9")
        page.get_by_label("whoever may see it").check()
        page.get_by_role("button", name="Search").click()
        page.locator("li.hit a.document").first.click()
        expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE.id)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.locator("main img").count() == 0


def test_pages_can_be_read_without_scripts(browser: Browser, address: str) -> None:
    """Everything but keys and following: also searching, and switching to dark."""
    with watched(browser, address, scripts=False) as seen:
        page = seen.open("/console/search")
        page.get_by_role("searchbox").fill("flow")
        page.get_by_role("button", name="Search").click()
        expect(page.locator("li.hit").first).to_be_visible()
        page.get_by_role("button", name="Dark").click()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        expect(page.locator("li.hit").first).to_be_visible()


def test_an_open_page_follows(browser: Browser, tmp_path: Path) -> None:
    """What somebody else does shows without loading the page again."""
    index = Index(embedder="hashing/16", store="memory://", catalog="sqlite:///c.db", alias="handbook", root=tmp_path)
    with index, serving(index) as base, watched(browser, base) as seen:
        page = seen.open("/console")
        expect(page.get_by_role("heading", name="Nothing can be searched yet")).to_be_visible()
        page.evaluate("window.same = true")
        index.upsert([Document("a", "some text"), Document("b", "")])
        expect(page.get_by_role("heading", name="1 document could not be processed")).to_be_visible()
        index.delete(["b"])
        expect(page.get_by_role("heading", name="Every change is searchable")).to_be_visible()
        assert page.evaluate("window.same") is True


def test_a_rollout_begun_and_aborted(browser: Browser, tmp_path: Path, real_data: Path) -> None:
    """A wrong confirmation does nothing; begun, it answers a share and is followed; paused, resumed, aborted."""
    with make_index(tmp_path, real_data, "hashing/16", 60) as first:
        first.upsert(cranfield(real_data, 60))
    with make_index(tmp_path, real_data, "hashing/32", 60) as index, serving(index) as base:
        index.apply()
        with watched(browser, base) as seen:
            seen.expected.add(422)
            page = seen.open("/console/generations/2")
            page.get_by_role("link", name="Let it answer some…").click()
            page.get_by_label("First share, in percent").fill("25")
            confirm(page, "Begin", "hand", "let us see")
            expect(page.get_by_text("nothing was done")).to_be_visible()
            assert index.rollout() is None
            confirm(page, "Begin", "handbook", "let us see")
            page.wait_for_url("**/console/rollout")
            expect(page.get_by_role("heading", name=re.compile("^25.% of the callers are answered by"))).to_be_visible()
            begun = index.rollout()
            assert begun is not None
            assert (begun.candidate, begun.weight, begun.kind) == (2, 0.25, "canary")
            routes = {index.search("flow", key=f"user{n}").generation for n in range(40)}
            assert routes == {1, 2}, "some callers are answered by the candidate, and some are not"
            assert faults_in_both(page) == []

            page.get_by_label("Why").fill("a holiday")
            page.get_by_role("button", name="Pause").click()
            expect(page.get_by_role("button", name="Resume")).to_be_visible()
            assert (index.rollout() or begun).status == "paused"
            page.get_by_role("button", name="Resume").click()
            expect(page.get_by_role("button", name="Pause")).to_be_visible()
            page.get_by_label("Why").fill("readers complain")
            page.get_by_role("button", name="Abort").click()
            expect(page.get_by_role("heading", name="It was aborted")).to_be_visible()
            expect(page.locator("#rollout")).to_contain_text("readers complain")
            assert index.rollout() is None
            assert {index.search("flow", key=f"user{n}").generation for n in range(40)} == {1}

            page = seen.open("/console/generations/2")
            page.get_by_role("link", name="Retire…").click()
            confirm(page, "Retire generation 2", "handbook", "not good enough")
            expect(page.get_by_role("status")).to_contain_text("Generation 2 is gone")
            expect(page.get_by_role("heading", name="Generation 2 aborted")).to_be_visible()
            assert [item.state for item in index.generations()] == ["live", "aborted"]


class Gated(HashingEmbedder):
    """A model that embeds a batch each time that it is let."""

    def __init__(self) -> None:
        super().__init__(24)
        self.batches = threading.Semaphore(0)

    def embed_documents(self, texts: Sequence[str]) -> Any:
        """Wait until the batch may go on."""
        if len(texts) > 10:  # not the probe texts
            assert self.batches.acquire(timeout=600)
        return super().embed_documents(texts)

    def release_until(self, seen: Locator, *, at_most: int) -> None:
        """Let one batch after the other go on, as those do that were read before a pause was noticed."""
        for _ in range(at_most):
            if seen.is_visible():
                break
            self.batches.release()
            seen.page.wait_for_timeout(1000)
        expect(seen).to_be_visible()


def figure(page: Page, label: str) -> Locator:
    """The value below a label of a row of figures."""
    return page.locator("dl.figures div", has=page.locator("dt", has_text=re.compile(f"^{label}$"))).locator("dd")


def test_a_backfill_is_watched_paused_and_goes_on(browser: Browser, tmp_path: Path) -> None:
    """An open page's figures move as batches are placed, without loading it; a pause holds it, going on ends it."""
    places: dict[str, Any] = {"catalog": "sqlite:///c.db", "alias": "handbook", "root": tmp_path}
    texts = [Document(f"d{n}", f"text number {n}") for n in range(1000)]
    with Index(embedder="hashing/16", store="lancedb://v", **places) as first:
        first.upsert(texts)
    model, limits = Gated(), Limits(batch_documents=50, budget_usd=100.0)
    priced = {"price_per_million_tokens": 1_000.0}
    with (
        Index(embedder=model, embedding=priced, store="lancedb://v", limits=limits, **places) as index,
        serving(index) as base,
        watched(browser, base) as seen,
    ):
        page = seen.open("/console/plan")
        page.get_by_role("button", name="Make a plan").click()
        page.get_by_role("button", name="Apply exactly this").click()
        page.wait_for_url("**/console/runs/*")
        run = page.url
        model.batches.release(2)
        page = seen.open("/console/backfill")
        page.evaluate("window.same = true")
        expect(figure(page, "pending")).to_contain_text("900")
        expect(page.locator("p.under").first).to_contain_text("10 % · 100 of 1,000 documents")
        before = figure(page, "spent").inner_text()
        assert re.fullmatch(r"\$\d+\.\d+", before)
        assert float(figure(page, "rate").inner_text().split()[0]) > 0
        expect(figure(page, "left")).not_to_have_text("–")
        expect(figure(page, "budget")).to_have_text("$100.00")
        assert faults_in_both(page) == []
        model.batches.release(2)
        expect(figure(page, "pending")).to_contain_text("800")
        expect(page.locator("p.under").first).to_contain_text("20 % · 200 of 1,000 documents")
        expect(page.locator("svg.progress")).to_have_attribute("aria-label", "20 % of 1,000 documents filled")
        expect(figure(page, "chunks")).to_have_text("200")
        assert float(figure(page, "spent").inner_text()[1:]) > float(before[1:])
        assert page.evaluate("window.same") is True

        page.get_by_label("Why").fill("the provider is down")
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("status")).to_contain_text("Generation 2 is paused")
        expect(page.locator("#backfill")).to_contain_text("the provider is down")
        page = seen.open(run.removeprefix(base))
        model.release_until(page.get_by_role("heading", name="Apply succeeded"), at_most=15)
        page = seen.open("/console/backfill")
        expect(figure(page, "left")).to_have_text("–")
        assert int(figure(page, "pending").inner_text().split()[0]) > 0
        model.batches.release(50)
        page.get_by_role("button", name="Go on").click()
        page.wait_for_url("**/console/runs/*")
        page.get_by_role("link", name="Generation 2", exact=True).click()
        expect(page.get_by_role("heading", name="Generation 2 ready")).to_be_visible()
        page = seen.open("/console/backfill")
        expect(page.get_by_text("Nothing is being filled.")).to_be_visible()
