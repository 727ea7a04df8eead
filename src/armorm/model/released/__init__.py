"""The layout of the released ArmoRM checkpoint, read natively: no code of a repository is run."""

from armorm.model.released.checkpoint import read_released_ridge
from armorm.model.released.config import RELEASED_OBJECTIVES, is_released_layout
from armorm.model.released.heads import bundle_from_heads, released_bundle

__all__ = [
    "RELEASED_OBJECTIVES",
    "bundle_from_heads",
    "is_released_layout",
    "read_released_ridge",
    "released_bundle",
]
