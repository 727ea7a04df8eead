"""A judge among other models: it compares pairs or rates responses, as the rows need it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from armorm.evaluate.score_cache import Progress
from armorm.evaluate.scorers.judge import JudgeCounts, JudgedPairs, PairJudge, RatingJudge
from armorm.storage import fingerprint
from armorm.types import Conversation, PreferencePair

JudgeMode = Literal["pairwise", "ratings"]
"""How a judge decides: every comparison in both orders, or each response rated by itself."""


class BenchJudge:
    """A judge that decides rows of any shape, and may have no verdict on some."""

    def __init__(
        self, pairs: PairJudge, ratings: RatingJudge, *, mode: JudgeMode | None = None
    ) -> None:
        """Take both ways of asking, of one model.

        Args:
            pairs: Compares.
            ratings: Rates.
            mode: How it decides; None: by comparisons wherever these can decide.
        """
        self._pairs, self._ratings = pairs, ratings
        self.mode: JudgeMode | None = mode
        self.name = ratings.name
        self.counts = JudgeCounts()
        """What became of all questions so far."""
        self.identity = fingerprint(
            {
                "scorer": "judge on the bench",
                "mode": mode,
                "pairs": pairs.identity,
                "ratings": ratings.identity,
            }
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on answers that were not usable."""
        return self.counts.sentences(self.name)

    def reasons(self) -> tuple[str, ...]:
        """Return why there are no verdicts, without the name; one entry a kind of trouble."""
        return tuple(
            said.removeprefix(f"{self.name}: ") for said in self.counts.sentences(self.name)
        )

    def compare(
        self, pairs: Sequence[PreferencePair], *, progress: Progress | None = None
    ) -> JudgedPairs:
        """Compare pairs in both orders; see `PairJudge.judge`.

        Args:
            pairs: p pairs.
            progress: Called with (questions done, questions in all).

        Returns:
            Wins in the order given; NaN where an order has no usable answer.

        Raises:
            JudgeError: as `JudgeClient.ask`.
            StorageError: as `JudgeClient.ask`.
        """
        judged = self._pairs.judge(pairs, progress=progress)
        self.counts += judged.counts
        return judged

    def rate(
        self, conversations: Sequence[Conversation], *, progress: Progress | None = None
    ) -> np.ndarray:
        """Rate conversations; see `RatingJudge.rate`.

        Args:
            conversations: n conversations.
            progress: Called with (questions done, questions in all).

        Returns:
            Shape (n,): the mean of the ratings, each mapped from the scale to [0, 1]; NaN
            where there is no usable answer.

        Raises:
            JudgeError: as `JudgeClient.ask`.
            StorageError: as `JudgeClient.ask`.
        """
        judged = self._ratings.rate(conversations, progress=progress)
        self.counts += judged.counts
        return self._ratings.unit_scores(judged.ratings)
