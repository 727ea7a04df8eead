"""What every benchmark shares: options, quiet timing, memory, the table and the stored result."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import re
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("armorm", "torch", "transformers", "numpy", "scipy", "scikit-learn", "flash-attn")


def options(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fast", action="store_true", help="smaller sizes, for `make bench`")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; default: all")
    parser.add_argument("--no-save", action="store_true", help="do not write benchmarks/results/")
    return parser


def start(arguments: argparse.Namespace) -> None:
    """Set the thread count of torch; the BLAS of numpy and scipy takes all cores by itself."""
    if arguments.threads is not None:
        from threadpoolctl import threadpool_limits

        torch.set_num_threads(arguments.threads)
        threadpool_limits(arguments.threads)


def seconds(run: Callable[[], Any], *, device: str = "cpu") -> float:
    """Return the wall time of one call, after everything before it on the device is done."""
    synchronise(device)
    started = time.perf_counter()
    run()
    synchronise(device)
    return time.perf_counter() - started


def alternate(
    runs: Mapping[str, Callable[[], Any]], *, rounds: int = 3, device: str = "cpu"
) -> dict[str, list[float]]:
    """Time several rivals in turn, so that a slow minute of the machine hits all of them."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(seconds(run, device=device))
    return times


def median(values: Sequence[float]) -> float:
    """Return the middle value."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def synchronise(device: str) -> None:
    """Wait for a CUDA device; a CPU has nothing to wait for."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


class Memory:
    """Largest resident memory while a block ran, anonymous and mapped, in GiB."""

    def __init__(self) -> None:
        self.anonymous = 0.0
        self.mapped = 0.0

    def look(self) -> None:
        """Take the sizes of this moment in."""
        status = Path("/proc/self/status")
        if not status.is_file():
            return
        found = dict(
            re.findall(r"^(RssAnon|RssFile|RssShmem):\s+(\d+) kB$", status.read_text(), re.M)
        )
        self.anonymous = max(self.anonymous, int(found["RssAnon"]) / 2**20)
        self.mapped = max(self.mapped, (int(found["RssFile"]) + int(found["RssShmem"])) / 2**20)


@contextlib.contextmanager
def peak_memory(every: float = 0.02) -> Generator[Memory]:
    """Watch the memory of this process from a thread, for as long as the block runs."""
    memory, done = Memory(), threading.Event()

    def watch() -> None:
        while not done.wait(every):
            memory.look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        done.set()
        thread.join()
        memory.look()


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on stdout; the first column on the left, numbers on the right."""
    shown = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        shown.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        shown.add_row(*[f"{cell:,.3g}" if isinstance(cell, float) else str(cell) for cell in row])
    Console(width=110, highlight=False).print(shown)


def finish(result: Mapping[str, Any], *, name: str, arguments: argparse.Namespace) -> None:
    """Store the result with commit, versions and hardware, and print it as the last line."""
    full = {
        **result,
        "fast": arguments.fast,
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": _versions(),
        "hardware": _hardware(),
    }
    if not arguments.no_save:
        RESULTS.mkdir(exist_ok=True)
        kind = "-fast" if arguments.fast else ""
        path = RESULTS / f"{name}{kind}_{_slug(full['hardware'])}_{full['date']}.json"
        path.write_text(json.dumps(full, indent=2) + "\n")
        print(f"stored in {path.relative_to(RESULTS.parent.parent)}")
    print(json.dumps(dict(result)))


def _commit() -> str:
    """Commit of the working tree, marked where files differ from it."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=RESULTS.parent, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "..", ":!results")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + ("+changes" if changed else "")


def _versions() -> dict[str, str]:
    """Versions of what the figures depend on, where it is installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _hardware() -> dict[str, Any]:
    """Processor, its cores, threads in use, memory and device."""
    info = Path("/proc/cpuinfo")
    model = (
        re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.M) if info.is_file() else None
    )
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model[1].strip() if model else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(pages / 2**30, 1),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def _slug(hardware: Mapping[str, Any]) -> str:
    """Short name of the hardware for a file name."""
    device = hardware["device"]
    text = device if device != "none" else f"{hardware['cores']}-cores-{hardware['cpu']}"
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
