"""Several sources in one index: each document is of one of them, and one's losses and troubles are its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regen import Document, Index
from regen.errors import ConfigError, DuplicateDocument, MassDelete, SourceError
from regen.sources.files import FilesSource
from regen.sources.jsonl import JsonlSource


class Two:
    """A folder and a file with one object a line, as two sources of one index."""

    def __init__(self, root: Path) -> None:
        self.root, self.docs, self.lines = root, root / "docs", root / "tickets.jsonl"
        self.docs.mkdir()
        self.write("a.md", "alpha")
        self.tickets({"t1": "first ticket", "t2": "second ticket"})
        self.index = self.open()

    def open(self, *, folder: str = "docs", **more: object) -> Index:
        """The index anew."""
        return Index(
            embedder="hashing/32", store="lancedb://v", catalog="sqlite:///c.db", root=self.root,
            sources=[FilesSource(self.docs, name=folder), JsonlSource(self.lines, name="tickets")], **more,  # type: ignore[arg-type]
        )  # fmt: skip

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder."""
        (self.docs / name).write_text(text)

    def tickets(self, tickets: dict[str, str]) -> None:
        """Write the other source anew."""
        rows = [json.dumps({"id": key, "text": text}) for key, text in tickets.items()]
        self.lines.write_text("\n".join(rows) + "\n")

    def owners(self) -> dict[str, str]:
        """Which source each living document is of, by the catalog."""
        known = self.index._catalog.known(["a.md", "b.md", "t1", "t2"])
        return {doc_id: item.source for doc_id, item in known.items() if not item.deleted}


@pytest.fixture
def two(tmp_path: Path) -> Two:
    """Synced once."""
    made = Two(tmp_path)
    assert made.index.sync().documents.added == 3
    return made


def test_all_or_one(two: Two) -> None:
    """A sync is of all sources, or of the named one; an unknown name is answered with the known ones."""
    assert two.owners() == {"a.md": "docs", "t1": "tickets", "t2": "tickets"}
    two.write("b.md", "beta")
    two.tickets({"t1": "first ticket, edited"})
    first = two.index.sync("docs").documents
    assert (first.added, first.updated, first.deleted, first.unchanged) == (1, 0, 0, 1)
    second = two.index.sync("tickets").documents
    assert (second.added, second.updated, second.deleted) == (0, 1, 1)
    assert two.index.sync().documents.changed == 0
    with pytest.raises(ConfigError, match="no source 'wiki'") as caught:
        two.index.sync("wiki")
    assert "docs, tickets" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="of which source"):
        two.index.sync_ids(["a.md"])
    assert two.index.sync_ids(["a.md"], source="docs").documents.unchanged == 1


def test_two_sources_claim_one_id(two: Two) -> None:
    """The one that had it keeps it, the other one's other documents are taken, and the error names both and the id."""
    two.tickets({"t1": "first ticket", "t2": "second ticket", "a.md": "another alpha", "t3": "third"})
    for _ in range(2):
        with pytest.raises(DuplicateDocument, match=r"'docs' and 'tickets' both deliver document id 'a\.md'"):
            two.index.sync()
    with pytest.raises(DuplicateDocument, match="both deliver"):
        two.index.sync("tickets")
    with pytest.raises(DuplicateDocument, match="both deliver"):
        two.index.plan()
    assert two.owners()["a.md"] == "docs"
    assert two.index.search("alpha", k=1)[0].text == "alpha"
    assert two.index.search("third", k=1)[0].doc_id == "t3"
    assert two.index.sync("docs").documents.unchanged == 1


def test_two_new_documents_of_one_id(tmp_path: Path) -> None:
    """Already the first plan sees it."""
    two = Two(tmp_path)
    two.tickets({"a.md": "another alpha"})
    with pytest.raises(DuplicateDocument, match="both deliver"):
        two.index.plan()
    with pytest.raises(DuplicateDocument, match="both deliver"):
        two.index.sync()


@pytest.mark.parametrize("text", ["alpha", "alpha, and more"])
@pytest.mark.parametrize("alone", [False, True])
def test_a_document_moves_to_another_source(two: Two, text: str, alone: bool) -> None:
    """It is never gone meanwhile, it belongs to its new source, and goes when that one loses it."""
    (two.docs / "a.md").unlink()
    two.tickets({"t1": "first ticket", "t2": "second ticket", "a.md": text})
    assert sum(step.documents for step in two.index.plan().steps) == 1
    moved = two.index.sync("tickets" if alone else None)
    assert (moved.documents.deleted, moved.documents.changed) == (0, 1)
    assert moved.embedded_texts == int(text != "alpha")
    assert two.owners()["a.md"] == "tickets"
    assert two.index.sync().documents.changed == 0
    assert [change.kind for change in two.index.history("a.md")].count("deleted") == 0
    two.tickets({"t1": "first ticket", "t2": "second ticket"})
    assert two.index.sync().documents.deleted == 1
    assert "a.md" not in two.owners()


def test_a_source_by_another_name(two: Two) -> None:
    """Its documents become those of the new name, unchanged; what it loses then is noticed."""
    two.index.close()
    two.index = two.open(folder="handbook")
    assert two.index.sync().documents.changed == 0
    assert two.owners()["a.md"] == "handbook"
    two.write("b.md", "beta")
    two.index.sync()
    (two.docs / "a.md").unlink()
    assert two.index.sync().documents.deleted == 1


def test_the_guard_against_mass_deletion_is_each_sources_own(two: Two) -> None:
    """A source that lost everything is stopped, however small its share of the whole; the other one goes on."""
    for number in range(200):
        two.write(f"{number}.md", f"text {number}")
    two.tickets({f"t{number}": f"ticket {number}" for number in range(20)})
    two.index.sync()
    two.tickets({"t0": "ticket 0"})
    two.write("b.md", "beta")
    with pytest.raises(MassDelete, match="source 'tickets'") as caught:
        two.index.sync()
    assert "docs" in caught.value.message
    assert two.index.search("beta", k=1)[0].doc_id == "b.md"
    assert two.index.status().documents == 222
    assert two.index.sync("tickets", allow_mass_delete=True).documents.deleted == 19


def test_a_source_that_cannot_be_read_holds_no_other_up(two: Two) -> None:
    """Its documents stay, the others are brought in step, and the error says so."""
    two.lines.unlink()
    two.write("b.md", "beta")
    with pytest.raises(SourceError, match="does not exist"):
        two.index.sync()
    assert two.index.search("beta", k=1)[0].doc_id == "b.md"
    assert set(two.owners()) == {"a.md", "b.md", "t1", "t2"}
    assert not two.index.doctor().healthy


def test_dead_letters_are_each_sources_own(two: Two) -> None:
    """A sync of one source neither forgets nor repeats what another one could not deliver."""
    (two.docs / "broken.md").write_bytes(b"\xff\xfe\x00 broken")
    assert two.index.sync().documents.failed == 1
    two.index.sync("tickets")
    letters = two.index.status().dead_letters
    assert [(letter.doc_id, letter.source) for letter in letters] == [("broken.md", "docs")]
    (two.docs / "broken.md").unlink()
    two.index.sync("docs")
    assert two.index.status().dead_letters == []


def test_pushed_documents(tmp_path: Path) -> None:
    """Where pushing is a source of its own, it cannot take another one's documents."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.md").write_text("alpha")
    index = Index(
        embedder="hashing/32", store="memory://", catalog="sqlite://", root=tmp_path,
        sources=[{"kind": "files", "path": "docs"}, {"kind": "push", "name": "api"}],
    )  # fmt: skip
    index.sync()
    index.upsert([Document(id="p", text="pushed")])
    with pytest.raises(DuplicateDocument, match=r"'files' and 'api' both deliver document id 'a\.md'"):
        index.upsert([Document(id="a.md", text="taken"), Document(id="q", text="also")])
    assert index.sync().documents.deleted == 0
    assert {item.name: item.documents for item in index.status().freshness.sources} == {"files": 1, "api": 1}


def test_two_sources_of_one_name(tmp_path: Path) -> None:
    """They could not be told apart."""
    with pytest.raises(ConfigError, match="two sources are called 'files'"):
        Index(embedder="hashing/8", store="memory://", catalog="sqlite://", root=tmp_path,
              sources=[{"kind": "files", "path": "a"}, {"kind": "files", "path": "b"}])  # fmt: skip
