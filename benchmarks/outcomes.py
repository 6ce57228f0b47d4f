"""What becomes of an index in three moments that hurt, with regen and with its peers: no clock, so any machine will do.

    REGEN_PEERS_PYTHON=… python -m benchmarks.outcomes [--documents 5000] [--moments 5] [--write]

The same corpus with another model; one paragraph edited in each of 500 long documents; kill -9 in the first load and a
second run. All tools run behind the same driver, the scripts of ``../shared/peers`` (``benchmarks/regen_peer.py`` is
regen's). ``--write`` puts the tables into docs/benchmarks.md. Peers that are not installed are named.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.page import put
from benchmarks.peers import PYTHON, is_installed
from benchmarks.workload import PEERS

ROOT: Final = Path(__file__).resolve().parents[1]
CORPUS: Final = "some"
LONG: Final = 500
WAIT: Final = 900.0


@dataclass(frozen=True)
class Tool:
    """A tool behind the peers' driver: ``command`` starts it, ``split`` are its options where it is to cut texts."""

    name: str
    command: tuple[str, ...]
    module: str | None
    options: tuple[str, ...] = ()
    split: tuple[str, ...] = ("split=1",)

    def run(self, *words: str) -> list[dict[str, Any]]:
        """Run it to its end; what it reports, one entry a sync. A tool that fails reports its error instead."""
        done = subprocess.run(
            [*self.command, *words, *self.options], capture_output=True, text=True, check=False, timeout=WAIT,
            env=environment(), cwd=ROOT,
        )  # fmt: skip
        found = [json.loads(line.removeprefix("RESULT ")) for line in done.stdout.splitlines() if line[:6] == "RESULT"]
        if done.returncode and not found:
            return [{"error": (done.stderr.strip().splitlines() or ["failed"])[-1][:120]}]
        return found

    def killed(self, state: str, after: float) -> None:
        """Begin a sync in a process of its own and kill it so many seconds after it has begun."""
        with subprocess.Popen(
            [*self.command, "sync", state, CORPUS, *self.options], stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL, env=environment(), cwd=ROOT, start_new_session=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("SYNC_START"):
                    time.sleep(after)
                    break
            os.killpg(process.pid, signal.SIGKILL)


def peer(name: str, script: str, module: str, *options: str, split: Sequence[str] = ("split=1",)) -> Tool:
    return Tool(name, (PYTHON, "-B", str(PEERS / script)), module, options, tuple(split))


TOOLS: Final = (
    Tool("regen", (sys.executable, "-m", "benchmarks.regen_peer"), None),
    peer("LangChain indexing + LanceDB", "langchain_peer.py", "langchain_community", "store=lancedb"),
    peer("LangChain indexing + Chroma", "langchain_peer.py", "langchain_chroma", "store=chroma"),
    peer("LlamaIndex pipeline + Chroma", "llamaindex_peer.py", "llama_index.vector_stores.chroma", "store=chroma",
         split=("split=1", "chunk=160", "overlap=0")),
    peer("CocoIndex + LanceDB", "coco_peer.py", "cocoindex"),
    peer("CocoIndex + SQLite, embedding memoised", "coco_peer.py", "cocoindex", "target=sqlite", "memo=doc+embed"),
)  # fmt: skip


def environment() -> dict[str, str]:
    """The peers' data is a folder of ours: fewer documents, and the long ones."""
    return {**os.environ, "PEERS_HOME": os.environ["REGEN_OUTCOMES_HOME"], "PYTHONUNBUFFERED": "1"}


def make_home(folder: Path, documents: int) -> list[dict[str, Any]]:
    """Put the corpora where the driver looks for them; the documents of the short one."""
    data = folder / "data"
    data.mkdir()
    with gzip.open(PEERS / "data" / "v1.jsonl.gz", "rt") as lines:
        kept = [line for line, _ in zip(lines, range(documents), strict=False)]
    (data / f"{CORPUS}.jsonl").write_text("".join(kept))
    for name in ("L1", "L2", "L3"):
        (data / f"{name}.jsonl.gz").symlink_to(PEERS / "data" / f"{name}.jsonl.gz")
    os.environ["REGEN_OUTCOMES_HOME"] = str(folder)
    return [json.loads(line) for line in kept]


def state_folder(folder: Path) -> Iterator[str]:
    """Fresh folders, each removed before the next is made."""
    while True:
        place = folder / "state"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        yield str(place)


def embedded(results: Sequence[dict[str, Any]]) -> str:
    """How many texts the last sync embedded, or why there was none."""
    last = results[-1] if results else {"error": "nothing was reported"}
    return f"{last['embed_texts']:,}" if "embed_texts" in last else f"failed: {last['error']}"


def model_changed(tool: Tool, states: Iterator[str]) -> list[str]:
    """Texts embedded when the same corpus comes with another model: of the same size, and of another size."""
    cells = []
    for model in ("b", "c"):
        state = next(states)
        tool.run("sync", state, CORPUS)
        cells.append(embedded(tool.run("sync", state, CORPUS, f"model={model}")))
    return cells


def paragraph_edited(tool: Tool, states: Iterator[str]) -> list[str]:
    """Texts embedded a document when one paragraph of twenty is edited: in place, and with a sentence more."""
    cells = []
    for corpus in ("L2", "L3"):
        found = tool.run("seq", next(states), f"L1,{corpus}", *tool.split)
        cells.append(f"{found[-1]['embed_texts'] / LONG:.2f}" if len(found) == 2 else embedded(found[:1]))
    return cells


def killed(tool: Tool, states: Iterator[str], wanted: Sequence[dict[str, Any]], moments: int) -> list[str]:
    """What is wrong after kill -9 in the first load and a second run, summed over the moments."""
    right = {(one["id"], one["text"]) for one in wanted}
    whole = tool.run("sync", next(states), CORPUS)
    if "wall_s" not in whole[-1]:
        return [embedded(whole), "", ""]
    clean, wrong, failures = 0, Counter[str](), 0
    for moment in range(moments):
        state = next(states)
        tool.killed(state, whole[-1]["wall_s"] * (moment + 0.5) / moments)
        again = tool.run("sync", state, CORPUS)
        out = Path(state) / "dump.json"
        tool.run("dump", state, str(out))
        if "error" in again[-1] or not out.exists():
            failures += 1
            continue
        rows = Counter((row[0], row[1]) for row in json.loads(out.read_text()))
        found = {
            "twice": sum(count - 1 for count in rows.values()),
            "missing": len(right - rows.keys()),
            "wrong": len(rows.keys() - right),
        }
        clean += not any(found.values())
        wrong.update(found)
    told = ", ".join(f"{count:,} {name}" for name, count in wrong.items() if count) or "nothing"
    return [f"{clean} of {moments}", told, f"{failures}"]


HEADS: Final = (
    "| | same size | other size | in place | a sentence more | clean | wrong rows, all moments | could not go on |",
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Model changed, paragraph edited, kill -9: regen and its peers.")
    parser.add_argument("--documents", type=int, default=5_000)
    parser.add_argument("--moments", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    lines, missing = list(HEADS), []
    with tempfile.TemporaryDirectory(prefix="regen-outcomes-") as folder:
        wanted = make_home(Path(folder), chosen.documents)
        states = state_folder(Path(folder))
        for tool in TOOLS:
            if tool.module is not None and not is_installed(tool.module):
                missing.append(tool.name)
                continue
            cells = [
                *model_changed(tool, states), *paragraph_edited(tool, states),
                *killed(tool, states, wanted, chosen.moments),
            ]  # fmt: skip
            lines.append(f"| {tool.name} | " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
    if missing:
        lines += ["", f"Not installed for this run: {', '.join(missing)}."]
    print("\n".join(lines))
    if chosen.write:
        put("outcomes", "\n".join(lines))


if __name__ == "__main__":
    main()
