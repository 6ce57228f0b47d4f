"""The peers of ``../shared/peers`` on the same documents, where they are installed.

They need environments of their own: ``REGEN_PEERS_PYTHON`` names a Python that has some of them (default: this one).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.workload import PEERS

PYTHON = os.environ.get("REGEN_PEERS_PYTHON", sys.executable)
SCRIPTS = {
    "LangChain indexing + LanceDB": ("langchain_peer.py", ["store=lancedb"], "langchain_community"),
    "LangChain indexing + Chroma": ("langchain_peer.py", ["store=chroma"], "langchain_chroma"),
    "LlamaIndex pipeline + Chroma": ("llamaindex_peer.py", [], "llama_index"),
    "CocoIndex + LanceDB": ("coco_peer.py", [], "cocoindex"),
}
STEPS = ("first load", "nothing changed", "1 % edited", "metadata of 10 %")


def measure_peers() -> dict[str, dict[str, tuple[float, int]]]:
    """Seconds and texts embedded by peer and step, of the peers that are installed."""
    return {name: _run(script, options) for name, (script, options, module) in SCRIPTS.items() if is_installed(module)}


def missing_peers() -> list[str]:
    """The peers that are not installed."""
    return [name for name, (_, _, module) in SCRIPTS.items() if not is_installed(module)]


def is_installed(module: str) -> bool:
    """Whether the peers' Python has a module."""
    asked = subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True, check=False)
    return asked.returncode == 0


def _run(script: str, options: list[str]) -> dict[str, tuple[float, int]]:
    with tempfile.TemporaryDirectory() as state:
        command = [PYTHON, "-B", str(PEERS / script), "seq", state, "v1,v1,v2,v3", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(state), timeout=600)
    lines = [json.loads(line.removeprefix("RESULT ")) for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if len(lines) != len(STEPS):
        sys.exit(f"{script} failed:\n{done.stderr[-2000:]}")
    return {step: (row["wall_s"], row["embed_texts"]) for step, row in zip(STEPS, lines, strict=True)}
