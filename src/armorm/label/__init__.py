"""Labelling: many candidates scored, ranked and written as preference data."""

from armorm.label.options import LabelOptions
from armorm.label.run import Labelling, label
from armorm.label.select import PairOptions, PairRule

__all__ = ["LabelOptions", "Labelling", "PairOptions", "PairRule", "label"]
