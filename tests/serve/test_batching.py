"""Batches: no row lost or twice, never above the budget, long requests wait behind short ones."""

import threading
import time
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armorm.serve.batching import BatchQueue, QueuedRequest, QueuedRow, fill_batch

LENGTHS = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=9), max_size=9)


def requests(lengths):
    """A queue of requests with rows of these lengths."""
    rows = [[QueuedRow((i, j), j, n) for j, n in enumerate(of)] for i, of in enumerate(lengths)]
    return deque(QueuedRequest(i, deque(of), 0.0) for i, of in enumerate(rows))


def all_batches(queue, budget):
    found = []
    while batch := fill_batch(queue, budget=budget):
        found.append(batch)
    return found


@given(LENGTHS, st.integers(1, 60))
def test_every_row_is_in_one_batch_and_batches_keep_the_budget(lengths, budget):
    found = all_batches(requests(lengths), budget)
    rows = [row.row for batch in found for _, row in batch]
    assert sorted(rows) == [(i, j) for i, of in enumerate(lengths) for j in range(len(of))]
    for batch in found:
        assert len(batch) == 1 or sum(row.n_tokens for _, row in batch) <= budget
    for i in range(len(lengths)):
        own = [j for number, j in rows if number == i]
        assert own == sorted(own)


@given(LENGTHS, st.integers(1, 60))
def test_no_batch_could_take_the_row_that_begins_the_next_request_in_turn(lengths, budget):
    queue = requests(lengths)
    while queue:
        before = deque(QueuedRequest(r.number, deque(r.rows), 0.0) for r in queue)
        n_tokens = sum(row.n_tokens for _, row in fill_batch(queue, budget=budget))
        if queue:  # the request that did not fit is behind all others now
            stopped = queue[-1].rows[0]
            assert n_tokens + stopped.n_tokens > budget
            assert stopped.row in [row.row for r in before for row in r.rows]


def test_a_long_request_keeps_a_short_one_waiting_for_one_batch():
    queue = requests([[10] * 50, [10]])
    first, second = fill_batch(queue, budget=20), fill_batch(queue, budget=20)
    assert [r.number for r, _ in first] == [0, 0]
    assert [r.number for r, _ in second] == [1, 0]


def test_a_shared_beginning_counts_once():
    # 3 + (3 - 2) + (3 - 2) = 5 tokens; the fourth row begins otherwise.
    rows = [QueuedRow(i, i, 3, "ab", 2) for i in range(3)] + [QueuedRow(3, 3, 3, "cd", 2)]
    batch = fill_batch(deque([QueuedRequest(0, deque(rows), 0.0)]), budget=5)
    assert [row.row for _, row in batch] == [0, 1, 2]


def test_rows_that_share_nothing_count_whole():
    rows = [QueuedRow(i, i, 3) for i in range(3)]
    batch = fill_batch(deque([QueuedRequest(0, deque(rows), 0.0)]), budget=6)
    assert len(batch) == 2


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_a_batch_waits_for_more_rows_and_goes_at_once_when_it_is_full():
    clock = Clock()
    queue = BatchQueue(budget=10, wait_s=5.0, clock=clock)
    assert queue._left() == float("inf")
    queue.add(1, [QueuedRow("a", 0, 4)])
    clock.now = 2.0
    assert queue._left() == 3.0
    queue.add(2, [QueuedRow("b", 0, 6)])
    assert queue._left() == 0.0
    assert [row.row for _, row in queue.take() or []] == ["a", "b"]
    assert queue._left() == float("inf")


def test_the_oldest_request_says_when_a_batch_is_due():
    clock = Clock()
    queue = BatchQueue(budget=10, wait_s=5.0, clock=clock)
    queue.add(1, [QueuedRow("a", i, 8) for i in range(2)])
    clock.now = 4.0
    queue.add(2, [QueuedRow("b", 0, 1)])
    queue.take()  # request 1 has a row left and is behind request 2
    assert queue._left() == 1.0


def test_a_cancelled_request_is_in_no_batch():
    queue = BatchQueue(budget=100, wait_s=0.0)
    queue.add(1, [QueuedRow("a", 0, 1)])
    queue.add(2, [QueuedRow("b", 0, 1)])
    queue.cancel(1)
    queue.cancel(7)
    assert [row.row for _, row in queue.take() or []] == ["b"]


def test_a_closed_queue_gives_what_it_has_and_then_nothing():
    queue = BatchQueue(budget=1, wait_s=60.0)
    queue.add(1, [QueuedRow("a", i, 1) for i in range(2)])
    queue.close()
    assert [len(queue.take() or []) for _ in range(3)] == [1, 1, 0]
    assert queue.take() is None


@pytest.mark.parametrize("end", ["add", "close"])
def test_a_waiting_thread_hears_of_rows_and_of_the_end(end):
    queue, found = BatchQueue(budget=1, wait_s=0.0), []
    thread = threading.Thread(target=lambda: found.append(queue.take()))
    thread.start()
    time.sleep(0.02)
    assert not found
    if end == "add":
        queue.add(1, [QueuedRow("a", 0, 1)])
    else:
        queue.close()
    thread.join(10)
    assert [None if f is None else [row.row for _, row in f] for f in found] == [
        ["a"] if end == "add" else None
    ]
