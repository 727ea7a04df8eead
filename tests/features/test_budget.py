import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from armorm.features.budget import LARGEST_BUDGET, fitting_budget, measure_budget


def test_budget_by_hand():
    # 1,000 bytes a token and 500 besides: 0.8 * 10 MB hold 7,999 tokens; the power below is 4,096.
    assert fitting_budget((100, 400), (100_500, 400_500), free=10_000_000) == 4096


@given(free=st.integers(0, 10**13), slope=st.integers(1, 10**7), fixed=st.integers(0, 10**9))
def test_budget_is_a_power_of_two_that_fits(free, slope, fixed):
    sizes = (1024, 4096)
    found = fitting_budget(sizes, (fixed + slope * 1024, fixed + slope * 4096), free=free)
    assert found & (found - 1) == 0
    assert 1024 <= found <= LARGEST_BUDGET
    assert found == 1024 or fixed + slope * found <= 0.8 * free + 1


def test_memory_that_does_not_grow_gives_the_largest_budget():
    assert fitting_budget((10, 20), (5, 5), free=100) == LARGEST_BUDGET


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_measured_budget_is_the_one_of_the_memory_that_is_free():
    def run(n_rows, length):
        torch.empty(n_rows * length, 1 << 20, dtype=torch.uint8, device="cuda")

    free, _ = torch.cuda.mem_get_info()
    found = measure_budget(run, device="cuda", longest=64)
    assert 0.3 * free / 2**20 <= found <= 0.8 * free / 2**20
