"""A real browser and a real server for the console's tests: what it complains of and asks for is kept."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

from regen.index import Index
from regen.server import create_app

OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
]  # fmt: skip
PATIENCE = 180_000.0
"""Milliseconds to wait for what must come; two cores may be busy with other things."""


def launch(playwright: Playwright) -> Browser:
    """Chromium, as Debian and others name it, or as CHROMIUM says."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    expect.set_options(timeout=PATIENCE)
    return playwright.chromium.launch(executable_path=found, args=OPTIONS)


@dataclass
class Watched:
    """A page and everything that should not have happened in it."""

    page: Page
    base: str
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    expected: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", lambda message: self._heard(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"a dialog: {dialog.message}"))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def _heard(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"} and not any(f"status of {code}" in text for code in self.expected):
            self.complaints.append(text)

    def open(self, path: str) -> Page:
        """Go to a page of the console."""
        self.page.goto(self.base + path)
        return self.page

    def check(self) -> None:
        """Nothing was complained of, and nobody but the server was asked."""
        assert self.complaints == []
        assert len(self.asked) > 3
        assert [url for url in self.asked if not url.startswith(self.base)] == []


@contextmanager
def watched(
    browser: Browser, base: str, *, width: int = 1440, scheme: str = "light", scripts: bool = True
) -> Iterator[Watched]:
    """A new context with one page, checked at the end."""
    context: BrowserContext = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
        java_script_enabled=scripts,
    )
    found = Watched(context.new_page(), base)
    try:
        yield found
        found.check()
    finally:
        context.close()


@contextmanager
def serving(index: Index) -> Iterator[str]:
    """The console of an index on a free port of this machine; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(create_app(index), host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


def axe_source() -> str:
    """The accessibility checker's script, out of the test dependency that brings it."""
    module = pytest.importorskip("axe_core_python")
    return (Path(module.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
