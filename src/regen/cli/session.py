"""One run of one verb: where its settings are, how it speaks, and how it fails."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import typer

from regen.cli.exits import ExitCode, UsageError, code_of
from regen.errors import RegenError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from regen.core.results import Progress
    from regen.index import Index

_OPERATIONS = frozenset(
    {"adopt", "apply", "gc", "pause", "promote", "replay", "restore", "resume", "retry", "rollback"}
)
PLAIN = {"✓": "ok", "✗": "FAILED", "·": "|", "…": "...", "→": "->", "–": "-", "█": "#", "−": "-"}


def tell_retries_on_standard_error() -> None:
    """Where structlog is installed stamina would tell of retries by it, on standard output, amid the answer."""
    from stamina.instrumentation import LoggingOnRetryHook, set_on_retry_hooks  # noqa: PLC0415 - loaded with the index

    set_on_retry_hooks([LoggingOnRetryHook])


@dataclass(frozen=True, slots=True)
class Session:
    """The options that every verb has, and what follows from them."""

    config: Path
    json: bool = False
    debug: bool = False
    verb: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @contextmanager
    def index(self) -> Iterator[Index]:
        """Open the index that the configuration describes, and close it afterwards. Operators' actions are audited."""
        from regen.opening import open as open_index  # noqa: PLC0415 - heavy; only when a verb runs

        with open_index(self.config) as index, self._audited(index):
            tell_retries_on_standard_error()
            yield index

    @contextmanager
    def _audited(self, index: Index) -> Iterator[None]:
        if not is_operation(self.verb, self.arguments):
            yield
            return
        outcome = "done"
        try:
            yield
        except typer.Exit as end:
            outcome = f"ended with {end.exit_code}"
            raise
        except BaseException as error:
            outcome = f"{type(error).__name__}: {error.message if isinstance(error, RegenError) else error}"
            raise
        finally:
            index.audit(self.verb, origin="command line", outcome=outcome, **told_arguments(self.arguments))

    def answer(self, data: dict[str, Any], lines: Iterable[Text | str]) -> None:
        """Give the verb's answer on standard output: one JSON object on one line, or readable lines."""
        if self.json:
            self.emit(data)
        else:
            show(lines)

    def emit(self, data: dict[str, Any]) -> None:
        """Write one JSON object on one line of standard output."""
        typer.echo(orjson.dumps(data, option=orjson.OPT_NON_STR_KEYS, default=str).decode())

    def remark(self, line: Text | str) -> None:
        """Say something that is not the answer, on standard error."""
        show([line], error=True)

    @contextmanager
    def progress(self) -> Iterator[Callable[[Progress], None] | None]:
        """Progress bars on standard error while the block runs; None where nobody watches."""
        if not sys.stderr.isatty():
            yield None
            return
        from regen.cli.progress import ProgressBars  # noqa: PLC0415 - only on a terminal

        with ProgressBars() as bars:
            yield bars.report

    def confirm(self, question: str, *, hint: str) -> bool:
        """Ask on standard error. Raises UsageError where nobody can answer."""
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError("this asks before it acts, and there is no terminal to ask on", hint=hint)
        return typer.confirm(question, err=True)

    def run(self, verb: Callable[[], None]) -> None:
        """Run a verb and turn its errors into messages and exit codes."""
        try:
            verb()
        except KeyboardInterrupt:
            self.remark("Interrupted: what was finished is kept; run the same command again to go on.")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except RegenError as error:
            self._tell(error)
            raise typer.Exit(code_of(error)) from None
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise  # not failures of the verb: Typer's own ways to end
        except Exception as error:  # noqa: BLE001 - the last place that can tell it as one line
            self._tell(error)
            raise typer.Exit(ExitCode.ERROR) from None

    def _tell(self, error: Exception) -> None:
        from regen.cli.rendering_errors import error_lines  # noqa: PLC0415 - only when something fails
        from regen.config.secrets import mask_credentials  # noqa: PLC0415 - likewise
        from regen.wording import error_data  # noqa: PLC0415 - likewise

        if self.debug:
            typer.echo(mask_credentials("".join(traceback.format_exception(error))), err=True)
        if self.json:
            self.emit({"error": error_data(error)})
        show(error_lines(error), error=True)


def is_operation(verb: str, arguments: Mapping[str, Any]) -> bool:
    """Whether a verb changes how an index is run, so that who did it must be on record."""
    if verb == "keys":
        return str(arguments["action"].value) != "list"
    if verb == "rollout":
        return any(value for name, value in arguments.items() if name != "reason")
    return verb in _OPERATIONS or (verb == "verify" and bool(arguments["repair"]))


def told_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that were given, as JSON can hold them."""
    plain = {name: getattr(value, "value", value) for name, value in arguments.items()}
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in plain.items()
        if value not in (None, False, [])
    }


def show(lines: Iterable[Text | str], *, error: bool = False) -> None:
    """Print lines; a terminal or file that cannot show a mark gets its plain spelling."""
    console = _console(error=error)
    for line in lines:
        console.print(_plain(line) if not _speaks_unicode(console) else line, soft_wrap=True)


def _console(*, error: bool) -> Console:
    from rich.console import Console  # noqa: PLC0415 - only when something is shown

    return Console(stderr=error, highlight=False, markup=False, emoji=False)


def _speaks_unicode(console: Console) -> bool:
    return console.encoding.lower().replace("-", "").startswith("utf")


def _plain(line: Text | str) -> str:
    text = str(line)
    for mark, spelling in PLAIN.items():
        text = text.replace(mark, spelling)
    return text
