"""Open whatever a name means: every kind of model as something that scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from armorm.evaluate.scorers.bench_judge import BenchJudge, JudgeMode
from armorm.evaluate.scorers.hugging_face import HuggingFaceScorer
from armorm.evaluate.scorers.judge import PairJudge, RatingJudge
from armorm.evaluate.scorers.judge_client import JudgeClient
from armorm.evaluate.scorers.judge_http import JudgeSettings
from armorm.evaluate.scorers.judge_prompts import OBJECTIVES, JudgedObjective, RatingScale
from armorm.evaluate.scorers.names import ScorerName, parse_scorer_name
from armorm.evaluate.scoring import BundleScorer, LengthScorer, RandomScorer, Scorer
from armorm.model.reward import RewardModel
from armorm.model.sequence_classifier import ClassifierOptions, load_sequence_classifier


@dataclass(frozen=True, slots=True)
class ScorerOptions:
    """How models are opened; each kind takes what concerns it."""

    device: str = "auto"
    """Where a model of ours or of Hugging Face runs."""
    dtype: str | None = None
    """Of a released checkpoint; None: as it is stored."""
    classifier: ClassifierOptions = field(default_factory=ClassifierOptions)
    """Of sequence classifiers."""
    judge: JudgeSettings = field(default_factory=JudgeSettings)
    """Of judges."""
    judge_cache: Path | None = None
    """Folder of a judge's answers; None keeps them in memory only."""
    objectives: tuple[JudgedObjective, ...] = OBJECTIVES
    """What a judge rates."""
    scale: RatingScale = field(default_factory=RatingScale)
    """The numbers that a judge may give."""
    judge_mode: JudgeMode | None = None
    """How a judge among other models decides; None leaves it to the rows."""
    seed: int = 0
    """Of random scores."""


def open_scorer(name: str | ScorerName, *, options: ScorerOptions | None = None) -> Scorer:
    """Open what a name means as a scorer.

    Args:
        name: See `parse_scorer_name`.
        options: How it is opened; the defaults where None.

    Returns:
        The scorer; of a judge, the one that rates single responses.

    Raises:
        BundleError: as `RewardModel.load`.
        FeatureError: as `RewardModel.load` and `load_sequence_classifier`.
        MissingDependency: as `RewardModel.load`.
        StorageError: the cache of a judge cannot be read.
        ValueError: as `parse_scorer_name`; an address that is none; `device` or `dtype` is not
            a name of one.
    """
    options = options or ScorerOptions()
    name = parse_scorer_name(name) if isinstance(name, str) else name
    if name.kind == "length":
        return LengthScorer(longer=name.longer)
    if name.kind == "random":
        return RandomScorer(seed=options.seed)
    if name.kind == "judge":
        client = open_judge(name, options=options)
        return RatingJudge(client, objectives=options.objectives, scale=options.scale)
    if name.kind == "hugging face":
        classifier = load_sequence_classifier(
            name.target,
            revision=name.revision,
            device=options.device,
            options=options.classifier,
        )
        return HuggingFaceScorer(classifier, name=name.text)
    return BundleScorer(RewardModel.load(name.target, device=options.device, dtype=options.dtype))


def open_bench_judge(name: str | ScorerName, *, options: ScorerOptions | None = None) -> BenchJudge:
    """Open the judge that a name means to stand among other models, on rows of any shape.

    Args:
        name: `judge:MODEL@URL`, or its parts.
        options: How it is asked; the defaults where None.

    Returns:
        The judge.

    Raises:
        StorageError: the cache cannot be read.
        ValueError: as `open_scorer`; the name is not that of a judge.
    """
    name = parse_scorer_name(name) if isinstance(name, str) else name
    options = options or ScorerOptions()
    client = open_judge(name, options=options)
    ratings = RatingJudge(client, objectives=options.objectives, scale=options.scale)
    return BenchJudge(PairJudge(client), ratings, mode=options.judge_mode)


def open_pair_judge(name: str | ScorerName, *, options: ScorerOptions | None = None) -> PairJudge:
    """Open the judge that a name means to compare pairs, in both orders.

    Args:
        name: `judge:MODEL@URL`, or its parts.
        options: How it is asked; the defaults where None.

    Returns:
        The judge.

    Raises:
        StorageError: the cache cannot be read.
        ValueError: as `open_scorer`; the name is not that of a judge.
    """
    name = parse_scorer_name(name) if isinstance(name, str) else name
    return PairJudge(open_judge(name, options=options or ScorerOptions()))


def open_judge(name: ScorerName, *, options: ScorerOptions) -> JudgeClient:
    """Return the client of a judge, for pairs and ratings alike; nothing is sent.

    Args:
        name: The parts of `judge:MODEL@URL`.
        options: How it is asked.

    Returns:
        The client.

    Raises:
        StorageError: the cache cannot be read.
        ValueError: the name is not that of a judge; the address is none.
    """
    if name.kind != "judge":
        raise ValueError(f"a judge must be named judge:MODEL@URL; got {name.text!r}")
    return JudgeClient(name.target, name.url, settings=options.judge, cache=options.judge_cache)
