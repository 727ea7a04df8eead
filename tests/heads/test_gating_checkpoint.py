import json
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from armorm.heads.gating import (
    GatingCheckpoint,
    GatingCheckpoints,
    GatingRecord,
    GatingSettings,
    fit_gating,
)

SMALL = GatingSettings(
    hidden=(16,), temperature=1.0, learning_rate=1e-2, batch_size=32, max_steps=40, eval_every=5
)


class Kept:
    """Checkpoints as a file would keep them: through names, bytes and JSON."""

    def __init__(self, every=7):
        self.every, self.saved, self.all = every, None, []

    def load(self):
        if self.saved is None:
            return None
        tensors, header = self.saved
        return GatingCheckpoint.from_state(
            {name: value.clone() for name, value in tensors.items()}, header
        )

    def save(self, checkpoint):
        self.saved = checkpoint.state()
        self.all.append(checkpoint)


class Killed(Exception):
    pass


def kill_at(number):
    def progress(step, n_steps, record):
        if step == number:
            raise Killed

    return progress


def planted(seed, p, *, k=4, d=6):
    generator = torch.Generator().manual_seed(seed)
    prompt = torch.randn(p, d, generator=generator)
    a, b = torch.rand(2, p, k, generator=generator)
    swap = (a < b)[torch.arange(p), prompt[:, :k].argmax(-1)]
    return prompt, torch.where(swap[:, None], b, a), torch.where(swap[:, None], a, b)


def assert_same(first, second):
    ours, theirs = first.network.state_dict(), second.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert str(first.history) == str(second.history)
    for name in ("beta", "best_step", "validation_loss", "validation_accuracy"):
        assert str(getattr(first, name)) == str(getattr(second, name))


@given(
    stop=st.integers(1, 39),
    every=st.integers(1, 15),
    precision=st.sampled_from(["float32", "bfloat16"]),
    size=st.sampled_from([32, 500]),
)
def test_resumed_training_ends_with_the_bits_of_an_undisturbed_one(stop, every, precision, size):
    train, held_out = planted(0, 100), planted(1, 50)
    settings = replace(SMALL, precision=precision, batch_size=size, dropout=0.2)
    kept = Kept(every)
    with pytest.raises(Killed):
        fit_gating(
            *train,
            settings=settings,
            validation=held_out,
            checkpoints=kept,
            progress=kill_at(stop),
        )
    steps = []
    resumed = fit_gating(
        *train,
        settings=settings,
        validation=held_out,
        checkpoints=kept,
        progress=lambda step, n_steps, record: steps.append(step),
    )
    assert steps[0] == stop // every * every + 1
    assert_same(resumed, fit_gating(*train, settings=settings, validation=held_out))


def test_refit_of_so_many_steps_is_resumed_too():
    train = planted(2, 100)
    weight = torch.rand(100, generator=torch.Generator().manual_seed(0))
    how = {"settings": SMALL, "steps": 20, "sample_weight": weight}
    kept = Kept()
    with pytest.raises(Killed):
        fit_gating(*train, **how, checkpoints=kept, progress=kill_at(16))
    assert kept.load().step == 14
    assert math.isnan(kept.load().best_loss)
    assert_same(fit_gating(*train, **how, checkpoints=kept), fit_gating(*train, **how))


def test_finished_training_is_not_taken_up_again():
    train, held_out = planted(3, 100), planted(4, 50)
    settings = replace(SMALL, eval_every=1, patience=2, learning_rate=0.3)
    kept, steps = Kept(every=1000), []
    first = fit_gating(*train, settings=settings, validation=held_out, checkpoints=kept)
    assert first.history[-1].step < settings.max_steps  # patience ended it
    again = fit_gating(
        *train,
        settings=settings,
        validation=held_out,
        checkpoints=kept,
        progress=lambda *seen: steps.append(seen),
    )
    assert steps == []
    assert_same(first, again)
    assert len(kept.all) == 1


def test_checkpoints_come_every_so_many_steps_and_at_the_end():
    kept = Kept(every=15)
    fit_gating(*planted(5, 60), settings=SMALL, checkpoints=kept)
    assert [checkpoint.step for checkpoint in kept.all] == [15, 30, 40]
    # Copies: what was saved at step 15 has not moved since.
    first, last = kept.all[0], kept.all[-1]
    assert not torch.equal(first.network["layers.0.weight"], last.network["layers.0.weight"])
    name = "exp_avg.layers.0.weight"
    assert not torch.equal(first.moments[name], last.moments[name])
    assert isinstance(kept, GatingCheckpoints)


@pytest.mark.parametrize(
    "change",
    ["settings", "seed", "steps", "weight", "scores", "prompt", "validation", "initial", "order"],
)
def test_checkpoint_of_another_training_is_passed_over(change):
    prompt, chosen, rejected = planted(6, 60)
    fixed = {"settings": replace(SMALL, initial="fixed_weights"), "steps": 10}
    how = {**fixed, "initial_weights": torch.ones(4)}
    data, kept = [prompt, chosen, rejected], Kept()
    fit_gating(*data, **how, checkpoints=kept)
    if change == "settings":
        how["settings"] = replace(fixed["settings"], learning_rate=2e-2)
    elif change == "seed":
        how["settings"] = replace(fixed["settings"], seed=1)
    elif change == "steps":
        how["steps"] = 11
    elif change == "weight":
        how["sample_weight"] = torch.arange(60.0)
    elif change == "scores":
        data[1] = chosen + torch.eye(60)[:, :4]
    elif change == "prompt":
        data[0] = 2 * prompt
    elif change == "validation":
        how["validation"], how["steps"] = planted(7, 30), None
    elif change == "initial":
        how["initial_weights"] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    else:
        data = [tensor.flip(0) for tensor in data]
    old = kept.load().fingerprint
    resumed = fit_gating(*data, **how, checkpoints=kept)
    assert_same(resumed, fit_gating(*data, **how))
    assert kept.load().fingerprint != old


def test_state_and_back_is_the_same_checkpoint():
    kept = Kept(every=3)
    fit_gating(*planted(8, 60), settings=SMALL, steps=4, checkpoints=kept)
    checkpoint = kept.all[0]
    tensors, header = checkpoint.state()
    facts = json.loads(header, parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))
    assert facts["schema"] == "armorm.gating-checkpoint/1"
    back = GatingCheckpoint.from_state(tensors, header)
    for group in ("network", "moments", "best"):
        ours, theirs = getattr(checkpoint, group), getattr(back, group)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert str(back.history) == str(checkpoint.history)
    assert all(isinstance(record, GatingRecord) for record in back.history)
    assert (back.fingerprint, back.step) == (checkpoint.fingerprint, 3)
    assert back.best_step == checkpoint.best_step == 0
    assert math.isnan(back.best_loss)


def test_state_without_a_best_one_comes_back():
    checkpoint = GatingCheckpoint(
        fingerprint="x",
        step=0,
        network={"log_beta": torch.zeros(())},
        moments={},
        best={},
        best_loss=math.inf,
        best_step=0,
        history=(GatingRecord(0, math.inf, math.nan),),
    )
    back = GatingCheckpoint.from_state(*checkpoint.state())
    assert (back.best, back.best_loss, back.history[0].train_loss) == ({}, math.inf, math.inf)


def test_bad_states_are_refused():
    kept = Kept()
    fit_gating(*planted(9, 60), settings=SMALL, steps=2, checkpoints=kept)
    tensors, header = kept.saved
    with pytest.raises(
        ValueError,
        match=r"^a checkpoint must have schema armorm.gating-checkpoint/1; got 'other/1'$",
    ):
        GatingCheckpoint.from_state(
            tensors, header.replace("armorm.gating-checkpoint/1", "other/1")
        )
    del tensors["network.log_beta"]
    text = r"^a checkpoint must have the tensor 'network.log_beta'; it is absent$"
    with pytest.raises(ValueError, match=text):
        GatingCheckpoint.from_state(tensors, header)


def test_checkpoints_less_than_a_step_apart_are_refused():
    with pytest.raises(ValueError, match=r"^`checkpoints.every` must be at least 1; got 0$"):
        fit_gating(*planted(10, 60), settings=SMALL, checkpoints=Kept(every=0))
