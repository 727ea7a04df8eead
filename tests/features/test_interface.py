import pytest

from armorm.features.interface import DEFAULT_BUDGET, FeatureOptions
from fakes import HashBackbone, conversations


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_tokens": 1}, "`max_tokens` must be 2 or more; got 1"),
        ({"too_long": "cut"}, "`too_long` must be 'drop' or 'truncate'; got 'cut'"),
        ({"padding_side": "up"}, "`padding_side` must be 'right' or 'left'; got 'up'"),
        ({"engine": "fast"}, "`engine` must be 'packed' or 'padded'; got 'fast'"),
        ({"bad_rows": "skip"}, "`bad_rows` must be 'stop' or 'drop'; got 'skip'"),
        ({"pooling": "max"}, "`pooling` must be 'mean' or 'cls'; got 'max'"),
        ({"token_budget": 0}, "`token_budget` must be 1 or more; got 0"),
        ({"layers": ()}, r"`layers` must be one or more different numbers; got \(\)"),
        ({"layers": (1, 1)}, r"`layers` must be one or more different numbers; got \(1, 1\)"),
        ({"blocks": ()}, r"`blocks` must be one or more different names; got \(\)"),
        ({"blocks": ("prompt", "prompt")}, "`blocks` must be one or more different names"),
        (
            {"blocks": ("responses",)},
            r"`blocks` has the unknown name 'responses'; did you mean 'response'\?",
        ),
    ],
)
def test_option_outside_its_range_is_refused(options, text):
    with pytest.raises(ValueError, match=text):
        FeatureOptions(**options)


def test_facts_of_the_options_bring_them_back():
    options = FeatureOptions(max_tokens=77, too_long="truncate", layers=(-1, 3), normalise=True)
    facts = HashBackbone(options=options).facts()
    assert FeatureOptions.from_facts(facts) == options
    assert not {"token_budget", "engine"} & facts["options"].keys()


def test_facts_are_a_copy():
    backbone = HashBackbone()
    backbone.facts()["digest"] = "other"
    assert backbone.facts()["digest"] == backbone.digest != "other"


def test_backbone_that_shares_nothing_counts_every_token():
    backbone = HashBackbone()
    rows = backbone.tokenize(conversations(3))
    assert backbone.unique_tokens(rows) == sum(row.n_tokens for row in rows)
    assert (backbone.engine, backbone.notes) == ("padded", [])


def test_budget_is_the_option_or_the_default():
    assert HashBackbone().find_budget() == DEFAULT_BUDGET
    options = FeatureOptions(max_tokens=512, token_budget=99)
    assert HashBackbone(options=options).find_budget() == 99
