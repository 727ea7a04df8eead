"""Writes the pictures of a report as PNG; matplotlib is loaded when the first is drawn."""

from __future__ import annotations

from pathlib import Path

from armorm.evaluate.figures import Report
from armorm.evaluate.markdown import Picture


def write_plots(report: Report, folder: Path) -> tuple[Picture, ...]:
    """Draw every picture that the report has figures for, into `folder`/plots.

    Args:
        report: The report.
        folder: Folder of the report.

    Returns:
        The pictures, in the order of the report, for `write_report`.

    Raises:
        MissingDependency: matplotlib is not installed.
        StorageError: the disk is full or cannot be written.
    """
    from armorm.evaluate import canvas, drawing

    pictures: list[Picture] = []

    def keep(section: str, figure: canvas.Figure, alt: str) -> None:
        path = f"plots/{section}.png"
        canvas.save_figure(figure, folder / path)
        pictures.append(Picture(section, path, alt))

    if report.objectives:
        alt = "Spearman correlation of each objective score with its ratings, with intervals"
        keep("objectives", drawing.plot_objectives(report), alt)
    if report.preferences:
        alt = "Preference accuracy of the gated model beside its baselines, with intervals"
        keep("preferences", drawing.plot_preferences(report.preferences), alt)
    if report.debias is not None and report.debias.before:
        alt = "Spearman correlation of each objective with the nuisance, before and after debias"
        keep("debias", drawing.plot_debias(report.debias), alt)
    if report.gating is not None:
        alt = "Heat map of the mean gating weight of each objective by source"
        keep("gating", drawing.plot_gating(report.gating), alt)
    return tuple(pictures)
