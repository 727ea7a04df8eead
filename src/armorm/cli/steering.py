"""`--weights` and `--scale`: a model steered by objective name, for every command."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated

import typer

from armorm.cli.terminal import OptionError

if TYPE_CHECKING:  # --help must not wait for torch
    from armorm.model.reward import RewardModel

BundleFolder = Annotated[
    str,
    typer.Argument(
        metavar="BUNDLE",
        help="A bundle, or a checkpoint in the released layout: folder or hub id.",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(metavar="NAME=VALUE,…", help="Fixed weights in place of gating and debias."),
]
Scale = Annotated[
    str | None,
    typer.Option(metavar="NAME=VALUE,…", help="Factors of the gating, e.g. honesty=1.5."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
BackbonePath = Annotated[
    str | None, typer.Option("--backbone", help="Where the backbone is, when not at its id.")
]


def load_steered(
    bundle: str, *, device: str, backbone: str | None, weights: str | None, scale: str | None
) -> RewardModel:
    """Load a bundle and apply the steering options.

    Args:
        bundle: Folder or hub id of a bundle or of a checkpoint in the released layout.
        device: Where the backbone runs.
        backbone: Where the backbone is; None: at the id that the bundle names.
        weights: Text of `--weights`.
        scale: Text of `--scale`.

    Returns:
        The reward model.

    Raises:
        OptionError: both options are given; a pair is not name=number; a name is not an
            objective; the device has another name than those that are known.
    """
    from armorm.model.reward import RewardModel

    if weights is not None and scale is not None:
        raise OptionError("--weights bypasses the gating that --scale multiplies; give one of them")
    _check_device(device)
    if weights is None and scale is None:
        return RewardModel.load(bundle, device=device, backbone=backbone)
    option, text = ("--weights", weights) if weights is not None else ("--scale", scale)
    values = parse_values(option, text or "")
    model = RewardModel.load(bundle, device=device, backbone=backbone)
    try:
        return model.with_weights(values) if weights is not None else model.scaled(values)
    except ValueError as error:
        raise OptionError(f"{option}: {error}") from None


def _check_device(device: str) -> None:
    """Raise for a name that is none of a device."""
    from armorm.features.interface import DEVICES

    if not re.fullmatch(DEVICES, device):
        raise OptionError(f"--device: must be auto, cpu, cuda, cuda:1 or mps; got {device!r}")


def parse_values(option: str, text: str) -> dict[str, float]:
    """Parse `name=value,name=value`; a name may hold an equals sign.

    Args:
        option: The option, for error messages.
        text: Its value.

    Returns:
        Name -> value, in the order given.

    Raises:
        OptionError: there is no part; one is not name=number; a name stands twice.

    Example:
        >>> parse_values("--weights", "is_safe=2, verbosity=-0.5")
        {'is_safe': 2.0, 'verbosity': -0.5}
    """
    values: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, sign, number = (piece.strip() for piece in part.rpartition("="))
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not (sign and name and math.isfinite(value)):
            raise OptionError(f"{option}: must read name=number,…; got {part!r}")
        if name in values:
            raise OptionError(f"{option}: the name {name!r} stands twice")
        values[name] = value
    if not values:
        raise OptionError(f"{option}: must read name=number,…; got {text!r}")
    return values
