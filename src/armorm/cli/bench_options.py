"""The options of `armorm evaluate` for models, protocols and judges, and what goes with what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from armorm.cli.terminal import OptionError

if TYPE_CHECKING:  # --help must not wait for torch
    from armorm.evaluate.scorers.bench import Variant
    from armorm.evaluate.scorers.names import ScorerName
    from armorm.evaluate.scorers.opening import ScorerOptions

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A bundle or a checkpoint in the released layout (folder or hub id), hf:ID, "
        "judge:MODEL@URL, longest, shortest or random.",
    ),
]
ProtocolName = Annotated[
    str | None, typer.Option(metavar="NAME", help="A published protocol: rewardbench, rm-bench, …")
]
Data = Annotated[
    str | None,
    typer.Option(help="Rows of the protocol: file, folder or hub id; default: its own."),
]
Beside = Annotated[
    list[str] | None,
    typer.Option(metavar="MODEL", help="Another model in the same table; may stand several times."),
]
Variants = Annotated[
    list[str] | None,
    typer.Option(
        "--variant",
        metavar="FORM",
        help="The bundle in another way, in the same table: gated, weights:NAME=VALUE,… or "
        "scale:NAME=VALUE,…; may stand several times.",
    ),
]
Partial = Annotated[
    bool, typer.Option("--partial", help="Figures of the part of a protocol that is there.")
]
Cache = Annotated[Path, typer.Option(metavar="FOLDER", help="Where scores of tables are kept.")]
JudgeMode = Annotated[
    Literal["pairwise", "ratings"] | None,
    typer.Option(
        "--judge",
        help="How judges decide: by comparisons in both orders, or by ratings; default: by "
        "comparisons where these can decide.",
    ),
]
JudgeRequests = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Requests to a judge at most; default 1000."),
]
JudgeTimeout = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", min=0.01, help="Time for one request; default 120."),
]
JudgeRetries = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=0, help="Repetitions of a request that had no answer; default 4."
    ),
]
JudgeCache = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Where answers of judges are kept; default: in --cache."),
]


@dataclass(frozen=True, slots=True)
class JudgeOptions:
    """How judges are asked."""

    mode: Literal["pairwise", "ratings"] | None
    """Text of `--judge`."""
    requests: int | None
    """Of `--judge-requests`."""
    timeout: float | None
    """Of `--judge-timeout`."""
    retries: int | None
    """Of `--judge-retries`."""
    cache: Path | None
    """Of `--judge-cache`."""

    def given(self) -> list[str]:
        """Return the options that were given."""
        values = {
            "--judge": self.mode,
            "--judge-requests": self.requests,
            "--judge-timeout": self.timeout,
            "--judge-retries": self.retries,
            "--judge-cache": self.cache,
        }
        return [name for name, value in values.items() if value is not None]

    def opening(self, *, device: str, cache: Path) -> ScorerOptions:
        """Return how models are opened.

        Args:
            device: Where models run.
            cache: Where scores are kept, and answers unless they have a place of their own.

        Returns:
            Options of `bench_of`.
        """
        from armorm.evaluate.scorers.judge_http import JudgeSettings
        from armorm.evaluate.scorers.opening import ScorerOptions

        given = {
            "max_requests": self.requests,
            "timeout_s": self.timeout,
            "n_retries": self.retries,
        }
        changes: dict[str, Any] = {k: value for k, value in given.items() if value is not None}
        return ScorerOptions(
            device=device,
            judge=JudgeSettings(**changes),
            judge_cache=self.cache or cache / "judges",
            judge_mode=self.mode,
        )


def model_name(option: str, text: str) -> ScorerName:
    """Take the name of a model apart.

    Args:
        option: Where it stands, for the error.
        text: The name.

    Returns:
        Its parts.

    Raises:
        OptionError: it has none of the forms of a name.
    """
    from armorm.evaluate.scorers.names import parse_scorer_name

    try:
        return parse_scorer_name(text)
    except ValueError as error:
        raise OptionError(f"{option}: {error}") from None


def parse_variant(text: str) -> Variant:
    """Parse the text of `--variant`.

    Args:
        text: `gated`, `weights:NAME=VALUE,…` or `scale:NAME=VALUE,…`.

    Returns:
        The variant.

    Raises:
        OptionError: it has another form; a pair is not name=number.
    """
    from armorm.cli.steering import parse_values
    from armorm.evaluate.scorers.bench import Variant, split_variant

    try:
        kind, values = split_variant(text)
    except ValueError as error:
        raise OptionError(f"--variant: {error}") from None
    return Variant(kind, {} if kind == "gated" else parse_values("--variant", values))


def check_kinds(
    first: ScorerName, beside: list[ScorerName], judge: JudgeOptions, of_bundles: dict[str, object]
) -> None:
    """Raise where an option needs another kind of model than there is.

    Args:
        first: The first model.
        beside: The others.
        judge: Options of judges.
        of_bundles: Options that need a bundle, with their values; None where not given.

    Raises:
        OptionError: one was given without such a model.
    """
    needing = [name for name, value in of_bundles.items() if value]
    if needing and first.kind != "reward model":
        raise OptionError(f"{needing[0]}: needs a bundle; {first.text!r} is none")
    if (given := judge.given()) and not any(one.kind == "judge" for one in (first, *beside)):
        raise OptionError(f"{given[0]}: needs a judge:MODEL@URL among the models; there is none")
