"""Files of named tensors inside a bundle: written in one way, read with every check."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from armorm.errors import BundleError
from armorm.heads.gating import GatingNetwork
from armorm.storage import digest_file


def tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Return tensors in the safetensors format, float32 and contiguous.

    Args:
        tensors: Name -> tensor of any shape.

    Returns:
        The bytes of the file; the same for the same tensors.
    """
    return save({name: t.detach().cpu().float().contiguous() for name, t in tensors.items()})


def read_tensors(
    path: Path, digest: str, expected: Mapping[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """Read a file of tensors and check its bytes, names, shapes, dtypes and values.

    Args:
        path: The file.
        digest: SHA-256 that its bytes must have.
        expected: Name -> shape of every tensor that must be there, and no other.

    Returns:
        Name -> tensor, float32.

    Raises:
        BundleError: the file is missing, damaged or not safetensors; a tensor is missing,
            left over, misshapen, not float32 or not finite.
    """
    check_file(path, digest)
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise BundleError(f"{path}: not a safetensors file: {error}") from error
    for name, shape in expected.items():
        if name not in tensors:
            raise BundleError(f"{path}: the tensor {name!r} {shape} must be there; it is missing")
        _check_tensor(path, name, tensors[name], shape)
    for name in tensors:
        if name not in expected:
            raise BundleError(f"{path}: the tensor {name!r} is not part of a bundle")
    return tensors


def check_file(path: Path, digest: str) -> None:
    """Refuse a file of a bundle that is not byte for byte what the facts say.

    Args:
        path: The file.
        digest: SHA-256 that its bytes must have.

    Raises:
        BundleError: the file is missing, damaged or was changed.
    """
    check_there(path)
    if (found := digest_file(path)) != digest:
        raise BundleError(
            f"{path}: the SHA-256 must be {digest[:12]}…; it is {found[:12]}…: "
            "the file is damaged or was changed"
        )


def check_there(path: Path) -> None:
    """Refuse a bundle that lacks one of its files.

    Args:
        path: The file.

    Raises:
        BundleError: it is missing.
    """
    if not path.is_file():
        raise BundleError(
            f"{path.parent} has no {path.name}: not a bundle, or its save did not finish"
        )


def _check_tensor(path: Path, name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Raise unless a tensor is what the facts say."""
    found = tuple(tensor.shape)
    if found != shape:
        raise BundleError(f"{path}: the tensor {name!r} must have shape {shape}; got {found}")
    if tensor.dtype != torch.float32:
        dtype = str(tensor.dtype).removeprefix("torch.")
        raise BundleError(f"{path}: the tensor {name!r} must be float32; got {dtype}")
    if n_bad := int((~torch.isfinite(tensor)).sum()):
        raise BundleError(
            f"{path}: the tensor {name!r} must be finite; {n_bad} of {tensor.numel()} entries "
            "are not"
        )


def network_tensors(prefix: str, network: GatingNetwork) -> dict[str, Tensor]:
    """Return the tensors of a network under a common prefix.

    Args:
        prefix: Starts every name, dot included.
        network: The network.

    Returns:
        Name -> tensor.
    """
    return {prefix + name: value for name, value in network.state_dict().items()}


def network_shapes(prefix: str, network: GatingNetwork) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of a network.

    Args:
        prefix: As in `network_tensors`.
        network: The network.

    Returns:
        Name -> shape.
    """
    return {name: tuple(t.shape) for name, t in network_tensors(prefix, network).items()}


def fill_network(
    network: GatingNetwork, tensors: Mapping[str, Tensor], prefix: str
) -> GatingNetwork:
    """Give a network its tensors, ready to be applied.

    Args:
        network: Of the sizes that the tensors have; changed.
        tensors: Those of `network_tensors`, and perhaps others.
        prefix: As in `network_tensors`.

    Returns:
        The network, in eval mode, frozen.
    """
    state = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)
