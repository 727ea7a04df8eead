import pytest
import torch

from armorm.features.agreement import disagreement, level, places_to_check
from armorm.features.chat import TokenizedConversation as Row
from armorm.features.packing import pack_rows


def pack(*rows):
    [batch] = pack_rows(rows, budget=10**6)
    return batch


SINGLE = Row((1, 2), 0)
GROUP = [Row((5, 5, i), 1) for i in range(6, 18)]


def test_level_counts_sharing_above_neighbours_above_single_rows():
    assert level(pack(SINGLE)) == 0
    assert level(pack(SINGLE, Row((3, 4), 0))) == 1
    assert level(pack(*GROUP[:2])) == 2


def test_first_group_and_the_last_row_are_checked():
    batch = pack(SINGLE, *GROUP[:2], Row((3, 4), 0), Row((4, 4), 0))
    assert places_to_check(batch) == [1, 2, 4]
    assert places_to_check(pack(SINGLE, Row((3, 4), 0), Row((4, 4), 0))) == [0, 1, 2]
    assert places_to_check(pack(SINGLE)) == [0]


def test_row_with_the_fewest_tokens_after_others_is_checked():
    long = [Row(tuple(range(10 * i, 10 * i + 9)), 4) for i in range(1, 5)]
    batch = pack(*long[:3], Row((3, 4), 0), long[3])
    assert places_to_check(batch) == [0, 1, 3, 4]


def test_large_group_is_checked_in_part():
    assert places_to_check(pack(*GROUP)) == [*range(8), 11]


@pytest.mark.parametrize(
    ("found", "dtype", "text"),
    [
        ([3.0, 4.0], "float32", None),
        # 1e-4 of the length 5 is 5e-4.
        ([3.0, 4.0004], "float32", None),
        ([3.0, 4.0006], "float32", "by 1.2e-04 of its length"),
        ([float("nan"), 4.0], "float32", "by nan of its length"),
        ([6.0, 8.0], "bfloat16", None),
        ([3.0, 4.2], "bfloat16", None),
        ([4.0, 3.0], "bfloat16", "in direction, with a cosine of 0.9600"),
    ],
)
def test_features_agree_by_length_or_direction(found, dtype, text):
    said = disagreement(torch.tensor(found), torch.tensor([3.0, 4.0]), dtype=dtype)
    assert said is None if text is None else text in said


def test_feature_that_is_not_finite_alone_is_not_compared():
    nan = torch.tensor([float("inf"), 1.0])
    assert disagreement(torch.zeros(2), nan, dtype="float16") is None
