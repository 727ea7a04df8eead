"""From conversations to features of a frozen backbone, on disk."""

from armorm.features.backbone import describe_backbone, load_backbone
from armorm.features.blocks import Shard
from armorm.features.extract import compute_features, extract_features, feature_fingerprint
from armorm.features.feature_set import DroppedRow, FeatureSet, StoredFeatures
from armorm.features.interface import BLOCKS, Backbone, FeatureOptions, Tokenized, Unused
from armorm.features.store import iter_features, load_features, open_features

__all__ = [
    "BLOCKS",
    "Backbone",
    "DroppedRow",
    "FeatureOptions",
    "FeatureSet",
    "Shard",
    "StoredFeatures",
    "Tokenized",
    "Unused",
    "compute_features",
    "describe_backbone",
    "extract_features",
    "feature_fingerprint",
    "iter_features",
    "load_backbone",
    "load_features",
    "open_features",
]
