"""Another generation beside the live one: planned, built, switched to, left again; and what is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from regen.catalog.generations import Generations
from regen.errors import AliasMoved, EmbedderError
from regen.index import Index

if TYPE_CHECKING:
    from tests.cli.conftest import Project

SWITCH_KEYS = {"alias", "live", "previous", "reason", "space"}


@dataclass(frozen=True, slots=True)
class Grown:
    """A project with a generation beside the live one."""

    project: Project
    built: dict[str, Any]


def ask_for(project: Project, model: str, **replaced: str) -> None:
    """Write another model (and perhaps other lines) into regen.yaml."""
    text = re.sub(r"model: [\w/-]+", f"model: {model}", project.config)
    for old, new in replaced.items():
        text = text.replace(old, new)
    (project.root / "regen.yaml").write_text(text)


def states(project: Project) -> dict[int, str]:
    """The generations that ``status`` shows, with their states."""
    return {item["number"]: item["state"] for item in project.json("status")["generations"]}


def found(project: Project, text: str, *options: str) -> tuple[int, list[str]]:
    """Which generation answered, and the documents it found."""
    data = project.json("search", text, "--unrestricted", *options)
    return data["generation"], [hit["doc_id"] for hit in data["hits"]]


@pytest.fixture
def grown(synced: Project) -> Grown:
    """Generation 1 (hashing/64) is live, generation 2 (hashing/128) is ready."""
    ask_for(synced, "hashing/128")
    return Grown(synced, synced.json("apply", "--yes"))


def test_a_plan_tells_whether_everything_must_be_embedded_again(synced: Project) -> None:
    """Steps, decision and storage are in the JSON and on the screen; --check sees the change."""
    ask_for(synced, "hashing/128")
    data = synced.json("plan", "--check", code=3)
    assert [step["action"] for step in data["steps"]] == ["create_generation", "embed_chunks"]
    assert data["generation"] == {"from": 1, "to": 2}
    assert data["totals"]["texts_to_embed"] == synced.size
    assert data["decision"]["must_embed"] == "always"
    assert any("dimensions 64 -> 128" in ground for ground in data["decision"]["grounds"])
    text = synced.run("plan").out
    assert "generation 1 → 2, rebuild" in text
    assert "Must I re-embed?  always" in text
    assert "both generations together need about" in text


def test_another_chunk_size_copies_what_it_can(synced: Project) -> None:
    """Texts that both generations have are not embedded again, and the plan says so."""
    ask_for(synced, "hashing/64", **{"max_tokens: 64": "max_tokens: 32"})
    data = synced.json("plan")
    assert data["decision"]["path"] == "rechunk"
    assert "copy_vectors" in {step["action"] for step in data["steps"]}
    assert data["totals"]["texts_to_embed"] == 0
    assert synced.json("apply", "--yes")["embedded_texts"] == 0
    assert states(synced) == {1: "live", 2: "ready"}


@pytest.mark.parametrize("precision", ["float16", "int8", "binary"])
def test_lower_precision_is_derived(synced: Project, precision: str) -> None:
    """No text is embedded for a lower precision, and the generation made of the old vectors answers well."""
    ask_for(synced, f"hashing/64, precision: {precision}")
    data = synced.json("plan")
    assert (data["decision"]["must_embed"], data["decision"]["path"]) == ("not needed", "derive")
    assert {step["action"]: step["chunks"] for step in data["steps"]}["derive_vectors"] == synced.size
    built = synced.json("apply", "--yes")
    assert (built["embedded_texts"], built["chunks"]["written"]) == (0, synced.size)
    promoted = synced.json("promote")
    number, documents = found(synced, "Eine Rechnung wird per Post verschickt")
    assert (promoted["live"], number, documents[0]) == (2, 2, "invoice.md")
    assert synced.json("verify")["consistent"] is True


def test_a_metric_that_the_precision_cannot_serve(synced: Project) -> None:
    """int8 and binary keep no lengths: with the dot product they are refused before anything is opened."""
    ask_for(synced, "hashing/64, precision: int8")
    with (synced.root / "regen.yaml").open("a") as config:
        config.write("metric: dot\n")
    error = synced.json("plan", code=1)["error"]
    assert error["type"] == "ConfigError"
    assert "metric" in error["message"]
    assert "metric: cosine" in error["hint"]
    ask_for(synced, "hashing/64, precision: int4")
    assert "int8" in synced.json("plan", code=1)["error"]["message"]


def test_apply_makes_live_what_it_builds_if_asked(synced: Project) -> None:
    """With --promote the switch follows at once, and the history says why."""
    ask_for(synced, "hashing/128")
    assert synced.json("apply", "--yes", "--promote")["embedded_texts"] == synced.size
    assert states(synced) == {1: "retained", 2: "live"}
    assert "apply was asked to" in synced.run("history").out


def test_apply_builds_beside_the_live_generation(grown: Grown) -> None:
    """What was built is ready, searches stay where they were, and the screen tells what to do next."""
    project = grown.project
    assert (grown.built["generation"], grown.built["embedded_texts"]) == (2, project.size)
    assert states(project) == {1: "live", 2: "ready"}
    assert found(project, "Rechnung")[0] == 1
    assert found(project, "Rechnung", "--generation", "2") == (2, found(project, "Rechnung")[1])
    assert "regen promote 2" in project.run("status").out
    assert project.json("plan", "--check")["steps"] == []


def test_apply_tells_what_it_built(synced: Project) -> None:
    """The text of a build names the generation, its state and the switch."""
    ask_for(synced, "hashing/128")
    text = synced.run("apply", "--yes").out
    assert "✓ Generation 2 is ready: 4 documents as 4 chunks" in text
    assert "are answered by generation 1 until you switch" in text
    assert "regen promote 2" in text


def test_apply_may_promote_by_itself(synced: Project) -> None:
    """With migration.promote auto the new generation is live when apply returns, and the plan announced it."""
    ask_for(synced, "hashing/128")
    with (synced.root / "regen.yaml").open("a") as config:
        config.write("migration: {promote: auto}\n")
    assert synced.json("plan")["steps"][-1]["action"] == "promote"
    assert "Generation 2 is live" in synced.run("apply", "--yes").out
    assert states(synced) == {1: "retained", 2: "live"}


def test_promote_and_roll_back_lose_nothing(grown: Grown) -> None:
    """The new generation answers after the switch, the old one after the way back, with the edits made between."""
    project = grown.project
    promoted = project.json("promote", "--reason", "more dimensions")
    assert promoted.keys() >= SWITCH_KEYS
    assert (promoted["live"], promoted["previous"], promoted["reason"]) == (2, 1, "more dimensions")
    assert found(project, "Rechnung")[0] == 2
    assert states(project) == {1: "retained", 2: "live"}
    project.write("penguins.md", "# Penguins\n\nThe lighthouse is guarded by penguins.\n")
    (project.root / "docs/backup.md").unlink()
    project.json("sync")
    back = project.json("rollback", "--reason", "worse answers")
    assert (back["live"], back["previous"], back["space"]) == (1, 2, back["space"])
    assert back["space"] != promoted["space"]
    number, documents = found(project, "lighthouse guarded by penguins")
    assert (number, documents[0]) == (1, "penguins.md")
    assert "backup.md" not in documents
    assert "regen rollback --to 2" in project.run("status").out


def test_a_generation_may_be_named(grown: Grown) -> None:
    """``promote G`` and ``rollback --to G`` take the generation that is meant, also one that was live before."""
    project = grown.project
    assert project.json("promote", "2")["live"] == 2
    assert project.json("rollback", "--to", "1")["live"] == 1
    assert project.json("promote", "2")["live"] == 2
    text = project.run("rollback").out
    assert "✓ handbook: searches are answered by generation 1" in text
    assert "the way back" in text


def test_history_shows_who_switched_when_and_why(grown: Grown) -> None:
    """The alias's history stands beside the change log; a document's own history has none of it."""
    project = grown.project
    project.json("promote", "--reason", "more dimensions")
    data = project.json("history")
    assert [(item["previous"], item["live"], item["reason"]) for item in data["switches"]] == [
        (1, 2, "more dimensions"),
        (None, 1, "the first generation is complete"),
    ]
    assert all(item["actor"] and item["switched_at"] > 0 for item in data["switches"])
    assert len(data["changes"]) == project.size
    assert "1 → 2" in project.run("history").out
    assert "switches" not in project.json("history", "backup.md")
    assert len(project.json("history", "--limit", "1")["switches"]) == 1


def test_gc_gives_a_generation_up(grown: Grown) -> None:
    """``gc --retire`` drops a generation for good, whether it was ready or retained; the live one is refused."""
    project = grown.project
    error = project.json("gc", "--retire", "1", code=1)["error"]
    assert (error["type"], "live" in error["message"]) == ("NotPromotable", True)
    assert project.json("gc", "--retire", "2")["retired"] == [2]
    assert states(project) == {1: "live"}
    assert project.json("gc", "--retire", "9", code=1)["error"]["type"] == "NotFound"
    project.json("apply", "--yes")
    project.json("promote", "3")
    assert "generation 1: its collection is gone" in project.run("gc", "--now").out
    assert states(project) == {3: "live"}
    assert project.json("rollback", code=1)["error"]["type"] == "NotPromotable"


def test_nothing_to_switch_to(synced: Project) -> None:
    """Without a second generation both verbs say so, with what would help."""
    for verb in ("promote", "rollback"):
        error = synced.json(verb, code=1)["error"]
        assert error["type"] == "NotPromotable"
        assert "regen" in error["hint"]
    assert synced.json("promote", "7", code=1)["error"]["type"] == "NotFound"
    assert synced.json("promote", "1", code=1)["error"]["message"] == "generation 1 is live already"
    assert synced.json("rollback", "--to", "7", code=1)["error"]["type"] == "NotFound"


def test_before_the_first_sync(project: Project) -> None:
    """An index that has nothing cannot be switched."""
    for verb in ("promote", "rollback"):
        assert project.json(verb, code=1)["error"]["type"] == "NotPromotable"


def test_an_unfinished_generation_is_not_promoted(synced: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that was stopped is told as unfinished, the live index goes on, and apply finishes it."""
    ask_for(synced, "hashing/128")

    def stopped(*_: Any, **__: Any) -> None:
        raise EmbedderError("the model is out of order")

    with monkeypatch.context() as broken:
        broken.setattr("regen.engine.embedding.TextEmbedder.begin", stopped)
        assert synced.json("apply", "--yes", code=1)["error"]["type"] == "EmbedderError"
    assert states(synced) == {1: "live", 2: "building"}
    error = synced.json("promote", "2", code=1)["error"]
    assert error["message"] == "generation 2 is unfinished: 4 documents are not in it yet"
    assert "regen apply" in error["hint"]
    assert "2 is unfinished" in synced.json("promote", code=1)["error"]["message"]
    assert "regen apply goes on" in synced.run("status").out
    assert found(synced, "Rechnung")[0] == 1
    assert synced.json("apply", "--yes")["generation"] == 2
    assert synced.json("promote", "2")["live"] == 2


def test_of_two_promotions_at_once_one_is_told(grown: Grown, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who decided before somebody else switched is refused, and the other's switch stands."""
    project, real = grown.project, Generations.switch

    def overtaken(self: Generations, alias: str, to: int, **options: Any) -> Any:
        monkeypatch.setattr(Generations, "switch", real)
        with Index(embedder="hashing/128", alias="handbook", root=project.root) as other:
            other.promote(2, reason="the other was first")
        return real(self, alias, to, **options)

    monkeypatch.setattr(Generations, "switch", overtaken)
    error = project.json("promote", "2", code=1)["error"]
    assert error["type"] == "AliasMoved"
    assert "regen history" in error["hint"]
    assert project.json("history")["switches"][0]["reason"] == "the other was first"
    assert states(project) == {1: "retained", 2: "live"}


def test_a_decision_names_the_version_it_was_based_on(grown: Grown) -> None:
    """A program that remembers the alias's version cannot overwrite a switch that it has not seen."""
    project = grown.project
    with Index(embedder="hashing/128", alias="handbook", root=project.root) as index:
        seen = index.switches()[0].version
        assert index.promote(2, expected_version=seen).live == 2
        with pytest.raises(AliasMoved, match="it points at generation 2"):
            index.rollback(expected_version=seen)
        assert index.switches()[0].live == 2
