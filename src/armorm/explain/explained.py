"""Everything that is said of one pair or conversation, put together from the parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from armorm.evaluate.figures import FlipFigures, ObjectiveSides, PairFigures, RatedRowFigures
from armorm.explain.compare import Comparison, compare
from armorm.explain.flip import Applied, Flip
from armorm.explain.flip_words import flip_in_words
from armorm.explain.nearest import N_NEAREST, NoRows, RatedNeighbour, RatedRows
from armorm.explain.nearest_words import pair_in_words, response_in_words
from armorm.explain.sentence import (
    decided_in_words,
    digits_for,
    explain_in_words,
    spoken,
)
from armorm.explain.weighing import Weighing, margin_when_steered
from armorm.features.extract import compute_features
from armorm.model.reward import Explanation, RewardModel, Scores
from armorm.types import Conversation, PreferencePair

Rows = RatedRows | NoRows | None
"""Rated rows to look for neighbours in, or why there are none; None: none were asked for."""

EXCERPT = 200
"""Characters of the texts of a rated row that are kept."""


@dataclass(frozen=True, slots=True)
class PairExplanation:
    """Why a model prefers one response of a pair, and what would change that."""

    pair: PreferencePair
    """The pair."""
    comparison: Comparison
    """The margin, taken apart by objective."""
    gating: dict[str, float] | None
    """Weight of each objective for this prompt; None under fixed weights."""
    flip: Flip | None
    """The smallest change of the weights that turns the verdict; None for a tie."""
    flip_sentence: str
    """The same in words; empty for a tie."""
    objective: str
    """The objective that decides most; of a tie the one with the largest difference. Where no
    rated row is rated on it, the next that some are rated on."""
    nearest_chosen: tuple[RatedNeighbour, ...]
    """Rows rated on that objective, most like the chosen response, the nearest first."""
    nearest_rejected: tuple[RatedNeighbour, ...]
    """The same for the rejected response."""
    note: str
    """Why no rated rows are shown; empty where there are some, or none were asked for."""

    @property
    def nearest_sentence(self) -> str:
        """What raters gave to similar responses; empty where there are no such rows."""
        difference = next(d for d in self.comparison.differences if d.name == self.objective)
        return pair_in_words(difference, self.nearest_chosen, self.nearest_rejected)

    @property
    def sentence(self) -> str:
        """All of it in words: who wins, why, what would change it, what raters say."""
        parts = (
            explain_in_words(self.comparison),
            decided_in_words(self.comparison),
            self.flip_sentence,
            self.nearest_sentence,
        )
        return " ".join(part for part in parts if part)

    def figures(self) -> PairFigures:
        """Return the same as a report and `armorm explain --json` hold it, texts whole."""
        one, pair = self.comparison, self.pair
        return PairFigures(
            id=pair.id,
            source=pair.source,
            prompt=pair.prompt[-1].content,
            chosen=pair.chosen,
            rejected=pair.rejected,
            chosen_score=one.chosen_score,
            rejected_score=one.rejected_score,
            margin=one.margin,
            probability=one.probability,
            deciding=one.deciding,
            objectives=tuple(
                ObjectiveSides(
                    name=d.name,
                    chosen=d.chosen,
                    rejected=d.rejected,
                    contribution=d.contribution,
                    gating=None if self.gating is None else self.gating[d.name],
                )
                for d in one.differences
            ),
            sentence=self.sentence,
            flip=_flip_figures(self.flip, self.flip_sentence),
            nearest=(
                *_rated_figures(self.nearest_chosen, "chosen"),
                *_rated_figures(self.nearest_rejected, "rejected"),
            ),
            note=self.note,
        )


@dataclass(frozen=True, slots=True)
class ConversationExplanation:
    """What a score is made of, and what raters gave to similar responses."""

    conversation: Conversation
    """The conversation."""
    explanation: Explanation
    """The score and its parts."""
    objective: str
    """The objective that contributes most, whichever its sign, of those that rows are rated on."""
    nearest: tuple[RatedNeighbour, ...]
    """Rows rated on that objective, most like the response, the nearest first."""
    note: str
    """Why no rated rows are shown; empty where there are some, or none were asked for."""

    @property
    def sentence(self) -> str:
        """The score, its largest part, and what raters gave to similar responses."""
        one = self.explanation
        digits = digits_for([abs(value) for value in one.contributions.values()])
        name = max(one.contributions, key=lambda name: abs(one.contributions[name]))
        largest = f"{spoken(name)} ({one.contributions[name]:+.{digits}f})"
        text = f"The response scores {one.score:.{digits}f}; {largest} contributes most."
        said = response_in_words(self.objective, self.nearest)
        return f"{text} {said}" if said else text

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object that `armorm explain --json` prints."""
        nearest = _rated_figures(self.nearest, "response")
        return {
            **self.explanation.as_dict(),
            "sentence": self.sentence,
            "nearest": [row.model_dump(mode="json") for row in nearest],
            "note": self.note,
        }


def explain_pair(
    model: RewardModel, pair: PreferencePair, *, rows: Rows = None, n_nearest: int = N_NEAREST
) -> PairExplanation:
    """Say why a model prefers one response of a pair, what would change it, and what raters say.

    Every change that is named is tried on the model: it is one that does turn the verdict.

    Args:
        model: The reward model, steered or not.
        pair: The pair.
        rows: Rated rows to find similar responses in; None looks for none.
        n_nearest: Rated rows to each response.

    Returns:
        The explanation.

    Raises:
        FeatureError: the backbone cannot take a response.
        ValueError: `n_nearest` is below 1; the rated rows have features of another width.
    """
    features = compute_features(model.backbone, list(pair.conversations))
    chosen, rejected = (
        model.score_features(
            features.response[side],
            features.prompt[side],
            ids=(pair.id,),
            n_tokens=features.n_tokens[side],
            n_truncated=features.n_truncated[side],
        )
        for side in (slice(0, 1), slice(1, 2))
    )
    return explain_pairs(
        [pair],
        chosen,
        rejected,
        Weighing.of(model),
        features=(features.response[:1], features.response[1:]),
        rows=rows,
        n_nearest=n_nearest,
        applied=margin_when_steered(model, features.response, features.prompt),
    )[0]


def explain_pairs(
    pairs: Sequence[PreferencePair],
    chosen: Scores,
    rejected: Scores,
    weighing: Weighing,
    *,
    features: tuple[Tensor, Tensor],
    rows: Rows = None,
    n_nearest: int = N_NEAREST,
    applied: Applied | None = None,
) -> list[PairExplanation]:
    """Explain pairs whose responses are scored already.

    Args:
        pairs: p pairs.
        chosen: Scores of their chosen responses.
        rejected: Scores of their rejected responses.
        weighing: How the scores were made.
        features: Response features of the chosen and of the rejected side, each (p, d).
        rows: Rated rows to find similar responses in; None looks for none.
        n_nearest: Rated rows to each response.
        applied: As in `Weighing.flips`.

    Returns:
        One explanation a pair.

    Raises:
        ValueError: other numbers of pairs, scores and features; as `RatedRows.nearest`.
    """
    comparisons = [
        compare(one, other, beta=weighing.beta, id=pair.id)
        for pair, one, other in zip(pairs, chosen, rejected, strict=True)
    ]
    flips = weighing.flips(chosen, rejected, applied=applied)
    orders = [
        (*one.deciding, *(d.name for d in one.differences if d.name not in one.deciding))
        for one in comparisons
    ]
    objectives = [_rated(rows, order) for order in orders]
    near = [_nearest(rows, side, objectives, n_nearest) for side in features]
    return [
        PairExplanation(
            pair=pair,
            comparison=comparison,
            gating=explanation.gating,
            flip=flip,
            flip_sentence=flip_in_words(flip, nuisances=weighing.nuisances),
            objective=objective,
            nearest_chosen=to_chosen,
            nearest_rejected=to_rejected,
            note=_note(rows, order[0], objective, found=bool(to_chosen or to_rejected)),
        )
        for pair, comparison, explanation, flip, order, objective, to_chosen, to_rejected in zip(
            pairs, comparisons, chosen, flips, orders, objectives, *near, strict=True
        )
    ]


def explain_conversation(
    model: RewardModel,
    conversation: Conversation,
    *,
    rows: Rows = None,
    n_nearest: int = N_NEAREST,
) -> ConversationExplanation:
    """Say what a score is made of, and what raters gave to similar responses.

    Args:
        model: The reward model, steered or not.
        conversation: The conversation.
        rows: Rated rows to find similar responses in; None looks for none.
        n_nearest: Rated rows that are shown.

    Returns:
        The explanation.

    Raises:
        FeatureError: the backbone cannot take the conversation.
        ValueError: `n_nearest` is below 1; the rated rows have features of another width.
    """
    features = compute_features(model.backbone, [conversation])
    explanation = model.score_features(
        features.response,
        features.prompt,
        ids=(conversation.id,),
        n_tokens=features.n_tokens,
        n_truncated=features.n_truncated,
    )[0]
    contributions = explanation.contributions
    order = sorted(contributions, key=lambda name: -abs(contributions[name]))
    objective = _rated(rows, order)
    nearest = _nearest(rows, features.response, [objective], n_nearest)[0]
    note = _note(rows, order[0], objective, found=bool(nearest))
    return ConversationExplanation(conversation, explanation, objective, nearest, note)


def _nearest(
    rows: Rows, features: Tensor, objectives: Sequence[str], n: int
) -> list[tuple[RatedNeighbour, ...]]:
    """The rated rows nearest to each response, none where there are no rows."""
    if not isinstance(rows, RatedRows):
        return [() for _ in objectives]
    return [tuple(found) for found in rows.nearest(features, objectives, n=n)]


def _rated(rows: Rows, order: Sequence[str]) -> str:
    """The first of some objectives that rows are rated on; the first where none is."""
    if not isinstance(rows, RatedRows):
        return order[0]
    return next((name for name in order if rows.n_rated(name)), order[0])


def _note(rows: Rows, wanted: str, objective: str, *, found: bool) -> str:
    """Why there are no neighbours, or none on the objective that was wanted."""
    if rows is None:
        return ""
    if isinstance(rows, NoRows):
        return rows.reason
    if not rows.n_rated(wanted):
        text = f"None of the {len(rows):,} rated rows is rated on {wanted}"
        return f"{text}; those shown are rated on {objective}." if found else f"{text}."
    return "" if found else "No rated row can be compared: their features are all alike."


def _flip_figures(flip: Flip | None, sentence: str) -> FlipFigures | None:
    """A flip as a report holds it."""
    if flip is None:
        return None
    single = flip.single
    return FlipFigures(
        sentence=sentence,
        moved=flip.moved,
        taken=dict(flip.taken),
        given_to=flip.given_to,
        objective=None if single is None else single.objective,
        factor=None if single is None or flip.fixed else single.value,
        weight=None if single is None or not flip.fixed else single.value,
        option=None if single is None else single.option,
    )


def _rated_figures(
    found: Sequence[RatedNeighbour], side: Literal["chosen", "rejected", "response"]
) -> tuple[RatedRowFigures, ...]:
    """Rated rows as a report holds them, their texts clipped."""
    return tuple(
        RatedRowFigures(
            objective=one.objective,
            side=side,
            id=one.row.id,
            source=one.row.source,
            rating=one.rating,
            low=one.scale.low,
            high=one.scale.high,
            similarity=round(one.similarity, 4),
            prompt=clip(one.row.prompt[-1].content, EXCERPT),
            response=clip(one.row.response, EXCERPT),
        )
        for one in found
    )


def clip(text: str, n: int) -> str:
    """Return a text, or its beginning with an ellipsis where it has more than n characters.

    Args:
        text: Any text.
        n: Most characters, the ellipsis among them.

    Returns:
        At most n characters.

    Example:
        >>> clip("abcdef", 6), clip("abcdefg", 6)
        ('abcdef', 'abcde…')
    """
    return text if len(text) <= n else text[: n - 1].rstrip() + "…"
