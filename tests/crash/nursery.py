"""A fork server: imports once, then starts lives that are killed. One JSON object a line in, one out.

    {"do": "live", "root": …, "seed": …, "kind": …, "count": …, "number": …, "pending": {…}, "kill_after": null | s}
        -> {"exit": code, or minus the signal}
    {"do": "migrate", …as for "live", without kind and count} -> {"exit": …}
    {"do": "search", "root": …, …} -> {"pid": n};  {"do": "wait", "pid": n} -> {"exit": code}

Vendors with threads of their own are imported here but first used in the children.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from stamina.instrumentation import set_on_retry_hooks
from tests.crash.life import Life, Roulette, search_until_told
from tests.crash.migrating import Migration, Moments

from regen.catalog.sqlite import open_catalog
from regen.testing.faults import Steps

PRELOADED = (
    "regen.stores.lancedb", "regen.stores.pgvector", "regen.catalog.postgres", "regen.sources.files",
    "regen.sources.jsonl", "regen.embedders.hashing",
)  # fmt: skip
_running: set[int] = set()


def main() -> None:
    """Serve until standard input ends."""
    warnings.simplefilter("ignore")  # LanceDB calls its fork support experimental; here it is unused before the fork
    for name in PRELOADED:
        import_module(name)
    set_on_retry_hooks([])  # structlog, where it is installed, would tell of them amid the answers
    open_catalog("sqlite://").close()  # migrations and statements are loaded by their first use
    for line in sys.stdin:
        asked = json.loads(line)
        answer = {"live": _live, "migrate": _migrate, "search": _search, "wait": _wait}[asked["do"]](asked)
        print(json.dumps(answer), flush=True)
    for pid in _running:
        os.kill(pid, signal.SIGKILL)


def _live(asked: dict[str, Any]) -> dict[str, Any]:
    root = Path(asked["root"])
    chance = random.Random(f"{asked['seed']} {asked['number']} kill")
    steps = Steps(Roulette(chance, asked["pending"], root / "killed"))
    life = Life(root, asked["seed"], asked["kind"], asked["count"], asked["number"], steps, url=asked.get("url", ""))

    def live() -> None:
        life.run()
        (root / "trace").write_text(json.dumps(steps.counts()))

    pid = _start(live, root)
    if asked["kill_after"] is not None:
        _kill_after(pid, asked["kill_after"])
    return _wait({"pid": pid})


def _migrate(asked: dict[str, Any]) -> dict[str, Any]:
    root = Path(asked["root"])
    moments = Moments(random.Random(f"{asked['seed']} {asked['number']} kill"), asked["pending"], root / "killed")

    def live() -> None:
        Migration(root, asked["seed"], asked["number"], moments, asked["script"], asked.get("url", "")).run()
        (root / "trace").write_text(json.dumps(moments.counts))

    pid = _start(live, root)
    if asked["kill_after"] is not None:
        _kill_after(pid, asked["kill_after"])
    return _wait({"pid": pid})


def _search(asked: dict[str, Any]) -> dict[str, Any]:
    root = Path(asked["root"])

    def search() -> None:
        answers = search_until_told(root, asked["seed"], asked["kind"], asked["count"], asked.get("url", ""))
        (root / "answers").write_text(str(answers))

    pid = _start(search, root)
    _running.add(pid)
    return {"pid": pid}


def _wait(asked: dict[str, Any]) -> dict[str, Any]:
    _, status = os.waitpid(asked["pid"], 0)
    _running.discard(asked["pid"])
    return {"exit": os.waitstatus_to_exitcode(status)}


def _kill_after(pid: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)


def _start(work: Callable[[], None], root: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        work()
    except BaseException:  # noqa: BLE001 - the child's last words
        (root / f"failure-{os.getpid()}").write_text(traceback.format_exc())
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
