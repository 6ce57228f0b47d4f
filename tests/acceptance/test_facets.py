"""The table of the cheapest valid path, row by row: what changed, what it cost exactly, and what search then finds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from regen import UNRESTRICTED, Chunking, Document, Limits, Plan, SyncResult
from regen.core.results import ChunkCounts
from regen.errors import ConfigError, EmbedderError, MassDelete, NotFound, StalePlan

Worlds: TypeAlias = Callable[..., Any]
"""Makes a World (see conftest.py) from documents and an index's settings."""
LONG = Chunking("markdown", max_tokens=18)
FLAT = Chunking("whole")


def paragraph(number: int, mark: str = "") -> str:
    """A paragraph of about a dozen tokens that resembles no other."""
    words = " ".join(f"{noun}{number}" for noun in ("river", "stone", "lantern", "copper", "violin", "harbour"))
    return f"Paragraph {number} {mark} tells of {words}."


def twenty(edited: int | None = None, mark: str = "EDITED") -> str:
    """Twenty paragraphs, one of them perhaps edited."""
    return "\n\n".join(paragraph(number, mark if number == edited else "") for number in range(20))


def counts(result: SyncResult) -> tuple[int, int, int, int]:
    """(texts embedded, chunks written, reused, deleted)."""
    chunks: ChunkCounts = result.chunks
    return result.embedded_texts, chunks.written, chunks.reused, chunks.deleted


def three() -> list[Document]:
    """Three short documents."""
    return [
        Document("fox", "the quick brown fox jumps", {"lang": "en", "year": 2020}),
        Document("hund", "der schnelle braune Hund springt", {"lang": "de", "year": 2021}),
        Document("chat", "le chat brun saute vite", {"lang": "fr", "year": 2022}),
    ]


# ── rows of the table ───────────────────────────────────────────────────────────────────────────────────────


def test_first_load_embeds_each_distinct_text_once(worlds: Worlds) -> None:
    """Everything is new: as many texts as distinct chunks, and search finds each document by its own words."""
    world = worlds(*three(), chunking=FLAT)
    result = world.step()
    assert counts(result) == (3, 3, 0, 0)
    assert result.generation == 1
    assert world.found("braune Hund springt")[0] == "hund"
    world.assert_sound()


def test_nothing_changed_costs_nothing(worlds: Worlds) -> None:
    """A second sync finds nothing to do, and neither the catalog's documents nor the log move."""
    world = worlds(*three())
    world.step()
    plan = world.index.plan()
    assert plan.empty
    result = world.step()
    assert counts(result) == (0, 0, 0, 0)
    assert result.documents.unchanged == 3
    assert result.revision == 3


def test_same_bytes_under_another_version_are_no_change(worlds: Worlds) -> None:
    """A touched document, with a new version and time but the same bytes, is unchanged."""
    world = worlds(*three())
    world.step()
    world.put(*(replace(document, version="2", updated_at=time.time()) for document in three()))
    result = world.step()
    assert (counts(result), result.documents.unchanged) == ((0, 0, 0, 0), 3)


def test_created_embeds_its_chunks(worlds: Worlds) -> None:
    """A new document of twenty chunks embeds twenty texts and nothing of the others."""
    world = worlds(*three(), chunking=LONG)
    world.step()
    world.put(Document("long", twenty()))
    assert counts(world.step()) == (20, 20, 0, 0)
    assert world.found("lantern7 copper7")[0] == "long"


@pytest.mark.parametrize("edited", [0, 7, 19])
def test_one_edited_paragraph_of_twenty_embeds_one_chunk(worlds: Worlds, edited: int) -> None:
    """The nineteen others keep their points, and search finds the new words and not the old ones."""
    world = worlds(Document("long", twenty()), chunking=LONG)
    world.step()
    kept = {hit.chunk_id for hit in world.index.search("river", k=50)}
    world.put(Document("long", twenty(edited, "REPLACED")))
    assert counts(world.step()) == (1, 1, 19, 1)
    hits = {hit.chunk_id: hit.text for hit in world.index.search("river", k=50)}
    assert len(hits) == 20
    assert len(kept & hits.keys()) == 19
    assert [text for text in hits.values() if "REPLACED" in text] == [paragraph(edited, "REPLACED")]
    world.assert_sound()


def test_an_inserted_paragraph_embeds_at_most_two_chunks(worlds: Worlds) -> None:
    """What lies behind an insertion is not moved into other chunks."""
    world = worlds(Document("long", twenty()), chunking=LONG)
    world.step()
    parts = twenty().split("\n\n")
    world.put(Document("long", "\n\n".join([*parts[:9], paragraph(99), *parts[9:]])))
    result = world.step()
    assert 1 <= result.embedded_texts <= 2
    assert result.chunks.reused >= 19
    assert "river99" in world.index.search("river99 stone99", k=1)[0].text


def test_metadata_outside_the_template_updates_the_payload_only(worlds: Worlds) -> None:
    """No text is embedded, no point rewritten with another id, and the filter follows at once."""
    world = worlds(*three(), chunking=FLAT)
    world.step()
    before = {hit.chunk_id for hit in world.index.search("x", k=9)}
    world.put(replace(three()[0], metadata={"lang": "la", "year": 1999}))
    result = world.step()
    assert counts(result) == (0, 0, 0, 0)
    assert result.documents.metadata_updated == 1
    assert world.found("x", where={"lang": "la"}) == ["fox"]
    assert world.found("x", where={"year": {"lt": 2000}}) == ["fox"]
    assert world.found("x", where={"lang": "de"}) == ["hund"]
    assert {hit.chunk_id for hit in world.index.search("x", k=9)} == before
    assert world.index.search("fox", k=1)[0].metadata == {"lang": "la", "year": 1999}
    world.assert_sound()  # the store's own payload follows too


def test_metadata_in_the_template_counts_as_content(worlds: Worlds) -> None:
    """A new title re-embeds the document's chunks; other metadata of it still costs nothing."""
    titled = [Document(str(i), paragraph(i), {"title": f"Title {i}", "lang": "en"}) for i in range(3)]
    world = worlds(*titled, text="{title}\n{text}", chunking=FLAT)
    world.step()
    world.put(replace(titled[1], metadata={"title": "Zanzibar", "lang": "en"}))
    result = world.step()
    assert (counts(result), result.documents.updated) == ((1, 1, 0, 1), 1)
    assert world.embedder.texts[-1].startswith("Zanzibar\n")
    world.put(replace(titled[1], metadata={"title": "Zanzibar", "lang": "sw"}))
    result = world.step()
    assert (counts(result), result.documents.metadata_updated) == ((0, 0, 0, 0), 1)


def test_access_takes_effect_at_once_and_costs_nothing(worlds: Worlds) -> None:
    """A revoked document is seen by its principals only, a published one by all, a closed one by nobody."""
    world = worlds(*three(), chunking=FLAT)
    world.step()
    world.put(replace(three()[0], access=["team:a", "user:1"]))
    result = world.step()
    assert (counts(result), result.documents.access_updated) == ((0, 0, 0, 0), 1)
    assert "fox" not in world.found("fox")
    assert "fox" not in world.found("fox", principals=["team:b"])
    assert world.found("fox", principals=["team:a"])[0] == "fox"
    assert world.found("fox", principals="user:1")[0] == "fox"
    world.assert_sound()
    world.put(replace(three()[0], access=[]))
    world.step()
    assert "fox" not in world.found("fox", principals=["team:a"])
    assert world.found("fox", principals=UNRESTRICTED)[0] == "fox"
    world.put(replace(three()[0], access=None))
    world.step()
    assert world.found("fox")[0] == "fox"


def test_the_order_of_principals_is_no_change(worlds: Worlds) -> None:
    """Access is a set: another order or a repetition changes nothing."""
    world = worlds(Document("a", "text", access=["x", "y"]))
    world.step()
    world.put(Document("a", "text", access=["y", "x", "y"]))
    assert world.step().documents.unchanged == 1


def test_deleted_is_not_found_and_leaves_no_point(worlds: Worlds) -> None:
    """A document that vanished from its source is gone from search, and its points from the store."""
    world = worlds(*three(), chunking=FLAT)
    world.step()
    del world.source.documents["hund"]
    assert counts(world.step()) == (0, 0, 0, 1)
    assert set(world.found("braune Hund")) == {"fox", "chat"}
    assert world.index.verify().points == 2
    world.assert_sound()


@pytest.mark.parametrize("size", [1, 20])
def test_renamed_with_the_same_text_copies_its_vectors(worlds: Worlds, size: int) -> None:
    """The old id goes, the new one comes, and the model is not asked."""
    text = twenty() if size == 20 else "a single short text"
    world = worlds(Document("old/name", text), *three(), chunking=LONG)
    world.step()
    before = {hit.text: hit.score for hit in world.index.search("harbour text", k=50)}
    del world.source.documents["old/name"]
    world.put(Document("new/name", text))
    assert counts(world.step()) == (0, size, 0, size)
    after = {hit.text: hit.score for hit in world.index.search("harbour text", k=50)}
    assert after == pytest.approx(before)
    assert "new/name" in world.found("harbour text")
    assert "old/name" not in world.found("harbour text")
    world.assert_sound()


def test_a_renamed_and_edited_document_embeds_only_the_edit(worlds: Worlds) -> None:
    """Nineteen of twenty vectors are copied to the new id."""
    world = worlds(Document("old", twenty()), chunking=LONG)
    world.step()
    del world.source.documents["old"]
    world.put(Document("new", twenty(4)))
    assert counts(world.step()) == (1, 20, 0, 20)


def test_equal_texts_in_many_documents_are_embedded_once(worlds: Worlds) -> None:
    """Within one sync, within one document and against what is held: one text, one embedding."""
    same = [Document(f"copy{i}", "the very same words") for i in range(7)]
    world = worlds(*same, chunking=FLAT)
    assert counts(world.step()) == (1, 7, 0, 0)
    world.put(Document("later", "the very same words"))
    assert counts(world.step()) == (0, 1, 0, 0)
    assert len(world.found("the very same words")) == 8
    world.assert_sound()


def test_a_repeated_paragraph_is_several_chunks_of_one_text(worlds: Worlds) -> None:
    """Occurrences have ids of their own and share one embedding; removing one of them embeds nothing."""
    thrice = "\n\n".join([paragraph(1), paragraph(2), paragraph(1), paragraph(3), paragraph(1)])
    world = worlds(Document("a", thrice), chunking=LONG)
    assert counts(world.step()) == (3, 5, 0, 0)
    world.put(Document("a", "\n\n".join([paragraph(1), paragraph(2), paragraph(3), paragraph(1)])))
    assert counts(world.step()) == (0, 0, 4, 1)
    assert len(world.index.search("river1", k=50)) == 4
    world.assert_sound()


def test_text_that_comes_back(worlds: Worlds) -> None:
    """A -> B -> A: what no generation holds any more is embedded again, and no old point comes to life."""
    world = worlds(Document("doc", "first words"), chunking=FLAT)
    world.step()
    world.put(Document("doc", "second words"))
    assert counts(world.step()) == (1, 1, 0, 1)
    world.put(Document("doc", "first words"))
    assert counts(world.step()) == (1, 1, 0, 1)
    assert [hit.text for hit in world.index.search("words", k=9)] == ["first words"]
    assert world.index.verify().points == 1


def test_text_that_comes_back_from_the_cache(worlds: Worlds, tmp_path: Path) -> None:
    """With an embedding cache nothing is ever paid for twice, and the plan knows it."""
    world = worlds(Document("doc", "first words"), chunking=FLAT, cache=tmp_path / "cache.db")
    world.step()
    world.put(Document("doc", "second words"))
    assert counts(world.step()) == (1, 1, 0, 1)
    world.put(Document("doc", "first words"))
    assert counts(world.step()) == (0, 1, 0, 1)


def test_a_text_held_elsewhere_comes_back_for_nothing(worlds: Worlds) -> None:
    """A -> B -> A while another document holds A: the vector is copied."""
    world = worlds(Document("doc", "first words"), Document("other", "first words"), chunking=FLAT)
    world.step()
    world.put(Document("doc", "second words"))
    world.step()
    world.put(Document("doc", "first words"))
    assert counts(world.step()) == (0, 1, 0, 1)


def test_swapped_texts_embed_nothing(worlds: Worlds) -> None:
    """Two documents that exchange their texts exchange their vectors."""
    world = worlds(Document("a", "about rivers"), Document("b", "about mountains"), chunking=FLAT)
    world.step()
    world.put(Document("a", "about mountains"), Document("b", "about rivers"))
    assert counts(world.step()) == (0, 2, 0, 2)
    assert world.found("mountains")[0] == "a"
    world.assert_sound()


def test_two_facets_at_once(worlds: Worlds) -> None:
    """Text, metadata and access edited together: only the edit is embedded, and all is written to be seen at once."""
    world = worlds(Document("long", twenty(), {"lang": "en"}), chunking=LONG)
    world.step()
    world.put(Document("long", twenty(3), {"lang": "de"}, access=["team"]))
    result = world.step()
    assert (counts(result), result.documents.updated) == ((1, 20, 0, 20), 1)
    assert world.found("river") == []
    hits = world.index.search("river", k=50, principals=["team"], where={"lang": "de"})
    assert len(hits) == 20
    world.assert_sound()


def test_metadata_and_access_together(worlds: Worlds) -> None:
    """Both payload facets at once cost one payload update, counted as the stronger one."""
    world = worlds(*three())
    world.step()
    world.put(replace(three()[0], metadata={"lang": "nl"}, access=["team"]))
    result = world.step()
    assert (counts(result), result.documents.metadata_updated) == ((0, 0, 0, 0), 1)
    assert world.found("fox", where={"lang": "nl"}) == []
    assert world.found("fox", where={"lang": "nl"}, principals=["team"]) == ["fox"]
    world.assert_sound()


def test_a_new_filterable_key_is_a_payload_change(worlds: Worlds) -> None:
    """A key that the source sends for all documents from now on becomes filterable for nothing."""
    world = worlds(*three())
    world.step()
    world.put(*(replace(d, metadata={**d.metadata, "team": f"team-{d.id}"}) for d in three()))
    result = world.step()
    assert (counts(result), result.documents.metadata_updated) == ((0, 0, 0, 0), 3)
    assert world.found("x", where={"team": "team-chat"}) == ["chat"]
    world.assert_sound()


@pytest.mark.parametrize("edit_too", [False, True])
def test_a_key_that_becomes_filterable_later_finds_older_documents(worlds: Worlds, edit_too: bool) -> None:
    """A value that no field can hold does not hide its document once others make its key a field."""
    world = worlds(Document("old", twenty(), {"size": [1, 2]}), chunking=LONG)
    world.step()
    world.put(Document("new", "small text", {"size": 1}))
    if edit_too:  # in the same batch as the document by which the key is learned
        world.put(Document("old", twenty(5), {"size": [1, 2]}))
    assert world.step().embedded_texts == 1 + edit_too
    assert set(world.found("x", where={"size": 1})) == {"old", "new"}
    assert set(world.found("x", where={"size": {"exists": True}})) == {"old", "new"}
    assert len(world.index.search("river", k=50, where={"size": 2})) == 20
    world.assert_sound()


def test_more_filterable_keys_are_a_payload_backfill(worlds: Worlds) -> None:
    """Allowing a key that documents always had fills it in for all of them, without a text embedded."""
    world = worlds(*three(), filterable=["lang"], chunking=FLAT)
    world.step()
    world.open(filterable=["lang", "year"])
    world.put(Document("new", "neuer Text", {"year": 2021}))
    assert world.step().embedded_texts == 1
    assert set(world.found("x", where={"year": 2021})) == {"hund", "new"}
    assert set(world.found("x", where={"year": {"gte": 2021}})) == {"hund", "chat", "new"}
    world.assert_sound()


def test_moved_between_sources(worlds: Worlds) -> None:
    """A document pushed under the id of a source's document replaces it, until the source sends it again."""
    world = worlds(*three(), chunking=FLAT)
    world.step()
    assert counts(world.index.upsert([three()[0]])) == (0, 0, 0, 0)
    assert counts(world.index.upsert([Document("fox", "pushed words")])) == (1, 1, 0, 1)
    assert counts(world.step()) == (1, 1, 0, 1)  # the source is the authority for what it delivers
    assert world.index.search("fox", k=1)[0].text == "the quick brown fox jumps"
    world.index.upsert([Document("only pushed", "stays here")])
    assert world.step().documents.deleted == 0
    assert world.found("stays here")[0] == "only pushed"


def test_pushing_twice_changes_nothing(worlds: Worlds) -> None:
    """The same upsert or delete a second time does nothing (I6)."""
    world = worlds()
    first = world.index.upsert(three())
    again = world.index.upsert(three())
    assert (first.documents.added, again.documents.unchanged, again.revision) == (3, 3, first.revision)
    assert world.index.delete(["fox", "never was"]).documents.deleted == 1
    assert world.index.delete(["fox", "never was"]).documents.deleted == 0
    assert world.index.verify().points == 2


def test_a_deleted_document_that_comes_back(worlds: Worlds) -> None:
    """It is added anew, found again, and its revision grows."""
    world = worlds(*three(), chunking=FLAT)
    world.step()
    del world.source.documents["fox"]
    world.step()
    world.put(three()[0])
    result = world.step()
    assert (counts(result), result.documents.added) == ((1, 1, 0, 0), 1)
    assert world.found("quick fox")[0] == "fox"
    assert [record.kind for record in world.index.history("fox")] == ["added", "deleted", "added"]


# ── the guard against mass deletion ─────────────────────────────────────────────────────────────────────────


def test_a_source_that_loses_half_is_refused(worlds: Worlds) -> None:
    """Nothing is deleted, by plan or sync, until it is allowed; then exactly the lost ones are."""
    documents = [Document(f"d{i:02}", paragraph(i)) for i in range(40)]
    world = worlds(*documents, chunking=FLAT)
    world.step()
    for i in range(20):
        del world.source.documents[f"d{i:02}"]
    for refused in (world.index.plan, world.index.sync, world.index.apply):
        with pytest.raises(MassDelete, match=r"no longer has 20 of 40 documents \(50%\)") as caught:
            refused()
        assert "--allow-mass-delete" in str(caught.value)
    assert world.index.verify().points == 40
    assert counts(world.step(allow_mass_delete=True)) == (0, 0, 0, 20)
    assert world.index.verify().points == 20


def test_a_smaller_loss_is_believed(worlds: Worlds) -> None:
    """Thirty per cent and less is deleted without question; so is any share of a handful."""
    world = worlds(*(Document(f"d{i:02}", paragraph(i)) for i in range(40)))
    world.step()
    for i in range(12):
        del world.source.documents[f"d{i:02}"]
    assert world.step().documents.deleted == 12
    handful = worlds(*three())
    handful.step()
    handful.source.documents.clear()
    assert handful.step().documents.deleted == 3


def test_an_unreadable_document_has_not_vanished(worlds: Worlds) -> None:
    """What the source has but cannot deliver stays searchable, as a dead letter that names the reason."""
    world = worlds(*three())
    world.step()
    del world.source.documents["fox"]
    world.source.unreadable["fox"] = "invalid UTF-8 at byte 7"
    result = world.index.sync()
    assert (result.documents.deleted, result.documents.failed) == (0, 1)
    assert world.found("quick fox")[0] == "fox"
    assert [letter.reason for letter in world.index.status().dead_letters] == ["invalid UTF-8 at byte 7"]
    del world.source.unreadable["fox"]
    world.put(three()[0])
    world.index.sync()
    assert world.index.status().dead_letters == []


# ── restore and replay ──────────────────────────────────────────────────────────────────────────────────────


def test_restore_brings_a_revision_back(worlds: Worlds) -> None:
    """Text, metadata and access are as they were, and stay so until the source changes the document."""
    world = worlds(replace(three()[0], access=["team"]), *three()[1:], chunking=FLAT)
    world.step()
    world.put(Document("fox", "something else", {"lang": "xx"}))
    world.step()
    result = world.index.restore("fox", 1)
    assert counts(result) == (1, 1, 0, 1)
    hit = world.index.search("quick fox", k=1, principals=["team"])[0]
    assert (hit.doc_id, hit.text, hit.metadata) == ("fox", "the quick brown fox jumps", three()[0].metadata)
    assert "fox" not in world.found("quick fox")
    assert world.step().documents.unchanged == 3
    assert world.found("quick fox", principals=["team"])[0] == "fox"
    world.put(Document("fox", "the source has moved on", {"lang": "xx"}))
    world.step()
    assert world.index.search("moved on", k=1)[0].doc_id == "fox"
    assert [record.kind for record in world.index.history("fox")] == ["content", "restored", "content", "added"]


def test_what_is_pushed_after_a_restoration_counts(worlds: Worlds) -> None:
    """Also when it is what was pushed before the restoration; the same once more does nothing."""
    world = worlds(*three())
    index, newer = world.index, Document("note", "a note on ferries", access=["team"])
    index.upsert([Document("note", "a note on trains")])
    index.upsert([newer])
    index.restore("note", index.history("note")[-1].revision)
    assert world.found("note on")[0] == "note"
    assert index.upsert([newer]).documents.updated == 1
    assert "note" not in world.found("note on")
    assert index.search("note on ferries", k=1, principals=["team"])[0].text == newer.text
    assert index.upsert([newer]).documents.unchanged == 1
    index.delete(["note"])
    index.restore("note", index.history("note")[-1].revision)
    assert index.upsert([newer]).documents.updated == 1


def test_restore_a_deleted_document(worlds: Worlds) -> None:
    """A deletion is undone, and the next sync of a source that lacks the document does not delete it again."""
    world = worlds(*three(), chunking=FLAT)
    world.step()
    del world.source.documents["fox"]
    world.step()
    world.index.restore("fox", 1)
    assert world.found("quick fox")[0] == "fox"
    assert world.step().documents.deleted == 0
    assert world.found("quick fox")[0] == "fox"
    world.assert_sound()


def test_restore_to_before_or_to_a_deletion(worlds: Worlds) -> None:
    """A revision before the document's first is not to be had; the revision of its deletion deletes it."""
    world = worlds(*three())
    world.step()
    with pytest.raises(NotFound, match="'chat' is not kept as it was at revision 1"):
        world.index.restore("chat", 1)
    with pytest.raises(NotFound, match="'nobody'"):
        world.index.restore("nobody", 3)
    deleted = world.index.delete(["fox"]).revision
    world.index.restore("fox", 1)
    assert world.index.restore("fox", deleted).documents.deleted == 1
    assert "fox" not in world.found("quick fox")


def test_replay_rewrites_lost_points(worlds: Worlds) -> None:
    """After the store lost points written since a time, replay writes them anew and asks the model for those only."""
    world = worlds(*three(), chunking=FLAT)
    world.step()
    time.sleep(0.01)
    since = time.time()
    world.put(Document("late", "written after the backup"))
    world.step()
    collection, store = world.index._writer.live_or_newest().collection, world.index._store
    lost = [point for page in store.scan(collection) for point, doc in zip(page.ids, page.payload.doc_id, strict=True)
            if doc == "late"]  # fmt: skip
    store.delete(collection, lost)
    assert world.found("written after the backup", where={"x": {"exists": False}})[0] != "late"
    assert not world.index.verify().consistent
    assert counts(world.index.replay(since))[:2] == (1, 1)
    assert world.found("written after the backup")[0] == "late"
    world.assert_sound()


def test_replay_of_what_is_there_embeds_nothing(worlds: Worlds) -> None:
    """Points that are still there are written anew from their own vectors."""
    world = worlds(Document("long", twenty()), *three(), chunking=LONG)
    world.step()
    before = {hit.chunk_id: hit.score for hit in world.index.search("river", k=50)}
    assert counts(world.index.replay(0.0)) == (0, 23, 0, 23)
    assert {hit.chunk_id: hit.score for hit in world.index.search("river", k=50)} == pytest.approx(before)
    world.assert_sound()


# ── plans ───────────────────────────────────────────────────────────────────────────────────────────────────


def all_at_once(world: Any) -> None:
    """Every kind of change between two states of the source."""
    world.put(
        Document("long", twenty(3)),
        replace(three()[0], metadata={"lang": "la"}),
        replace(three()[1], access=["team"]),
        Document("new", "entirely new words"),
        Document("moved", "a text that moves"),
    )
    for gone in ("chat", "move me"):
        del world.source.documents[gone]


def test_a_plan_names_every_step_with_its_cost(worlds: Worlds) -> None:
    """All rows in one plan: exact documents, chunks and texts for each action, and apply reports the same sums."""
    world = worlds(*three(), Document("long", twenty()), Document("move me", "a text that moves"), chunking=LONG)
    world.step()
    all_at_once(world)
    plan = world.index.plan()
    told = {step.action: (step.documents, step.chunks, step.texts_to_embed) for step in plan.steps}
    assert told == {
        "update_access": (1, 1, 0),
        "place_documents": (2, 2, 1),
        "replace_documents": (1, 1, 1),
        "update_metadata": (1, 1, 0),
        "delete_documents": (2, 2, 0),
    }
    assert all(step.reason for step in plan.steps)
    assert counts(world.step()) == (2, 3, 19, 3)
    assert world.index.plan().empty
    world.assert_sound()


def test_a_plan_survives_being_written_down(worlds: Worlds) -> None:
    """A plan read back from its JSON is the same plan, and can be applied."""
    world = worlds(*three())
    plan = Plan.from_dict(world.index.plan().to_dict())
    assert [step.action for step in plan.steps] == ["create_generation", "place_documents"]
    assert world.index.apply(plan).documents.added == 3
    with pytest.raises(ConfigError, match="damaged"):
        Plan.from_dict({"version": 1, "steps": [{"action": "x"}]})


@pytest.mark.parametrize(
    ("move", "told"),
    [
        (lambda world: world.put(Document("fox", "moved on")), "the source has changed"),
        (lambda world: world.source.documents.pop("new"), "the source has changed"),
        (lambda world: world.index.upsert([Document("pushed", "words")]), "revision 3, the catalog is at 4"),
        (lambda world: world.index.delete(["hund"]), "revision 3, the catalog is at 4"),
    ],
)
def test_a_stale_plan_is_refused(worlds: Worlds, move: Callable[..., object], told: str) -> None:
    """When source or catalog moved since the plan was made, apply refuses and changes nothing."""
    world = worlds(*three())
    world.step()
    world.put(Document("new", "new words"))
    plan = world.index.plan()
    move(world)
    before = world.dump()
    with pytest.raises(StalePlan, match=told) as caught:
        world.index.apply(plan)
    assert "new plan" in str(caught.value)
    assert world.dump() == before
    assert "new" not in world.found("new words")


def test_applying_twice_is_refused(worlds: Worlds) -> None:
    """A plan that has been applied is stale."""
    world = worlds(*three())
    plan = world.index.plan()
    world.index.apply(plan)
    with pytest.raises(StalePlan):
        world.index.apply(plan)


def test_another_recipe_is_planned_and_told_by_sync(worlds: Worlds) -> None:
    """Plan names what differs and what it comes to; sync keeps the generation that is there and says so."""
    world = worlds(*three(), chunking=FLAT)
    world.step()
    world.open(chunking=Chunking("sentences", max_tokens=64))
    plan = world.index.plan()
    assert plan.steps[0].action == "create_generation"
    assert "chunking whole(" in plan.steps[0].reason
    world.put(Document("new", "new words"))
    result = world.index.sync()
    assert (result.embedded_texts, result.generation) == (1, 1)
    assert "chunking whole(" in result.notes[0]


def test_a_plan_counts_what_a_failed_run_left(worlds: Worlds) -> None:
    """Documents that are logged but not placed are in the plan as well, once."""
    world = worlds(*three(), chunking=FLAT, limits=Limits(retry_attempts=1))
    world.step()
    world.put(Document("new", "new words"), Document("fox", "fox words"))
    del world.source.documents["chat"]
    world.fail(lambda _call, _texts: ConnectionError("no network"))
    with pytest.raises(EmbedderError, match="no network"):
        world.index.sync()
    world.mend()
    plan = world.index.plan()
    told = {step.action: (step.documents, step.chunks, step.texts_to_embed) for step in plan.steps}
    assert told == {"place_documents": (1, 1, 1), "replace_documents": (1, 1, 1)}  # the deletion needed no model
    assert counts(world.index.apply(plan)) == (2, 2, 0, 1)
    world.assert_sound()
