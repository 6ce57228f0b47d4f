"""The regen.yaml that ``regen init`` writes loads as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from regen.config import detect, parse_settings, render_template
from regen.errors import ConfigError


def files(folder: Path, *names: str) -> Path:
    """Write files of these names, each with one record or line."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text('{"id": 1, "title": "a", "text": "b"}\n' if name.endswith("jsonl") else "text")
    return folder


def test_a_folder_of_markdown(tmp_path: Path) -> None:
    """Markdown in a folder becomes a files source with the folder's name as alias."""
    found = detect(files(tmp_path / "My Docs", "a.md", "b/c.md", ".hidden/d.txt"), tmp_path)
    settings = parse_settings(render_template(found), root=tmp_path)
    assert settings.source == {"kind": "files", "path": "My Docs", "glob": "**/*.md"}
    assert settings.alias == "my-docs"
    assert settings.text == "{title}\n{text}"
    assert found.documents == 2


def test_several_suffixes_are_a_list_of_globs(tmp_path: Path) -> None:
    """Each suffix that is there is one pattern, spelt as it is."""
    found = detect(files(tmp_path, "a.md", "b.txt", "c.MD", "d.py"), tmp_path)
    assert parse_settings(render_template(found), root=tmp_path).feeds[0][0]["glob"] == [
        "**/*.MD",
        "**/*.md",
        "**/*.txt",
    ]


def test_the_folder_of_the_file_itself(tmp_path: Path) -> None:
    """The current folder is written as a dot."""
    found = detect(files(tmp_path, "a.txt"), tmp_path)
    assert parse_settings(render_template(found), root=tmp_path).feeds[0][0]["path"] == "."


def test_a_jsonl_file_and_a_folder_with_just_one(tmp_path: Path) -> None:
    """A .jsonl file is found by name or as the only one in a folder; a title that is there is embedded."""
    files(tmp_path, "data/corpus.jsonl")
    for target in (tmp_path / "data", tmp_path / "data/corpus.jsonl"):
        settings = parse_settings(render_template(detect(target, tmp_path)), root=tmp_path)
        assert settings.source == {"kind": "jsonl", "path": "data/corpus.jsonl"}
        assert settings.text == "{title}\n{text}"


def test_a_path_outside_and_one_that_needs_quotes(tmp_path: Path) -> None:
    """Paths with any characters survive the way through YAML."""
    folder = files(tmp_path / 'it\'s: "odd" #1', "a.md")
    (tmp_path / "project").mkdir()
    settings = parse_settings(render_template(detect(folder, tmp_path / "project")), root=tmp_path)
    assert Path(settings.feeds[0][0]["path"]) == folder.resolve()


@pytest.mark.parametrize("name", ["nothing", "empty", "code", "bad.jsonl", "image.png"])
def test_nothing_to_index(tmp_path: Path, name: str) -> None:
    """What cannot be indexed is an error that says what was found."""
    (tmp_path / "empty").mkdir()
    files(tmp_path, "code/a.py", "image.png")
    (tmp_path / "bad.jsonl").write_text("[1]")
    with pytest.raises(ConfigError) as caught:
        detect(tmp_path / name, tmp_path)
    assert name in caught.value.message
