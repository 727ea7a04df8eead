"""What every command shares: results on stdout, progress on stderr, errors as one line."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any, Protocol

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table

from armorm.errors import ArmormError, RecipeError


class Watch(Protocol):
    """Called with (stage, done, total), and a remark such as a rate where there is one."""

    def __call__(self, stage: str, done: int, total: int, remark: str = "", /) -> None:
        """Show how far a stage is."""
        ...


# What typer raises for a command line that it rejects: click's own class, or typer's copy of
# it in later versions, which is no subclass of click's.
_Rejected: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)
"""Why a disk behind stdout takes no more."""

_WIDE = 110
"""Columns of a terminal from which on a bar has room beside what is said of a stage."""

_INTERRUPTED = 130
"""Exit code after Ctrl-C."""


class OptionError(ArmormError):
    """A value on the command line cannot be used."""


def stdout() -> Console:
    """Return a console for results; wide enough for tables when piped."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 100
    return Console(width=width, highlight=False, markup=False, emoji=False)


def stderr() -> Console:
    """Return a console for progress and remarks."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def print_json(value: Any) -> None:
    """Print a value on stdout as JSON that a person can read.

    Args:
        value: JSON values; no NaN where the caller has made it null.
    """
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def number_table(first: str, *numbers: str) -> Table:
    """Return an empty table: a column of names, and one of numbers for each further heading."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column(first, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def remarks(notes: Iterable[str]) -> None:
    """Print remarks on stderr, one a line.

    Args:
        notes: What a reader of the results should know.
    """
    for note in notes:
        stderr().print(f"note: {note}", soft_wrap=True)


def output_path(text: str) -> Path:
    """Return the path of an output option.

    Args:
        text: Its value.

    Returns:
        The path.

    Raises:
        OptionError: the text is empty, which a path would take for the current folder.
    """
    if not text:
        raise OptionError("-o: must name a file or folder; got ''")
    return Path(text)


def output_option(metavar: str, text: str) -> Any:
    """Return the option `-o` of a command.

    Args:
        metavar: What stands for its value in the help.
        text: Its help.

    Returns:
        For an `Annotated` path.
    """
    return typer.Option("-o", "--output", parser=output_path, metavar=metavar, help=text)


@contextlib.contextmanager
def progress_bars() -> Generator[Watch]:
    """Show one progress bar a stage on stderr; none where nothing is done or it fails.

    Yields:
        A function to call with (stage, done, total) and, after it, a remark.
    """
    bars: dict[str, TaskID] = {}
    console = stderr()
    progress = Progress(*_columns(console.width), console=console)

    def watch(stage: str, done: int, total: int, remark: str = "", /) -> None:
        if stage not in bars:
            bars[stage] = progress.add_task(stage, total=total, remark="")
            progress.start()
        progress.update(bars[stage], completed=done, total=total, remark=remark)

    try:
        yield watch
    except BaseException:
        progress.live.transient = True  # the error is the one line that stays
        progress.live.stop()
        raise
    if bars:
        progress.stop()


def _columns(width: int) -> list[ProgressColumn]:
    """Columns of the bars; a narrow terminal keeps the rates and goes without the bar."""
    fixed = Column(no_wrap=True, min_width=7)
    count = MofNCompleteColumn(table_column=fixed)
    left = TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True, min_width=5))
    said = Column(no_wrap=True, ratio=1)
    remark = TextColumn("{task.fields[remark]}", markup=False, table_column=said)
    if width < _WIDE:
        return [TextColumn("{task.description}", markup=False), count, left, remark]
    name, bar = TextColumn("{task.description:<18}", markup=False), BarColumn(bar_width=16)
    return [name, bar, count, TimeElapsedColumn(), TextColumn("left"), left, remark]


def run(application: typer.Typer) -> None:
    """Run the command line and turn our errors into one line and exit code 2.

    Args:
        application: The commands.
    """
    try:
        code = application(standalone_mode=False) or 0
        if code == _INTERRUPTED:  # typer has caught the interrupt and says nothing itself
            raise KeyboardInterrupt
        sys.stdout.flush()  # here, where a full disk can still be told
        sys.exit(code)
    except _Rejected as error:
        error.show()
        sys.exit(error.exit_code)
    except RecipeError as error:
        _stop(list(error.mistakes))
    except ArmormError as error:
        _stop([str(error)])
    except (KeyboardInterrupt, typer.Abort):
        _stop(
            [
                "interrupted: run the same command again; `train`, `extract` and `label` "
                "continue where they stopped"
            ],
            _INTERRUPTED,
        )
    except BrokenPipeError:  # the reader of our output has gone: nobody is left to tell
        _silence()
        sys.exit(141)
    except OSError as error:
        # A stream has no name; an error with one is of a file, and none of these.
        if error.filename is not None or error.errno not in _FULL:
            raise
        _silence()
        _stop([f"stdout: cannot be written: {os.strerror(error.errno)}"])


def _silence() -> None:
    """Let Python flush at exit what could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stop(lines: list[str], code: int = 2) -> None:
    """Print each line on stderr, unwrapped and with control characters spelled out, and leave."""
    for line in lines:
        shown = "".join(_spelled(c) for c in line.replace("\n", " "))
        print(f"error: {shown}", file=sys.stderr)  # noqa: T201
    sys.exit(code)


def _spelled(character: str) -> str:
    r"""Return a character as it is, or as `\x1b` where a terminal would obey it."""
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode()
