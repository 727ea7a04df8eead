"""What every command shares: results on stdout, progress on stderr, errors as one line."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Generator
from typing import Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from armorm.errors import ArmormError, RecipeError

Watch = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""

# What typer raises for a command line that it rejects: click's own class, or typer's copy of
# it in later versions, which is no subclass of click's.
_Rejected: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

_INTERRUPTED = 130
"""Exit code after Ctrl-C."""


class OptionError(ArmormError):
    """A value on the command line cannot be used."""


def stdout() -> Console:
    """Return a console for results; wide enough for tables when piped."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 100
    return Console(width=width, highlight=False)


def stderr() -> Console:
    """Return a console for progress and remarks."""
    return Console(stderr=True, highlight=False)


@contextlib.contextmanager
def progress_bars() -> Generator[Watch]:
    """Show one progress bar a stage on stderr; none where nothing is done or it fails.

    Yields:
        A function to call with (stage, done, total).
    """
    bars: dict[str, TaskID] = {}
    columns = (
        TextColumn("{task.description:<26}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=stderr())

    def watch(stage: str, done: int, total: int) -> None:
        if stage not in bars:
            bars[stage] = progress.add_task(stage, total=total)
            progress.start()
        progress.update(bars[stage], completed=done, total=total)

    try:
        yield watch
    except BaseException:
        progress.live.transient = True  # the error is the one line that stays
        progress.live.stop()
        raise
    if bars:
        progress.stop()


def run(application: typer.Typer) -> None:
    """Run the command line and turn our errors into one line and exit code 2.

    Args:
        application: The commands.
    """
    try:
        code = application(standalone_mode=False) or 0
        if code == _INTERRUPTED:  # typer has caught the interrupt and says nothing itself
            raise KeyboardInterrupt
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
            ["interrupted: run the same command again, it continues where it stopped"], _INTERRUPTED
        )
    except BrokenPipeError:  # the reader of our output has gone: nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _stop(lines: list[str], code: int = 2) -> None:
    """Print each line on stderr, unwrapped, and leave."""
    for line in lines:
        print("error: " + " ".join(line.split("\n")), file=sys.stderr)  # noqa: T201
    sys.exit(code)
