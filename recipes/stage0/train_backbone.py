"""Train a Bradley-Terry backbone from preference pairs, to be used as a recipe's `backbone:`.

python recipes/stage0/train_backbone.py BACKBONE PAIRS FOLDER [--lora RANK] [--set NAME=VALUE ...]
Several GPUs: accelerate launch recipes/stage0/train_backbone.py ... (docs/trainers.md).
"""

# ruff: noqa: T201

import argparse
import json
import os

from armorm.data import Drops, as_source, read_pairs
from armorm.errors import ArmormError
from armorm.integrations.stage0 import train_backbone


def parse_setting(text: str) -> tuple[str, object]:
    """Split NAME=VALUE; a value that is no JSON is text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE; got {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


parser = argparse.ArgumentParser(description="Train a Bradley-Terry backbone with TRL.")
parser.add_argument("backbone", help="folder or hub id of a causal model with a chat template")
parser.add_argument("pairs", nargs="+", help="files, folders or hub: names of preference pairs")
parser.add_argument("folder", help="where the backbone is saved")
parser.add_argument("--lora", type=int, metavar="RANK", help="train an adapter and merge it")
parser.add_argument("--pad-token", help="a token of the vocabulary that ends no conversation")
parser.add_argument("--drop-bad-rows", action="store_true", help="count bad rows and go on")
parser.add_argument("--set", action="append", default=[], type=parse_setting, metavar="NAME=VALUE")
given = parser.parse_args()

drops = Drops()
try:
    pairs = read_pairs(
        [as_source(path) for path in given.pairs],
        bad_rows="drop" if given.drop_bad_rows else "stop",
        drops=drops,
    )
    found = train_backbone(
        given.backbone,
        pairs,
        given.folder,
        lora=given.lora,
        pad_token=given.pad_token,
        settings=dict(given.set),
    )
except (ArmormError, ValueError) as error:
    parser.exit(2, f"{error}\n")

if os.environ.get("RANK", "0") == "0":
    print(f"trained on {found.n_pairs:,} of {len(pairs):,} pairs in {found.n_steps:,} steps")
    for reason, n in found.dropped.items():
        print(f"left out {n:,} pairs: {reason}")
    if drops.total:
        print(drops.sentence(drops.total + len(pairs)))
    losses = [(entry["step"], entry["loss"]) for entry in found.history if "loss" in entry]
    if losses:
        print(f"loss {losses[0][1]:.4f} at step {losses[0][0]:g}, {losses[-1][1]:.4f} at the end")
    print(f"backbone: {found.folder}")
