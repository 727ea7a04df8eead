"""Anyone on the same bench: models of others, judges and baselines, one beside the other."""

from __future__ import annotations

from armorm.evaluate.scorers.bench import Contestant, Variant, bench_of, split_variant
from armorm.evaluate.scorers.bench_judge import BenchJudge, JudgeMode
from armorm.evaluate.scorers.hugging_face import HuggingFaceScorer
from armorm.evaluate.scorers.judge import (
    JudgeCounts,
    JudgedPairs,
    JudgedRatings,
    PairJudge,
    RatingJudge,
)
from armorm.evaluate.scorers.judge_client import JudgeClient
from armorm.evaluate.scorers.judge_http import JudgeError, JudgeSettings
from armorm.evaluate.scorers.judge_prompts import OBJECTIVES, JudgedObjective, RatingScale
from armorm.evaluate.scorers.names import FORMS, ScorerName, parse_scorer_name
from armorm.evaluate.scorers.opening import (
    ScorerOptions,
    open_bench_judge,
    open_judge,
    open_pair_judge,
    open_scorer,
)
from armorm.evaluate.scorers.side_by_side import (
    PairedDifference,
    ScorerFigures,
    SideBySide,
    side_by_side,
)
from armorm.evaluate.scorers.side_by_side_table import side_by_side_table

__all__ = [
    "FORMS",
    "OBJECTIVES",
    "BenchJudge",
    "Contestant",
    "HuggingFaceScorer",
    "JudgeClient",
    "JudgeCounts",
    "JudgeError",
    "JudgeMode",
    "JudgeSettings",
    "JudgedObjective",
    "JudgedPairs",
    "JudgedRatings",
    "PairJudge",
    "PairedDifference",
    "RatingJudge",
    "RatingScale",
    "ScorerFigures",
    "ScorerName",
    "ScorerOptions",
    "SideBySide",
    "Variant",
    "bench_of",
    "open_bench_judge",
    "open_judge",
    "open_pair_judge",
    "open_scorer",
    "parse_scorer_name",
    "side_by_side",
    "side_by_side_table",
    "split_variant",
]
