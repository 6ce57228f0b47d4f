"""Patterns: what they match, and which folders are entered."""

from __future__ import annotations

from pathlib import Path

import pytest

from regen.errors import ConfigError
from regen.sources.globs import GlobSet
from regen.sources.tree import Tree

FILES = [
    "a.md",
    "b.txt",
    "docs/a.md",
    "docs/deep/er/a.md",
    ".hidden.md",
    ".git/a.md",
    "docs/.venv/lib/a.md",
    "x/docs/a.md",
]


@pytest.mark.parametrize(
    ("patterns", "matched"),
    [
        (["**/*.md"], ["a.md", "docs/a.md", "docs/deep/er/a.md", "x/docs/a.md"]),
        (["*.md"], ["a.md"]),
        (["./*.md"], ["a.md"]),
        (["*.md", "*.txt"], ["a.md", "b.txt"]),
        (["docs/**"], ["docs/a.md", "docs/deep/er/a.md"]),
        (["docs/*"], ["docs/a.md"]),
        (["**/docs/*.md"], ["docs/a.md", "x/docs/a.md"]),
        (["**/docs/**/a.md"], ["docs/a.md", "docs/deep/er/a.md", "x/docs/a.md"]),
        (["**/**/a.md"], ["a.md", "docs/a.md", "docs/deep/er/a.md", "x/docs/a.md"]),
        (["?.[mt]*"], ["a.md", "b.txt"]),
        (["[!a].*"], ["b.txt"]),
        ([".*"], [".hidden.md"]),
        ([".git/*"], [".git/a.md"]),
        (["**/.venv/**/*.md"], ["docs/.venv/lib/a.md"]),
        (["docs"], []),
    ],
)
def test_what_matches(patterns: list[str], matched: list[str]) -> None:
    """Patterns mean what they mean in a shell; a wildcard never matches a leading dot."""
    globs = GlobSet(patterns)
    assert [path for path in FILES if globs.matches(path)] == matched


@pytest.mark.parametrize("pattern", ["/etc/*", "../*.md", "a/../b", "", "**/*.{md,txt}", "a\\*.md"])
def test_patterns_that_cannot_work_are_refused(pattern: str) -> None:
    """A pattern that would silently match nothing is an error."""
    with pytest.raises(ConfigError, match="pattern"):
        GlobSet([pattern])
    with pytest.raises(ConfigError, match="empty"):
        GlobSet([])


def test_folders_that_cannot_match_are_not_entered(tmp_path: Path) -> None:
    """A narrow pattern does not list the whole disk."""
    for name in ("docs/a.md", "data/huge/b.md", ".git/c.md", "node_modules/d.md"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("text")
    listed: list[str] = []

    class Noting(Tree):
        def _items(self, folder: str) -> list[tuple[str, object, bool]]:  # type: ignore[override]
            listed.append(folder)
            return super()._items(folder)  # type: ignore[return-value]

    assert [entry.id for entry in Noting(tmp_path, ["docs/*.md"], ()).walk()] == ["docs/a.md"]
    assert listed == ["", "docs"]
    listed.clear()
    assert len(list(Noting(tmp_path, ["**/*.md"], ["node_modules"]).walk())) == 2
    assert listed == ["", "data", "data/huge", "docs"]


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        (["drafts"], ["a.md", "guides/b.md"]),
        (["drafts/"], ["a.md", "guides/b.md"]),
        (["guides/drafts"], ["a.md", "drafts/c.md", "guides/b.md"]),
        (["**/drafts"], ["a.md", "guides/b.md"]),
        (["guides/**"], ["a.md", "drafts/c.md"]),
        (["b*"], ["a.md", "drafts/c.md", "guides/drafts/d.md"]),
        (["a.md", "drafts"], ["guides/b.md"]),
    ],
)
def test_exclusions(tmp_path: Path, exclude: list[str], left: list[str]) -> None:
    """A name is left out at any depth, a path where it says; listing and look-up by id agree."""
    names = ["a.md", "guides/b.md", "drafts/c.md", "guides/drafts/d.md"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    tree = Tree(tmp_path, ["**/*.md"], exclude)
    assert sorted(entry.id for entry in tree.walk()) == left
    assert sorted(name for name in names if tree.holds(name)) == left
