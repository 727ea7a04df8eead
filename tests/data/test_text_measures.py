"""Measures of how a text is written: counted by hand, bounded, linear in the text."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from armorm.data.text_measures import (
    MEASURES,
    code_share,
    list_density,
    log_length,
    markdown_density,
    measure_texts,
)

MIXED = """# Title

Some **bold** words here.

- one
- two

```python
- not a list
x = 1
```
"""


def test_list_items_are_counted_outside_code():
    # Lines outside the block: title, sentence, two items.
    assert list_density(MIXED) == 2 / 4


@pytest.mark.parametrize("item", ["- a", "* a", "+ a", "• a", "1. a", "12) a", "(3) a", "  b) a"])
def test_every_kind_of_list_item_counts(item):
    assert list_density(item) == 1.0


@pytest.mark.parametrize("line", ["-a", "1.5 litres", "2024 was dry", "e.g. this", "---"])
def test_what_only_looks_like_an_item_does_not_count(line):
    assert list_density(line) == 0.0


def test_markdown_marks_are_counted_by_hand():
    # Marks: heading, bold, two items, one block = 5. Words: Title, four of the sentence,
    # one, two = 7; those of the block are no words.
    assert markdown_density(MIXED) == 5 / 12


@pytest.mark.parametrize("mark", ["`x`", "[x](y)", "**x**", "__x__", "*x*", "_x_", "> x", "# x"])
def test_every_kind_of_mark_counts_once(mark):
    assert markdown_density(mark) == 0.5


@pytest.mark.parametrize("text", ["2 * 3 * 4", "snake_case_name", "a - b", "", "plain"])
def test_plain_text_has_no_marks(text):
    assert markdown_density(text) == 0.0


def test_code_share_counts_characters_by_hand():
    # Visible characters: "see" 3, "`ab`" 4, the block 3 + 1 + 3: 11 of 14 are code.
    assert code_share("see `ab`\n```\nx\n```") == pytest.approx(11 / 14)


def test_an_open_block_reaches_to_the_end():
    assert code_share("```\nx = 1\ny = 2") == 1.0
    assert list_density("~~~\n- a\n```\n- b") == 0.0  # other marks do not close it


def test_marks_that_open_or_close_no_block_are_prose():
    """A span of three marks opens none; marks with a language do not close one."""
    span = "```x = 1``` it is.\n- a\n- b"
    assert list_density(span) == pytest.approx(2 / 3)
    # Visible characters: the span 9, "itis." 5, two items of 2: 9 of 18 are code.
    assert code_share(span) == pytest.approx(9 / 18)
    assert list_density("```\n- a\n```python\n- b\n```  \n- c\nd") == 0.5


def test_log_length_of_nothing_is_nothing():
    assert log_length("") == 0.0
    assert log_length("abc") == pytest.approx(np.log(4))


@given(st.text(alphabet="ab *_`#->|[]()\n1.~", max_size=80))
def test_shares_stay_between_zero_and_one(text):
    values = measure_texts([text])[0]
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    assert (values[1:] <= 1).all()


@given(st.text(max_size=40))
def test_a_table_holds_what_the_functions_say(text):
    table = measure_texts([text, text + "- a"])
    for j, measure in enumerate(MEASURES.values()):
        assert table[:, j].tolist() == [measure.function(text), measure.function(text + "- a")]


def test_no_text_gives_an_empty_table():
    assert measure_texts([]).shape == (0, len(MEASURES))


def test_an_unknown_measure_is_named():
    with pytest.raises(
        ValueError, match=r"`names`: unknown measure 'log_lenght'; did you mean 'log_"
    ):
        measure_texts(["a"], names=["log_lenght"])


def test_long_lines_of_marks_take_linear_time():
    start = time.perf_counter()
    measure_texts(["*" * 50_000, "_ " * 50_000, "[" * 50_000, "- " * 50_000, "**a " * 20_000])
    assert time.perf_counter() - start < 10  # quadratic patterns would take hours
