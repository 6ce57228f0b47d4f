"""What the catalog cases share: the hooks an adapter fills in, and documents and placements made to order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from regen.core.changes import Outcome, candidate
from regen.core.chunks import pack, pack_keys, write_token
from regen.core.documents import Document, digest
from regen.core.recipe import Embedding, Recipe
from regen.core.results import DeadLetter
from regen.ports.catalog import Catalog, Generation, LogOutcome
from regen.ports.placements import Lease, NewPlacement, Placement, Work

ALIAS: Final = "handbook"
RECIPE: Final = Recipe(Embedding("hashing/8", 8))
ME, OTHER = "host:1:me", "host:2:other"
LATER = 1e12
EVERYTHING: Final[dict[str, Any]] = {"after": 0, "lane": None, "limit": 1_000, "max_bytes": 1 << 30}


def chunk_of(doc_id: str, text: str) -> bytes:
    """The id of a document's only chunk (16 bytes)."""
    return digest(f"{doc_id}\0{text}".encode())


def key_of(text: str) -> int:
    """The key of a text (63 bits)."""
    return int.from_bytes(digest(text.encode())[:8]) >> 1


class CatalogHooks:
    """What a subclass fills in. Skipping anything else needs a written reason in the subclass."""

    def make_catalog(self, tmp_path: Path) -> Catalog:
        """Open a new, empty catalog; files go below ``tmp_path``."""
        raise NotImplementedError

    def reopen(self, tmp_path: Path) -> Catalog | None:  # noqa: ARG002  # a hook's argument
        """Open the data of :meth:`make_catalog` once more, as another process would. None: it is private."""
        return None

    @pytest.fixture
    def catalog(self, tmp_path: Path) -> Iterator[Catalog]:
        """Open a catalog and close it after the test."""
        catalog = self.make_catalog(tmp_path)
        yield catalog
        catalog.close()

    @pytest.fixture
    def second(self, catalog: Catalog, tmp_path: Path) -> Iterator[Catalog]:
        """Open another handle on the same data, or skip the case."""
        assert catalog.head() == 0
        other = self.reopen(tmp_path)
        if other is None:
            pytest.skip(f"{type(self).__name__}: the catalog's data cannot be opened a second time")
        yield other
        other.close()


def log(catalog: Catalog, *documents: Document, at: float = 100.0, source: str = "files", **more: Any) -> LogOutcome:
    """Log documents as a source delivers them."""
    return catalog.log(
        source, [candidate(d) for d in documents], content_keys=more.pop("content_keys", ()), at=at, **more
    )


def outcomes(catalog: Catalog, *documents: Document, **more: Any) -> list[Outcome]:
    """What logging these documents says of each."""
    return log(catalog, *documents, **more).outcomes


def numbered(count: int, first: int = 0) -> list[Document]:
    """Documents d0, d1, … with texts of their own."""
    return [Document(f"d{i}", f"text of {i}", {"n": i}) for i in range(first, first + count)]


def make_generation(catalog: Catalog) -> Generation:
    """Add a generation."""
    return catalog.create_generation(ALIAS, RECIPE, "regen_handbook", at=50.0)


def lease(catalog: Catalog, owner: str = ME, at: float = 0.0) -> Lease:
    """Take the writer lease."""
    return catalog.acquire("writer", owner, at=at, seconds=30.0)


def behind(catalog: Catalog, generation: int, **more: Any) -> list[Work]:
    """What is due for a generation."""
    return catalog.behind(generation, **{"upto": catalog.head(), **EVERYTHING, **more})


def placement_of(work: Work, token: int) -> NewPlacement:
    """The placement of a document as one chunk, written under a token; its removal if it is deleted."""
    before = () if work.placement is None else (key_of("old"),)
    dropped = b"" if work.placement is None else work.placement.chunks
    if work.deleted:
        return NewPlacement(work.doc_key, work.revision, None, dropped, before)
    packed = pack([(chunk_of(work.doc_id, work.text), write_token(token))])
    key = key_of(work.text)
    placed = Placement(work.revision, work.content_hash, work.metadata_hash, packed, pack_keys([key]))
    return NewPlacement(work.doc_key, work.revision, placed, dropped, (), (key,))


def place_all(catalog: Catalog, generation: int, held: Lease, *, at: float = 200.0) -> set[int]:
    """Bring a generation up to date, each document as one chunk; the committed keys."""
    works = behind(catalog, generation)
    ids = b"".join(chunk_of(work.doc_id, work.text) for work in works if not work.deleted)
    token = catalog.begin_write(generation, ids, held, at=at)
    return catalog.commit_write(generation, token, [placement_of(work, token) for work in works], held, at=at)


def placed_catalog(catalog: Catalog, *documents: Document) -> tuple[int, Lease]:
    """Log and place documents; the generation's number and the lease."""
    log(catalog, *documents)
    number, held = make_generation(catalog).number, lease(catalog)
    place_all(catalog, number, held)
    return number, held


def letter(
    doc_id: str, generation: int | None, revision: int, reason: str = "bad text", at: float = 300.0
) -> DeadLetter:
    """A dead letter."""
    return DeadLetter(doc_id, generation, revision, reason, 1, at)


def keys_of(works: Sequence[Work]) -> list[str]:
    """The ids of works, in order."""
    return [work.doc_id for work in works]
