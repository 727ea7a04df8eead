"""Gates that were killed in training, and the files that they go on from."""

import pytest
import torch

from armorm.heads.gating import GatingSettings
from armorm.train import gating_stage as module
from armorm.train.gating_stage import GateFile, gating_stage
from armorm.train.sets import GatePairs


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


PAIRS = GatePairs(
    normal(40, 5),
    normal(40, 3, seed=1) + 0.2,
    normal(40, 3, seed=2),
    torch.arange(40) % 4,
    torch.ones(40),
    torch.zeros(40, dtype=torch.bool),
)
SETTINGS = GatingSettings(hidden=(4,), max_steps=30, eval_every=2, patience=99, learning_rate=0.05)


class Killed(BaseException):
    """Stands for a kill."""


def stage(folder=None, stop=None):
    def tick(done, total, said):
        if said and stop is not None and (done, said.split("/")[0]) == stop:
            raise Killed

    how = {"used": range(4), "rounds": 2, "settings": SETTINGS}
    return gating_stage(PAIRS, **how, tick=tick, checkpoints=folder)


def same(a, b):
    return a.facts == b.facts and all(torch.equal(a.tensors[n], b.tensors[n]) for n in a.tensors)


@pytest.mark.parametrize("stop", [(0, "step 7"), (1, "step 29"), (2, "step 3")])
def test_killed_training_ends_with_the_same_bits(stop, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHECKPOINT_STEPS", 5)
    folder = tmp_path / "gates"
    with pytest.raises(Killed):
        stage(folder, stop)
    assert folder.exists()
    assert same(stage(folder), stage())
    assert not folder.exists()


def damaged_tensors(path, monkeypatch):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def other_threads(path, monkeypatch):
    monkeypatch.setattr(module, "_made", lambda: ["0", "0", "7"])


def half_a_file(path, monkeypatch):
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize("change", [damaged_tensors, other_threads, half_a_file])
def test_checkpoint_that_cannot_be_trusted_is_passed_over(change, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHECKPOINT_STEPS", 5)
    folder = tmp_path / "gates"
    with pytest.raises(Killed):
        stage(folder, (0, "step 12"))
    file = GateFile(folder / "0.safetensors")
    assert file.load().step == 10
    change(file.path, monkeypatch)
    assert file.load() is None
    assert same(stage(folder), stage())


def test_no_file_is_no_checkpoint(tmp_path):
    assert GateFile(tmp_path / "0.safetensors").load() is None
