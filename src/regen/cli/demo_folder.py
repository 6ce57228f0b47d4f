"""The folder in which the demo plays: made fresh, and never somebody else's."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from regen.errors import ConfigError

NAME: Final = ".demo"
SMALL_MODEL: Final = "wordllama/l2-supercat-64"
MIDDLE_MODEL: Final = "wordllama/l2-supercat-128"
LARGE_MODEL: Final = "wordllama/l2-supercat-256"
REPORT: Final = "evaluation.html"
"""The page about the evaluation."""
_MARK: Final = ".made-by-regen-demo"


def fresh_folder(parent: Path) -> Path:
    """An empty ``.demo`` in a folder. Raises ConfigError when one is there that no demo has made."""
    folder = parent.resolve() / NAME
    if folder.exists() and not (folder / _MARK).is_file():
        raise ConfigError(
            f"{folder} is there, but no demo has made it", hint="move it away, or run the demo in another folder"
        )
    try:
        shutil.rmtree(folder, ignore_errors=False) if folder.exists() else None
        folder.mkdir()
        (folder / _MARK).write_text("regen demo deletes this folder when it runs again.\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be made: {error.strerror or error}", hint="run the demo in a folder you may write to"
        ) from None
    return folder


def config_text(source: str, model: str, gate: Gate) -> str:
    """The regen.yaml of the demo, around the lines of its source, its model and its gate. It loads as it stands."""
    return _CONFIG.format(
        source=source,
        model=model,
        chunking=gate.chunking,
        name=gate.name,
        queries=json.dumps(gate.queries),
        qrels=json.dumps(gate.qrels),
        bound=gate.bound,
    )


@dataclass(frozen=True, slots=True)
class Gate:
    """What the larger model is measured by: a judged collection's name and files, and the bound for nDCG@10.

    ``must_win``: on these queries the larger model is known to be better. ``chunking`` is that of the documents.
    """

    name: str = "starter"
    queries: str = "eval/queries.jsonl"
    qrels: str = "eval/qrels.tsv"
    bound: str = "max_drop: 0.02"
    must_win: bool = False
    chunking: str = "{kind: markdown, max_tokens: 128}"


_CONFIG: Final = """\
# Written by `regen demo`. Try: regen search "a question" --config .demo/regen.yaml
version: 1
alias: demo
source: {source}
text: "{{title}}\\n{{text}}"
chunking: {chunking}
embedding: {{model: {model}}}
store: {{url: "lancedb://vectors"}}
catalog: {{url: "sqlite:///catalog.db"}}
evaluation:
  collections: [{{name: {name}, queries: {queries}, qrels: {qrels}}}]
gate:
  - {{measure: "nDCG@10", {bound}}}
"""
