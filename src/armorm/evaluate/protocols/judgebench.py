"""JudgeBench: pairs of answers A and B with one objectively correct; a reward model plays once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from armorm.evaluate.metrics import finite_vector
from armorm.evaluate.protocols.protocol import Protocol, Published, Section, Subset

LABELS = ("A>B", "B>A")
"""What a label may be."""


def label_credit(scores_a: ArrayLike, scores_b: ArrayLike, labels: Sequence[str]) -> np.ndarray:
    """Return 1 for each pair whose decision is its label, else 0.

    The decision is A>B where score(A) > score(B), else B>A: an exact tie goes to B, so a
    constant scorer gets the share of labels B>A.

    Args:
        scores_a: Shape (p,). Scores of the answers A; finite.
        scores_b: Shape (p,). Scores of the answers B; finite.
        labels: `A>B` or `B>A` of each pair.

    Returns:
        Shape (p,), float64.

    Raises:
        ValueError: lengths that differ; a score that is not finite; another label.

    Source:
        run_judge.py with `--single_game` of ScalerLab/JudgeBench at e2c52c28.

    Example:
        >>> label_credit([1.0, 1.0, 0.0], [1.0, 1.0, 2.0], ["A>B", "B>A", "B>A"]).tolist()
        [0.0, 1.0, 1.0]
    """
    a = finite_vector(scores_a, "scores_a", "p")
    b = finite_vector(scores_b, "scores_b", "p", length=a.size)
    if len(labels) != a.size:
        raise ValueError(f"`labels` must name one label a pair, {a.size}; got {len(labels)}")
    if unknown := sorted(set(labels) - set(LABELS)):
        raise ValueError(f"`labels` must be 'A>B' or 'B>A'; got {unknown[0]!r}")
    return ((a > b) == np.array([label == "A>B" for label in labels])).astype(np.float64)


def judgebench_accuracy(scores_a: ArrayLike, scores_b: ArrayLike, labels: Sequence[str]) -> float:
    """Return the accuracy over all pairs, whatever group they are of.

    Args:
        scores_a: Shape (p,).
        scores_b: Shape (p,).
        labels: `A>B` or `B>A` of each pair.

    Returns:
        Accuracy in [0, 1].

    Raises:
        ValueError: as in `label_credit`.
    """
    return float(label_credit(scores_a, scores_b, labels).mean())


def _sections(*counts: int | None) -> tuple[Section, ...]:
    """The four groups with the rows that they must have."""
    names = {
        "Knowledge": "mmlu-pro",
        "Reasoning": "livebench-reasoning",
        "Math": "livebench-math",
        "Coding": "livecodebench",
    }
    return tuple(
        Section(name, (Subset(prefix, count),), shape="labelled")
        for (name, prefix), count in zip(names.items(), counts, strict=True)
    )


JUDGEBENCH = Protocol(
    name="judgebench",
    title="JudgeBench",
    sections=_sections(154, 98, 56, 42),
    layout="labelled",
    tie="B",
    rule="accuracy over all pairs; pairs of GPT-4o, one game",
    reference="Tan et al. 2024, arXiv 2410.12784; ScalerLab/JudgeBench at e2c52c28",
    published=(Published("ScalerLab/JudgeBench", "gpt"),),
    columns={"id": "pair_id", "prompt": "question", "subset": "source"},
    files=("gpt*", "*response_model=gpt*"),
    by_prefix=True,
    overall="rows",
)

JUDGEBENCH_CLAUDE = replace(
    JUDGEBENCH,
    name="judgebench-claude",
    title="JudgeBench, pairs of Claude",
    sections=_sections(None, None, None, None),
    rule="accuracy over all pairs; pairs of Claude 3.5 Sonnet, one game",
    published=(Published("ScalerLab/JudgeBench", "claude"),),
    files=("claude*", "*response_model=claude*"),
)
