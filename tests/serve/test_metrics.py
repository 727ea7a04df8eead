"""What a server counts is what it was asked and what it answered."""

from armorm import RewardModel
from bundles import FACTS, OBJECTIVES, make_bundle
from fakes import HashBackbone
from serving import served, wait_until

BODY = {"prompt": "Is ice cold?", "responses": ["Yes.", "No.", "w " * 600], "bad_rows": "drop"}


def test_requests_tokens_queue_and_scores_are_counted(hashed):
    with served(hashed) as server:
        results = server.post("/v1/score", BODY).json()["results"]
        server.post("/v1/score", {})
        server.get("/nowhere")
        # An answer is counted once it is sent: its client may be faster.
        nowhere = 'armorm_requests_total{route="none",status="404"}'
        wait_until(lambda: server.metric(nowhere) == 1)
        assert server.metric('armorm_requests_total{route="/v1/score",status="200"}') == 1
        assert server.metric('armorm_requests_total{route="/v1/score",status="422"}') == 1
        assert server.metric('armorm_request_seconds_count{route="/v1/score"}') == 2
        assert server.metric("armorm_conversations_total") == 2
        assert server.metric("armorm_tokens_total") == sum(r["n_tokens"] for r in results)
        reason = 'armorm_unscored_total{reason="longer than 512 tokens"}'
        assert server.metric(reason) == 1
        scores = [r["score"] for r in results[:2]]
        assert server.metric("armorm_score_count") == 2
        assert server.metric('armorm_score_bucket{le="0.0"}') == sum(s <= 0 for s in scores)
        for name in OBJECTIVES:
            assert server.metric(f'armorm_objective_score_count{{objective="{name}"}}') == 2
        assert server.metric("armorm_batch_conversations_sum") == 2
        assert server.metric("armorm_score_seconds_count") == 1
        text = server.get("/metrics")
        assert text.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "armorm_requests_total" in text.text


def test_rows_outside_the_ranges_of_training_are_counted_where_they_are_known():
    backbone = HashBackbone()
    figures = {name: {"n": 9, "range": [-1e9, 1e9]} for name in OBJECTIVES}
    figures["honesty"]["range"] = [1e9, 2e9]
    bundle = make_bundle(backbone.facts(), facts=FACTS | {"objectives": figures})
    with served(RewardModel(bundle, backbone)) as server:
        server.post("/v1/score", BODY)
        assert server.metric('armorm_outside_range_total{objective="honesty"}') == 2
        assert server.metric('armorm_outside_range_total{objective="is_safe"}') == 0
        content = server.get("/v1/model").json()
        assert content["ranges_seen"]["honesty"] == [1e9, 2e9]
        assert content["ranges_note"] is None


def test_where_the_ranges_are_not_known_there_is_no_such_metric(server):
    server.post("/v1/score", BODY)
    assert "outside_range" not in server.get("/metrics").text


def test_two_servers_in_one_process_count_apart(hashed):
    with served(hashed) as one, served(hashed) as other:
        one.post("/v1/score", BODY)
        assert one.metric("armorm_conversations_total") == 2
        assert other.metric("armorm_conversations_total") == 0
