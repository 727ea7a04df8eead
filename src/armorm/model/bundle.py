"""A reward model's heads and facts on disk: one folder, whole or refused.

A bundle is `bundle.json` (facts, with its own digest), `heads.safetensors` and a model
card; baselines and the statistics of the rated rows are optional. It holds no time and no
path of the machine that wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from armorm.errors import BundleError
from armorm.heads.checks import check_finite, check_indices, check_shape
from armorm.heads.gating import GatingNetwork
from armorm.heads.statistics import Statistics
from armorm.model.statistics_file import StoredStatistics, write_statistics
from armorm.model.tensors import (
    check_there,
    fill_network,
    network_shapes,
    network_tensors,
    read_tensors,
    tensor_bytes,
)
from armorm.storage import (
    check_writable,
    digest_file,
    fingerprint,
    json_bytes,
    storage_errors,
    whole_folder,
)
from armorm.types import Scale

SCHEMA = 1
"""Version of the bundle's layout; a newer one is refused."""
FACTS = "bundle.json"
HEADS = "heads.safetensors"
BASELINES = "baselines.safetensors"
STATISTICS = "statistics.safetensors"
CARD = "README.md"

_GATING = "gating."
_PLAIN = "gating_without_debias."

Scales = Mapping[str, Mapping[str, Scale]]


@dataclass(frozen=True, eq=False)
class Baselines:
    """What the gated model was held against, kept so that new rows can be judged alike."""

    gating_without_debias: GatingNetwork
    """Trained on the raw objective scores; of the sizes of the gating, nothing masked but the
    objectives that are measured from the text."""
    fixed_weights: Tensor | None = None
    """Best fixed non-negative weights on debiased scores, shape (k,); None without pairs."""
    bradley_terry: Tensor | None = None
    """Black-box head on response features, shape (d,); None without pairs."""

    def __post_init__(self) -> None:
        """Check that both heads fitted on pairs are there, or none."""
        if (self.fixed_weights is None) != (self.bradley_terry is None):
            raise ValueError("`fixed_weights` and `bradley_terry` must both be given, or neither")


@dataclass(frozen=True, eq=False)
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
    measured: tuple[str, ...] = ()
    """Objectives that nobody rated: measured from the text by `armorm.data.text_measures`, to be
    taken out as nuisances."""
    statistics: Statistics | StoredStatistics | None = None
    """An optional part: all that the ridge heads need of the rated rows, by source, so that
    sources and objectives come and go without the features of the others. It may be larger
    than everything else: of a loaded bundle it stays on disk until `load_statistics`."""

    def __post_init__(self) -> None:
        """Check that the heads fit each other, the objectives and the backbone.

        Raises:
            ValueError: objective names that are not distinct; a head of another shape or
                with entries that are not finite; a nuisance or a measured name that is no
                objective; statistics of other objectives or of another feature width.
        """
        k, d = len(self.objectives), self.backbone["response_width"]
        if not k or len(set(self.objectives)) < k:
            raise ValueError(f"`objectives` must be distinct names; got {self.objectives}")
        check_indices("nuisances", self.nuisances, k)
        for name in self.measured:
            if name not in self.objectives:
                raise ValueError(f"`measured` must name objectives; {name!r} is none")
        check_shape("weight", self.weight, "k d", k=k, d=d)
        check_shape("bias", self.bias, "k", k=k)
        check_shape("debias", self.debias, "k k", k=k)
        for name in ("weight", "bias", "debias"):
            check_finite(name, getattr(self, name))
        self._check_gating("gating", self.gating)
        if (sums := self.statistics) is not None and (sums.objectives, sums.d) != (
            self.objectives,
            d,
        ):
            raise ValueError(
                f"`statistics` must be of the objectives {self.objectives} and width {d}; they "
                f"are of {sums.objectives} and width {sums.d}"
            )
        if (kept := self.baselines) is None:
            return
        self._check_gating("baselines.gating_without_debias", kept.gating_without_debias)
        if kept.fixed_weights is not None and kept.bradley_terry is not None:
            check_shape("baselines.fixed_weights", kept.fixed_weights, "k", k=k)
            check_shape("baselines.bradley_terry", kept.bradley_terry, "d", d=d)

    def _check_gating(self, name: str, network: GatingNetwork) -> None:
        """Raise unless a network has the sizes that the facts of the bundle state."""
        gating = self.gating
        wanted = (self.backbone["prompt_width"], len(self.objectives), gating.hidden)
        found = (network.in_features, network.n_objectives, network.hidden)
        if found != wanted:
            raise ValueError(
                f"`{name}` must map {wanted[0]} features through {wanted[2]} to {wanted[1]} "
                f"objectives; it maps {found[0]} through {found[2]} to {found[1]}"
            )
        if network.temperature != gating.temperature:
            raise ValueError(
                f"`{name}` must have the temperature of the gating, {gating.temperature:g}; "
                f"got {network.temperature:g}"
            )


def save_bundle(bundle: Bundle, folder: Path, *, card: str) -> None:
    """Write a bundle; an unfinished save leaves nothing that looks like a bundle.

    A save that fails leaves an older bundle of that name as it was.

    Args:
        bundle: What to save.
        folder: The folder to make; a bundle of that name is replaced.
        card: Text of the model card.

    Raises:
        BundleError: the folder holds files that are not a bundle's; statistics that are to be
            copied from another bundle are gone or damaged.
        StorageError: the disk is full or cannot be written.
    """
    check_bundle_folder(folder)
    tensors = {
        "ridge.weight": bundle.weight,
        "ridge.bias": bundle.bias,
        "debias.matrix": bundle.debias,
        **network_tensors(_GATING, bundle.gating),
    }
    with whole_folder(folder) as part:
        (part / HEADS).write_bytes(tensor_bytes(tensors))
        if bundle.baselines is not None:
            (part / BASELINES).write_bytes(tensor_bytes(_baseline_tensors(bundle.baselines)))
        if isinstance(bundle.statistics, StoredStatistics):
            bundle.statistics.copy_to(part / STATISTICS)
        elif bundle.statistics is not None:
            write_statistics(part / STATISTICS, bundle.statistics)
        files = {path.name: digest_file(path) for path in sorted(part.iterdir())}
        (part / CARD).write_text(card, encoding="utf-8")
        # Through JSON and back: the digest is of what a reader will see.
        facts = json.loads(json_bytes(_facts(bundle) | {"files": files}))
        (part / FACTS).write_bytes(json_bytes(facts | {"digest": fingerprint(facts)}))


def check_bundle_folder(folder: Path) -> None:
    """Refuse a folder that cannot be written, or holds more than a bundle.

    Args:
        folder: Where a bundle is to be saved; need not exist.

    Raises:
        BundleError: it holds files that are not a bundle's.
        StorageError: it is a file, cannot be read, or cannot be written.
    """
    if not folder.exists():
        check_writable(folder / FACTS)
        return
    with storage_errors(folder):  # a file is not replaced either
        own = {FACTS, HEADS, BASELINES, STATISTICS, CARD}
        others = {path.name for path in folder.iterdir()} - own
    if others:
        raise BundleError(
            f"{folder}: a bundle replaces the whole folder; this one holds other files, "
            f"{min(others)!r} among them"
        )
    check_writable(folder / FACTS)


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle and check it byte for byte; the model card is free to be edited.

    Statistics of rated rows are looked for and not read: `load_statistics` does, and checks
    them then.

    Args:
        folder: A folder that `save_bundle` wrote.

    Returns:
        The bundle.

    Raises:
        BundleError: the folder or one of its files is missing; a digest differs; the
            schema is newer than this version reads; tensors are missing, left over,
            misshapen or not finite; the facts do not describe a bundle.
    """
    facts = _read_facts(folder)
    try:
        return _build(folder, facts)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(
            f"{folder / FACTS}: the facts do not describe a bundle: {error!r}"
        ) from error


def load_statistics(bundle: Bundle) -> Statistics | None:
    """Give the statistics of a bundle, read and checked where they are still on disk.

    Args:
        bundle: The bundle.

    Returns:
        The statistics; None where the bundle has none.

    Raises:
        BundleError: the file is gone, damaged, or not of this bundle.
    """
    kept = bundle.statistics
    return kept.load() if isinstance(kept, StoredStatistics) else kept


def _build(folder: Path, facts: Mapping[str, Any]) -> Bundle:
    """A bundle from its facts and its files of tensors."""
    k, d = len(facts["objectives"]), facts["backbone"]["response_width"]
    gating = _empty_gating(facts, facts["gating"]["masked"])
    expected = {"ridge.weight": (k, d), "ridge.bias": (k,), "debias.matrix": (k, k)}
    expected |= network_shapes(_GATING, gating)
    tensors = read_tensors(folder / HEADS, facts["files"][HEADS], expected)
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
        gating=fill_network(gating, tensors, _GATING),
        beta=facts["beta"],
        backbone=facts["backbone"],
        score_scale=facts["score_scale"],
        measured=tuple(facts.get("measured", ())),
        facts=facts["training"],
        baselines=_read_baselines(folder, facts) if BASELINES in facts["files"] else None,
        statistics=_stored_statistics(folder, facts),
    )


def _stored_statistics(folder: Path, facts: Mapping[str, Any]) -> StoredStatistics | None:
    """Where the statistics are, if the bundle has them."""
    if (digest := facts["files"].get(STATISTICS)) is None:
        return None
    check_there(folder / STATISTICS)
    objectives, width = tuple(facts["objectives"]), facts["backbone"]["response_width"]
    return StoredStatistics(folder / STATISTICS, digest, objectives, width)


def scales_as_json(scales: Scales) -> dict[str, dict[str, dict[str, float | None]]]:
    """Return scales as `bundle.json` and the config of an export hold them.

    Args:
        scales: Source -> objective -> scale.

    Returns:
        The same with each scale as a mapping, whose entries `Scale` takes.
    """
    return {source: {name: asdict(s) for name, s in of.items()} for source, of in scales.items()}


def _facts(bundle: Bundle) -> dict[str, Any]:
    """The facts of a bundle as JSON."""
    gating = bundle.gating
    # Only where there are some: bundles without keep the bytes that they have.
    measured = {"measured": list(bundle.measured)} if bundle.measured else {}
    return {
        **measured,
        "format": "armorm-bundle",
        "schema": SCHEMA,
        "name": bundle.name,
        "objectives": list(bundle.objectives),
        "nuisances": [bundle.objectives[i] for i in bundle.nuisances],
        "scales": scales_as_json(bundle.scales),
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
    """Parse `bundle.json` and check it byte for byte."""
    path = folder / FACTS
    try:
        content = path.read_bytes() if path.is_file() else None
        exists = folder.exists()
    except OSError as error:
        raise BundleError(f"{folder}: cannot be read: {error.strerror}") from error
    if not exists:
        raise BundleError(f"{folder}: no such bundle")
    if content is None:
        inner = folder / "bundle"
        hint = f"; did you mean {str(inner)!r}?" if (inner / FACTS).is_file() else ""
        raise BundleError(
            f"{folder} has no {FACTS}: not a bundle, or its save did not finish{hint}"
        )
    try:
        facts = json.loads(content)
        schema = facts["schema"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(f"{path}: not the facts of a bundle: {error!r}") from error
    if isinstance(schema, int) and schema > SCHEMA:
        raise BundleError(
            f"{path}: schema {schema} is newer than this version of armorm reads ({SCHEMA}); "
            "upgrade armorm"
        )
    claimed = facts.pop("digest", None)
    try:
        found = fingerprint(facts)
        same = json_bytes(facts | {"digest": claimed}) == content
    except (ValueError, RecursionError) as error:  # NaN, half a surrogate pair, too deep
        raise BundleError(f"{path}: not the facts of a bundle: {error!r}") from error
    if found != claimed:
        raise BundleError(
            f"{path}: the digest must be {str(claimed)[:12]}…; it is {found[:12]}…: "
            "the file is damaged or was changed"
        )
    if not same:  # white space, or a number spelled another way
        raise BundleError(f"{path}: the bytes must be as armorm writes them: the file was changed")
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


def _read_baselines(folder: Path, facts: Mapping[str, Any]) -> Baselines:
    """Read the optional part of a bundle."""
    k, d = len(facts["objectives"]), facts["backbone"]["response_width"]
    gating = _empty_gating(facts, [facts["objectives"].index(n) for n in facts.get("measured", ())])
    expected: dict[str, tuple[int, ...]] = network_shapes(_PLAIN, gating)
    if facts["fitted_on_pairs"]:
        expected |= {"fixed_weights": (k,), "bradley_terry": (d,)}
    tensors = read_tensors(folder / BASELINES, facts["files"][BASELINES], expected)
    return Baselines(
        fill_network(gating, tensors, _PLAIN),
        tensors.get("fixed_weights"),
        tensors.get("bradley_terry"),
    )


def _baseline_tensors(baselines: Baselines) -> dict[str, Tensor]:
    """The tensors of the optional part."""
    tensors = network_tensors(_PLAIN, baselines.gating_without_debias)
    if baselines.fixed_weights is not None and baselines.bradley_terry is not None:
        tensors |= {
            "fixed_weights": baselines.fixed_weights,
            "bradley_terry": baselines.bradley_terry,
        }
    return tensors
