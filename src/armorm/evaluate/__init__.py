"""Metrics with intervals, baselines and reports."""

from __future__ import annotations

from armorm.evaluate.baselines import (
    GATED,
    SCORERS,
    compare_scorers,
    compare_scorers_by_source,
    length_scores,
)
from armorm.evaluate.bootstrap import accuracy_interval, bootstrap_interval, paired_interval
from armorm.evaluate.figures import (
    DataFacts,
    DebiasFigures,
    GatingFigures,
    ObjectiveFigures,
    PreferenceFigures,
    Report,
    SourceFacts,
)
from armorm.evaluate.heads_figures import debias_figures, gating_figures
from armorm.evaluate.interval import Interval
from armorm.evaluate.metrics import preference_accuracy, preference_wins, r2, spearman
from armorm.evaluate.objectives import ObjectiveResults, evaluate_objectives
from armorm.evaluate.report import check_report_folder, read_report, report_json, write_report

__all__ = [
    "GATED",
    "SCORERS",
    "DataFacts",
    "DebiasFigures",
    "GatingFigures",
    "Interval",
    "ObjectiveFigures",
    "ObjectiveResults",
    "PreferenceFigures",
    "Report",
    "SourceFacts",
    "accuracy_interval",
    "bootstrap_interval",
    "check_report_folder",
    "compare_scorers",
    "compare_scorers_by_source",
    "debias_figures",
    "evaluate_objectives",
    "gating_figures",
    "length_scores",
    "paired_interval",
    "preference_accuracy",
    "preference_wins",
    "r2",
    "read_report",
    "report_json",
    "spearman",
    "write_report",
]
