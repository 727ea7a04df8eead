"""A bundle made of heads from elsewhere: a ridge head, and a gate of the published scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from armorm.errors import BundleError
from armorm.features.backbone import describe_backbone
from armorm.model.bundle import Bundle
from armorm.model.find import open_bundle
from armorm.model.published_heads import looks_untrained, read_published_gate, read_published_ridge
from armorm.model.released import RELEASED_OBJECTIVES, bundle_from_heads

TEMPERATURE = 10.0
"""Of the published training script, whose files do not hold it."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What was made, and what its user should know."""

    bundle: Bundle
    """The new bundle, without figures: no run has measured it."""
    notes: tuple[str, ...]
    """Sentences, each on a measured condition."""


def import_heads(
    ridge: str,
    gate: Path,
    *,
    name: str,
    backbone: str | None = None,
    revision: str | None = None,
    dtype: str = "bfloat16",
    objectives: Sequence[str] | None = None,
    temperature: float = TEMPERATURE,
) -> Imported:
    """Put a ridge head and a gate of the published training scripts into one bundle.

    Args:
        ridge: A `.pt` file of `stage-1_train.py`; or a bundle, or a folder or hub id in the
            released layout, whose ridge head, debias, names and backbone are kept.
        gate: A `.pt` file of `stage-2_train.py`.
        name: Of the new bundle.
        backbone: Folder or hub id of the backbone; needed for a `.pt` ridge head, and known
            of everything else.
        revision: Commit, tag or branch of `backbone`.
        dtype: What features were extracted in; with `backbone` alone.
        objectives: Names in the order of the ridge head; the released ones where there are
            19 and none are given.
        temperature: Divisor of the gate's logits, which its file does not hold.

    Returns:
        The bundle. Its debias is the identity where the ridge head came from a file.

    Raises:
        BundleError: a file holds anything but finite tensors; the two do not fit each
            other, the backbone or the names.
        FeatureError: the backbone cannot be found or used.
        ValueError: `backbone` or `objectives` is missing, or given where the ridge head
            has its own; `temperature` is not above 0; `dtype` is not a name of one.
    """
    tensors = read_published_gate(gate)
    notes: list[str] = []
    if (file := Path(ridge)).suffix == ".pt":
        made = _from_files(
            file,
            tensors,
            gate,
            name=name,
            facts=_facts(backbone, revision, dtype),
            objectives=objectives,
            temperature=temperature,
        )
        notes.append(
            "the files hold no debias matrix, so nothing is taken out of the objectives; a recipe "
            "of pairs with `ridge: BUNDLE` fits one, and a gate to it"
        )
    else:
        if backbone is not None or objectives is not None:
            option = "backbone" if backbone is not None else "objectives"
            raise ValueError(f"`{option}` belongs to a `.pt` ridge head; {ridge!r} has its own")
        made = _into_bundle(open_bundle(ridge), tensors, gate, name=name, temperature=temperature)
    if looks_untrained(tensors):
        notes.append(
            f"{gate}: every weight lies within 1 / sqrt(inputs), where it was drawn before the "
            "first step: the published script as it is trains no layer of the gate; train it again "
            "with a recipe of pairs and `ridge: BUNDLE`"
        )
    return Imported(made, tuple(notes))


def _facts(backbone: str | None, revision: str | None, dtype: str) -> dict[str, object]:
    """Facts of the backbone that a ridge head in a file belongs to."""
    if backbone is None:
        raise ValueError("`backbone` must name the model whose features the `.pt` files are for")
    return describe_backbone(backbone, revision=revision, dtype=dtype)


def _from_files(
    ridge: Path,
    tensors: dict[str, Tensor],
    gate: Path,
    *,
    name: str,
    facts: dict[str, object],
    objectives: Sequence[str] | None,
    temperature: float,
) -> Bundle:
    """A bundle of two files."""
    weight = read_published_ridge(ridge)
    names = tuple(objectives) if objectives is not None else RELEASED_OBJECTIVES
    if len(names) != len(weight):
        given = "`objectives`" if objectives is not None else "the released list"
        raise BundleError(
            f"{ridge}: 'weight' has one row an objective, {len(weight)} of them; {given} names "
            f"{len(names)}"
        )
    try:
        return bundle_from_heads(
            weight,
            tensors,
            objectives=names,
            temperature=temperature,
            backbone=facts,
            name=name,
        )
    except ValueError as error:
        raise BundleError(f"{ridge} and {gate}: {error}") from error


def _into_bundle(
    old: Bundle, tensors: dict[str, Tensor], gate: Path, *, name: str, temperature: float
) -> Bundle:
    """A bundle with another gate; figures, baselines and beta of the old one are left behind."""
    try:
        made = bundle_from_heads(
            old.weight,
            tensors,
            transform=old.debias,
            objectives=old.objectives,
            temperature=temperature,
            backbone=old.backbone,
            name=name,
            scales=old.scales,
        )
    except ValueError as error:
        raise BundleError(f"{gate}: {error}") from error
    return replace(made, bias=old.bias, nuisances=old.nuisances, statistics=old.statistics)
