"""The ridge head of a checkpoint in the released layout, from small files of that layout."""

import json

import pytest
import torch
from safetensors.torch import save_file

from armorm import BundleError
from armorm.model.released import RELEASED_OBJECTIVES, is_released_layout, read_released_ridge

WEIGHT = "regression_layer.weight"
NAMES = ["honesty", "is_safe", "verbosity"]
HEAD = torch.arange(12.0).reshape(3, 4) / 7


def checkpoint(folder, *, tensors=None, **changes):
    """A checkpoint of one file: 3 objectives on features of width 4."""
    config = {"num_objectives": 3, "hidden_size": 4, "objective_names": NAMES} | changes
    config = {name: value for name, value in config.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(config))
    save_file({WEIGHT: HEAD} if tensors is None else tensors, folder / "model.safetensors")
    return folder


def sharded(folder, places):
    """The same checkpoint in shards: the head is in the second one."""
    checkpoint(folder)
    (folder / "model.safetensors").unlink()
    save_file({"model.norm.weight": torch.ones(4)}, folder / "model-00001-of-00002.safetensors")
    save_file({WEIGHT: HEAD}, folder / "model-00002-of-00002.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


PLACES = {
    "model.norm.weight": "model-00001-of-00002.safetensors",
    WEIGHT: "model-00002-of-00002.safetensors",
}


def test_head_and_names_of_one_file(tmp_path):
    weight, names = read_released_ridge(checkpoint(tmp_path))
    assert torch.equal(weight, HEAD)
    assert names == tuple(NAMES)


def test_head_of_a_sharded_checkpoint(tmp_path):
    weight, _ = read_released_ridge(sharded(tmp_path, PLACES))
    assert torch.equal(weight, HEAD)


def test_a_head_in_bfloat16_becomes_float32_without_rounding_again(tmp_path):
    half = HEAD.bfloat16()
    weight, _ = read_released_ridge(checkpoint(tmp_path, tensors={WEIGHT: half}))
    assert weight.dtype == torch.float32
    assert torch.equal(weight.bfloat16(), half)


def test_nineteen_objectives_without_names_are_the_released_ones(tmp_path):
    head = {WEIGHT: torch.randn(19, 4, generator=torch.Generator().manual_seed(0))}
    folder = checkpoint(tmp_path, tensors=head, num_objectives=19, objective_names=...)
    assert read_released_ridge(folder)[1] == RELEASED_OBJECTIVES
    assert len(set(RELEASED_OBJECTIVES)) == 19
    # Model card: attributes in groups of HelpSteer, UltraFeedback, BeaverTails, ...
    assert RELEASED_OBJECTIVES[4] == "helpsteer-verbosity"
    assert RELEASED_OBJECTIVES[10] == "beavertails-is_safe"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"objective_names": ...}, r"must name 3 objectives; got 0 names"),
        ({"objective_names": NAMES[:2]}, r"must name 3 objectives; got 2 names, 2 of them"),
        ({"objective_names": ["a", "a", "b"]}, "got 3 names, 2 of them different"),
        ({"objective_names": "abc"}, "`objective_names` must be a list of names; got 'abc'"),
        ({"objective_names": [1, 2, 3]}, "`objective_names` must be a list of names; got"),
        ({"hidden_size": ...}, "`hidden_size` must be a positive whole number; got None"),
        ({"num_objectives": "3"}, "`num_objectives` must be a positive whole number; got '3'"),
    ],
)
def test_a_config_that_does_not_say_what_the_head_is(tmp_path, changes, text):
    with pytest.raises(BundleError, match=r"config\.json: .*" + text):
        read_released_ridge(checkpoint(tmp_path, **changes))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", r"config\.json: must be a JSON file; Expecting property name"),
        ("[" * 100_000, r"config\.json: must be a JSON file; maximum recursion depth"),
        ("[]", r"config\.json: must hold a JSON object; got list"),
    ],
)
def test_a_config_that_is_no_json_object(tmp_path, content, text):
    (checkpoint(tmp_path) / "config.json").write_text(content)
    with pytest.raises(BundleError, match=text):
        read_released_ridge(tmp_path)
    assert not is_released_layout(tmp_path)


def test_a_folder_without_config_is_not_the_layout(tmp_path):
    assert not is_released_layout(tmp_path)
    with pytest.raises(BundleError, match=r"config\.json: must be a JSON file; .*No such file"):
        read_released_ridge(tmp_path)


def test_the_layout_is_told_by_the_number_of_objectives(tmp_path):
    assert is_released_layout(checkpoint(tmp_path))
    assert not is_released_layout(checkpoint(tmp_path, num_objectives=...))


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (HEAD.T.contiguous(), r"'regression_layer.weight' must have shape \(3, 4\), got \(4, 3\)"),
        (torch.full((3, 4), torch.nan), "must be finite; 12 of 12 entries are not"),
    ],
)
def test_a_head_that_does_not_fit_is_refused(tmp_path, head, text):
    with pytest.raises(BundleError, match=text):
        read_released_ridge(checkpoint(tmp_path, tensors={WEIGHT: head}))


def test_a_checkpoint_without_head_is_refused(tmp_path):
    folder = checkpoint(tmp_path, tensors={"model.norm.weight": torch.ones(4)})
    text = r"'regression_layer.weight' must have shape \(3, 4\), it is missing"
    with pytest.raises(BundleError, match=text):
        read_released_ridge(folder)


@pytest.mark.parametrize("places", [{}, {"model.norm.weight": "model-00001-of-00002.safetensors"}])
def test_an_index_without_the_head_is_refused(tmp_path, places):
    text = r"'regression_layer.weight' must have shape \(3, 4\), it is missing"
    with pytest.raises(BundleError, match=text):
        read_released_ridge(sharded(tmp_path, places))


@pytest.mark.parametrize("places", [[WEIGHT], None, {WEIGHT: 3}])
def test_an_index_that_maps_nothing_is_refused(tmp_path, places):
    text = r"index\.json: `weight_map` must map tensors to files"
    with pytest.raises(BundleError, match=text):
        read_released_ridge(sharded(tmp_path, places))


def test_a_tensor_that_is_not_where_the_index_says_is_named(tmp_path):
    folder = sharded(tmp_path, {WEIGHT: "model-00001-of-00002.safetensors"})
    text = r"00001-of-00002\.safetensors: the tensor 'regression_layer.weight' must be there; it is"
    with pytest.raises(BundleError, match=text):
        read_released_ridge(folder)


def test_a_shard_that_is_missing_or_damaged_is_named(tmp_path):
    folder = sharded(tmp_path, PLACES)
    shard = folder / PLACES[WEIGHT]
    shard.write_bytes(b"damaged")
    with pytest.raises(BundleError, match=r"model-00002-of-00002\.safetensors: cannot be read: "):
        read_released_ridge(folder)
    shard.unlink()
    text = r"index\.json: every file that it names must be there; 1 are not, 'model-00002-of-00002"
    with pytest.raises(BundleError, match=text):
        read_released_ridge(folder)


def test_the_shards_of_the_backbone_are_not_needed_for_the_ridge_head(tmp_path):
    folder = sharded(tmp_path, PLACES)
    (folder / PLACES["model.norm.weight"]).unlink()
    assert torch.equal(read_released_ridge(folder)[0], HEAD)
