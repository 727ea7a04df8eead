"""Files of the published training scripts: read exactly, or refused with their place."""

import argparse
import itertools
import pickle

import pytest
import torch
from torch import nn

from armorm.errors import BundleError
from armorm.model.published_heads import (
    looks_untrained,
    read_published_gate,
    read_published_ridge,
)

K, D, HIDDEN = 3, 8, 5

OLD = {"_use_new_zipfile_serialization": False}  # the format of old versions of torch


class Gate(nn.Module):
    """A network with the state of the published one."""

    def __init__(self):
        super().__init__()
        widths = (D, HIDDEN, HIDDEN, K)
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in itertools.pairwise(widths))
        self.logit_scale = nn.Parameter(torch.tensor([1.5]))


@pytest.fixture
def gate(tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(Gate().state_dict(), tmp_path / "gate.pt")
    return tmp_path / "gate.pt"


def rewritten(path, change):
    """The file with its tensors changed."""
    tensors = dict(torch.load(path, weights_only=True))
    change(tensors)
    torch.save(tensors, path)
    return path


def test_ridge_is_read_in_float32(tmp_path):
    weight = torch.arange(K * D, dtype=torch.float64).reshape(K, D)
    torch.save({"weight": weight}, tmp_path / "w.pt")
    found = read_published_ridge(tmp_path / "w.pt")
    assert found.dtype == torch.float32
    assert torch.equal(found, weight.float())


def test_ridge_in_eight_bits_is_read_in_float32(tmp_path):
    torch.save({"weight": torch.ones(K, D).to(torch.float8_e4m3fn)}, tmp_path / "w.pt")
    assert torch.equal(read_published_ridge(tmp_path / "w.pt"), torch.ones(K, D))


def test_gate_is_read_as_it_is(gate):
    found, state = read_published_gate(gate), torch.load(gate, weights_only=True)
    assert found["logit_scale"].tolist() == [1.5]
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_gate_that_never_learned_is_told_from_one_that_did(gate):
    assert looks_untrained(read_published_gate(gate))
    rewritten(gate, lambda tensors: tensors["layers.1.bias"].add_(1.0))
    assert not looks_untrained(read_published_gate(gate))


class Trap:
    """Loading this would run code."""

    def __reduce__(self):
        return (print, ("code was run",))


@pytest.mark.parametrize("read", [read_published_ridge, read_published_gate])
def test_file_that_would_run_code_is_refused_and_does_not_run(tmp_path, read, capsys):
    torch.save({"weight": torch.ones(K, D), "extra": Trap()}, tmp_path / "w.pt")
    with pytest.raises(BundleError, match=r"w\.pt: must hold tensors alone; it holds other obj"):
        read(tmp_path / "w.pt")
    (tmp_path / "p.pt").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(BundleError, match=r"p\.pt: must hold tensors alone|p\.pt: must be a file"):
        read(tmp_path / "p.pt")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weight": torch.ones(K, D), "alpha": 1.0}, "must hold tensors alone; 'alpha' is a float"),
        ({"weight": [1.0]}, "must hold tensors alone; 'weight' is a list"),
        ({1: torch.ones(2)}, "must hold tensors alone; 1 is a Tensor"),
        (torch.ones(K, D), "must hold named tensors; got Tensor"),
        ({}, "must hold named tensors; got nothing"),
        ({"bias": torch.ones(K)}, "must hold one tensor, 'weight'; got 'bias'"),
        ({"weight": torch.ones(K)}, r"'weight' must have shape \(k, d\); got \(3,\)"),
        ({"weight": torch.ones(0, D)}, r"'weight' must have shape \(k, d\); got \(0, 8\)"),
        ({"weight": torch.ones(K, D).long()}, "'weight' must be floating point; got torch.int64"),
        (
            {"weight": torch.full((K, D), torch.nan)},
            "'weight' must be finite; 24 of 24 entries are not",
        ),
        # Beyond float32 an entry was once turned into infinity without a word.
        (
            {"weight": torch.full((K, D), 1e300, dtype=torch.float64)},
            "'weight' must be finite; 24 of 24 entries are not",
        ),
        # These once left a traceback.
        ({"weight": torch.ones(K, D).to_sparse()}, "'weight' must be a plain tensor; it is sparse"),
        ({"weight": torch.ones(K, D, device="meta")}, "must be a plain tensor; it is .* without"),
        ({"weight": argparse.Namespace()}, "it holds other objects, which are never loaded"),
    ],
)
def test_ridge_of_another_kind_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(BundleError, match=r"w\.pt: .*" + message):
        read_published_ridge(tmp_path / "w.pt")


def test_gate_that_is_not_finite_is_refused(gate):
    rewritten(gate, lambda tensors: tensors["layers.0.weight"].fill_(torch.inf))
    message = r"gate\.pt: 'layers.0.weight' must be finite; 40 of 40 entries are not"
    with pytest.raises(BundleError, match=message):
        read_published_gate(gate)


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(BundleError, match=r"none\.pt: there is no such file"):
        read_published_ridge(tmp_path / "none.pt")
    torch.save({"weight": torch.ones(K, D)}, tmp_path / "w.pt")
    content = (tmp_path / "w.pt").read_bytes()
    torch.save({"weight": torch.ones(K, D)}, tmp_path / "old.pt", **OLD)
    old = (tmp_path / "old.pt").read_bytes()
    halves = (content[: len(content) // 2], old[: len(old) // 2])
    for damaged in (b"", b"not a file of tensors", *halves, *(old[:n] for n in range(0, 200, 7))):
        (tmp_path / "w.pt").write_bytes(damaged)
        with pytest.raises(BundleError, match=r"w\.pt: must "):
            read_published_ridge(tmp_path / "w.pt")
