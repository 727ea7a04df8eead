"""Explanations as the model returns them, without a model."""

from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Explanation:
    """The fields of `armorm.model.reward.Explanation`."""

    id: str
    score: float
    objectives: dict[str, float]
    gating: dict[str, float] | None
    coefficients: dict[str, float]
    contributions: dict[str, float]
    n_tokens: int = 12


def explain_rows(objectives, coefficients, id=""):
    """The explanation of a response with these objective scores under these coefficients."""
    contributions = {name: coefficients[name] * objectives[name] for name in objectives}
    return Explanation(
        id=id,
        score=sum(contributions.values()),
        objectives=dict(objectives),
        gating=None,
        coefficients=dict(coefficients),
        contributions=contributions,
    )


@pytest.fixture(scope="session")
def explained():
    """From objective scores and coefficients to an explanation."""
    return explain_rows


@pytest.fixture
def sides():
    """A chosen and a rejected side; the margin is .12 + .06 + .06 - .03 = .21."""
    coefficients = {"helpfulness": 0.2, "correctness": 0.4, "is_safe": 0.3, "verbosity": -0.1}
    chosen = {"helpfulness": 0.8, "correctness": 0.9, "is_safe": 0.9, "verbosity": 0.7}
    rejected = {"helpfulness": 0.5, "correctness": 0.6, "is_safe": 0.7, "verbosity": 0.4}
    return explain_rows(chosen, coefficients), explain_rows(rejected, coefficients)
