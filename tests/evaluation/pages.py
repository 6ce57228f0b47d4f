"""An HTML page as a test reads it: its elements in order, well-formed or an error, and what it would load."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final

VOID: Final = {"meta", "br", "link", "img", "input", "hr"}
LOADING: Final = {"src", "href", "srcset", "action", "data", "poster", "xlink:href", "style"}


@dataclass(frozen=True, slots=True)
class Element:
    """One start tag."""

    tag: str
    attributes: dict[str, str]


@dataclass
class Page(HTMLParser):
    """A parsed page. Raises AssertionError where tags do not match."""

    elements: list[Element] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    style: str = ""
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len({name for name, _ in attrs}), (tag, attrs)
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, (tag, self._open[-3:], self.getpos())

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["style"]:
            self.style += data
        elif data.strip():
            self.words.append(" ".join(data.split()))

    def close(self) -> None:
        super().close()
        assert self._open == []

    @property
    def text(self) -> str:
        """All that a reader sees, in order."""
        return " ".join(self.words)

    def of(self, tag: str, **attributes: str) -> list[Element]:
        """The elements of a tag with these attributes."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [each for each in self.elements if each.tag == tag and wanted.items() <= each.attributes.items()]

    def loads(self) -> list[str]:
        """Every address that a browser would fetch or follow, but for places within the page."""
        found = [
            value
            for element in self.elements
            for name, value in element.attributes.items()
            if name in LOADING and not value.startswith("#")
        ]
        return found + [part for part in ("url(", "@import") if part in self.style]


def parse(html: str) -> Page:
    """The page of a text that is HTML from beginning to end."""
    assert html.startswith("<!DOCTYPE html>\n<html")
    page = Page()
    page.feed(html)
    page.close()
    return page
