"""The commented regen.yaml that ``regen init`` writes, for what lies in a folder."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from regen.errors import ConfigError

DEFAULT_MODEL: Final = "wordllama/l2-supercat-256"
TEXT_SUFFIXES: Final = (".md", ".markdown", ".mdx", ".txt", ".rst", ".adoc")
_SKIPPED_FOLDERS: Final = frozenset({"node_modules", "__pycache__", "site-packages", "venv", "build", "dist"})
_MAX_LOOKED_AT: Final = 20_000
_MAX_LINE_BYTES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Detected:
    """What lies there: the source block's values, the text template, and how many documents were seen."""

    kind: str
    path: str
    glob: tuple[str, ...]
    text: str
    alias: str
    documents: int


def detect(target: Path, root: Path) -> Detected:
    """Find out what to index in a folder or a ``.jsonl`` file; paths are told relative to ``root`` where possible.

    Raises ConfigError when there is nothing that could be indexed.
    """
    if target.is_file():
        return _detect_jsonl(target, root)
    if not target.is_dir():
        raise ConfigError(f"there is no {target}", hint="regen init takes a folder or a .jsonl file")
    counts = Counter(path.suffix for path in _files(target))
    texts = {suffix: count for suffix, count in sorted(counts.items()) if suffix.lower() in TEXT_SUFFIXES}
    if texts:
        glob = tuple(f"**/*{suffix}" for suffix in texts)
        return Detected("files", _relative(target, root), glob, "{title}\n{text}", _alias(target), sum(texts.values()))
    tables = sorted(path for path in _files(target) if path.suffix.lower() == ".jsonl")
    if len(tables) == 1:
        return _detect_jsonl(tables[0], root)
    found = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in counts.most_common(5)) or "nothing"
    several = "name one of the .jsonl files" if tables else "name a folder with text, or a .jsonl file"
    raise ConfigError(f"no Markdown or plain text in {target}; found {found}", hint=f"{several}: `regen init PATH`")


def _files(folder: Path) -> Iterator[Path]:
    looked_at = 0
    for current, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED_FOLDERS)
        for name in names:
            looked_at += 1
            if looked_at > _MAX_LOOKED_AT:
                return
            if not name.startswith("."):
                yield Path(current, name)


def _detect_jsonl(path: Path, root: Path) -> Detected:
    if path.suffix.lower() != ".jsonl":
        raise ConfigError(f"{path} is not a .jsonl file", hint="name the folder that holds your documents, or a .jsonl")
    with path.open("rb") as lines:
        first = lines.readline(_MAX_LINE_BYTES)
    try:
        record = json.loads(first)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise ConfigError(f"the first line of {path} is not a JSON object", hint="one object a line, with id and text")
    text = "{title}\n{text}" if "title" in record else "{text}"
    return Detected("jsonl", _relative(path, root), (), text, _alias(path), 0)


def _relative(path: Path, root: Path) -> str:
    path, root = path.resolve(), root.resolve()
    return path.relative_to(root).as_posix() or "." if path.is_relative_to(root) else path.as_posix()


def _alias(path: Path) -> str:
    name = re.sub(r"[^a-z0-9_-]+", "-", path.resolve().stem.lower()).strip("-_")
    return name[:63] or "default"


def render_template(detected: Detected) -> str:
    """The text of a regen.yaml that loads as it stands, each line explained."""
    globs = [_quoted(pattern) for pattern in detected.glob]
    glob = f", glob: {globs[0] if len(globs) == 1 else '[' + ', '.join(globs) + ']'}" if globs else ""
    return _TEMPLATE.format(
        alias=_quoted(detected.alias),
        source=f"kind: {detected.kind}, path: {_quoted(detected.path)}{glob}",
        text=_quoted(detected.text),
        chunking="markdown" if detected.kind == "files" else "tokens",
        model=DEFAULT_MODEL,
    )


def render_adopting(model: str, root: Path) -> str:
    """The text of a regen.yaml for a collection that is there already: rows are chunks, documents are pushed."""
    return _TEMPLATE.format(
        alias=_quoted(_alias(root)), source="kind: push", text=_quoted("{text}"), chunking="whole", model=_quoted(model)
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


_TEMPLATE: Final = """\
# What regen keeps in step. Check it with `regen doctor`, index with `regen sync`, ask with `regen search`.
version: 1

# The stable name that readers query.
alias: {alias}

# Where the documents come from. Paths are relative to this file.
source: {{{source}}}

# What is embedded: {{text}} is a chunk, other names are metadata. Editing a metadata key named here re-embeds.
text: {text}

# How documents are cut; lengths are in the model's tokens. Kinds: markdown, tokens, sentences, code, semantic, whole.
chunking: {{kind: {chunking}, max_tokens: 256, overlap: 0}}

# The model. This one comes with regen and needs neither network nor key. A model of your own: python:module:Class.
embedding: {{model: {model}, normalize: true}}
metric: cosine

# Where vectors and bookkeeping lie.
store: {{url: "lancedb://.regen/vectors"}}
catalog: {{url: "sqlite:///.regen/catalog.db"}}

# Which metadata keys searches filter by inside the store: auto takes those that the documents have.
metadata: {{filterable: auto}}

# The change log keeps what was edited or deleted this long, so that it can be restored.
changes: {{keep: 30d}}

# What searches asked is not kept, unless a time is given; a rollout keeps its own queries while it runs.
# usage: {{keep_queries: 30d}}

# A run stops before it passes the budget, and asks before it deletes more than this share of the documents.
limits:
  max_delete_share: 30%
  max_document_bytes: 20000000
  # budget_usd: 50
  # requests_per_minute: 3000
  # tokens_per_minute: 1000000
  # concurrency: 8

# What quality is measured on, and what a new generation must meet before it goes live. `min_lift: 0`: surely better;
# `max_drop`: surely not worse by more; `slice`: queries with a tag. Checks gate unless they are said to be advisory.
# `regen queries` makes a first collection.
# evaluation:
#   collections: [{{name: support, queries: eval/queries.jsonl, qrels: eval/qrels.tsv}}]
#   known_queries: eval/known.jsonl    # {{"query": "...", "documents": ["id"], "within": 5}}
# gate:
#   - {{measure: "nDCG@10", min_lift: 0.0}}
#   - {{measure: "R@100", max_drop: 0.01, slice: lang=de}}
#   - {{latency: p95, max_ratio: 1.5}}

# How another model is moved to: a slice first; slower while searches suffer; kept for a way back. `strategy: bulk` is
# for a maintenance window; rolling, on_read and bridge serve while it is filled.
# migration: {{pilot: 5%, throttle: 2.0, retain: 7d}}
"""
