"""Published data sets: one converter each, from their own columns to armorm's rows."""

from armorm.data.sources.convert import Converted, convert_set, published_source
from armorm.data.sources.interface import Convert, PublishedSet, Row
from armorm.data.sources.registry import published_set, published_sets

__all__ = [
    "Convert",
    "Converted",
    "PublishedSet",
    "Row",
    "convert_set",
    "published_set",
    "published_sets",
    "published_source",
]
