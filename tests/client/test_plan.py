"""Parts of a list: nothing lost, within the limits, prompts whole where that is possible."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armorm.client.plan import ClientSettings, cut_parts, read_reply
from armorm.types import Conversation, Message

ROWS = st.lists(st.tuples(st.integers(0, 3), st.text("ab", min_size=1, max_size=30)), max_size=20)


def rows_of(drawn):
    prompts = [(Message("user", f"prompt {i}"),) for i in range(4)]
    return [Conversation(prompts[i], text, id=str(n)) for n, (i, text) in enumerate(drawn)]


@given(ROWS, st.integers(1, 6), st.integers(1, 600))
def test_parts_are_the_list_and_keep_the_limits(drawn, most_rows, most_bytes):
    rows = rows_of(drawn)
    parts = cut_parts(rows, most_rows=most_rows, most_bytes=most_bytes)
    sent = [one for part in parts for one in part.rows]
    assert sent == [{"id": row.id, "messages": row.messages()} for row in rows]
    assert [part.start for part in parts] == [
        sum(len(p.rows) for p in parts[:i]) for i in range(len(parts))
    ]
    for part in parts:
        assert 1 <= len(part.rows) <= most_rows
        n_bytes = sum(len(json.dumps(one)) + 1 for one in part.rows)
        assert len(part.rows) == 1 or n_bytes <= most_bytes


def test_responses_to_one_prompt_stay_together_where_they_fit():
    rows = rows_of([(0, "a")] * 2 + [(1, "b")] * 3 + [(2, "c")])
    parts = cut_parts(rows, most_rows=4)
    assert [len(part.rows) for part in parts] == [2, 4]
    # A prompt with more responses than a request takes is cut all the same.
    assert [len(p.rows) for p in cut_parts(rows_of([(0, "a")] * 5), most_rows=2)] == [2, 2, 1]


@pytest.mark.parametrize("attempt", [1, 2, 3, 8])
def test_waits_double_and_are_bounded(attempt):
    settings = ClientSettings("http://a", first_wait_s=0.5, longest_wait_s=10)
    wait = settings.wait_s(attempt, None)
    assert 0.75 * min(0.5 * 2 ** (attempt - 1), 10) <= wait <= min(0.625 * 2 ** (attempt - 1), 10)
    assert settings.wait_s(attempt, 7.0) >= min(7.0, 10)
    assert settings.wait_s(attempt, 100.0) == 10


def test_a_long_error_is_cut():
    settings = ClientSettings("http://a")
    body = json.dumps({"error": {"message": "x" * 9000}}).encode()
    with pytest.raises(Exception, match=r"^http://a: x{2000}$"):
        read_reply(settings, 500, {}, body)
