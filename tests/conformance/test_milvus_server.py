"""The Milvus server of our own: nobody else reaches it, and nothing is left of it, however its owner ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from regen.errors import StoreError
from regen.testing import milvus_server

pytestmark = pytest.mark.store("milvus")

_OWNER = """
import sys
from pathlib import Path
from regen.testing.milvus_server import MilvusServer
server = MilvusServer(Path(sys.argv[1]))
print(server.url, flush=True)
sys.stdin.read()
"""


@pytest.mark.slow  # some 15 s
def test_nothing_is_left_of_a_server_whose_owner_was_killed(
    milvus_programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It listens on the loopback only, and goes with its data when the process that has started it is killed."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    owner = subprocess.Popen([sys.executable, "-c", _OWNER, str(milvus_programs)], stdin=-1, stdout=-1, text=True)
    assert owner.stdout is not None
    host, _, port = owner.stdout.readline().strip().removeprefix("milvus://").partition(":")
    family = psutil.Process(owner.pid).children(recursive=True)
    assert "milvus" in {process.name() for process in family}
    ours = {process.pid for process in family}
    heard = {item.laddr for item in psutil.net_connections("tcp") if item.pid in ours and item.status == "LISTEN"}
    assert heard == {(host, int(port))}
    owner.kill()
    owner.communicate()
    assert psutil.wait_procs(family, 30)[1] == []
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what was asked for, and nothing half fetched is left."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    with pytest.raises(StoreError, match=r"milvus==2\.3\.5 cannot be had"):
        milvus_server.install(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
