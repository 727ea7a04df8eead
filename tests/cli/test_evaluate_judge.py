"""`armorm evaluate` with a judge beside other models: every trouble is counted and shown."""

import json

import pytest

from judge_server import Reply, judge_server

ROWS = [
    {"id": f"r{i}", "prompt": f"Question {i}?", "chosen": f"good {i}", "rejected": f"bad {i}"}
    for i in range(24)
]
KEY = "sk-of-the-tests-0123456789"


@pytest.fixture
def bench(rows):
    return rows("bench.jsonl", ROWS)


def number(user):
    return int(user.split("Question ")[1].split("?")[0])


def knows(user, i):
    """A judge that finds the good response wherever it is shown."""
    return Reply("Verdict: " + ("A" if user.index("good") < user.index("bad") else "B"))


def counts(done):
    return json.loads(done.out)["scorers"][0]["judge"]


def test_a_judge_stands_first_and_its_counts_are_shown_everywhere(armorm, bench, here):
    def troubled(user, i):
        if number(user) == 3:
            return Reply("I cannot say.")
        return Reply("Verdict: A") if number(user) in (4, 5) else knows(user, i)

    with judge_server(troubled) as server:
        call = ("evaluate", f"judge:m@{server.url}", "--pairs", bench, "--judge-cache", "kept")
        done = armorm(*call, "-o", "out")
        again = armorm(*call, "--json")
    assert done.code == 0, done.err
    assert len(server.requests) == 48
    words = " ".join(done.out.split())
    for said in (
        "A: judge:m",
        "decides by comparisons in both orders",
        "questions 48",
        "answers used 46",
        "answers of another form 2",
        "requests sent 48",
        "repeated 0",
        "timed out 0",
        "compared in both orders 23",
        "orders contradict: a tie 2",
        "judge:m: 1 of 24 rows without a verdict are left out.",
    ):
        assert said in words, said
    assert "note: judge:m: 2 of 48 answers were not of the form asked for" in done.err
    assert "note: judge:m: 2 of 23 pairs were judged differently in the two orders" in done.err
    text = " ".join((here / "out" / "protocol.md").read_text().split())
    assert "orders contradict: a tie | 2 |" in text
    found = counts(again)
    assert (found["n_from_cache"], found["n_requests"], found["n_unreadable"]) == (48, 0, 2)
    assert found["mode"] == {"all": "pairwise"} or list(found["mode"].values()) == ["pairwise"]
    # By hand: 21 wins and 2 ties at one half of the 23 pairs with a verdict.
    first = json.loads(again.out)["scorers"][0]
    assert first["overall"]["result"]["value"] == pytest.approx(22 / 23)
    assert (first["n_without"], first["n_ties"]) == (1, 2)
    assert (here / "kept" / "answers.jsonl").is_file()


def test_ratings_are_asked_for_and_said(armorm, bench, here):
    names = ("helpfulness", "correctness", "honesty", "harmlessness", "clarity")

    def rates(user, i):
        return Reply("\n".join(f"{name}: {8 if 'good' in user else 3}" for name in names))

    with judge_server(rates) as server:
        call = ("evaluate", "longest", "--pairs", bench, "--beside", f"judge:m@{server.url}")
        done = armorm(*call, "--judge", "ratings")
        asked = len(server.requests)
        armorm(*call, "--judge", "ratings")
    assert asked == len(server.requests) == 48  # one a response; the second time all are kept
    words = " ".join(done.out.split())
    assert "decides by ratings" in words
    assert "compared in both orders" not in words
    assert "judge:m 24 100.0 %" in words


def test_the_cap_stops_the_questions_and_a_second_run_goes_on(armorm, bench, here):
    with judge_server(knows) as server:
        call = ("evaluate", f"judge:m@{server.url}", "--pairs", bench, "--judge-requests")
        first = armorm(*call, 20, "--json")
        assert len(server.requests) == 20
        assert counts(first)["n_not_asked"] == 28
        assert "note: judge:m: 28 of 48 questions were not asked, because the cap" in first.err
        assert "14 of 24 rows have no verdict" in first.err
        second = armorm(*call, 1000, "--json")
    assert len(server.requests) == 48
    found = counts(second)
    assert (found["n_from_cache"], found["n_requests"], found["n_not_asked"]) == (20, 28, 0)
    assert json.loads(second.out)["scorers"][0]["n_without"] == 0


def test_a_cap_that_leaves_no_verdict_is_one_line(armorm, bench, here):
    with judge_server(lambda user, i: Reply("Hm.")) as server:
        done = armorm("evaluate", f"judge:m@{server.url}", "--pairs", bench)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("error: ") == 1
    assert "judge:m: a judge must have a verdict on one row or more; it has none on 24" in done.err
    assert "48 of 48 answers were not of the form asked for" in done.err


def test_a_judge_that_is_late_once_is_retried_and_counted(armorm, bench, here):
    def slow(user, i):
        return Reply("Verdict: A", delay_s=20.0) if i == 0 else knows(user, i)

    with judge_server(slow) as server:
        done = armorm(
            *("evaluate", f"judge:m@{server.url}", "--pairs", bench, "--judge-timeout", "0.7"),
            "--json",
        )
    found = counts(done)
    assert (found["n_timed_out"], found["n_retried"], found["n_requests"]) == (1, 1, 49)
    assert found["n_failed"] == 0


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            lambda user, i: Reply(status=401, body=b'{"error": "bad key"}'),
            "the endpoint must answer chat completions for the model 'm'; got HTTP 401: bad key",
        ),
        (
            lambda user, i: Reply(status=404, body=b'{"error": "no such model"}'),
            "for the model 'm'; got HTTP 404: no such model",
        ),
    ],
)
def test_a_judge_that_cannot_be_asked_is_one_line(armorm, bench, here, monkeypatch, script, said):
    monkeypatch.setenv("ARMORM_JUDGE_KEY", KEY)
    with judge_server(script) as server:
        done = armorm("evaluate", "random", "--pairs", bench, "--beside", f"judge:m@{server.url}")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("error: ") == 1
    assert said in done.err
    assert KEY not in done.err
    assert {r.headers["Authorization"] for r in server.requests} == {f"Bearer {KEY}"}


def test_a_judge_that_never_answers_is_one_line_and_keeps_what_it_has(armorm, bench, here):
    def dies(user, i):
        return knows(user, i) if i < 4 else Reply("Verdict: A", delay_s=20.0)

    with judge_server(dies) as server:
        done = armorm(
            *("evaluate", f"judge:m@{server.url}", "--pairs", bench),
            *("--judge-timeout", "0.4", "--judge-retries", "0", "--judge-cache", "kept"),
        )
    assert (done.code, done.out) == (2, "")
    assert done.err.count("error: ") == 1
    assert "a judge must answer; 3 questions in a row had no answer after 0 retries" in done.err
    assert "no answer within 0.4 s. Answers so far are kept" in done.err
    assert len((here / "kept" / "answers.jsonl").read_text().splitlines()) == 4


def test_two_judges_of_one_name_are_refused(armorm, bench, here):
    done = armorm(
        *("evaluate", "judge:m@http://127.0.0.1:1", "--pairs", bench),
        *("--beside", "judge:m@http://127.0.0.1:2"),
    )
    assert done.err == "error: models must have distinct names; 'judge:m' stands twice\n"


@pytest.mark.parametrize(
    "option", [["--judge-requests", "0"], ["--judge-timeout", "0"], ["--judge-retries", "-1"]]
)
def test_caps_and_times_must_be_positive(armorm, bench, here, option):
    done = armorm("evaluate", "judge:m@http://127.0.0.1:1", "--pairs", bench, *option)
    assert done.code == 2
    assert option[0] in done.err
