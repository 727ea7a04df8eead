"""Models of one call: variants share the backbone, names and identities differ."""

import numpy as np
import pytest

from armorm import RewardModel
from armorm.evaluate.scorers import (
    BenchJudge,
    ScorerOptions,
    Variant,
    bench_of,
    open_bench_judge,
    parse_scorer_name,
    split_variant,
)
from armorm.evaluate.scoring import BundleScorer, LengthScorer, VariantScores
from armorm.features.interface import FeatureOptions
from armorm.types import Conversation, Message
from bundles import make_bundle
from fakes import HashBackbone

ROWS = [
    Conversation((Message("user", f"Question {i // 2}?"),), f"answer {i} " * (1 + i % 3))
    for i in range(10)
]
WEIGHTS = Variant("weights", {"honesty": 1.0})
SCALE = Variant("scale", {"honesty": 2.0})


def model(**options):
    backbone = HashBackbone(options=FeatureOptions(**options))
    return RewardModel(make_bundle(backbone.facts()), backbone)


def test_variants_score_as_the_steered_models_do_and_run_every_text_once():
    first = model()
    bench = bench_of(first, variants=[WEIGHTS, SCALE])
    scores = [one.score(ROWS) for one in bench]
    assert first.backbone.n_rows == len(ROWS)
    expected = [first, first.with_weights({"honesty": 1.0}), first.scaled({"honesty": 2.0})]
    for found, steered in zip(scores, expected, strict=True):
        assert found == pytest.approx(steered.score(ROWS).score.numpy(), abs=1e-6)
    assert [one.name for one in bench] == [
        "tiny",
        "tiny (weights honesty=1)",
        "tiny (scale honesty=2)",
    ]


def test_a_variant_is_of_the_bundle_as_it_ships_however_the_first_is_steered():
    first = model().scaled({"honesty": 3.0})
    bench = bench_of(first, variants=[Variant("gated", {}), SCALE])
    assert [one.name for one in bench] == ["tiny (scale honesty=3)", "tiny", SCALE_NAME]
    plain = RewardModel(first.bundle, first.backbone)
    assert bench[1].identity == BundleScorer(plain).identity


SCALE_NAME = "tiny (scale honesty=2)"


def test_scores_of_a_family_are_kept_by_text_and_of_the_siblings_where_these_decide():
    first = model(too_long="truncate", max_tokens=64)
    family = VariantScores()
    one, other = (
        BundleScorer(m, family=family) for m in (first, first.with_weights({"honesty": 1.0}))
    )
    whole = one.score(ROWS)
    assert other.score(ROWS[:4]) == pytest.approx(
        first.with_weights({"honesty": 1.0}).score(ROWS[:4]).score.numpy(), abs=1e-6
    )
    n = first.backbone.n_rows
    assert np.array_equal(one.score(ROWS), whole)
    assert first.backbone.n_rows == n


def test_any_model_may_stand_first():
    bench = bench_of(parse_scorer_name("longest"), beside=[parse_scorer_name("random")])
    assert [one.name for one in bench] == ["longer wins", "random"]
    assert isinstance(bench[0], LengthScorer)
    (judge,) = bench_of(parse_scorer_name("judge:m@http://h"))
    assert isinstance(judge, BenchJudge)


def test_the_way_a_judge_decides_is_part_of_what_it_is():
    modes = [
        open_bench_judge("judge:m@http://h", options=ScorerOptions(judge_mode=mode)).identity
        for mode in (None, "pairwise", "ratings")
    ]
    assert len({*modes}) == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gated", ("gated", "")),
        ("weights:a=1,b=2", ("weights", "a=1,b=2")),
        ("scale:a:b=2", ("scale", "a:b=2")),
    ],
)
def test_a_variant_has_its_parts(text, expected):
    assert split_variant(text) == expected


@pytest.mark.parametrize("text", ["", "weights", "gated:x", "Weights:a=1", "weight:a=1"])
def test_a_variant_of_another_form_is_refused(text):
    with pytest.raises(ValueError, match="a variant must be gated, weights:NAME=VALUE") as caught:
        split_variant(text)
    assert repr(text) in str(caught.value)
    assert ("did you mean 'weights'" in str(caught.value)) == (
        text in ("Weights:a=1", "weight:a=1")
    )


def test_models_that_are_one_or_are_called_alike_are_refused():
    names = [parse_scorer_name(text) for text in ("random", "random")]
    with pytest.raises(ValueError, match="models must have distinct names; 'random' stands twice"):
        bench_of(model(), beside=names)
    with pytest.raises(ValueError, match="must have distinct names; 'tiny' stands twice"):
        bench_of(model(), variants=[Variant("gated", {})])
    with pytest.raises(ValueError, match="variants must be those of a reward model; 'random' is"):
        bench_of(names[0], variants=[SCALE])
    with pytest.raises(ValueError, match="unknown objective 'honsty'; did you mean 'honesty'"):
        bench_of(model(), variants=[Variant("scale", {"honsty": 1.0})])
