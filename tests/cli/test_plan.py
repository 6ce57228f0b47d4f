"""``regen plan``: what people and scripts are told beyond the steps."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import CONFIG, Project


def ask_for(project: Project, embedding: str) -> None:
    """Put another embedding block into the configuration."""
    text = CONFIG.replace("embedding: {model: hashing/64}", f"embedding: {embedding}")
    assert text != CONFIG
    (project.root / "regen.yaml").write_text(text)


def grow(project: Project) -> None:
    """Enough texts to compare neighbours."""
    for number in range(30):
        project.write(f"page{number}.md", f"# Page {number}\n\nAbout matter {number} and thing {number * 7}.\n")
    project.run("sync")


def test_a_query_prefix_is_a_change_without_steps(synced: Project, tmp_path: Path) -> None:
    """It is told, --check exits with 3, the written plan applies, and afterwards there is nothing to do."""
    ask_for(synced, '{model: hashing/64, query_prefix: "ask: "}')
    data = synced.json("plan", "--check", code=3)
    assert data["steps"] == []
    assert "query prefix '' -> 'ask: '" in data["amends"]
    assert data["decision"]["path"] == "query"
    text = synced.run("plan", "--out", str(tmp_path / "p.json")).out
    assert "! query prefix '' -> 'ask: ': new query space, 0 texts, no document work" in text
    assert "Must I re-embed?  not needed" in text
    assert "Nothing to do" not in text
    assert json.loads((tmp_path / "p.json").read_text())["amends"] == data["amends"]
    assert synced.json("apply", str(tmp_path / "p.json"), "--yes")["embedded_texts"] == 0
    assert synced.json("plan", "--check")["amends"] is None


def test_a_local_model_is_asked_by_itself(synced: Project) -> None:
    """A plan measures what the new model changes, unless it is told to send nothing; the steps stay the same."""
    grow(synced)
    ask_for(synced, "{model: hashing/64-7}")
    data = synced.json("plan")
    told = "\n".join(data["decision"]["grounds"])
    assert "nearest neighbours stay (34 texts embedded)" in told
    assert "probe texts: the wanted model gives other vectors" in told
    fewer = synced.json("plan", "--sample", "20")
    assert "(20 texts embedded)" in "\n".join(fewer["decision"]["grounds"])
    none = synced.json("plan", "--sample", "0")
    assert "probe" not in "\n".join(none["decision"]["grounds"])
    counts = [{key: step[key] for key in step if key != "seconds"} for step in data["steps"]]
    assert counts == [{key: step[key] for key in step if key != "seconds"} for step in none["steps"]]
    synced.run("plan", "--sample", "-1", code=2)


def test_strategy_time_and_room_are_told(synced: Project) -> None:
    """Why this strategy, how long it will take, and how much room there is."""
    ask_for(synced, "{model: hashing/128}")
    text = synced.run("plan", "--sample", "0").out
    assert "strategy    rebuild (auto: " in text
    assert "ready in    about " in text
    assert "are free" in text
    assert "until the old one is retired" in text
    data = synced.json("plan", "--sample", "0")
    assert data["strategy"] == "rebuild"
    assert data["strategy_reason"].startswith("auto")
    assert data["totals"]["documents"] == synced.size


def test_one_model_under_two_names(synced: Project) -> None:
    """``same_as`` in regen.yaml takes the index over without a text, and only if the probe texts agree."""
    (synced.root / "renamed.py").write_text(
        "from dataclasses import replace\n"
        "from regen.embedders.hashing import HashingEmbedder\n\n\n"
        "class Renamed(HashingEmbedder):\n"
        "    def __init__(self, seed=0):\n"
        "        super().__init__(64, seed)\n"
        "        self._info = replace(self._info, name='python:renamed:Renamed')\n\n\n"
        "class Other(Renamed):\n"
        "    def __init__(self):\n"
        "        super().__init__(7)\n"
    )
    ask_for(synced, '{model: "python:renamed:Renamed"}')
    assert synced.json("plan")["decision"]["must_embed"] == "cannot tell"
    ask_for(synced, '{model: "python:renamed:Other", same_as: hashing/64}')
    assert synced.json("apply", "--yes", code=1)["error"]["type"] == "ModelChanged"
    ask_for(synced, '{model: "python:renamed:Renamed", same_as: hashing/64}')
    data = synced.json("plan")
    assert (data["decision"]["must_embed"], data["totals"]["texts_to_embed"]) == ("not needed", 0)
    assert synced.json("apply", "--yes")["embedded_texts"] == 0
