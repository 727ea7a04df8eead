"""What a server answers, as the values that a model in this process would return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from armorm.explain.compare import Comparison, ObjectiveDifference
from armorm.model.scores import Explanation, Scores
from armorm.types import Scale


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model of a server."""

    name: str
    """Name of the model."""
    objectives: tuple[str, ...]
    """Objective names, in the order of axis k."""
    nuisances: tuple[str, ...]
    """Objectives that the debias step removes."""
    scales: dict[str, dict[str, Scale]]
    """Source -> objective -> scale."""
    ranges_seen: dict[str, tuple[float, float]] | None
    """Lowest and highest objective score seen in training; None where it is not known."""
    beta: float
    """Steepness of the preference probability."""
    weights: dict[str, float] | None
    """Fixed weights of the server; None under the gating."""
    content: Mapping[str, Any] = field(repr=False)
    """All that the server said."""


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """The score of one conversation, or why it has none."""

    id: str
    """Identifier of the row."""
    score: float | None
    """None where `reason` says why."""
    objectives: dict[str, float] | None
    """Objective scores, before debias."""
    debiased: dict[str, float] | None
    """Objective scores after the debias step, without nuisances."""
    n_tokens: int
    """Tokens that the backbone saw."""
    n_truncated: int
    """Tokens cut from the left."""
    reason: str | None
    """Why there is no score."""


def read_model(content: Mapping[str, Any]) -> ModelInfo:
    """Read the answer of `/v1/model`.

    Args:
        content: Its JSON.

    Returns:
        The model.
    """
    ranges = content["ranges_seen"]
    return ModelInfo(
        name=content["name"],
        objectives=tuple(content["objectives"]),
        nuisances=tuple(content["nuisances"]),
        scales={
            source: {name: Scale(**scale) for name, scale in of.items()}
            for source, of in content["scales"].items()
        },
        ranges_seen=None if ranges is None else {n: (r[0], r[1]) for n, r in ranges.items()},
        beta=content["beta"],
        weights=content["weights"],
        content=content,
    )


def read_rows(results: Sequence[Mapping[str, Any]]) -> list[ScoredRow]:
    """Read the results of `/v1/score`.

    Args:
        results: n results.

    Returns:
        n rows.
    """
    names = ("id", "score", "objectives", "debiased", "n_tokens", "n_truncated", "reason")
    return [ScoredRow(*(result[name] for name in names)) for result in results]


def read_explanation(result: Mapping[str, Any]) -> Explanation:
    """Read one result of `/v1/explain`.

    Args:
        result: A result with a score.

    Returns:
        What `RewardModel.explain` would return.
    """
    names = (
        "id",
        "score",
        "objectives",
        "gating",
        "coefficients",
        "contributions",
        "n_tokens",
        "n_truncated",
    )
    return Explanation(*(result[name] for name in names))


def read_scores(results: Sequence[Mapping[str, Any]], names: tuple[str, ...]) -> Scores:
    """Read the results of `/v1/explain`.

    Args:
        results: n results, all with a score.
        names: Objective names.

    Returns:
        What `RewardModel.score` would return.
    """

    def table(part: str) -> torch.Tensor:
        rows = [[result[part][name] for name in names] for result in results]
        return torch.tensor(rows, dtype=torch.float32).reshape(len(results), len(names))

    is_gated = all(result["gating"] is not None for result in results)
    return Scores(
        names=names,
        ids=tuple(result["id"] for result in results),
        score=torch.tensor([result["score"] for result in results], dtype=torch.float32),
        objectives=table("objectives"),
        gating=table("gating") if is_gated else None,
        coefficients=table("coefficients"),
        contributions=table("contributions"),
        n_tokens=torch.tensor([r["n_tokens"] for r in results], dtype=torch.int64),
        n_truncated=torch.tensor([r["n_truncated"] for r in results], dtype=torch.int64),
    )


def read_comparison(content: Mapping[str, Any]) -> Comparison:
    """Read the answer of `/v1/compare` for a pair.

    Args:
        content: Its JSON.

    Returns:
        What `compare` would return.
    """
    [found] = content["comparisons"]
    return Comparison(
        id=content["id"],
        chosen_score=found["chosen_score"],
        rejected_score=found["rejected_score"],
        margin=found["margin"],
        probability=found["probability"],
        differences=tuple(ObjectiveDifference(**d) for d in found["differences"]),
        deciding=tuple(found["deciding"]),
    )
