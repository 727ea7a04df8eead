"""Score the candidates of one part and turn the scores into rows."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from armorm.errors import FeatureError
from armorm.features.blocks import cut_blocks, group_rows
from armorm.features.compute import Budget, Computation
from armorm.features.extract import software
from armorm.features.feature_set import FeatureSet
from armorm.label.groups import Candidate, Group
from armorm.model.reward import RewardModel
from armorm.model.scores import Scores

_BLOCK_ROWS = 256  # while one block is computed, the next one is tokenised

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RatedPart:
    """The rows of one part and how they were computed."""

    rows: list[Row]
    """One a candidate that was scored, in the order of the input."""
    dropped: list[tuple[str, str]]
    """File and reason of each candidate that the backbone cannot take."""
    first_dropped: list[str]
    """The first few of them, by file and id."""
    n_truncated: int
    """Rows of which the backbone did not see the beginning."""
    how: dict[str, Any]
    """Budget, engine and software, for the part's own record."""


class Rater:
    """Scores parts one after the other with one model."""

    def __init__(self, model: RewardModel, *, bad_rows: str, texts: bool) -> None:
        """Prepare a model.

        Args:
            model: The reward model, steered or not.
            bad_rows: `stop` raises where the backbone cannot take a candidate; `drop`
                leaves it out.
            texts: Whether rows hold prompt and response.
        """
        backbone = copy(model.backbone)
        # What the chat template refuses comes back with a reason in either case.
        backbone.options = replace(backbone.options, bad_rows="drop")
        self._model, self._backbone = model, backbone
        self._stop, self._texts = bad_rows == "stop", texts
        self.budget: Budget | None = None
        """Tokens a batch; found with the first part, or taken over from a part before."""

    @property
    def notes(self) -> list[str]:
        """What the backbone did differently from what was asked for."""
        return list(self._backbone.notes)

    def prepare(self, groups: Sequence[Group]) -> None:
        """Let the backbone decide how it computes; every process asks the same part.

        Args:
            groups: The first part of the input.
        """
        rows = [row for group in groups for row in group.conversations]
        work = Computation(self._backbone, rows, self._backbone.cuts(rows))
        work.prepare(group_rows(rows))

    def rate(self, groups: Sequence[Group]) -> RatedPart:
        """Score a part.

        Args:
            groups: Its groups; all responses to a prompt are truncated alike.

        Returns:
            One row a candidate.

        Raises:
            FeatureError: a candidate cannot be scored, under `stop`; features are not
                finite; one row alone does not fit into the device's memory.
        """
        owners = [(group, candidate) for group in groups for candidate in group.candidates]
        features = self._features([row for group in groups for row in group.conversations])
        dropped = [(owners[d.row][0].where, d.reason) for d in features.dropped]
        said = [
            f"{owners[d.row][0].where}: candidate {owners[d.row][1].number} of {d.id!r} cannot be "
            f"scored: {d.reason}"
            for d in features.dropped
        ]
        if said and self._stop:
            raise FeatureError(said[0])
        scores = self._model.score_features(
            features.response,
            features.prompt,
            n_tokens=features.n_tokens,
            n_truncated=features.n_truncated,
        )
        kept = [owners[row] for row in features.rows.tolist()]
        return RatedPart(
            rows=score_rows(kept, scores, texts=self._texts),
            dropped=dropped,
            first_dropped=said[:5],
            n_truncated=int((features.n_truncated > 0).sum()),
            how=self._how(),
        )

    def _features(self, rows: list[Any]) -> FeatureSet:
        """Compute the features of the conversations of a part."""
        work = Computation(self._backbone, rows, self._backbone.cuts(rows))
        work.budget = self.budget
        blocks = cut_blocks(group_rows(rows), _BLOCK_ROWS)
        features = FeatureSet.join(list(work.run(blocks))).in_input_order()
        self.budget = work.budget
        return features

    def _how(self) -> dict[str, Any]:
        """How the part was computed."""
        assert self.budget is not None
        return {
            "token_budget": self.budget.tokens,
            "halved": self.budget.halved,
            "engine": self._backbone.engine,
            "notes": self.notes,
            "threads": torch.get_num_threads(),
            "device": self._backbone.device,
            "software": software(),
        }


def score_schema(
    objectives: Sequence[str], *, gating: bool, texts: bool, given: bool
) -> dict[str, Any]:
    """Return what a row of scores holds, by plain types; see `score_rows`.

    Args:
        objectives: Names, in the order of axis k.
        gating: Whether there is one; fixed weights have none.
        texts: Whether rows hold prompt and response.
        given: Whether the input says which candidate was chosen.

    Returns:
        Type by column.
    """
    named = dict.fromkeys(objectives, float)
    schema: dict[str, Any] = {"id": str, "prompt_number": int, "candidate": int}
    if given:
        schema["given"] = str
    if texts:
        schema |= {"prompt": [{"role": str, "content": str}], "response": str}
    schema |= {"score": float, "objectives": named}
    if gating:
        schema["gating"] = named
    return schema | {
        "coefficients": named,
        "n_tokens": int,
        "n_truncated": int,
        "truncated": bool,
    }


def score_rows(
    owners: Sequence[tuple[Group, Candidate]], scores: Scores, *, texts: bool
) -> list[Row]:
    """Turn scores into rows.

    Args:
        owners: The group and the candidate of each score.
        scores: Shape (n,).
        texts: Whether rows hold prompt and response.

    Returns:
        n rows with `id`, `prompt_number`, `candidate`, `score`, `objectives`, `gating` (not
        under fixed weights), `coefficients` (times `objectives` they add up to `score`),
        `n_tokens`, `n_truncated`, `truncated`; `given` where the input is preference pairs.
    """
    score, names = _plain(scores.score), scores.names
    tables = {"objectives": _plain(scores.objectives)}
    if scores.gating is not None:
        tables["gating"] = _plain(scores.gating)
    tables["coefficients"] = _plain(scores.coefficients)
    n_tokens, n_truncated = scores.n_tokens.tolist(), scores.n_truncated.tolist()
    rows: list[Row] = []
    for i, (group, candidate) in enumerate(owners):
        row: Row = {
            "id": candidate.id,
            "prompt_number": group.number,
            "candidate": candidate.number,
        }
        if candidate.given is not None:
            row["given"] = candidate.given
        if texts:
            row["prompt"] = [message._asdict() for message in group.prompt]
            row["response"] = candidate.response
        row["score"] = score[i]
        for name, table in tables.items():
            row[name] = dict(zip(names, table[i], strict=True))
        row |= {"n_tokens": n_tokens[i], "n_truncated": n_truncated[i]}
        row["truncated"] = n_truncated[i] > 0
        rows.append(row)
    return rows


def _plain(values: Tensor) -> list[Any]:
    """Numbers with the shortest decimals that are the same in float32; see `shortest`."""
    array = values.numpy()
    return array.astype(str).astype(np.float64).tolist()
