import pytest

from armorm.data.drops import Drops


def test_counts_are_kept_by_file_and_reason():
    drops = Drops()
    drops.add("a", "empty prompt")
    drops.add("a", "empty prompt", 2)
    drops.add("b", "no rating")
    drops.add_truncated("b", "cut", 5)
    assert drops.as_dict() == {"a": {"empty prompt": 3}, "b": {"no rating": 1, "cut": 5}}
    assert (drops.total, drops.total_truncated) == (4, 5)
    assert drops.reasons() == {"empty prompt": 3, "no rating": 1}
    assert drops.reasons("b") == {"no rating": 1}


def test_sentence_names_the_most_frequent_reason_first():
    drops = Drops()
    drops.add("a", "no rating", 2)
    drops.add("b", "longer than 4,096 tokens", 29)
    assert drops.sentence(7680, "pairs") == (
        "dropped 31 of 7,680 pairs: 29 longer than 4,096 tokens, 2 no rating"
    )


def test_sentence_tells_truncated_rows_from_dropped_ones():
    drops = Drops()
    drops.add_truncated("a", "truncated to 64 tokens", 3)
    assert drops.sentence(9) == "dropped none of 9 rows; truncated 3: 3 truncated to 64 tokens"


def test_merge_adds_every_count():
    first, second = Drops(), Drops()
    first.add("a", "x")
    second.add("a", "x", 2)
    second.add_truncated("a", "y")
    first.merge(second)
    assert first.as_dict() == {"a": {"x": 3, "y": 1}}
    assert second.as_dict() == {"a": {"x": 2, "y": 1}}


def test_nothing_is_counted_for_no_rows():
    drops = Drops()
    drops.add("a", "x", 0)
    assert drops.as_dict() == {}


def test_negative_count_is_refused():
    with pytest.raises(ValueError, match="`n` must be 0 or more; got -1"):
        Drops().add("a", "x", -1)
