"""All models of one call, each under its own name: the first, its variants, those beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from armorm.errors import nearest
from armorm.evaluate.scorers.bench_judge import BenchJudge
from armorm.evaluate.scorers.names import ScorerName
from armorm.evaluate.scorers.opening import ScorerOptions, open_bench_judge, open_scorer
from armorm.evaluate.scoring import BundleScorer, Scorer, VariantScores
from armorm.model.reward import RewardModel

Contestant = Scorer | BenchJudge
"""Whatever can be compared with others."""

_KINDS = ("gated", "weights", "scale")


@dataclass(frozen=True, slots=True)
class Variant:
    """The first model in another way."""

    kind: Literal["gated", "weights", "scale"]
    """As it ships, with fixed weights, or with factors of the gating."""
    values: Mapping[str, float]
    """By objective; empty of `gated`."""

    def of(self, model: RewardModel) -> RewardModel:
        """Return a model in this way, whatever way it is in.

        Args:
            model: The reward model.

        Returns:
            One that shares its backbone and heads.

        Raises:
            ValueError: as `RewardModel.with_weights` and `RewardModel.scaled`.
        """
        plain = RewardModel(model.bundle, model.backbone)
        if self.kind == "gated":
            return plain
        steer = plain.with_weights if self.kind == "weights" else plain.scaled
        return steer(self.values)


def split_variant(text: str) -> tuple[Literal["gated", "weights", "scale"], str]:
    """Take a variant as it is written apart: `gated`, `weights:…` or `scale:…`.

    Args:
        text: The variant.

    Returns:
        Its kind, and what stands behind the colon.

    Raises:
        ValueError: it has none of these forms.

    Example:
        >>> split_variant("weights:honesty=1")
        ('weights', 'honesty=1')
    """
    kind, colon, values = text.partition(":")
    if kind == "gated" and not colon:
        return "gated", ""
    if colon and kind == "weights":
        return "weights", values
    if colon and kind == "scale":
        return "scale", values
    hint = nearest(kind, _KINDS) if kind not in _KINDS else ""
    raise ValueError(
        f"a variant must be gated, weights:NAME=VALUE,… or scale:NAME=VALUE,…; got {text!r}{hint}"
    )


def bench_of(
    first: RewardModel | ScorerName,
    *,
    variants: Sequence[Variant] = (),
    beside: Sequence[ScorerName] = (),
    options: ScorerOptions | None = None,
) -> tuple[Contestant, ...]:
    """Open all models of a call.

    Bundles whose own names are the same are named as they were asked for. Variants share the
    backbone of the first, and every text runs through it once for all of them.

    Args:
        first: A reward model, steered or not, or the name of another model.
        variants: Of the first, which must be a reward model.
        beside: Names of other models.
        options: How they are opened; the defaults where None.

    Returns:
        The first, its variants, the others in the order given.

    Raises:
        BundleError: as `open_scorer`.
        FeatureError: as `open_scorer`.
        MissingDependency: as `open_scorer`.
        StorageError: as `open_scorer`.
        ValueError: as `open_scorer` and `Variant.of`; variants of what is no reward model; two
            models are one, or have one name.
    """
    options = options or ScorerOptions()
    found: list[Contestant] = []
    if isinstance(first, RewardModel):
        family = VariantScores() if variants else None
        models = [first, *(variant.of(first) for variant in variants)]
        found += [BundleScorer(model, family=family) for model in models]
    elif variants:
        raise ValueError(f"variants must be those of a reward model; {first.text!r} is none")
    names = [first, *beside] if isinstance(first, ScorerName) else [*beside]
    for name in names:
        found.append(_open(name, {one.name for one in found}, options))
    _check_distinct(found)
    return tuple(found)


def _open(name: ScorerName, taken: set[str], options: ScorerOptions) -> Contestant:
    """Open one model under a name that is not taken, where there is one."""
    if name.kind == "judge":
        return open_bench_judge(name, options=options)
    if name.kind != "reward model":
        return open_scorer(name, options=options)
    model = RewardModel.load(name.target, device=options.device, dtype=options.dtype)
    own = BundleScorer(model)
    return BundleScorer(model, name=name.text) if own.name in taken else own


def _check_distinct(scorers: Sequence[Contestant]) -> None:
    """Raise where two models are one, or could not be told apart in a table."""
    for i, one in enumerate(scorers):
        for other in scorers[:i]:
            if one.name == other.name:
                raise ValueError(f"models must have distinct names; {one.name!r} stands twice")
            if one.identity == other.identity:
                raise ValueError(
                    f"models must differ; {one.name!r} is the same model as {other.name!r}"
                )
