"""Options of `armorm label` as its library takes them, and the summary that it shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from armorm.cli.terminal import OptionError, number_table

if TYPE_CHECKING:  # --help must not wait for torch
    from armorm.data import DataSource
    from armorm.label import Labelling, LabelOptions

_SHOWN_OBJECTIVES = 8


def as_options(
    rule: str | None,
    format_: str | None,
    of_pairs: Mapping[str, Any],
    others: Mapping[str, Any],
) -> LabelOptions:
    """Turn the options of the command line into those of the library.

    Args:
        rule: Text of `--pairs`.
        format_: Text of `--format`.
        of_pairs: Options that need `--pairs`, None where they are not given.
        others: The other options.

    Returns:
        The options.

    Raises:
        OptionError: an option of pairs without `--pairs`; a value out of its range.
    """
    from armorm.label import LabelOptions, PairOptions, PairRule

    given = {name: value for name, value in of_pairs.items() if value is not None}
    named = {**given, **({} if format_ is None else {"format": format_})}
    if rule is None and named:
        raise OptionError(f"--{next(iter(named)).replace('_', '-')}: needs --pairs")
    if "unit" in given and "max_shorter" not in given:
        raise OptionError("--unit: needs --max-shorter")
    try:
        pairs = None if rule is None else PairOptions(rule=PairRule.parse(rule), **given)
        return LabelOptions(pairs=pairs, format=format_ or "trl", **others)
    except ValueError as error:
        raise OptionError(str(error)) from error


def input_of(path: str, split: str | None) -> DataSource:
    """Return the input of a command.

    Args:
        path: File, folder, `hub:owner/name` or part of the shipped corpus.
        split: Of a hub data set.

    Returns:
        The data source.

    Raises:
        OptionError: a path that is none; a split of something else.
    """
    from armorm.data import DataSource

    try:
        return DataSource(path, split=split)
    except ValueError as error:
        raise OptionError(f"IN: {error}") from error


def check_output(output: Path) -> None:
    """Refuse a name of the output that does not say how it is written.

    Args:
        output: Value of `-o`.

    Raises:
        OptionError: another ending than .jsonl and .parquet.
    """
    from armorm.label.tables import file_kind

    try:
        file_kind(output)
    except ValueError as error:
        raise OptionError(f"-o: {error}") from error


def label_summary(done: Labelling) -> Group:
    """Return what a labelling found, for a person.

    Args:
        done: The labelling.

    Returns:
        A renderable.
    """
    found = done.summary
    if found is None:
        parts = f"{done.missing:,} parts wait" if done.missing > 1 else "1 part waits"
        return Group(Text(f"this shard is done; {parts} for other shards"))
    lines: list[Text | Table] = [*map(Text, _counts(found)), Text(), _scores(found)]
    lines += [Text(), *map(Text, _pairs(found["pairs"]))]
    if found["pairs"]["n"]:
        lines += [Text(), _deciding(found)]
    said = "found finished: " if done.is_found else ""
    return Group(*lines, Text(), Text(f"{said}{done.output}"))


def _counts(found: Mapping[str, Any]) -> list[str]:
    """Rows in, rows out, and every row between."""
    rows, candidates = found["rows"], found["candidates"]
    lines = [
        f"{rows['read']:,} rows, {found['prompts']:,} prompts, {candidates['read']:,} candidates; "
        f"{candidates['scored']:,} scored"
    ]
    for what, counts in (("rows", rows["dropped"]), ("candidates", candidates["dropped"])):
        for path, reasons in counts.items():
            said = ", ".join(f"{n:,} {reason}" for reason, n in reasons.items())
            lines.append(f"dropped {what} of {path}: {said}")
    lines += [f"  {said}" for said in found["first_dropped"]]
    if candidates["truncated"]:
        lines.append(f"truncated from the left: {candidates['truncated']:,} candidates")
    return lines


def _scores(found: Mapping[str, Any]) -> Table:
    """Mean scores, and what the best of n would score."""
    table = number_table("score", "mean", "sd", "lowest", "highest")
    score = found["score"]
    table.add_row("all candidates", *(f"{score[k]:.4f}" for k in ("mean", "sd", "min", "max")))
    curve = found["best_of_n"]
    if curve is not None and curve["candidates"] > 1:
        expected, size = curve["expected_score"], curve["candidates"]
        shown = sorted({n for n in (2, 4, 8, 16, 32, 64, 128) if n < size} | {size})
        for n in shown:
            note = f" ({curve['prompts']:,} prompts)" if n == size else ""
            table.add_row(f"best of {n}{note}", f"{expected[n - 1]:.4f}", "", "", "")
    return table


def _pairs(pairs: Mapping[str, Any]) -> list[str]:
    """How many pairs there are, and what they are like."""
    written = pairs["format"] is not None
    name = f"{pairs['rule']}, {pairs['format']}" if written else f"{pairs['rule']}, not written"
    lines = [f"{pairs['n']:,} pairs ({name})"]
    for reason, n in pairs["prompts_without"].items():
        lines.append(f"  {n:,} without: {reason}")
    if pairs["n"]:
        margin, length = pairs["margin"], pairs["length"]
        lines += [
            f"mean margin {margin['mean']:.4f} (from {margin['min']:.4f} to {margin['max']:.4f})",
            f"mean length: chosen {length['chosen_characters']:,.0f} characters, rejected "
            f"{length['rejected_characters']:,.0f}; chosen longer in "
            f"{100 * length['chosen_longer']:.0f} % of pairs",
        ]
    if "given" in pairs:
        given = pairs["given"]
        lines.append(
            f"agrees with the preference given in {100 * given['agreement']:.1f} % of "
            f"{given['n']:,} pairs"
        )
    return lines


def _deciding(found: Mapping[str, Any]) -> Table:
    """How often each objective decided, the most frequent first."""
    table = number_table("objective", "mean", "among the deciding", "decided alone")
    pairs = found["pairs"]
    names = sorted(pairs["deciding"], key=lambda name: -pairs["deciding"][name])
    for name in names[:_SHOWN_OBJECTIVES]:
        table.add_row(
            name,
            f"{found['objectives'][name]:.4f}",
            f"{100 * pairs['deciding'][name]:.0f} %",
            f"{100 * pairs['deciding_alone'][name]:.0f} %",
        )
    if len(names) > _SHOWN_OBJECTIVES:
        table.add_row(f"and {len(names) - _SHOWN_OBJECTIVES} more in summary.json", "", "", "")
    return table
