"""From which size on a figure is a finding, and how grave: all thresholds, in one place."""

from __future__ import annotations

import math
from typing import NamedTuple

from armorm.evaluate.audit.figures import Severity
from armorm.evaluate.interval import Interval

SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low")
"""The gravest first."""


class Steps(NamedTuple):
    """Sizes from which on a finding has a severity."""

    low: float
    medium: float
    high: float

    def severity(self, size: float) -> Severity | None:
        """Return the severity of a size; None below all of them, or for NaN."""
        for name in SEVERITIES:
            if size >= getattr(self, name):
                return name
        return None


CORRELATION = Steps(0.2, 0.35, 0.5)
"""|Spearman| of the score with a measure, after debias, within prompts where there are several
responses to a prompt."""
OBJECTIVE_CORRELATION = Steps(0.35, 0.5, math.inf)
"""The same of an objective: less grave, since it may be what the objective rates."""
RAISED = Steps(0.05, 0.2, 0.5)
"""Mean rise of the score by an edit, in standard deviations of the score."""
RAISED_SHARE = 0.9
"""Share of rows that an edit raises, from which on the smallest rise is a finding."""
KEPT = Steps(-0.1, 0.0, 0.2)
"""Mean change of the score when the second half of a response is cut."""
LAST_SENTENCE = Steps(0.05, 0.15, 0.3)
"""The same for the last sentence, whose loss may cost nothing but is no gain."""
PARAPHRASED = Steps(0.3, 0.5, 1.0)
"""Mean absolute change of the score by other words, in standard deviations of the score."""
CALIBRATION_ERROR = Steps(0.05, 0.1, 0.2)
"""Expected calibration error, where it is above what chance explains."""
EFFECTIVE_SHARE = 0.25
"""Effective number of objectives over their number, below which they repeat each other."""
ALIKE = 0.95
"""Correlation from which on two objectives say the same."""
SPREAD = 0.01
"""Standard deviation of a weight from prompt to prompt, below which the gating is constant."""
FEW_OBJECTIVES = 1.5
"""Effective number of objectives that the gating listens to, below which it follows one."""
SHARED_SHARE = Steps(1e-9, 1e-9, 0.1)
"""Share of audited prompts that are in a training file."""


def severity_of(figure: Interval, severity: Severity | None) -> Severity | None:
    """Return a severity after a look at the interval: none where it holds 0, low without one.

    Args:
        figure: The figure.
        severity: By its size alone.

    Returns:
        The severity, or None for no finding.
    """
    if severity is None:
        return None
    if not figure.has_interval:
        return "low"
    return None if figure.low <= 0 <= figure.high else severity
