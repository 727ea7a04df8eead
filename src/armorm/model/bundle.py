"""A reward model's heads and facts on disk: one folder, whole or refused.

A bundle is `bundle.json` (facts, with its own digest), `heads.safetensors` and a model
card. It holds no time and no path of the machine that wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from armorm.errors import BundleError
from armorm.heads.gating import GatingNetwork
from armorm.storage import digest_file, fingerprint, whole_folder, write_bytes, write_json
from armorm.types import Scale

BASELINES = "baselines.safetensors"
SCHEMA = 1
"""Version of the bundle's layout; a newer one is refused."""
FACTS = "bundle.json"
HEADS = "heads.safetensors"
CARD = "README.md"

_PLAIN = "gating_without_debias."

Scales = Mapping[str, Mapping[str, Scale]]


@dataclass(frozen=True)
class Baselines:
    """What the gated model was held against, kept so that new rows can be judged alike."""

    gating_without_debias: GatingNetwork
    """Trained on the raw objective scores."""
    fixed_weights: Tensor | None = None
    """Best fixed non-negative weights on debiased scores, shape (k,); None without pairs."""
    bradley_terry: Tensor | None = None
    """Black-box head on response features, shape (d,); None without pairs."""


@dataclass(frozen=True)
class Bundle:
    """Everything of a reward model but the backbone."""

    name: str
    """Name of the model."""
    objectives: tuple[str, ...]
    """Objective names, in the order of axis k."""
    nuisances: tuple[int, ...]
    """Positions of the objectives that the debias step removes."""
    scales: Scales
    """Source -> objective -> scale of the ratings that the heads were fitted on."""
    weight: Tensor
    """Ridge weight, shape (k, d), float32."""
    bias: Tensor
    """Ridge bias, shape (k,), float32."""
    debias: Tensor
    """Debias matrix, shape (k, k), float32; row vectors: q = r @ debias."""
    gating: GatingNetwork
    """Prompt feature -> weights of the objectives."""
    beta: float
    """Steepness of the preference probability sigmoid(beta * margin); not part of the score."""
    backbone: Mapping[str, Any]
    """Facts of the backbone: name, revision, digest, widths, how features are made."""
    score_scale: float = 1.0
    """Factor of the score; 1 for our bundles."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the training run knows: counts, alphas, figures; JSON."""
    baselines: Baselines | None = None
    """An optional part; scoring does not need it."""


def save_bundle(bundle: Bundle, folder: Path, *, card: str) -> None:
    """Write a bundle; an unfinished save leaves nothing that looks like a bundle.

    Args:
        bundle: What to save.
        folder: The folder to make; one of that name is replaced.
        card: Text of the model card.
    """
    tensors = {
        "ridge.weight": bundle.weight,
        "ridge.bias": bundle.bias,
        "debias.matrix": bundle.debias,
        **_prefixed("gating.", bundle.gating),
    }
    with whole_folder(folder) as part:
        write_bytes(part / HEADS, save(_contiguous(tensors)))
        if bundle.baselines is not None:
            write_bytes(part / BASELINES, save(_contiguous(_baseline_tensors(bundle.baselines))))
        files = {path.name: digest_file(path) for path in sorted(part.iterdir())}
        write_bytes(part / CARD, card.encode())
        facts = _facts(bundle) | {"files": files}
        write_json(part / FACTS, facts | {"digest": fingerprint(facts)})


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle and check it byte for byte.

    Args:
        folder: A folder that `save_bundle` wrote.

    Returns:
        The bundle.

    Raises:
        BundleError: the folder or one of its files is missing; a digest differs; the
            schema is newer than this version reads; tensors are missing, left over or
            misshapen.
    """
    facts = _read_facts(folder)
    k, d = len(facts["objectives"]), facts["backbone"]["response_width"]
    gating = _empty_gating(facts, facts["gating"]["masked"])
    expected = {"ridge.weight": (k, d), "ridge.bias": (k,), "debias.matrix": (k, k)}
    tensors = _read_tensors(folder, HEADS, facts, expected | _shapes("gating.", gating))
    return Bundle(
        name=facts["name"],
        objectives=tuple(facts["objectives"]),
        nuisances=tuple(facts["objectives"].index(name) for name in facts["nuisances"]),
        scales={
            source: {name: Scale(**scale) for name, scale in scales.items()}
            for source, scales in facts["scales"].items()
        },
        weight=tensors["ridge.weight"],
        bias=tensors["ridge.bias"],
        debias=tensors["debias.matrix"],
        gating=_filled(gating, tensors, "gating."),
        beta=facts["beta"],
        backbone=facts["backbone"],
        score_scale=facts["score_scale"],
        facts=facts["training"],
        baselines=_read_baselines(folder, facts) if BASELINES in facts["files"] else None,
    )


def _facts(bundle: Bundle) -> dict[str, Any]:
    """The facts of a bundle as JSON."""
    gating = bundle.gating
    return {
        "format": "armorm-bundle",
        "schema": SCHEMA,
        "name": bundle.name,
        "objectives": list(bundle.objectives),
        "nuisances": [bundle.objectives[i] for i in bundle.nuisances],
        "scales": {
            source: {
                name: {"low": s.low, "high": s.high, "offset": s.offset, "divisor": s.divisor}
                for name, s in scales.items()
            }
            for source, scales in bundle.scales.items()
        },
        "score_scale": bundle.score_scale,
        "beta": bundle.beta,
        "gating": {
            "in_features": gating.in_features,
            "hidden": list(gating.hidden),
            "temperature": gating.temperature,
            "masked": list(gating.masked),
        },
        "backbone": dict(bundle.backbone),
        "fitted_on_pairs": bundle.baselines is not None
        and bundle.baselines.bradley_terry is not None,
        "training": dict(bundle.facts),
    }


def _read_facts(folder: Path) -> dict[str, Any]:
    """Parse and check `bundle.json`."""
    path = folder / FACTS
    if not folder.exists():
        raise BundleError(f"{folder}: no such bundle")
    if not path.is_file():
        raise BundleError(f"{folder} has no {FACTS}: not a bundle, or its save did not finish")
    try:
        facts = json.loads(path.read_bytes())
        schema = facts["schema"]
        claimed = facts.pop("digest")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path}: not the facts of a bundle: {error!r}") from error
    if isinstance(schema, int) and schema > SCHEMA:
        raise BundleError(
            f"{path}: schema {schema} is newer than this version of armorm reads ({SCHEMA}); "
            "upgrade armorm"
        )
    if (found := fingerprint(facts)) != claimed:
        raise BundleError(
            f"{path}: the digest must be {str(claimed)[:12]}…; it is {found[:12]}…: "
            "the file is damaged or was changed"
        )
    return facts


def _empty_gating(facts: Mapping[str, Any], masked: Sequence[int]) -> GatingNetwork:
    """A network of the size that the facts describe."""
    gating = facts["gating"]
    return GatingNetwork(
        gating["in_features"],
        len(facts["objectives"]),
        hidden=tuple(gating["hidden"]),
        temperature=gating["temperature"],
        masked=tuple(masked),
    )


def _read_tensors(
    folder: Path, name: str, facts: Mapping[str, Any], expected: Mapping[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """Read a file of tensors and check its bytes, names, shapes and values."""
    path = folder / name
    if not path.is_file():
        raise BundleError(f"{folder} has no {name}: not a bundle, or its save did not finish")
    if (digest := digest_file(path)) != facts["files"][name]:
        raise BundleError(
            f"{path}: the SHA-256 must be {facts['files'][name][:12]}…; it is {digest[:12]}…: "
            "the file is damaged or was changed"
        )
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise BundleError(f"{path}: not a safetensors file: {error}") from error
    for tensor, shape in expected.items():
        if tensor not in tensors:
            raise BundleError(f"{path}: the tensor {tensor!r} {shape} must be there; it is missing")
        found = tuple(tensors[tensor].shape)
        if found != shape:
            raise BundleError(f"{path}: the tensor {tensor!r} must have shape {shape}; got {found}")
        if not torch.isfinite(tensors[tensor]).all():
            raise BundleError(f"{path}: the tensor {tensor!r} must be finite; it is not")
    for tensor in tensors:
        if tensor not in expected:
            raise BundleError(f"{path}: the tensor {tensor!r} is not part of a bundle")
    return tensors


def _read_baselines(folder: Path, facts: Mapping[str, Any]) -> Baselines:
    """Read the optional part of a bundle."""
    k, d = len(facts["objectives"]), facts["backbone"]["response_width"]
    gating = _empty_gating(facts, ())
    expected = _shapes(_PLAIN, gating)
    if facts["fitted_on_pairs"]:
        expected |= {"fixed_weights": (k,), "bradley_terry": (d,)}
    tensors = _read_tensors(folder, BASELINES, facts, expected)
    return Baselines(
        _filled(gating, tensors, _PLAIN),
        tensors.get("fixed_weights"),
        tensors.get("bradley_terry"),
    )


def _baseline_tensors(baselines: Baselines) -> dict[str, Tensor]:
    """The tensors of the optional part."""
    tensors = _prefixed(_PLAIN, baselines.gating_without_debias)
    if baselines.fixed_weights is not None and baselines.bradley_terry is not None:
        tensors |= {
            "fixed_weights": baselines.fixed_weights,
            "bradley_terry": baselines.bradley_terry,
        }
    return tensors


def _prefixed(prefix: str, network: GatingNetwork) -> dict[str, Tensor]:
    """The tensors of a network under a common prefix."""
    return {prefix + name: value for name, value in network.state_dict().items()}


def _shapes(prefix: str, network: GatingNetwork) -> dict[str, tuple[int, ...]]:
    """Their shapes."""
    return {name: tuple(value.shape) for name, value in _prefixed(prefix, network).items()}


def _filled(network: GatingNetwork, tensors: Mapping[str, Tensor], prefix: str) -> GatingNetwork:
    """A network with its tensors, ready to be applied."""
    state = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors as safetensors wants them."""
    return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
