"""Preference pairs in the shapes that trainers read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from armorm.label.groups import Group
from armorm.types import Prompt

Row = dict[str, Any]

_MESSAGES: list[Any] = [{"role": str, "content": str}]

NOT_ONE_MESSAGE = "prompt of several messages, which a text cannot hold"
"""Reason of pairs that the shape `trl-text` leaves out."""


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """A preference pair with what it was chosen from."""

    id: str
    """Identifier of the prompt's row; a prompt's further pairs have `#2`, `#3` behind it."""
    group: Group
    """Prompt and candidates."""
    texts: Sequence[str]
    """The responses that were scored."""
    scores: Sequence[float]
    """Their scores."""
    chosen: int
    """Place of the chosen response among them."""
    rejected: int
    """Place of the rejected one."""
    objectives: tuple[dict[str, float], dict[str, float]]
    """Objective scores of the chosen and of the rejected response."""

    @property
    def prompt(self) -> list[dict[str, str]]:
        """The prompt as messages."""
        return _messages(self.group.prompt)

    def said(self, place: int) -> list[dict[str, str]]:
        """Return a response as the one message that it is."""
        return [{"role": "assistant", "content": self.texts[place]}]

    def conversation(self, place: int) -> list[dict[str, str]]:
        """Return the prompt with a response."""
        return [*self.prompt, *self.said(place)]


def _trl(pair: LabelledPair) -> Row:
    """Prompt, and each side as one message."""
    return {
        "prompt": pair.prompt,
        "chosen": pair.said(pair.chosen),
        "rejected": pair.said(pair.rejected),
    }


def _implicit(pair: LabelledPair) -> Row:
    """Each side as the whole conversation."""
    return {
        "chosen": pair.conversation(pair.chosen),
        "rejected": pair.conversation(pair.rejected),
    }


def _text(pair: LabelledPair) -> Row | None:
    """Three texts; None for a prompt that is more than one user message."""
    if len(pair.group.prompt) != 1:
        return None
    return {
        "prompt": pair.group.prompt[0].content,
        "chosen": pair.texts[pair.chosen],
        "rejected": pair.texts[pair.rejected],
    }


def _simpo(pair: LabelledPair) -> Row:
    """All responses with their scores, and each side as the whole conversation."""
    return {
        "prompt": pair.group.prompt[-1].content,
        "all_generated_responses": list(pair.texts),
        "all_rm_scores": list(pair.scores),
        **_implicit(pair),
    }


def _verl(pair: LabelledPair) -> Row:
    """A prompt for reinforcement learning that carries its pair."""
    return {
        "data_source": pair.group.where,
        "prompt": pair.prompt,
        "ability": "preference",
        "reward_model": {"style": "model", "ground_truth": pair.texts[pair.chosen]},
        "extra_info": {
            "index": pair.group.number,
            "prompt": pair.prompt,
            "chosen": pair.texts[pair.chosen],
            "rejected": pair.texts[pair.rejected],
        },
    }


_PAIR_OF_MESSAGES = {"chosen": _MESSAGES, "rejected": _MESSAGES}

_SHAPES: dict[str, tuple[Callable[[LabelledPair], Row | None], dict[str, Any]]] = {
    "trl": (_trl, {"prompt": _MESSAGES, **_PAIR_OF_MESSAGES}),
    "trl-implicit": (_implicit, _PAIR_OF_MESSAGES),
    "trl-text": (_text, {"prompt": str, "chosen": str, "rejected": str}),
    "simpo": (
        _simpo,
        {
            "prompt": str,
            "all_generated_responses": [str],
            "all_rm_scores": [float],
            **_PAIR_OF_MESSAGES,
        },
    ),
    "openrlhf": (_implicit, _PAIR_OF_MESSAGES),
    "verl": (
        _verl,
        {
            "data_source": str,
            "prompt": _MESSAGES,
            "ability": str,
            "reward_model": {"style": str, "ground_truth": str},
            "extra_info": {"index": int, "prompt": _MESSAGES, "chosen": str, "rejected": str},
        },
    ),
}

FORMATS = tuple(_SHAPES)
"""Names of the shapes that pairs can be written in."""


def pair_schema(name: str, objectives: Sequence[str]) -> dict[str, Any]:
    """Return what a row of pairs holds, by plain types; see `pair_row`.

    Args:
        name: One of `FORMATS`.
        objectives: Names of the objectives.

    Returns:
        Type by column.
    """
    named = dict.fromkeys(objectives, float)
    facts = {
        "chosen_score": float,
        "rejected_score": float,
        "chosen_objectives": named,
        "rejected_objectives": named,
    }
    shape = _SHAPES[name][1]
    if name == "verl":
        return {"id": str, **shape, "extra_info": shape["extra_info"] | facts}
    return {"id": str, **shape, **facts}


def pair_row(pair: LabelledPair, name: str) -> Row | None:
    """Return a pair as a trainer reads it.

    Besides the columns of the trainer a row has `id`, both scores and both sides'
    objective scores (in verl's shape under `extra_info`). There is no column `margin`:
    trainers of reward models subtract one in their loss.

    Args:
        pair: The pair.
        name: One of `FORMATS`: `trl` (explicit, conversational), `trl-implicit` (each side
            the whole conversation), `trl-text` (three texts), `simpo`, `openrlhf`, `verl`.

    Returns:
        The row; None where the shape cannot hold the pair (`NOT_ONE_MESSAGE`).
    """
    row = _SHAPES[name][0](pair)
    if row is None:
        return None
    facts: Row = {
        "chosen_score": pair.scores[pair.chosen],
        "rejected_score": pair.scores[pair.rejected],
        "chosen_objectives": pair.objectives[0],
        "rejected_objectives": pair.objectives[1],
    }
    if name == "verl":
        row["extra_info"] |= facts
        return {"id": pair.id, **row}
    return {"id": pair.id, **row, **facts}


def _messages(prompt: Prompt) -> list[dict[str, str]]:
    """A prompt as role and content."""
    return [message._asdict() for message in prompt]
