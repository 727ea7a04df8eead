"""Find a reward model by folder or hub id: a bundle, or a checkpoint in the released layout."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from armorm.errors import BundleError
from armorm.features.checkpoint import find_folder, local_path
from armorm.model.bundle import BASELINES, CARD, FACTS, HEADS, STATISTICS, Bundle, load_bundle
from armorm.model.released import is_released_layout, released_bundle

_HUB_ID = re.compile(r"(?P<name>(?P<owner>[\w-][\w.-]*)/[\w.-]+)(@(?P<revision>[\w./-]+))?")


class Found(NamedTuple):
    """Where a reward model is, and what it is."""

    folder: Path
    """The local folder, downloaded where it is a hub id."""
    name: str
    """Folder or hub id, as it was asked for."""
    revision: str | None
    """Commit of a hub id; None for a folder."""
    is_released: bool
    """Whether it is a checkpoint in the released layout; else it is a bundle, or nothing."""


def find_model(path: str | Path) -> Found:
    """Find a bundle or a checkpoint in the released layout, and download it where need be.

    A name `owner/name`, with `@revision` at its end or without, is a hub id unless there is
    a folder `owner` here.

    Args:
        path: Folder or hub id.

    Returns:
        Where it is. A local path that is not there is returned too: `load_bundle` says so.

    Raises:
        BundleError: a model without heads: a config without `num_objectives`, no bundle.
        FeatureError: there is neither such a folder nor a hub repository that can be reached.
    """
    name = str(path)
    folder = local_path(name)
    hub = None if _is_local(folder) else _HUB_ID.fullmatch(name)
    if hub is not None and not _is_local(Path(hub["owner"])):
        return _find_on_hub(hub["name"], hub["revision"])
    is_released = _is_released(folder)
    if not is_released and _is_model(folder):
        raise BundleError(
            f"{name}: must be a bundle ({FACTS}) or a checkpoint in the released layout "
            "(config.json with `num_objectives`); its config.json has no `num_objectives`"
        )
    return Found(folder, name, None, is_released)


def open_bundle(path: str | Path, *, dtype: str | None = None) -> Bundle:
    """Load the heads of a reward model, from a bundle or from the released layout.

    Args:
        path: Folder or hub id of either; see `find_model`.
        dtype: What a released backbone is to run in; that of its stored tensors where None.
            A bundle's heads belong to features of one dtype.

    Returns:
        The bundle. One that was made of a checkpoint names that checkpoint as its backbone.

    Raises:
        BundleError: as `load_bundle` and `released_bundle`; neither of the two is there.
        FeatureError: as `find_model` and `describe_backbone`.
        ValueError: `dtype` is not a name of one, or not that of the bundle.
    """
    return open_found(find_model(path), dtype=dtype)


def open_found(found: Found, *, dtype: str | None = None) -> Bundle:
    """Load the heads of a reward model that was found; see `open_bundle`.

    Args:
        found: From `find_model`.
        dtype: As in `open_bundle`.

    Returns:
        The bundle.

    Raises:
        BundleError: as `open_bundle`.
        FeatureError: as `open_bundle`.
        ValueError: as `open_bundle`.
    """
    if found.is_released:
        return released_bundle(found.folder, name=found.name, revision=found.revision, dtype=dtype)
    bundle = load_bundle(found.folder)
    if dtype is not None and dtype != bundle.backbone["dtype"]:
        raise ValueError(
            f"`dtype` must be that of the features the heads were fitted on, "
            f"{bundle.backbone['dtype']!r}; got {dtype!r}"
        )
    return bundle


def _find_on_hub(name: str, revision: str | None) -> Found:
    """Look at what a repository is before anything large is downloaded."""
    first, commit = find_folder(name, revision, patterns=["config.json", FACTS])
    if (first / FACTS).is_file():
        parts = [FACTS, HEADS, BASELINES, STATISTICS, CARD]
        folder, commit = find_folder(name, commit, patterns=parts)
        return Found(folder, name, commit, False)
    if not _is_released(first):
        raise BundleError(
            f"{name}: must hold a bundle or a checkpoint in the released layout; the repository "
            f"has neither {FACTS} nor a config.json with `num_objectives`"
        )
    folder, commit = find_folder(name, commit)
    return Found(folder, name, commit, True)


def _is_released(folder: Path) -> bool:
    """Say whether a folder is a checkpoint and no bundle."""
    return is_released_layout(folder) and not (folder / FACTS).is_file()


def _is_model(folder: Path) -> bool:
    """Say whether a folder is a model of some kind and no bundle."""
    try:
        return (folder / "config.json").is_file() and not (folder / FACTS).is_file()
    except OSError:
        return False


def _is_local(path: Path) -> bool:
    """Say whether something of that name is here."""
    try:
        return path.exists()
    except OSError:  # a name that is too long
        return True
