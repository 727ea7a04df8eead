"""Files and hubs to rows: readers, scales, splits, pairs from ratings, summaries; no tensors."""

from armorm.data.conversation import as_conversation
from armorm.data.derive import pairs_from_ratings
from armorm.data.drops import Drops
from armorm.data.read import (
    BadRows,
    read_conversations,
    read_pairs,
    read_prompts,
    read_rated,
)
from armorm.data.scales import (
    MIN_RATINGS,
    Scales,
    check_objectives,
    objectives_of,
    rating_matrix,
)
from armorm.data.source import DataSource, as_source
from armorm.data.splits import fold_of, folds_of, group_of, split_of
from armorm.data.summary import (
    Coverage,
    DataSummary,
    FileSummary,
    Lengths,
    SharedPrompts,
)
from armorm.data.tally import summarise

__all__ = [
    "MIN_RATINGS",
    "BadRows",
    "Coverage",
    "DataSource",
    "DataSummary",
    "Drops",
    "FileSummary",
    "Lengths",
    "Scales",
    "SharedPrompts",
    "as_conversation",
    "as_source",
    "check_objectives",
    "fold_of",
    "folds_of",
    "group_of",
    "objectives_of",
    "pairs_from_ratings",
    "rating_matrix",
    "read_conversations",
    "read_pairs",
    "read_prompts",
    "read_rated",
    "split_of",
    "summarise",
]
