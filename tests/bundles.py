"""Bundles with random heads of a given backbone, for tests of what stands on a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from armorm.features.backbone import load_backbone
from armorm.features.interface import Backbone, FeatureOptions
from armorm.heads.gating import GatingNetwork
from armorm.model.bundle import Baselines, Bundle, save_bundle
from armorm.storage import digest_file, fingerprint, json_bytes
from armorm.types import Scale
from fakes import save_tiny_decoder, save_tiny_encoder

OBJECTIVES = ("helpfulness", "honesty", "verbosity", "is_safe")
NUISANCE = OBJECTIVES.index("verbosity")
SCALES = {
    "general": {name: Scale(0, 4) for name in ("helpfulness", "honesty", "verbosity")},
    "safety": {"is_safe": Scale(0, 1)},
}
FACTS = {
    "seed": 7,
    "protocol": "5-fold cross-validation grouped by prompt",
    "software": {"armorm": "0.1.0", "torch": "2.13.0"},
    "threads": 2,
    "data": {
        "rated": 1234,
        "pairs": 56,
        "prompts": 400,
        "sources": {
            "general": {"rated": 1000, "pairs": 56},
            "safety": {"rated": 234, "pairs": 0},
        },
        "dropped": {"a.jsonl": {"empty response": 3}},
        "derived_pairs": 0,
    },
    "objectives": {
        "helpfulness": {"n": 1000, "spearman": 0.614, "r2": 0.327, "alpha": 1.0},
        "honesty": {"n": 1000, "spearman": 0.25, "r2": None, "alpha": 10.0},
        "verbosity": {"n": 1000, "spearman": 0.93, "r2": 0.87, "alpha": 1.0},
    },
    "accuracy": {"gated": 0.7321, "uniform mean": 0.6875},
}


def make_bundle(
    backbone: dict, *, seed: int = 0, baselines: bool | Baselines = True, **changes
) -> Bundle:
    """A bundle with random heads: debias of `verbosity`, a gating that depends on the prompt.

    `baselines`: random ones, none, or those given.
    """
    k, d, dp = len(OBJECTIVES), backbone["response_width"], backbone["prompt_width"]
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=draw)

    debias = torch.eye(k)
    debias[NUISANCE] = torch.tensor([-0.4, -0.1, 0.0, 0.2])
    sizes = {"hidden": (6,), "temperature": 0.5}
    parts = {
        "name": "tiny",
        "objectives": OBJECTIVES,
        "nuisances": (NUISANCE,),
        "scales": SCALES,
        "weight": normal(k, d) / d**0.5,
        "bias": normal(k),
        "debias": debias,
        "gating": GatingNetwork(dp, k, masked=(NUISANCE,), seed=seed, **sizes).eval(),
        "beta": 4.0,
        "backbone": backbone,
        "facts": FACTS,
        "baselines": Baselines(
            GatingNetwork(dp, k, seed=seed + 1, **sizes).eval(), normal(k).abs(), normal(d)
        )
        if baselines is True
        else baselines or None,
    }
    return Bundle(**(parts | changes))


def encoder_backbone(folder: Path, **options) -> Backbone:
    """A tiny encoder with random weights, loaded."""
    save_tiny_encoder(folder)
    return load_backbone(str(folder), device="cpu", options=FeatureOptions(**options))


def decoder_backbone(folder: Path, family: str = "llama3", **options) -> Backbone:
    """A tiny decoder with random weights, loaded."""
    save_tiny_decoder(folder, family)
    return load_backbone(str(folder), device="cpu", options=FeatureOptions(**options))


def saved(folder: Path, bundle: Bundle) -> Path:
    """Save a bundle and return its folder."""
    save_bundle(bundle, folder, card="# tiny\n")
    return folder


def rewrite_facts(folder: Path, **changes) -> None:
    """Change facts of a saved bundle so that every digest agrees: damage that none reports."""
    path = folder / "bundle.json"
    facts = json.loads(path.read_bytes()) | changes
    facts.pop("digest")
    facts = {name: value for name, value in facts.items() if value is not ...}
    path.write_bytes(json_bytes(facts | {"digest": fingerprint(facts)}))


def rewrite_tensors(folder: Path, change, name: str = "heads.safetensors") -> None:
    """Change the tensors of a saved bundle so that every digest agrees."""
    path = folder / name
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    files = json.loads((folder / "bundle.json").read_bytes())["files"]
    rewrite_facts(folder, files=files | {name: digest_file(path)})
