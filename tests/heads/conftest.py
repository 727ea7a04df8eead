import numpy as np
import pytest
import torch


def _global_states():
    # The state of `random` is not compared: beartype picks with it the items that it checks.
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()  # noqa: NPY002


@pytest.fixture(autouse=True)
def global_random_states_untouched():
    """Heads draw from generators of their own; hypothesis puts back what it changes."""
    before = _global_states()
    yield
    assert _global_states() == before
