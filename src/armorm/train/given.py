"""A ridge head that a recipe names instead of rated data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from armorm.errors import BundleError, RecipeError
from armorm.model.bundle import Bundle, load_bundle
from armorm.model.find import find_model
from armorm.model.released import read_released_ridge
from armorm.model.released.config import read_released_config
from armorm.model.statistics_file import StoredStatistics
from armorm.storage import fingerprint
from armorm.train.cache import StageResult
from armorm.types import Scale


@dataclass(frozen=True, slots=True)
class GivenRidge:
    """Weight and bias of a bundle or of a checkpoint in the released layout."""

    path: str
    """As the recipe names it."""
    result: StageResult
    """In the form of a ridge stage; its key is a digest of weight, bias, names and scales."""
    objectives: tuple[str, ...]
    """Names of axis k."""
    scales: dict[str, dict[str, Scale]]
    """Of the bundle; for a checkpoint those that its config states or that are published."""
    digest: str | None
    """Of the backbone it was fitted on; None for a checkpoint, which is that backbone."""
    options: Mapping[str, Any]
    """How its features were made; empty for a checkpoint."""
    statistics: StoredStatistics | None = None
    """Of the bundle, where it has them: they go on into the new one."""
    measured: tuple[str, ...] = ()
    """Objectives of the bundle that are measured from the text."""
    heads: Mapping[str, Any] = field(default_factory=dict)
    """Facts by objective that hold without the run of the bundle; only beside statistics."""

    @property
    def key(self) -> str:
        """Fingerprint of all that goes into a bundle from here."""
        if self.statistics is None:
            return self.result.key
        return fingerprint([self.result.key, self.statistics.digest, self.heads])

    def check_measured(self, measured: Sequence[str]) -> None:
        """Refuse a recipe whose measured nuisances are not those of the head.

        Args:
            measured: Names, as the recipe has them.

        Raises:
            RecipeError: the head has no row for one, or a row that would count as a quality.
        """
        for name in measured:
            if name not in self.measured:
                has = ", ".join(map(repr, self.measured)) or "none"
                raise RecipeError(
                    [
                        f"debias.measured: the ridge head of {self.path} must have a row for "
                        f"{name!r}; of what is measured from the text it has {has}"
                    ]
                )
        for name in self.measured:
            if name not in measured:
                raise RecipeError(
                    [
                        f"debias.measured: {name!r} must be among them, as the ridge head of "
                        f"{self.path} has a row for it, which is no quality; got {list(measured)!r}"
                    ]
                )

    def check(self, backbone: Mapping[str, Any]) -> None:
        """Refuse a backbone that the head was not fitted on.

        Args:
            backbone: Facts of the recipe's backbone.

        Raises:
            BundleError: the digests differ, or how features are made.
        """
        if self.digest is not None and self.digest != backbone["digest"]:
            raise BundleError(
                f"{self.path}: the ridge head was fitted on a backbone with digest "
                f"{self.digest[:12]}…; {backbone['name']!r} has digest {backbone['digest'][:12]}…"
            )
        for name, value in self.options.items():
            found = backbone["options"].get(name)
            if found != value and name not in ("max_tokens", "too_long"):
                raise BundleError(
                    f"{self.path}: the ridge head takes features with `{name}: {value}`; the "
                    f"recipe has `{name}: {found}`"
                )
        width = self.result.tensors["weight"].shape[1]
        if width != backbone["response_width"]:
            raise BundleError(
                f"{self.path}: the ridge head takes features of width {width}; those of "
                f"{backbone['name']!r} have width {backbone['response_width']}"
            )


def load_given_ridge(path: str) -> GivenRidge:
    """Load the ridge head of a bundle or of a checkpoint in the released layout.

    Args:
        path: Folder or hub id.

    Returns:
        The head.

    Raises:
        BundleError: it is neither, or damaged.
        FeatureError: there is neither such a folder nor a hub repository that can be reached.
    """
    found = find_model(path)
    statistics, heads, measured = None, dict[str, Any](), ()
    if found.is_released:
        weight, objectives = read_released_ridge(found.folder)
        known = read_released_config(found.folder / "config.json").scales
        bias, scales = torch.zeros(len(weight)), {s: dict(of) for s, of in known.items()}
        digest, options = None, dict[str, Any]()
    else:
        bundle = load_bundle(found.folder)
        if isinstance(bundle.statistics, StoredStatistics):
            statistics, heads = bundle.statistics, _heads(bundle)
        weight, bias, objectives = bundle.weight, bundle.bias, bundle.objectives
        measured = bundle.measured
        scales = {source: dict(of) for source, of in bundle.scales.items()}
        digest, options = bundle.backbone["digest"], bundle.backbone["options"]
    shown = {
        source: {name: repr(scale) for name, scale in of.items()} for source, of in scales.items()
    }
    key = fingerprint([list(objectives), _digest(weight), _digest(bias), shown])
    result = StageResult({"weight": weight, "bias": bias}, {}, key)
    return GivenRidge(
        path, result, objectives, scales, digest, options, statistics, measured, heads
    )


def _heads(bundle: Bundle) -> dict[str, Any]:
    """What is known of the heads themselves; figures rest on the protocol of another run."""
    unknown = {"spearman": None, "r2": None}
    known = bundle.facts.get("objectives", {})
    return {name: {**of, **unknown} for name, of in known.items()}


def _digest(tensor: Tensor) -> str:
    """SHA-256 of the bytes of a tensor."""
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()
