"""The run folder: what may be written into, and what a killed run left there; the rest is a user's.

A run removes and replaces files by the names that it writes itself, and no others.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

from armorm.errors import StorageError
from armorm.evaluate.report import JSON_NAME, MARKDOWN_NAME, PAGE_NAME
from armorm.model.bundle import check_bundle_folder
from armorm.storage import check_writable, storage_errors, try_lock

LOCK = ".lock"
"""Held while a run writes into its folder."""
DONE = "run.json"
"""Written last; holds the fingerprint of the run and the digests of what it left."""
FEATURES = "features"
"""Folder of the feature sets."""
STAGES = "stages"
"""Folder of the fitted heads."""
BUNDLE = "bundle"
"""Folder of what ships."""
PLOTS = "plots"
"""Folder of the pictures."""
RECIPE = "recipe.yaml"
"""The recipe with every default filled in."""
DROPPED = "dropped-rows.json"
"""Counts of the rows that were not used."""
PICTURES = ("objectives", "preferences", "debias", "gating")
"""Sections of the report that have a picture, in `PLOTS`."""


def check_place(folder: Path) -> None:
    """Refuse a run folder before anything is read or written.

    Args:
        folder: The run folder; need not exist.

    Raises:
        StorageError: it is a file or cannot be written; it holds files and nothing that
            tells an earlier run.
        BundleError: its bundle holds files that are not a bundle's.
    """
    with storage_errors(folder):
        names = _names(folder)
        if names and not names & {LOCK, DONE, STAGES}:
            raise StorageError(
                f"{folder}: a run folder must be new, empty or of an earlier run; it holds "
                f"{min(names)!r}"
            )
        check_bundle_folder(folder / BUNDLE)  # as the save does, but before the training
    check_writable(folder / LOCK)


def clear_place(folder: Path) -> None:
    """Remove the temporary files and folders of a run that was killed.

    Args:
        folder: The run folder.

    Raises:
        StorageError: one of them cannot be removed.
    """
    for left in list(_left_behind(folder)):
        with storage_errors(left):
            shutil.rmtree(left) if left.is_dir() else left.unlink()


@contextlib.contextmanager
def hold_run(folder: Path, *, part: str = "") -> Generator[None]:
    """Hold the run folder, so that two runs never write into one; clear what a kill left.

    Args:
        folder: The run folder; made when absent, and removed where it is left empty.
        part: Hold it together with others that name another part: processes that each
            extract their own shard. Then nothing is cleared. Empty: hold it alone.

    Yields:
        Nothing.

    Raises:
        StorageError: another run holds the folder, or another process the same part; it
            cannot be written.
    """
    shared = bool(part)
    new = not folder.exists()
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        whole = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        if not try_lock(folder / LOCK, whole, held):
            raise StorageError(f"{folder}: another run is using this folder")
        own = folder / f"{LOCK}-{part.replace('/', '-of-')}"
        if shared and not try_lock(own, fcntl.LOCK_EX, held):
            raise StorageError(f"{folder}: another process is computing shard {part}")
        if not shared:
            clear_place(folder)
        try:
            yield
        finally:
            if new and not shared and [path.name for path in folder.iterdir()] == [LOCK]:
                shutil.rmtree(folder)


def remove_pictures(folder: Path) -> None:
    """Remove the pictures of an earlier report, and their folder where it is then empty.

    Args:
        folder: The run folder.

    Raises:
        StorageError: one of them cannot be removed.
    """
    plots = folder / PLOTS
    with storage_errors(plots):
        for path in pictures_of(folder):
            path.unlink()
        if plots.is_dir() and not any(plots.iterdir()):
            plots.rmdir()


def pictures_of(folder: Path) -> list[Path]:
    """Return the pictures that the run folder holds."""
    paths = (folder / PLOTS / f"{name}.png" for name in PICTURES)
    return [path for path in paths if path.is_file()]


def page_of(folder: Path) -> list[Path]:
    """Return the page of the run folder; none where the extra that draws it is missing."""
    return [path for path in (folder / PAGE_NAME,) if path.is_file()]


def _left_behind(folder: Path) -> Iterator[Path]:
    """Find what writing one of a run's own files has not finished."""
    yield from folder.glob(f"{LOCK}-*")
    for name in (DONE, RECIPE, DROPPED, JSON_NAME, MARKDOWN_NAME, PAGE_NAME, LOCK):
        yield from folder.glob(f".{name}.*.part")
    for ending in ("part", "old"):
        yield from folder.glob(f".{BUNDLE}.*.{ending}")
    for name in PICTURES:
        yield from (folder / PLOTS).glob(f".{name}.png.*.part")
    yield from (folder / STAGES).glob("*/.*.safetensors.*.part")


def _names(folder: Path) -> set[str]:
    """Names of what a folder holds, but for a lock that was never finished; none without one."""
    try:
        return {path.name for path in folder.iterdir() if not path.match(f".{LOCK}.*.part")}
    except FileNotFoundError:
        return set()
