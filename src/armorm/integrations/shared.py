"""What all trainers need: a model loaded once, rows that may be unusable, callers served together.

It knows no trainer.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from armorm.errors import DataError, FeatureError
from armorm.features.interface import Backbone, Unused
from armorm.integrations.remote import RemoteScorer, is_url
from armorm.model.bundle import Bundle
from armorm.model.reward import RewardModel, Scores
from armorm.types import Conversation

LOGGER = logging.getLogger("armorm.integrations")

VALUES = ("debiased", "raw")
"""What the value of an objective is: after the debias step (nuisances left out), or before."""

Row = Conversation | Unused
"""A conversation, or why there is none to score."""


@runtime_checkable
class Scorer(Protocol):
    """What scores conversations: a `RewardModel`, or anything with the same methods."""

    @property
    def objectives(self) -> tuple[str, ...]:
        """Objective names, in the order of axis k."""
        ...

    def score(self, conversations: Sequence[Any]) -> Scores:
        """Score n conversations, in the order given."""
        ...


@dataclass(frozen=True, slots=True)
class RowScores:
    """Scores and objective values of n rows, those included that cannot be scored."""

    names: tuple[str, ...]
    """Names of the values, in order."""
    score: list[float | None]
    """n scores; None where the row cannot be scored."""
    values: list[tuple[float, ...] | None]
    """n times the values of the objectives; None where the row cannot be scored."""
    reasons: list[str | None]
    """Why a row cannot be scored; None where it can."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.score)

    def column(self, name: str) -> list[float | None]:
        """Return the n values of one objective."""
        place = self.names.index(name)
        return [None if row is None else row[place] for row in self.values]

    def part(self, start: int, end: int) -> RowScores:
        """Return some rows."""
        cut = slice(start, end)
        return RowScores(self.names, self.score[cut], self.values[cut], self.reasons[cut])

    def filled(self, unscored: float | None, where: str) -> RowScores:
        """Return scores where every row has a number, for trainers that know no missing one.

        Args:
            unscored: Score and values of a row that cannot be scored; None refuses it.
            where: Starts the error message.

        Returns:
            The same scores, without None; reasons are kept.

        Raises:
            DataError: a row cannot be scored and there is no number for it.
        """
        reason = next((r for r in self.reasons if r is not None), None)
        if reason is not None and unscored is None:
            raise DataError(
                f"{where}: a row cannot be scored: {reason}; give the reward of such rows as "
                "`unscored` (ARMORM_UNSCORED)"
            )
        spare = 0.0 if unscored is None else unscored
        score = [spare if s is None else s for s in self.score]
        values = [(spare,) * len(self.names) if v is None else v for v in self.values]
        return RowScores(self.names, [*score], [*values], self.reasons)


@dataclass(slots=True, eq=False)
class _Call:
    """Rows of one caller, and what came of them."""

    rows: Sequence[Row]
    found: RowScores | None = None
    error: BaseException | None = None

    @property
    def done(self) -> bool:
        """Say whether somebody has scored them."""
        return self.found is not None or self.error is not None


@dataclass(eq=False)
class RowScorer:
    """Scores the rows of a trainer with a model that is loaded at the first call.

    Callers in several threads are served together: while one of them runs the model, the rows
    of all others are collected and make the next batch.
    """

    model: Scorer | str | os.PathLike[str]
    """A scorer, the folder or hub id of a bundle, or the address of an `armorm serve`."""
    device: str = "auto"
    """Where a model that is loaded here runs; `auto` on several GPUs: the one of this rank."""
    backbone: str | None = None
    """Where the backbone of a bundle is, when not at the id that the bundle names."""
    weights: Mapping[str, float] | None = None
    """Fixed weights on the raw objective scores, in place of gating and debias."""
    values: str = "debiased"
    """What the value of an objective is; one of `VALUES`."""
    unused: Counter[str] = field(default_factory=Counter, init=False)
    """Rows that could not be scored, by reason."""
    truncated: int = field(default=0, init=False)
    """Rows that were scored without the beginning of their prompt, as the bundle's recipe says."""
    _loaded: Scorer | None = field(default=None, init=False, repr=False)
    _loading: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _collecting: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _working: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _waiting: list[_Call] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check what can be checked without loading.

        Raises:
            ValueError: `values` is none of `VALUES`; a model with neither `score` nor the
                form of a path; as `scorer`, where the model is there; a device or a backbone
                for a server, which has its own.
        """
        if self.values not in VALUES:
            raise ValueError(f"`values` must be 'debiased' or 'raw'; got {self.values!r}")
        if is_url(self.model) and (self.device != "auto" or self.backbone is not None):
            raise ValueError("a server has a `device` and a `backbone` of its own; give neither")
        if not isinstance(self.model, str | os.PathLike):
            self.scorer()

    def scorer(self) -> Scorer:
        """Return the model, loaded and steered; once.

        Returns:
            The scorer.

        Raises:
            ValueError: `model` has no `objectives` and `score`; weights for a model that has
                no `with_weights`, or of names that it does not have; debiased values of a
                model without a bundle.
            BundleError: as `RewardModel.load`.
            FeatureError: as `RewardModel.load`.
        """
        with self._loading:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    @property
    def names(self) -> tuple[str, ...]:
        """Objectives that have a value: all, or those that are no nuisance where debiased."""
        scorer = self.scorer()
        if self.values == "raw":
            return tuple(scorer.objectives)
        if isinstance(scorer, RemoteScorer):
            return scorer.kept
        nuisances = self._bundle(scorer).nuisances
        return tuple(n for i, n in enumerate(scorer.objectives) if i not in nuisances)

    def score(self, rows: Sequence[Row]) -> RowScores:
        """Score rows.

        Args:
            rows: n conversations, or why there is none.

        Returns:
            n scores in the order given. A row that is unusable, is longer than the bundle's
            backbone takes, or is refused by its chat template has none, and says why.

        Raises:
            BundleError: as `RewardModel.load`, at the first call.
            FeatureError: as `RewardModel.load`; features are not finite, or one row does not
                fit into memory.
            ServerError: the model is that of a server, which does not answer.
        """
        call = _Call(rows)
        with self._collecting:
            self._waiting.append(call)
        with self._working:
            if not call.done:
                with self._collecting:
                    calls, self._waiting = self._waiting, []
                self._run(calls)
        if call.error is not None:
            raise call.error
        assert call.found is not None
        return call.found

    def _run(self, calls: Sequence[_Call]) -> None:
        """Score the rows of all callers in one batch; an error is everybody's."""
        try:
            found = self._score([row for call in calls for row in call.rows])
        except BaseException as error:
            for call in calls:
                call.error = error
            return
        start = 0
        for call in calls:
            call.found = found.part(start, start + len(call.rows))
            start += len(call.rows)

    def _score(self, rows: Sequence[Row]) -> RowScores:
        """Score a batch."""
        scorer = self.scorer()
        if isinstance(scorer, RemoteScorer):
            return self._score_remotely(scorer, rows)
        rows = _checked(scorer, rows)
        reasons = [row.reason if isinstance(row, Unused) else None for row in rows]
        self._count(reasons)
        usable = [row for row in rows if isinstance(row, Conversation)]
        names = self.names
        score: list[float | None] = [None] * len(rows)
        values: list[tuple[float, ...] | None] = [None] * len(rows)
        if usable:
            found = scorer.score(usable)
            self._count_truncated(int((found.n_truncated > 0).sum()), len(rows))
            table = self._values(scorer, found).tolist()
            places = [i for i, reason in enumerate(reasons) if reason is None]
            for i, one, of in zip(places, found.score.tolist(), table, strict=True):
                score[i], values[i] = one, tuple(of)
        return RowScores(names, score, values, reasons)

    def _score_remotely(self, scorer: RemoteScorer, rows: Sequence[Row]) -> RowScores:
        """Score a batch on a server, which says itself what cannot be scored."""
        found = iter(scorer.score_rows([row for row in rows if isinstance(row, Conversation)]))
        scored = [row if isinstance(row, Unused) else next(found) for row in rows]
        reasons = [row.reason for row in scored]
        self._count(reasons)
        names = self.names
        score: list[float | None] = []
        values: list[tuple[float, ...] | None] = []
        for row in scored:
            of = None
            if not isinstance(row, Unused):
                of = row.objectives if self.values == "raw" else row.debiased
            score.append(None if isinstance(row, Unused) else row.score)
            values.append(None if of is None else tuple(of[name] for name in names))
        cut = sum(not isinstance(row, Unused) and row.n_truncated > 0 for row in scored)
        self._count_truncated(cut, len(rows))
        return RowScores(names, score, values, reasons)

    def _values(self, scorer: Scorer, found: Scores) -> Tensor:
        """Values of the objectives, shape (n, number of names)."""
        raw = found.objectives.detach().cpu()
        if self.values == "raw":
            return raw
        bundle = self._bundle(scorer)
        kept = [i for i in range(len(bundle.objectives)) if i not in bundle.nuisances]
        return (raw @ bundle.debias)[:, kept]

    def _load(self) -> Scorer:
        """Load a bundle or take the model given, and steer it."""
        model = self.model
        if isinstance(model, str) and is_url(model):
            model = RemoteScorer(model)
        elif isinstance(model, str | os.PathLike):
            device = device_of_rank(self.device)
            model = RewardModel.load(os.fspath(model), device=device, backbone=self.backbone)
        if not isinstance(model, Scorer):
            raise ValueError(
                "`model` must be a RewardModel, the path or hub id of a bundle, or have "
                f"`objectives` and `score`; got {type(model).__name__}"
            )
        if self.weights is not None:
            steer: Callable[[Mapping[str, float]], Scorer] | None
            if (steer := getattr(model, "with_weights", None)) is None:
                raise ValueError(
                    f"`weights` need a model that has `with_weights`; {type(model).__name__} has "
                    "none"
                )
            model = steer(self.weights)
        if self.values == "debiased" and not isinstance(model, RemoteScorer):
            self._bundle(model)
        return model

    @staticmethod
    def _bundle(scorer: Scorer) -> Bundle:
        """The heads of a scorer, which alone can debias."""
        bundle = getattr(scorer, "bundle", None)
        if not isinstance(bundle, Bundle):
            raise ValueError(
                "`values` = 'debiased' needs a model with its bundle; "
                f"{type(scorer).__name__} has none: use `values` = 'raw'"
            )
        return bundle

    def _count(self, reasons: Sequence[str | None]) -> None:
        """Count rows that are left out; each reason is said the first time."""
        for reason, n in Counter(r for r in reasons if r is not None).items():
            if reason not in self.unused:
                LOGGER.warning(
                    "%d of %d rows cannot be scored: %s; said once, then only counted",
                    n,
                    len(reasons),
                    reason,
                )
            self.unused[reason] += n

    def _count_truncated(self, n: int, n_rows: int) -> None:
        """Count rows that were cut; it is said the first time."""
        if n and not self.truncated:
            LOGGER.warning(
                "%d of %d rows are truncated from the left; said once, then only counted",
                n,
                n_rows,
            )
        self.truncated += n


def device_of_rank(device: str, *, n_devices: int | None = None) -> str:
    """Return the device of this process where a launcher started one for every GPU.

    Args:
        device: As it was asked for; anything but `auto` is kept.
        n_devices: CUDA devices that torch sees; None asks torch.

    Returns:
        `cuda:<rank>` under `auto` with LOCAL_RANK set and GPUs there, else what was given.
    """
    rank = os.environ.get("LOCAL_RANK", "")
    if device != "auto" or not rank.isdecimal():
        return device
    n = torch.cuda.device_count() if n_devices is None else n_devices
    return f"cuda:{int(rank) % n}" if n else device


def _checked(scorer: Scorer, rows: Sequence[Row]) -> list[Row]:
    """Replace rows that the backbone would refuse by the reason; others stay what they are."""
    backbone = getattr(scorer, "backbone", None)
    if not isinstance(backbone, Backbone):
        return list(rows)
    usable = [row for row in rows if isinstance(row, Conversation)]
    checked = iter(_tokenized(backbone, usable))
    return [next(checked) if isinstance(row, Conversation) else row for row in rows]


def _tokenized(backbone: Backbone, rows: Sequence[Conversation]) -> list[Row]:
    """Ask a backbone for every row whether it takes it."""
    try:
        found = backbone.tokenize(rows, cuts=backbone.cuts(rows))
    except FeatureError as error:
        # A chat template refused a row, and the bundle's options let that stop a run.
        if len(rows) == 1:
            LOGGER.debug("a row was refused: %s", error)
            return [Unused("refused by the chat template")]
        return [one for row in rows for one in _tokenized(backbone, [row])]
    return [f if isinstance(f, Unused) else r for r, f in zip(rows, found, strict=True)]
