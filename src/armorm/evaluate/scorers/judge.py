"""A language model as judge: of pairs in both orders, and of single responses by objective."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from armorm.evaluate.score_cache import Progress
from armorm.evaluate.scorers.judge_client import Answer, JudgeClient
from armorm.evaluate.scorers.judge_http import JudgeError, Sent
from armorm.evaluate.scorers.judge_prompts import (
    OBJECTIVES,
    JudgedObjective,
    RatingScale,
    Verdict,
    pair_question,
    parse_ratings,
    parse_verdict,
    rating_question,
)
from armorm.storage import fingerprint
from armorm.types import Conversation, PreferencePair

_SIGN: dict[Verdict, int] = {"A": 1, "B": -1, "tie": 0}
_SHOWN = 3
_SHOWN_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class JudgeCounts:
    """What became of the questions to a judge.

    Used, nonsense, refused, failed and not asked add up to the questions.
    """

    n_questions: int = 0
    """Questions that there were; two a pair."""
    n_used: int = 0
    """Answers of the form asked for."""
    n_nonsense: int = 0
    """Answers of another form, which count as no answer."""
    n_refused: int = 0
    """Questions that the endpoint does not take (too long, or filtered)."""
    n_failed: int = 0
    """Questions without an answer after all retries."""
    n_not_asked: int = 0
    """Questions beyond the cap of requests."""
    n_from_cache: int = 0
    """Answers that were kept before."""
    n_requests: int = 0
    """Requests sent, repeated ones included."""
    n_retried: int = 0
    """Requests among them that repeat an earlier one."""
    n_timed_out: int = 0
    """Requests among them that had no answer in time."""
    n_comparisons: int = 0
    """Pairs that were answered in both orders."""
    n_contradictions: int = 0
    """Pairs among them whose two orders name different responses."""
    n_decided: int = 0
    """Verdicts that name a response."""
    n_first: int = 0
    """Verdicts among them that name the response shown first."""
    examples: tuple[str, ...] = ()
    """The beginnings of the first nonsense answers and of the first reasons for none."""

    def __add__(self, other: JudgeCounts) -> JudgeCounts:
        """Add counts of further questions."""
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return JudgeCounts(**(sums | {"examples": sums["examples"][:_SHOWN]}))

    def since(self, earlier: JudgeCounts) -> JudgeCounts:
        """Return the counts of the questions after an earlier moment of the same judge."""
        numbers = {
            f.name: getattr(self, f.name) - getattr(earlier, f.name)
            for f in fields(self)
            if f.name != "examples"
        }
        return JudgeCounts(**numbers, examples=self.examples)

    @property
    def first_share(self) -> float:
        """Share of verdicts that name the response shown first; NaN without such verdicts."""
        return self.n_first / self.n_decided if self.n_decided else math.nan

    def sentences(self, name: str) -> tuple[str, ...]:
        """Say what a reader of the figures must know.

        Args:
            name: Of the judge.

        Returns:
            One sentence a kind of trouble; none where every question has a usable answer.
        """
        kinds = {
            "answers were not of the form asked for": self.n_nonsense,
            "questions were refused by the endpoint": self.n_refused,
            "questions had no answer after all retries": self.n_failed,
            "questions were not asked, because the cap of requests was reached": self.n_not_asked,
        }
        found = [f"{name}: {n:,} of {self.n_questions:,} {what}" for what, n in kinds.items() if n]
        if self.n_contradictions:
            found.append(
                f"{name}: {self.n_contradictions:,} of {self.n_comparisons:,} pairs were judged "
                "differently in the two orders and count as ties"
            )
        return (*found, *(f"{name}: for example {text!r}" for text in self.examples))


@dataclass(frozen=True, slots=True, eq=False)
class JudgedPairs:
    """What a judge says of preference pairs."""

    wins: np.ndarray
    """Shape (p,), float64: 1 where the chosen response is named, 0 the rejected, 0.5 a tie;
    NaN where an order has no usable answer."""
    first_share: float
    """Share of verdicts that name the response shown first, ties left out; 0.5 for a judge
    without a preference for a place, NaN without such verdicts."""
    counts: JudgeCounts
    """What became of the questions."""


@dataclass(frozen=True, slots=True, eq=False)
class JudgedRatings:
    """What a judge gives single responses."""

    ratings: np.ndarray
    """Shape (n, k), float64, on the judge's scale; a row is NaN where there is no usable
    answer."""
    counts: JudgeCounts
    """What became of the questions."""


class PairJudge:
    """Compares the two responses of a pair, in both orders."""

    def __init__(self, client: JudgeClient, *, name: str | None = None) -> None:
        """Take a client.

        Args:
            client: Asks the questions.
            name: Shown in tables; None: `judge:` and the model.
        """
        self._client = client
        self.name = f"judge:{client.model}" if name is None else name
        self.identity = fingerprint({"scorer": "pair judge"} | client.facts())

    def judge(
        self, pairs: Sequence[PreferencePair], *, progress: Progress | None = None
    ) -> JudgedPairs:
        """Judge pairs; the order of the two questions of a pair is chosen first, then rejected.

        A verdict counts +1 for the chosen response, -1 for the rejected one and 0 for a tie;
        the sign of the sum over the two orders decides, so a pair whose orders contradict is
        a tie, and one tie leaves the decision to the other order.

        Args:
            pairs: p pairs.
            progress: Called with (questions done, questions in all).

        Returns:
            Wins in the order given, with the counts of everything that went wrong.

        Raises:
            JudgeError: as `JudgeClient.ask`.
            StorageError: as `JudgeClient.ask`.
        """
        questions = [
            pair_question(pair.prompt, *responses)
            for pair in pairs
            for responses in ((pair.chosen, pair.rejected), (pair.rejected, pair.chosen))
        ]
        sent = self._client.sent()
        answers = self._client.ask(questions, progress=progress)
        verdicts: list[Verdict | None] = [_verdict(answer) for answer in answers]
        wins, n_compared, n_contradictions = np.full(len(pairs), math.nan), 0, 0
        for i in range(len(pairs)):
            chosen_first, rejected_first = verdicts[2 * i], verdicts[2 * i + 1]
            if chosen_first is not None and rejected_first is not None:
                signs = _SIGN[chosen_first], -_SIGN[rejected_first]
                wins[i] = 0.5 + 0.5 * np.sign(sum(signs))
                n_compared += 1
                n_contradictions += signs[0] * signs[1] < 0
        counts = replace(
            _counts(answers, [v is not None for v in verdicts], self._client.sent().since(sent)),
            n_comparisons=n_compared,
            n_contradictions=n_contradictions,
            n_decided=verdicts.count("A") + verdicts.count("B"),
            n_first=verdicts.count("A"),
        )
        return JudgedPairs(wins, counts.first_share, counts)


class RatingJudge:
    """Rates single responses by objective; as a scorer, their mean on [0, 1]."""

    def __init__(
        self,
        client: JudgeClient,
        *,
        objectives: Sequence[JudgedObjective] = OBJECTIVES,
        scale: RatingScale | None = None,
        name: str | None = None,
    ) -> None:
        """Take a client and what is to be rated.

        Args:
            client: Asks the questions.
            objectives: k objectives with different names.
            scale: The numbers that may be given; 1 to 10 where None.
            name: Shown in tables; None: `judge:` and the model.

        Raises:
            ValueError: no objectives, or two of one name.
        """
        names = [one.name for one in objectives]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"`objectives` must have one or more different names; got {names}")
        self._client = client
        self.objectives = tuple(objectives)
        self.scale = scale or RatingScale()
        self.name = f"judge:{client.model}" if name is None else name
        self.counts = JudgeCounts()
        """What became of all questions so far."""
        self.identity = fingerprint(
            {
                "scorer": "rating judge",
                "objectives": [[one.name, one.description] for one in self.objectives],
                "scale": [self.scale.low, self.scale.high],
            }
            | client.facts()
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on answers that were not usable."""
        return self.counts.sentences(self.name)

    def rate(
        self, conversations: Sequence[Conversation], *, progress: Progress | None = None
    ) -> JudgedRatings:
        """Rate conversations by objective.

        Args:
            conversations: n conversations.
            progress: Called with (questions done, questions in all).

        Returns:
            Ratings in the order given, with the counts of everything that went wrong.

        Raises:
            JudgeError: as `JudgeClient.ask`.
            StorageError: as `JudgeClient.ask`.
        """
        questions = [rating_question(c, self.objectives, self.scale) for c in conversations]
        sent = self._client.sent()
        answers = self._client.ask(questions, progress=progress)
        ratings = np.full((len(answers), len(self.objectives)), math.nan)
        for i, answer in enumerate(answers):
            if answer.outcome == "answered":
                found = parse_ratings(answer.text, self.objectives, self.scale)
                ratings[i] = math.nan if found is None else found
        usable = [bool(np.isfinite(row).all()) for row in ratings]
        counts = _counts(answers, usable, self._client.sent().since(sent))
        self.counts += counts
        return JudgedRatings(ratings, counts)

    def score(
        self, conversations: Sequence[Conversation], *, progress: Progress | None = None
    ) -> np.ndarray:
        """Score conversations; see `Scorer`.

        Args:
            conversations: n conversations.
            progress: Called with (questions done, questions in all).

        Returns:
            Shape (n,): the mean of the ratings, each mapped from the scale to [0, 1].

        Raises:
            JudgeError: as `JudgeClient.ask`; a conversation has no usable answer, which is
                never replaced by a number.
            StorageError: as `JudgeClient.ask`.
        """
        judged = self.rate(conversations, progress=progress)
        unrated = np.flatnonzero(np.isnan(judged.ratings[:, 0]))
        if unrated.size:
            counts = judged.counts
            raise JudgeError(
                f"{self.name}: every conversation must have ratings; {unrated.size} of "
                f"{len(conversations)} have none ({counts.n_nonsense} nonsense, "
                f"{counts.n_refused} refused, {counts.n_failed} failed, {counts.n_not_asked} "
                f"beyond the cap), the first is {conversations[int(unrated[0])].id!r}; answers "
                "so far are kept"
            )
        return self.unit_scores(judged.ratings)

    def unit_scores(self, ratings: np.ndarray) -> np.ndarray:
        """Return the mean rating of each row on [0, 1].

        Args:
            ratings: Shape (n, k), on the scale.

        Returns:
            Shape (n,); NaN where a rating is.
        """
        return ((ratings - self.scale.low) / (self.scale.high - self.scale.low)).mean(axis=1)


def _verdict(answer: Answer) -> Verdict | None:
    """The verdict of an answer; None where there is none."""
    return parse_verdict(answer.text) if answer.outcome == "answered" else None


def _counts(answers: Sequence[Answer], usable: Iterable[bool], sent: Sent) -> JudgeCounts:
    """Count what became of each question."""
    bad = [answer for answer, is_usable in zip(answers, usable, strict=True) if not is_usable]
    kinds = [answer.outcome for answer in bad]
    texts = [
        answer.text[:_SHOWN_CHARACTERS] or "(nothing)"
        for answer in bad
        if answer.outcome != "not asked"
    ]
    return JudgeCounts(
        n_questions=len(answers),
        n_used=len(answers) - len(bad),
        n_nonsense=kinds.count("answered"),
        n_refused=kinds.count("refused"),
        n_failed=kinds.count("failed"),
        n_not_asked=kinds.count("not asked"),
        n_from_cache=sum(answer.from_cache for answer in answers),
        n_requests=sent.n_requests,
        n_retried=sent.n_retried,
        n_timed_out=sent.n_timed_out,
        examples=tuple(dict.fromkeys(texts))[:_SHOWN],
    )
