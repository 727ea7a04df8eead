"""`armorm evaluate --protocol`: the options of a protocol and what is done with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from armorm.cli import terminal
from armorm.cli.terminal import OptionError

if TYPE_CHECKING:  # --help must not wait for torch
    from armorm.evaluate.scorers.names import ScorerName
    from armorm.evaluate.scoring import Scorer
    from armorm.model.reward import RewardModel


@dataclass(frozen=True, slots=True)
class ProtocolRun:
    """The options of a protocol."""

    name: str
    """Text of `--protocol`."""
    data: str | None
    """Text of `--data`."""
    beside: tuple[str, ...]
    """Texts of `--beside`."""
    partial: bool
    """Whether figures of a part are wanted."""
    cache: Path
    """Where scores are kept."""
    bad_rows: Literal["stop", "drop"]
    """What a bad row does."""
    device: str
    """Where the models beside the bundle run."""

    def show(self, load: Callable[[], RewardModel], *, output: Path | None, as_json: bool) -> None:
        """Run the protocol and print its figures; what can fail early fails before loading.

        Args:
            load: Loads the bundle.
            output: Folder of `protocol.json`; None writes none.
            as_json: Whether JSON is printed instead of the table.

        Raises:
            OptionError: no protocol or no model has such a name; two models have one name.
        """
        from armorm.cli.protocol_tables import protocol_table
        from armorm.evaluate.protocols import (
            check_result_folder,
            evaluate_protocol,
            find_protocol,
            result_json,
            write_result,
        )
        from armorm.evaluate.scoring import BundleScorer

        try:
            protocol = find_protocol(self.name)
        except ValueError as error:
            raise OptionError(f"--protocol: {error}") from None
        if output is not None:
            check_result_folder(output)
        names = self._names()
        models: list[RewardModel] = []

        def opened() -> list[Scorer]:
            models.append(load())
            return self._distinct([BundleScorer(models[0]), *self._opened(names)])

        with terminal.progress_bars() as watch:
            result = evaluate_protocol(
                protocol,
                opened,
                data=self.data,
                partial=self.partial,
                bad_rows=self.bad_rows,
                cache=self.cache,
                watch=watch,
            )
        terminal.remarks([*result.notes, *models[0].backbone.notes])
        if output is not None:
            write_result(result, output)
        if as_json:
            terminal.print_json(result_json(result))
        else:
            terminal.stdout().print(protocol_table(result))

    def _names(self) -> list[ScorerName]:
        """The models beside the bundle by name, all read before anything is loaded."""
        from armorm.evaluate.scorers.names import parse_scorer_name

        try:
            return [parse_scorer_name(text) for text in self.beside]
        except ValueError as error:
            raise OptionError(f"--beside: {error}") from None

    def _opened(self, names: list[ScorerName]) -> list[Scorer]:
        """The models of these names."""
        if not names:
            return []
        from armorm.evaluate.scorers.opening import ScorerOptions, open_scorer

        options = ScorerOptions(device=self.device, judge_cache=self.cache / "judges")
        try:
            return [open_scorer(name, options=options) for name in names]
        except ValueError as error:
            raise OptionError(f"--beside: {error}") from None

    def _distinct(self, scorers: list[Scorer]) -> list[Scorer]:
        """The same, each of another name."""
        names = [scorer.name for scorer in scorers]
        if len({*names}) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise OptionError(f"--beside: models must have distinct names; {twice!r} stands twice")
        return scorers
