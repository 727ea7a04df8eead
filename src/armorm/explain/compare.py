"""Takes the margin of a preference pair apart by objective; it does not know how to show it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@runtime_checkable
class ExplanationLike(Protocol):
    """One explained conversation, as `RewardModel.explain` returns it."""

    @property
    def score(self) -> float:
        """The one number of the response."""
        ...

    @property
    def objectives(self) -> Mapping[str, float]:
        """Objective score by objective, normalised."""
        ...

    @property
    def coefficients(self) -> Mapping[str, float]:
        """Derivative of the score by an objective score, by objective; signed."""
        ...

    @property
    def contributions(self) -> Mapping[str, float]:
        """Coefficient times objective score, by objective; they add up to the score."""
        ...


@dataclass(frozen=True, slots=True)
class ObjectiveDifference:
    """What one objective adds to the margin of a preference pair."""

    name: str
    """Name of the objective."""
    chosen: float
    """Objective score of the chosen response, normalised."""
    rejected: float
    """Objective score of the rejected response, normalised."""
    chosen_coefficient: float
    """Coefficient on the chosen side; both sides of one prompt share it."""
    rejected_coefficient: float
    """Coefficient on the rejected side."""
    contribution: float
    """Contribution on the chosen side minus that on the rejected side, in score units."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The margin of a preference pair and the differences that add up to it."""

    id: str
    """Identifier of the pair; empty where the caller has none."""
    chosen_score: float
    """Score of the chosen response."""
    rejected_score: float
    """Score of the rejected response."""
    margin: float
    """`chosen_score` minus `rejected_score`; the differences add up to it."""
    probability: float | None
    """sigmoid(beta * margin): how sure the model is of the chosen side; None without beta."""
    differences: tuple[ObjectiveDifference, ...]
    """One an objective, the largest absolute contribution first."""
    deciding: tuple[str, ...]
    """The fewest objectives without whose differences the decision would not stand."""


def compare(
    chosen: ExplanationLike,
    rejected: ExplanationLike,
    *,
    beta: float | None = None,
    id: str = "",
) -> Comparison:
    """Take the margin of two explained responses to one prompt apart by objective.

    With contributions u_j on the chosen and v_j on the rejected side, the difference of
    objective j is u_j - v_j, and sum_j (u_j - v_j) = margin. Both sides have the same
    prompt, hence the same coefficients c_j, so that u_j - v_j = c_j (r_j - s_j) with the
    objective scores r_j and s_j of the two responses.

    Args:
        chosen: Explanation of the preferred response.
        rejected: Explanation of the other response, of the same model.
        beta: Multiplies the margin before the sigmoid; the value that the gating was
            trained with. None leaves the probability out.
        id: Identifier of the pair.

    Returns:
        The comparison, its differences sorted by absolute contribution; objectives that
        contribute the same amount keep the order of the model.

    Raises:
        ValueError: the sides have other objectives; a value is not finite; contributions
            do not add up to the score; `beta` is not positive.
    """
    if beta is not None and not (beta > 0 and math.isfinite(beta)):
        raise ValueError(f"`beta` must be positive and finite; got {beta!r}")
    names = list(chosen.contributions)
    check_explanation(chosen, "chosen")
    check_explanation(rejected, "rejected")
    if set(names) != set(rejected.contributions):
        only = sorted(set(names) ^ set(rejected.contributions))
        raise ValueError(
            "`chosen` and `rejected` must have the same objectives; only one side has "
            + ", ".join(repr(name) for name in only)
        )
    differences = sorted(
        (_difference(name, chosen, rejected) for name in names),
        key=lambda difference: -abs(difference.contribution),
    )
    margin = float(chosen.score) - float(rejected.score)
    return Comparison(
        id=id,
        chosen_score=float(chosen.score),
        rejected_score=float(rejected.score),
        margin=margin,
        probability=None if beta is None else _sigmoid(beta * margin),
        differences=tuple(differences),
        deciding=_deciding(differences, margin),
    )


def check_explanation(explanation: ExplanationLike, name: str) -> None:
    """Check that an explanation is one: same names throughout, finite, adding up.

    Contributions are computed in float32, so that the sum may miss the score by rounding:
    1e-4 of the sum of their absolute values is allowed, and 1e-6 in any case.

    Args:
        explanation: The explanation.
        name: Name of the argument, for the error.

    Raises:
        ValueError: the mappings name other objectives; there is none; a value is not
            finite; the contributions do not add up to the score.
    """
    parts = {
        "contributions": explanation.contributions,
        "objectives": explanation.objectives,
        "coefficients": explanation.coefficients,
    }
    if not explanation.contributions:
        raise ValueError(f"`{name}` must have at least 1 objective; got none")
    for part, values in parts.items():
        odd = sorted(set(values) ^ set(explanation.contributions))
        if odd:
            raise ValueError(
                f"`{name}.{part}` must name the objectives of `{name}.contributions`; "
                f"{odd[0]!r} is in one of them only"
            )
        for objective, value in values.items():
            if not math.isfinite(value):
                raise ValueError(f"`{name}.{part}` must be finite; {objective!r} is {value!r}")
    total = math.fsum(explanation.contributions.values())
    size = math.fsum(abs(value) for value in explanation.contributions.values())
    # Written so that a score of NaN fails as well.
    if not abs(total - explanation.score) <= 1e-6 + 1e-4 * size:
        raise ValueError(
            f"`{name}.contributions` must add up to the score {explanation.score:.6g}; "
            f"they add up to {total:.6g}"
        )


def _difference(
    name: str, chosen: ExplanationLike, rejected: ExplanationLike
) -> ObjectiveDifference:
    """What one objective adds to the margin."""
    return ObjectiveDifference(
        name=name,
        chosen=float(chosen.objectives[name]),
        rejected=float(rejected.objectives[name]),
        chosen_coefficient=float(chosen.coefficients[name]),
        rejected_coefficient=float(rejected.coefficients[name]),
        contribution=float(chosen.contributions[name]) - float(rejected.contributions[name]),
    )


def _deciding(differences: list[ObjectiveDifference], margin: float) -> tuple[str, ...]:
    """The fewest objectives whose differences make up the whole margin or more.

    The differences come largest first, so taking those of the margin's sign in this order
    until their sum reaches the margin uses the fewest; without them it would be 0 or turn.
    """
    names: list[str] = []
    reached = 0.0
    sign = math.copysign(1.0, margin)
    for difference in differences:
        if reached >= abs(margin) - 1e-12 * abs(margin) or margin == 0:
            break
        if sign * difference.contribution > 0:
            names.append(difference.name)
            reached += sign * difference.contribution
    return tuple(names)


def _sigmoid(value: float) -> float:
    """The logistic function, without overflow for large negative values."""
    if value >= 0:
        return 1.0 / (1.0 + math.exp(-value))
    return math.exp(value) / (1.0 + math.exp(value))
