"""A judge is asked once, in both orders, within its cap; nonsense and contradictions are counted.

All requests go to a small server on this machine.
"""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from armorm import StorageError
from armorm.evaluate.scorers import (
    JudgeClient,
    JudgedObjective,
    JudgeError,
    JudgeSettings,
    PairJudge,
    RatingJudge,
    RatingScale,
)
from armorm.evaluate.scorers.judge import JudgeCounts
from armorm.evaluate.scorers.judge_cache import AnswerCache
from armorm.evaluate.scorers.judge_http import _retry_after
from armorm.evaluate.scoring import Scorer, cached_scores
from armorm.types import Conversation, Message, PreferencePair
from judge_server import Reply, judge_server

QUICK = JudgeSettings(first_wait_s=0.0, longest_wait_s=0.05, timeout_s=5.0)
KEY = "sk-of-the-tests-0123456789"


def pairs(n):
    """Pairs whose responses say which one they are, never in the same place of the text."""
    return [
        PreferencePair(f"p{i}", (Message("user", f"Question {i}?"),), f"good {i}", f"bad {i}")
        for i in range(n)
    ]


def rows(n):
    return [
        Conversation((Message("user", f"Question {i}?"),), f"Answer {i}.", f"r{i}")
        for i in range(n)
    ]


def knows(user, i):
    """A judge that finds the good response wherever it is shown."""
    return Reply(
        "They differ.\nVerdict: " + ("A" if user.index("good") < user.index("bad") else "B")
    )


def always(text):
    return lambda user, i: Reply(text)


def rates(user, i):
    """A judge that gives the last digit of the question, plus 1, and 3."""
    digit = int(user.split("Question ")[1].split("?")[0]) % 5
    return Reply(f"Well.\n\nclarity: {digit + 1}\nuse at work: 3")


OBJECTIVES = (
    JudgedObjective("clarity", "Understood at once."),
    JudgedObjective("use at work", "Helps with the task."),
)
SCALE = RatingScale(1, 5)


def client(server, *, cache=None, settings=QUICK, **changes):
    import dataclasses

    return JudgeClient(
        "m", server.url, settings=dataclasses.replace(settings, **changes), cache=cache
    )


# Pairs


def test_a_judge_that_knows_wins_every_pair_in_both_orders():
    with judge_server(knows) as server:
        judged = PairJudge(client(server)).judge(pairs(3))
    assert judged.wins.tolist() == [1.0, 1.0, 1.0]
    assert judged.first_share == 0.5
    assert judged.counts == JudgeCounts(
        n_questions=6, n_used=6, n_requests=6, n_comparisons=3, n_decided=6, n_first=3
    )
    shown_first = [r.user.index("good") < r.user.index("bad") for r in server.requests]
    assert sorted(shown_first) == [False] * 3 + [True] * 3


def test_a_judge_that_errs_in_both_orders_loses_the_pair():
    def errs(user, i):
        return Reply("Verdict: " + ("B" if user.index("good") < user.index("bad") else "A"))

    with judge_server(errs) as server:
        assert PairJudge(client(server)).judge(pairs(2)).wins.tolist() == [0.0, 0.0]


def test_orders_that_contradict_are_a_tie_counted_and_shown():
    with judge_server(always("Verdict: A")) as server:
        judged = PairJudge(client(server)).judge(pairs(4))
    assert judged.wins.tolist() == [0.5] * 4
    assert judged.first_share == 1.0
    assert judged.counts.n_contradictions == 4
    assert judged.counts.sentences("judge:m") == (
        "judge:m: 4 of 4 pairs were judged differently in the two orders and count as ties",
    )


def test_a_tie_in_one_order_leaves_the_decision_to_the_other():
    # By hand: +1 and 0 sum to 1, a win; 0 and 0 to a tie. Only the former names a response.
    def half(user, i):
        is_first = user.index("good") < user.index("bad")
        return Reply("Verdict: A" if is_first and "Question 0" in user else "Verdict: tie")

    with judge_server(half) as server:
        judged = PairJudge(client(server)).judge(pairs(2))
    assert judged.wins.tolist() == [1.0, 0.5]
    assert judged.counts.n_contradictions == 0
    assert judged.first_share == 1.0


def test_nonsense_is_counted_and_shown_and_never_guessed():
    def partly(user, i):
        return Reply("I would say A.") if "Question 1?" in user else knows(user, i)

    with judge_server(partly) as server:
        judged = PairJudge(client(server)).judge(pairs(3))
    assert math.isnan(judged.wins[1])
    assert judged.wins[[0, 2]].tolist() == [1.0, 1.0]
    assert (judged.counts.n_nonsense, judged.counts.n_used) == (2, 4)
    assert judged.counts.sentences("j") == (
        "j: 2 of 6 answers were not of the form asked for",
        "j: for example 'I would say A.'",
    )


def test_a_judge_without_a_verdict_has_no_share_of_places():
    with judge_server(always("")) as server:
        judged = PairJudge(client(server)).judge(pairs(1))
    assert math.isnan(judged.first_share)
    assert judged.counts.examples == ("(nothing)",)


# Ratings


def test_ratings_come_by_objective_and_the_score_is_their_mean_on_the_unit_scale():
    with judge_server(rates) as server:
        judge = RatingJudge(client(server), objectives=OBJECTIVES, scale=SCALE)
        judged = judge.rate(rows(5))
        scores = judge.score(rows(5))
    assert judged.ratings.tolist() == [[1, 3], [2, 3], [3, 3], [4, 3], [5, 3]]
    # By hand: ((1 - 1) / 4 + (3 - 1) / 4) / 2 = 0.25 for the first.
    assert scores.tolist() == [0.25, 0.375, 0.5, 0.625, 0.75]
    assert isinstance(judge, Scorer)
    assert judge.notes == ()
    assert "from 1 to 5" in server.requests[0].content["messages"][0]["content"]
    assert "- clarity: Understood at once." in server.requests[0].content["messages"][0]["content"]


def test_a_score_is_refused_where_ratings_are_missing_and_names_the_row():
    def partly(user, i):
        return Reply("clarity: 9\nuse at work: 3") if "Question 2?" in user else rates(user, i)

    with judge_server(partly) as server:
        judge = RatingJudge(client(server), objectives=OBJECTIVES, scale=SCALE)
        assert np.isnan(judge.rate(rows(4)).ratings).any(axis=1).tolist() == [0, 0, 1, 0]
        text = (
            r"judge:m: every conversation must have ratings; 1 of 4 have none \(1 nonsense, "
            r"0 refused, 0 failed, 0 beyond the cap\), the first is 'r2'; answers so far are kept"
        )
        with pytest.raises(JudgeError, match=text):
            judge.score(rows(4))
        assert judge.counts.n_questions == 8
        assert "2 of 8 answers were not of the form asked for" in judge.notes[0]
        assert len(server.requests) == 4


def test_a_judge_is_a_scorer_whose_scores_are_kept_by_content(tmp_path):
    with judge_server(rates) as server:
        judge = RatingJudge(client(server), objectives=OBJECTIVES, scale=SCALE)
        first = cached_scores(judge, rows(3), cache=tmp_path)
        again = RatingJudge(client(server), objectives=OBJECTIVES, scale=SCALE)
        assert cached_scores(again, rows(3), cache=tmp_path).tolist() == first.tolist()
        assert len(server.requests) == 3


def test_what_decides_an_answer_decides_the_identity_and_the_address_does_not():
    def judge(url="http://a:1", **changes):
        settings = JudgeSettings(**changes)
        return RatingJudge(JudgeClient("m", url, settings=settings), objectives=OBJECTIVES)

    same = judge().identity
    assert judge(url="https://b/v1").identity == same
    assert judge(max_requests=5, n_parallel=1, timeout_s=1.0).identity == same
    others = {
        judge(temperature=0.5).identity,
        judge(temperature=None).identity,
        judge(max_answer_tokens=5).identity,
        RatingJudge(JudgeClient("n", "http://a:1"), objectives=OBJECTIVES).identity,
        RatingJudge(JudgeClient("m", "http://a:1"), objectives=OBJECTIVES[:1]).identity,
        RatingJudge(JudgeClient("m", "http://a:1"), objectives=OBJECTIVES, scale=SCALE).identity,
        PairJudge(JudgeClient("m", "http://a:1")).identity,
    }
    assert len(others | {same}) == 8


@pytest.mark.parametrize("objectives", [(), (OBJECTIVES[0], OBJECTIVES[0])])
def test_objectives_must_have_different_names(objectives):
    with pytest.raises(ValueError, match="`objectives` must have one or more different names"):
        RatingJudge(JudgeClient("m", "http://a:1"), objectives=objectives)


# Requests


def test_a_request_is_a_chat_completion_with_a_key_from_the_environment(monkeypatch):
    monkeypatch.setenv("OTHER_KEY", KEY)
    with judge_server(knows) as server:
        PairJudge(client(server, key_variable="OTHER_KEY")).judge(pairs(1))
        PairJudge(client(server)).judge(pairs(1))
    with_key, without = server.requests[0], server.requests[-1]
    assert with_key.path == "/v1/chat/completions"
    assert with_key.headers["Authorization"] == f"Bearer {KEY}"
    assert "Authorization" not in without.headers
    assert {k: v for k, v in with_key.content.items() if k != "messages"} == {
        "model": "m",
        "temperature": 0.0,
        "max_tokens": 1024,
    }
    assert [m["role"] for m in with_key.content["messages"]] == ["system", "user"]


def test_settings_that_are_none_are_not_sent():
    with judge_server(knows) as server:
        PairJudge(client(server, temperature=None, max_answer_tokens=None)).judge(pairs(1))
    assert set(server.requests[0].content) == {"model", "messages"}


def test_an_address_that_ends_in_v1_is_taken_as_it_is():
    with judge_server(knows) as server:
        PairJudge(JudgeClient("m", server.url + "/v1/", settings=QUICK)).judge(pairs(1))
    assert {r.path for r in server.requests} == {"/v1/chat/completions"}


def test_a_server_error_is_asked_again():
    def recovers(user, i):
        return Reply(status=500, body=b"oops") if i == 0 else knows(user, i)

    with judge_server(recovers) as server:
        judged = PairJudge(client(server)).judge(pairs(1))
    assert judged.wins.tolist() == [1.0]
    assert len(server.requests) == 3


def test_a_busy_server_is_asked_again_after_the_wait_that_it_wants():
    times = []

    def busy(user, i):
        times.append(time.monotonic())
        return Reply(status=429, headers={"Retry-After": "0.3"}) if i == 0 else knows(user, i)

    with judge_server(busy) as server:
        wait = client(server, n_parallel=1, longest_wait_s=5.0)
        assert PairJudge(wait).judge(pairs(1)).wins.tolist() == [1.0]
    assert times[1] - times[0] >= 0.3


def test_no_wait_is_longer_than_the_longest():
    def busy(user, i):
        return Reply(status=429, headers={"Retry-After": "3600"}) if i == 0 else knows(user, i)

    start = time.monotonic()
    with judge_server(busy) as server:
        assert PairJudge(client(server)).judge(pairs(1)).wins.tolist() == [1.0]
    assert time.monotonic() - start < 10


def test_waits_double_from_one_retry_to_the_next():
    endpoint = JudgeClient("m", "http://a:1", settings=JudgeSettings(longest_wait_s=5.0))._endpoint
    assert [endpoint._wait(i, None) for i in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 5.0]
    assert endpoint._wait(1, 3.5) == 3.5


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2", 2.0), ("-1", 0.0), ("Sat, 01 Jan 2000 00:00:00 GMT", 0.0), ("soon", None), (None, None)],
)
def test_a_wait_is_read_as_seconds_or_as_a_date(value, seconds):
    assert _retry_after({"Retry-After": value} if value else {}) == seconds


def test_a_time_out_is_retried_counted_and_shown():
    def slow(user, i):
        return Reply("Verdict: A", delay_s=20.0) if "Question 0" in user else knows(user, i)

    with judge_server(slow) as server:
        judge = PairJudge(client(server, timeout_s=0.6, n_retries=1, n_parallel=2))
        judged = judge.judge(pairs(2)[::-1])
    assert judged.wins[0] == 1.0
    assert math.isnan(judged.wins[1])
    assert judged.counts.n_failed == 2
    assert len(server.requests) == 6
    # Two questions, each sent twice and late both times; the two others once.
    sent = (judged.counts.n_requests, judged.counts.n_retried, judged.counts.n_timed_out)
    assert sent == (6, 2, 4)
    assert judged.counts.sentences("j") == (
        "j: 2 of 4 questions had no answer after all retries",
        "j: for example 'no answer within 0.6 s'",
    )


def test_an_answer_that_drips_is_a_time_out():
    with judge_server(lambda user, i: Reply("Verdict: A", drip_s=0.05)) as server:
        judge = PairJudge(client(server, timeout_s=0.2, n_retries=0))
        judged = judge.judge(pairs(1))
    assert judged.counts.n_failed == 2
    assert judged.counts.examples == ("no answer within 0.2 s",)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>not found</html>",
        b"[]",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": 3}}]}',
        b"[" * 100_000,
        b" " * (5 << 20),
    ],
)
def test_what_is_no_chat_completion_is_asked_again_and_never_an_answer(body):
    def once(user, i):
        return Reply(body=body) if i == 0 else knows(user, i)

    with judge_server(once) as server:
        assert PairJudge(client(server, n_parallel=1)).judge(pairs(1)).wins.tolist() == [1.0]
        assert len(server.requests) == 3
        server.script = lambda user, i: Reply(body=body)
        judged = PairJudge(client(server, n_retries=0)).judge(pairs(1))
    assert judged.counts.examples == ("an answer that is no chat completion",)


def test_a_judge_that_declines_has_answered_nothing():
    body = b'{"choices": [{"message": {"content": null, "refusal": "no"}}]}'
    with judge_server(lambda user, i: Reply(body=body)) as server:
        judged = PairJudge(client(server)).judge(pairs(1))
    assert judged.counts.n_nonsense == 2
    assert len(server.requests) == 2


def test_a_connection_that_breaks_is_tried_again():
    def breaks(user, i):
        return Reply(hangs_up=True) if i == 0 else knows(user, i)

    with judge_server(breaks) as server:
        assert PairJudge(client(server, n_parallel=1)).judge(pairs(1)).wins.tolist() == [1.0]
        server.script = lambda user, i: Reply(hangs_up=True)
        judged = PairJudge(client(server, n_retries=0)).judge(pairs(1))
    assert judged.counts.examples == ("a broken connection (RemoteDisconnected)",)


def test_a_question_that_the_endpoint_refuses_is_counted_and_the_rest_goes_on():
    def too_long(user, i):
        body = json.dumps({"error": {"message": "context\nlength exceeded"}}).encode()
        return Reply(status=400, body=body) if "Question 1?" in user else knows(user, i)

    with judge_server(too_long) as server:
        judged = PairJudge(client(server)).judge(pairs(3))
    assert judged.counts.n_refused == 2
    assert judged.counts.examples == ("HTTP 400: context length exceeded",)
    assert len(server.requests) == 6  # not one of them is repeated


def test_three_questions_in_a_row_without_an_answer_stop_the_run(tmp_path):
    def dies(user, i):
        return knows(user, i) if i < 4 else Reply(status=503, body=b'{"error": "overloaded"}')

    text = (
        r"/v1/chat/completions: a judge must answer; 3 questions in a row had no answer after 0 "
        r"retries each, the last: HTTP 503: overloaded. Answers so far are kept"
    )
    with judge_server(dies) as server:
        judge = PairJudge(client(server, cache=tmp_path, n_retries=0, n_parallel=1))
        with pytest.raises(JudgeError, match=text):
            judge.judge(pairs(20))
        assert len(server.requests) < 12
        server.script = knows
        assert judge.judge(pairs(20)).wins.tolist() == [1.0] * 20
    assert len(AnswerCache(tmp_path)) == 40


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "HTTP 401: bad key …"), (404, "HTTP 404: bad key …"), (403, "HTTP 403: bad key …")],
)
def test_a_refused_key_or_model_stops_at_once_without_the_key(status, said, monkeypatch):
    monkeypatch.setenv("ARMORM_JUDGE_KEY", KEY)
    body = json.dumps({"error": {"message": f"bad key {KEY}"}}).encode()
    with judge_server(lambda user, i: Reply(status=status, body=body)) as server:
        text = f"must answer chat completions for the model 'm'; got {said}$"
        with pytest.raises(JudgeError, match=text) as caught:
            PairJudge(client(server, n_parallel=1)).judge(pairs(50))
    assert len(server.requests) == 1
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_so_the_key_stays(status, monkeypatch):
    monkeypatch.setenv("ARMORM_JUDGE_KEY", KEY)
    with judge_server(knows) as elsewhere:

        def away(user, i):
            return Reply(status=status, headers={"Location": elsewhere.url + "/v1"})

        with judge_server(away) as server, pytest.raises(JudgeError, match=f"got HTTP {status}"):
            PairJudge(client(server)).judge(pairs(1))
    assert elsewhere.requests == []


def test_an_address_where_nobody_listens_is_said_at_once():
    with judge_server(knows) as server:
        pass
    with pytest.raises(JudgeError, match=r"a judge must answer there; got .*refused"):
        PairJudge(client(server, n_retries=1)).judge(pairs(1))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/v1",
        "localhost:8000",
        "http://",
        "http://h:x",
        "http://h/#a",
        "http://h/a b",
        "http://hä",
        "",
    ],
)
def test_an_address_must_be_one(url):
    with pytest.raises(ValueError, match="`url` must be http:// or https:// with a host; got"):
        JudgeClient("m", url)


@pytest.mark.parametrize("url", [f"http://me:{KEY}@h/v1", f"https://h/v1?key={KEY}"])
def test_an_address_with_a_secret_is_refused_and_not_repeated(url):
    with pytest.raises(ValueError, match="must hold no user name, password or query") as caught:
        JudgeClient("m", url)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel", "a b"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(monkeypatch, key):
    monkeypatch.setenv("ARMORM_JUDGE_KEY", key)
    with pytest.raises(ValueError, match="the key in `ARMORM_JUDGE_KEY` must be of") as caught:
        JudgeClient("m", "http://h")
    assert key not in str(caught.value)


def test_white_space_around_a_key_is_not_part_of_it(monkeypatch):
    monkeypatch.setenv("ARMORM_JUDGE_KEY", f" {KEY}\n")
    with judge_server(knows) as server:
        judge_of = client(server)
        PairJudge(judge_of).judge(pairs(1))
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"
    assert judge_of.n_requests == 2


def test_an_error_that_drips_is_said_without_its_reason():
    body = b'{"error": {"message": "no"}}'
    with judge_server(lambda user, i: Reply(status=400, body=body, drip_s=0.1)) as server:
        judged = PairJudge(client(server, timeout_s=1.0, n_retries=0)).judge(pairs(1))
    assert judged.counts.examples == ("HTTP 400",)


def test_a_model_must_have_a_name():
    with pytest.raises(ValueError, match="`model` must be a name; got an empty one"):
        JudgeClient(" ", "http://h")


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"max_requests": 0}, "`max_requests` must be at least 1; got 0"),
        ({"n_parallel": 0}, "`n_parallel` must be at least 1; got 0"),
        ({"max_answer_tokens": 0}, "`max_answer_tokens` must be at least 1; got 0"),
        ({"n_retries": -1}, "`n_retries` must be 0 or more; got -1"),
        ({"first_wait_s": -1.0}, "`first_wait_s` must be 0 or more; got -1.0"),
        ({"longest_wait_s": math.nan}, "`longest_wait_s` must be 0 or more; got nan"),
        ({"temperature": -0.1}, "`temperature` must be 0 or more; got -0.1"),
        ({"timeout_s": 0.0}, "`timeout_s` must be positive; got 0.0"),
        ({"key_variable": KEY}, "`key_variable` must be the name of an environment variable$"),
    ],
)
def test_settings_are_checked(setting, text):
    with pytest.raises(ValueError, match=text):
        JudgeSettings(**setting)


def test_as_many_requests_run_at_once_as_were_asked_for_and_no_more():
    def waits(user, i):
        return Reply(knows(user, i).text, delay_s=0.05)

    with judge_server(waits) as server:
        PairJudge(client(server, n_parallel=3)).judge(pairs(6))
    assert 2 <= server.n_at_once <= 3


# The cap


def test_no_request_is_sent_beyond_the_cap_and_what_was_answered_stays(tmp_path):
    with judge_server(knows) as server:
        judged = PairJudge(client(server, cache=tmp_path, max_requests=5)).judge(pairs(6))
        assert len(server.requests) == 5
        assert judged.counts.n_not_asked == 7
        assert np.isnan(judged.wins).sum() == 4
        assert judged.counts.sentences("judge:m") == (
            "judge:m: 7 of 12 questions were not asked, because the cap of requests was reached",
        )
        again = PairJudge(client(server, cache=tmp_path, max_requests=7)).judge(pairs(6))
    assert again.wins.tolist() == [1.0] * 6
    assert again.counts.n_from_cache == 5
    assert len(server.requests) == 12


def test_repeated_requests_count_towards_the_cap():
    with judge_server(lambda user, i: Reply(status=500)) as server:
        judged = PairJudge(client(server, max_requests=3, n_parallel=1)).judge(pairs(1))
    assert len(server.requests) == 3
    assert judged.counts.n_not_asked == 2


def test_a_score_beyond_the_cap_says_so():
    with judge_server(rates) as server:
        judge = RatingJudge(client(server, max_requests=2), objectives=OBJECTIVES, scale=SCALE)
        with pytest.raises(JudgeError, match=r"3 of 5 have none .* 3 beyond the cap"):
            judge.score(rows(5))


# The cache


def test_a_kept_answer_costs_no_request_whatever_the_address(tmp_path):
    with judge_server(knows) as server:
        PairJudge(client(server, cache=tmp_path)).judge(pairs(3))
    with judge_server(knows) as other:
        judged = PairJudge(client(other, cache=tmp_path)).judge(pairs(4))
    assert len(other.requests) == 2
    assert judged.counts.n_from_cache == 6
    assert judged.wins.tolist() == [1.0] * 4


def test_nonsense_is_kept_too_so_that_it_is_paid_for_once(tmp_path):
    with judge_server(always("Hm.")) as server:
        for _ in range(2):
            judged = PairJudge(client(server, cache=tmp_path)).judge(pairs(1))
    assert len(server.requests) == 2
    assert judged.counts.n_nonsense == 2


def test_equal_questions_are_asked_once():
    with judge_server(rates) as server:
        judge = RatingJudge(client(server), objectives=OBJECTIVES, scale=SCALE)
        scores = judge.score([*rows(2), *rows(2)])
    assert len(server.requests) == 2
    assert scores[:2].tolist() == scores[2:].tolist()


def test_the_cache_holds_neither_key_nor_address_nor_text(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMORM_JUDGE_KEY", KEY)
    with judge_server(knows) as server:
        PairJudge(client(server, cache=tmp_path)).judge(pairs(1))
    content = (tmp_path / "answers.jsonl").read_text()
    assert content.count("Verdict") == 2
    for secret in (KEY, server.url, "Question"):
        assert secret not in content


@pytest.mark.parametrize(
    "tail", [b'{"key": "k2", "ans', b"\xff\xfe", b"[1, 2]\n", b'{"key": 1, "answer": ""}']
)
def test_a_line_that_a_kill_left_unfinished_is_asked_again(tmp_path, tail):
    AnswerCache(tmp_path).keep("k1", "one")
    path = tmp_path / "answers.jsonl"
    path.write_bytes(path.read_bytes() + tail)
    cache = AnswerCache(tmp_path)
    assert (cache.find("k1"), cache.find("k2"), len(cache)) == ("one", None, 1)
    cache.keep("k2", "two")
    cache.keep("k3", "three\nlines")
    again = AnswerCache(tmp_path)
    assert [again.find(f"k{i}") for i in (1, 2, 3)] == ["one", "two", "three\nlines"]


def test_a_cache_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"answers\.jsonl: cannot be written"):
        AnswerCache(tmp_path / "file").keep("k", "a")


def test_a_cache_that_cannot_be_written_stops_the_requests(tmp_path):
    (tmp_path / "file").write_text("")
    with judge_server(knows) as server:
        judge = PairJudge(client(server, cache=tmp_path / "file", n_parallel=1))
        with pytest.raises(StorageError, match="cannot be written"):
            judge.judge(pairs(20))
        assert len(server.requests) == 1


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import test_scorers_judge as t
settings = t.JudgeSettings(n_parallel=2)
c = t.JudgeClient("m", sys.argv[1], settings=settings, cache=Path(sys.argv[2]))
t.PairJudge(c).judge(t.pairs(6))
"""


def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path):
    reached = threading.Event()

    def hangs(user, i):
        if i >= 7:
            reached.set()
            return Reply(delay_s=60)
        return knows(user, i)

    here = Path(__file__).parent
    path = os.pathsep.join([str(here.parent), *sys.path])
    with judge_server(hangs) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, server.url, str(tmp_path), str(here)],
            env=os.environ | {"PYTHONPATH": path},
        )
        try:
            assert reached.wait(60)
            time.sleep(0.2)  # the other thread is at its own request by then
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        n_kept = len(AnswerCache(tmp_path))
        assert 6 <= n_kept <= 7
        server.script, server.requests = knows, []
        judged = PairJudge(client(server, cache=tmp_path)).judge(pairs(6))
        assert len(server.requests) == 12 - n_kept
    assert judged.wins.tolist() == [1.0] * 6


# Progress


def test_progress_counts_questions_and_ends_at_all(tmp_path):
    with judge_server(knows) as server:
        PairJudge(client(server, cache=tmp_path)).judge(pairs(1))
        seen = []
        PairJudge(client(server, cache=tmp_path)).judge(
            pairs(2), progress=lambda done, total: seen.append((done, total))
        )
    assert seen == [(2, 4), (3, 4), (4, 4)]


def test_an_interrupt_ends_waits_and_sends_nothing_more():
    def interrupts(done, total):
        raise KeyboardInterrupt

    def mixed(user, i):
        return knows(user, i) if i == 0 else Reply(status=503, headers={"Retry-After": "60"})

    start = time.monotonic()
    with judge_server(mixed) as server:
        judge = PairJudge(client(server, longest_wait_s=60.0, n_parallel=2))
        with pytest.raises(KeyboardInterrupt):
            judge.judge(pairs(10), progress=interrupts)
    assert time.monotonic() - start < 20
    assert len(server.requests) < 6
