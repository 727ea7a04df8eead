"""What a backbone is to the rest: tokenises conversations, gives features, states its facts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from armorm.errors import nearest
from armorm.types import Conversation, Prompt

DEVICES = r"auto|cpu|mps|cuda(:[0-9]+)?"
"""Pattern of the names of devices."""

BLOCKS = ("prompt", "response", "conversation", "context", "product", "difference")
"""Parts an encoder's response feature can be made of."""

DEFAULT_BUDGET = 8192
"""Tokens a batch where a backbone has no better number of its own."""

_RUNTIME = ("token_budget", "engine", "padding_side", "bad_rows")


@dataclass(frozen=True, slots=True)
class FeatureOptions:
    """How conversations become features.

    `token_budget`, `engine`, `padding_side` and `bad_rows` do not change what a feature
    means (the first three change its last bits); everything else does, and is part of a
    backbone's facts.
    """

    max_tokens: int | None = None
    """Longest conversation in tokens; None means the backbone's own limit."""
    too_long: str = "drop"
    """What happens to longer ones: `drop` does not use them, `truncate` cuts the prompt
    from the left."""
    token_budget: int | None = None
    """Largest number of tokens in one batch, padding included; None means that the
    backbone finds one (`Backbone.find_budget`)."""
    engine: str = "packed"
    """Decoders: `packed` computes what rows share once and pads nothing; `padded` makes
    batches of rows of similar length."""
    padding_side: str = "right"
    """`right` or `left`: where the padded engine pads shorter rows; decoders only."""
    bad_rows: str = "stop"
    """A row that the chat template refuses: `stop` is an error, `drop` does not use it."""
    pooling: str = "mean"
    """Encoders: `mean` over all tokens of a text, or `cls`, the state of its first token."""
    layers: tuple[int, ...] = (-1,)
    """Encoders: hidden states that are pooled; 0 is the embeddings, -1 the last layer."""
    blocks: tuple[str, ...] = ("response", "prompt", "product", "difference")
    """Encoders: names from `BLOCKS`, in the order of the response feature."""
    normalise: bool = False
    """Encoders: scale every pooled state to length 1 before blocks are made of them."""

    def __post_init__(self) -> None:
        """Check every option by itself.

        Raises:
            ValueError: an option is outside its range (the value is in the text).
        """
        if self.max_tokens is not None and self.max_tokens < 2:
            raise ValueError(f"`max_tokens` must be 2 or more; got {self.max_tokens}")
        if self.token_budget is not None and self.token_budget < 1:
            raise ValueError(f"`token_budget` must be 1 or more; got {self.token_budget}")
        self._check_choice("too_long", ("drop", "truncate"))
        self._check_choice("engine", ("packed", "padded"))
        self._check_choice("padding_side", ("right", "left"))
        self._check_choice("bad_rows", ("stop", "drop"))
        self._check_choice("pooling", ("mean", "cls"))
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise ValueError(f"`layers` must be one or more different numbers; got {self.layers}")
        if not self.blocks or len(set(self.blocks)) < len(self.blocks):
            raise ValueError(f"`blocks` must be one or more different names; got {self.blocks}")
        for name in self.blocks:
            if name not in BLOCKS:
                raise ValueError(f"`blocks` has the unknown name {name!r}{nearest(name, BLOCKS)}")

    def _check_choice(self, option: str, choices: tuple[str, ...]) -> None:
        """Raise unless the option has one of the values."""
        if (found := getattr(self, option)) not in choices:
            known = " or ".join(repr(c) for c in choices)
            raise ValueError(f"`{option}` must be {known}; got {found!r}")

    def facts(self) -> dict[str, Any]:
        """Return the options that features depend on, as JSON."""
        kept = {name: value for name, value in asdict(self).items() if name not in _RUNTIME}
        return kept | {"layers": list(self.layers), "blocks": list(self.blocks)}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> FeatureOptions:
        """Return the options that a backbone's facts were made with.

        Args:
            facts: What `Backbone.facts` returned.

        Returns:
            The same options, with the defaults where they do not change features.
        """
        options = dict(facts["options"])
        for name in {"layers", "blocks"} & options.keys():
            options[name] = tuple(options[name])
        return cls(**options)


@dataclass(frozen=True, slots=True)
class Unused:
    """A row that gets no features."""

    reason: str
    """Short, without values of the row, so that rows can be counted by it."""


@runtime_checkable
class Tokenized(Protocol):
    """A conversation as a backbone takes it."""

    @property
    def n_tokens(self) -> int:
        """Length in tokens, after truncation."""
        ...

    @property
    def n_truncated(self) -> int:
        """Tokens cut from the left."""
        ...


class Backbone(ABC):
    """A frozen language model that turns conversations into features."""

    def __init__(self, facts: Mapping[str, Any], *, options: FeatureOptions, device: str) -> None:
        """Keep what is known before a weight is read.

        Args:
            facts: As `facts` returns them.
            options: How conversations become features.
            device: Where the model runs, as torch names it.
        """
        self._facts = dict(facts)
        self.options = options
        self.device = device
        self.notes: list[str] = []
        """Sentences about what was done differently from what was asked for, each once."""

    def facts(self) -> dict[str, Any]:
        """Return what identifies the backbone and its features, as JSON.

        Returns:
            `name`, `revision`, `kind`, `digest`, `response_width`, `prompt_width`, `dtype`,
            `max_tokens` and `options`; a copy.
        """
        return dict(self._facts)

    @property
    def name(self) -> str:
        """Hub id, folder or package, as it was asked for."""
        return self._facts["name"]

    @property
    def revision(self) -> str | None:
        """Commit of a hub id; None for a folder or a package."""
        return self._facts["revision"]

    @property
    def kind(self) -> str:
        """`decoder` or `encoder`."""
        return self._facts["kind"]

    @property
    def digest(self) -> str:
        """SHA-256 over the config, weights, tokenizer and chat template files."""
        return self._facts["digest"]

    @property
    def dtype(self) -> str:
        """Precision the model runs in; features are float32 in any case."""
        return self._facts["dtype"]

    @property
    def response_width(self) -> int:
        """Width d of a response feature."""
        return self._facts["response_width"]

    @property
    def prompt_width(self) -> int:
        """Width dp of a prompt feature."""
        return self._facts["prompt_width"]

    @property
    def max_tokens(self) -> int:
        """Longest conversation in tokens."""
        return self._facts["max_tokens"]

    @property
    def engine(self) -> str:
        """How rows are computed now: `packed` or `padded`."""
        return "padded"

    def prepare(self, rows: Sequence[Any]) -> None:
        """Decide by some rows how all others are computed; see `engine`.

        A caller that computes the rows of a run in parts, or has others compute them,
        gives the same rows in each, so that every part is computed the same way.

        Args:
            rows: Results of `tokenize`, none of them `Unused`; best with several that share
                a prompt.
        """
        del rows

    def find_budget(self) -> int:
        """Return how many tokens a batch may have.

        Returns:
            The option where it is given; else a number that suits the device.
        """
        return self.options.token_budget or DEFAULT_BUDGET

    def unique_tokens(self, rows: Sequence[Any]) -> int:
        """Count the tokens that are computed for rows.

        Args:
            rows: n results of `tokenize`, none of them `Unused`.

        Returns:
            Tokens, what rows share counted once where the backbone computes it once.
        """
        return sum(row.n_tokens for row in rows)

    def cuts(self, conversations: Sequence[Conversation]) -> dict[Prompt, int]:
        """Return how many tokens every prompt must lose for its longest response to fit.

        A caller that tokenises in parts passes the result of the whole to `tokenize`, so
        that all responses to a prompt see the same rest of it.

        Args:
            conversations: All rows of the run.

        Returns:
            Tokens by prompt, only prompts that lose some; empty where rows do not depend
            on each other.
        """
        del conversations
        return {}

    @abstractmethod
    def tokenize(
        self, conversations: Sequence[Conversation], *, cuts: Mapping[Prompt, int] | None = None
    ) -> list[Tokenized | Unused]:
        """Turn conversations into what `features` takes, or say why a row is not used.

        Args:
            conversations: n rows.
            cuts: What `cuts` returned for all rows of the run; None means that these are
                all of them.

        Returns:
            n results, in the order given.
        """

    @abstractmethod
    def features(
        self, rows: Sequence[Any], *, token_budget: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run the model.

        Batches are made here, the same for the same rows.

        Args:
            rows: n results of `tokenize`, none of them `Unused`.
            token_budget: Tokens a batch, padding included; None means what
                `find_budget` returns.

        Returns:
            Response features (n, d) and prompt features (n, dp), float32 on the CPU.
        """
