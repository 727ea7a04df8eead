"""`armorm evaluate` on a bench: the models of a call, on a protocol or on pairs of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from armorm.cli import terminal
from armorm.cli.bench_options import JudgeOptions, check_kinds, model_name, parse_variant
from armorm.cli.steering import load_steered
from armorm.cli.terminal import OptionError

if TYPE_CHECKING:  # --help must not wait for torch
    from armorm.evaluate.protocols.protocol import Protocol
    from armorm.evaluate.scorers.bench import Contestant, Variant
    from armorm.evaluate.scorers.names import ScorerName
    from armorm.model.reward import RewardModel


@dataclass(frozen=True, slots=True)
class First:
    """The first model of a call and how it is steered."""

    text: str
    """Its name."""
    weights: str | None
    """Text of `--weights`."""
    scale: str | None
    """Text of `--scale`."""
    device: str
    """Where all models run."""
    backbone: str | None
    """Text of `--backbone`."""

    def load(self) -> RewardModel:
        """Load a bundle; see `load_steered`."""
        return load_steered(
            self.text,
            device=self.device,
            backbone=self.backbone,
            weights=self.weights,
            scale=self.scale,
        )


@dataclass(frozen=True, slots=True)
class BenchRun:
    """Models beside each other on the rows of a protocol."""

    first: First
    """The first model."""
    beside: tuple[str, ...]
    """Texts of `--beside`."""
    variants: tuple[str, ...]
    """Texts of `--variant`."""
    judge: JudgeOptions
    """How judges are asked."""
    cache: Path
    """Where scores are kept."""
    bad_rows: Literal["stop", "drop"]
    """What a bad row does."""

    @property
    def is_one_bundle(self) -> bool:
        """Whether a bundle stands alone, so that everything of it can be measured."""
        from armorm.evaluate.scorers.names import parse_scorer_name

        if self.beside or self.variants or self.judge.given():
            return False
        try:
            return parse_scorer_name(self.first.text).kind == "reward model"
        except ValueError:
            return True  # said when it is loaded, after what can be said earlier

    def show(
        self, protocol: str, data: str | None, *, partial: bool, output: Path | None, as_json: bool
    ) -> None:
        """Run a protocol and print its figures; what can fail early fails before loading.

        Args:
            protocol: Text of `--protocol`, or `pairs`.
            data: Where the rows are; None: where the protocol is published.
            partial: Whether figures of a part are wanted.
            output: Folder of `protocol.json`; None writes none.
            as_json: Whether JSON is printed instead of the table.

        Raises:
            OptionError: no protocol or no model has such a name; two models have one name;
                an option needs another kind of model.
        """
        from armorm.cli.protocol_tables import protocol_table
        from armorm.evaluate.protocols import (
            check_result_folder,
            evaluate_protocol,
            result_json,
            write_result,
        )

        found = self._protocol(protocol)
        if output is not None:
            check_result_folder(output)
        first, beside, variants = self._models()
        with terminal.progress_bars() as watch:
            result = evaluate_protocol(
                found,
                lambda: self._opened(first, beside, variants),
                data=data,
                partial=partial,
                bad_rows=self.bad_rows,
                cache=self.cache,
                watch=watch,
            )
        terminal.remarks(result.notes)
        if output is not None:
            written = write_result(result, output)
            terminal.remarks(written.notes[len(result.notes) :])
        if as_json:
            terminal.print_json(result_json(result))
        else:
            terminal.stdout().print(protocol_table(result))

    def _protocol(self, name: str) -> Protocol:
        """The protocol, which judges must be able to decide."""
        from armorm.evaluate.protocols import find_protocol
        from armorm.evaluate.protocols.verdicts import check_judge_mode

        try:
            protocol = find_protocol(name)
        except ValueError as error:
            raise OptionError(f"--protocol: {error}") from None
        try:
            check_judge_mode(protocol, self.judge.mode)
        except ValueError as error:
            raise OptionError(f"--judge: {error}") from None
        return protocol

    def _models(self) -> tuple[ScorerName, list[ScorerName], list[Variant]]:
        """All models by name, read before anything is loaded."""
        first = model_name("MODEL", self.first.text)
        beside = [model_name("--beside", text) for text in self.beside]
        of_bundles: dict[str, object] = {
            "--weights": self.first.weights,
            "--scale": self.first.scale,
            "--variant": self.variants,
            "--backbone": self.first.backbone,
        }
        check_kinds(first, beside, self.judge, of_bundles)
        return first, beside, [parse_variant(text) for text in self.variants]

    def _opened(
        self, name: ScorerName, beside: Sequence[ScorerName], variants: Sequence[Variant]
    ) -> tuple[Contestant, ...]:
        """Open all models."""
        from armorm.evaluate.scorers.bench import bench_of

        first = self._loaded(variants) if name.kind == "reward model" else name
        options = self.judge.opening(device=self.first.device, cache=self.cache)
        try:
            return bench_of(first, variants=variants, beside=beside, options=options)
        except ValueError as error:
            raise OptionError(str(error)) from None

    def _loaded(self, variants: Sequence[Variant]) -> RewardModel:
        """The first model, a bundle that its variants fit."""
        model = self.first.load()
        try:
            for variant in variants:
                variant.of(model)
        except ValueError as error:
            raise OptionError(f"--variant: {error}") from None
        return model
