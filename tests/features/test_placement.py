from types import SimpleNamespace

import pytest

from armorm.features.placement import check_device_map, find_device, main_device


@pytest.mark.parametrize(
    ("places", "device"),
    [
        ({"": "cpu"}, "cpu"),
        ({"a": "disk", "b": "cpu"}, "cpu"),
        ({"a": "cpu", "b": 1, "c": 0}, "cuda:1"),
        ({"a": "cuda:0", "b": "disk"}, "cuda:0"),
        ({"a": "mps"}, "mps"),
    ],
)
def test_tokens_go_to_the_first_accelerator_of_a_map(places, device):
    assert main_device(SimpleNamespace(hf_device_map=places)) == device


def test_a_model_without_a_map_lies_on_the_cpu():
    assert main_device(SimpleNamespace()) == "cpu"


def test_names_of_devices_and_maps():
    assert find_device("cpu") == "cpu"
    with pytest.raises(ValueError, match="`device` must be auto, cpu, cuda, cuda:1 or mps; got"):
        find_device("gpu")
    check_device_map({"": 0}, "auto")
    with pytest.raises(ValueError, match=r"`device_map` must be 'auto', .*; got 'spread'"):
        check_device_map("spread", "auto")
