"""Which reward models can be exported to which layout; one sentence where one cannot."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from armorm.errors import BundleError, nearest
from armorm.model.bundle import Bundle
from armorm.model.changes import has_intercept
from armorm.model.exports.layouts import KINDS
from armorm.model.reward import RewardModel, Scores

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Precisions of an export's backbone, by name."""

NO_INTERCEPT = "ridge: {intercept: false}"
"""The line of a recipe that gives heads without intercept."""


def check_settings(
    to: str, *, weights: Mapping[str, float] | None, debiased: bool, dtype: str | None
) -> None:
    """Refuse settings that do not go together.

    Args:
        to: Kind of the export.
        weights: Fixed weights.
        debiased: Whether debiased objective scores are asked for.
        dtype: Precision of the export's backbone.

    Raises:
        ValueError: an unknown kind or precision; `weights` of another kind than
            'classifier'; `debiased` of another kind than 'objectives'; `dtype` of a 'head'.
    """
    if to not in KINDS:
        known = ", ".join(repr(kind) for kind in KINDS)
        raise ValueError(f"`to` must be one of {known}; got {to!r}")
    if weights is not None and to != "classifier":
        raise ValueError(f"`weights` are for `to` = 'classifier'; got {to!r}, which has its own")
    if debiased and to != "objectives":
        raise ValueError(f"`debiased` is for `to` = 'objectives'; got {to!r}")
    if dtype is not None and dtype not in DTYPES:
        known = " or ".join(repr(name) for name in DTYPES)
        raise ValueError(f"`dtype` must be {known}; got {dtype!r}{nearest(dtype, DTYPES)}")
    if dtype is not None and to == "head":
        raise ValueError("`dtype` is that of a backbone, and `to` = 'head' holds none")


def check_exportable(bundle: Bundle, to: str, *, fixed_weights: bool = False) -> None:
    """Refuse a reward model that a layout cannot hold; its backbone need not be loaded.

    Args:
        bundle: The heads and facts.
        to: Kind of the export.
        fixed_weights: Whether the model has been given fixed weights.

    Raises:
        BundleError: an encoder backbone or a ridge head with intercept, for any layout that
            other tools load.
        ValueError: fixed weights where the gate is exported.
    """
    if fixed_weights and to in ("armorm", "head"):
        raise ValueError(
            f"`to` = {to!r} exports the gate, which the fixed weights of this model bypass; use "
            "'classifier', or a model without weights"
        )
    if to == "head":
        return
    backbone = bundle.backbone
    if backbone["kind"] != "decoder":
        raise BundleError(
            f"{bundle.name}: to export as {to!r} the features must be states of single tokens; "
            f"those of the encoder {backbone['name']!r} are made of several: train with a decoder "
            "as `backbone:`, or export as 'head'"
        )
    if has_intercept(bundle):
        n = int((bundle.bias != 0).sum())
        raise BundleError(
            f"{bundle.name}: to export as {to!r} the ridge head must have no intercept, for which "
            f"the layout has no place; {n} of {len(bundle.bias)} biases are not 0: train with "
            f"`{NO_INTERCEPT}` in the recipe, or export as 'head'"
        )


def fixed_coefficients(model: RewardModel, rows: Scores | None) -> Tensor:
    """Return the coefficients that a classifier has for every prompt.

    Args:
        model: The reward model, with fixed weights or gated.
        rows: What it says of conversations of the user; None where there are none.

    Returns:
        Shape (k,). The fixed weights; else the mean of the coefficients over the rows, which
        for a gate is s * mean gating @ debias.T.

    Raises:
        ValueError: a gated model, and no rows: no weights of any prompt stand for all.
    """
    if model.weights is not None:
        return torch.tensor([float(model.weights.get(n, 0)) for n in model.objectives])
    if rows is None:
        raise ValueError(
            "`to` = 'classifier' needs the same weights for every prompt, and the gate of this "
            "model gives each prompt its own: give `weights`, or `rows` whose mean gating is taken"
        )
    return rows.coefficients.double().mean(0).float()
