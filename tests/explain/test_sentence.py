import pytest

from armorm.explain.compare import compare
from armorm.explain.sentence import decided_in_words, explain_in_words, too_close


def from_differences(explained, differences, beta=None):
    """A comparison whose differences are these."""
    ones = dict.fromkeys(differences, 1.0)
    return compare(
        explained(differences, ones), explained(dict.fromkeys(differences, 0.0), ones), beta=beta
    )


def test_the_sentence_names_the_margin_the_reasons_and_what_spoke_against(sides):
    assert explain_in_words(compare(*sides)) == (
        "The chosen response scores 0.21 higher, mostly for correctness (+0.12), "
        "helpfulness (+0.06) and being safe (+0.06); verbosity (-0.03) spoke against it."
    )


def test_a_preferred_rejected_response_is_said_openly_with_signs_from_its_side(sides):
    chosen, rejected = sides
    assert explain_in_words(compare(rejected, chosen)) == (
        "The model prefers the rejected response: it scores 0.21 higher, mostly for "
        "correctness (+0.12), helpfulness (+0.06) and being safe (+0.06); "
        "verbosity (-0.03) spoke against it."
    )


def test_small_reasons_are_not_named(explained):
    text = explain_in_words(from_differences(explained, {"a": 0.5, "b": 0.04, "c": -0.03}))
    assert text == "The chosen response scores 0.51 higher, mostly for a (+0.50)."


def test_at_most_three_reasons_and_two_against_are_named(explained):
    differences = {name: 0.3 for name in "abcdef"} | {name: -0.1 for name in "uvwxy"}
    text = explain_in_words(from_differences(explained, differences))
    assert "mostly for a (+0.30), b (+0.30) and c (+0.30); u (-0.10) and v (-0.10) spoke" in text
    assert " d " not in text
    assert " w " not in text


def test_an_even_probability_is_too_close_to_call(sides):
    close, clear = compare(*sides, beta=0.5), compare(*sides, beta=2.0)
    assert too_close(close)
    assert not too_close(clear)
    assert explain_in_words(close).startswith(
        "Too close to call: the two responses score almost the same; the chosen response is "
        "0.21 ahead, mostly for correctness"
    )


def test_differences_that_cancel_are_too_close_to_call(explained):
    comparison = from_differences(explained, {"a": 0.30, "b": -0.31})
    assert explain_in_words(comparison) == (
        "Too close to call: the two responses score almost the same; the rejected response is "
        "0.01 ahead, mostly for b (+0.31); a (-0.30) spoke against it."
    )


def test_a_tie_says_what_cancels_out(explained, sides):
    assert explain_in_words(compare(sides[0], sides[0])) == (
        "The two responses score the same: a tie. No objective tells them apart."
    )
    assert explain_in_words(from_differences(explained, {"a": 0.25, "b": -0.25})) == (
        "The two responses score the same: a tie. The differences cancel out, the largest being "
        "a (+0.25) and b (-0.25)."
    )


def test_small_scores_get_more_digits(explained):
    text = explain_in_words(from_differences(explained, {"a": 0.0042, "b": -0.0011}))
    assert "0.0031 higher, mostly for a (+0.0042); b (-0.0011) spoke against it" in text


def test_names_are_spoken_without_underscores(explained):
    text = explain_in_words(from_differences(explained, {"instruction_following": 0.5}))
    assert text.endswith("mostly for instruction following (+0.50).")


@pytest.mark.parametrize(
    ("differences", "text"),
    [
        ({"a": 0.5, "b": 0.1, "c": -0.2}, "Without a it would not score higher."),
        ({"a": 0.5, "b": 0.4}, "Without a and b it would not score higher."),
        ({"a": 0.3, "b": 0.3, "is_safe": 0.3}, "Without a, b and being safe it would not"),
        ({"a": 0.5, "b": -0.5}, ""),
    ],
)
def test_what_decided_is_the_fewest_objectives(explained, differences, text):
    found = decided_in_words(from_differences(explained, differences))
    assert found.startswith(text)
    assert bool(found) == bool(text)


def test_a_decision_that_hangs_on_no_few_objectives_names_none(explained):
    # Seven equal differences of 0.1: without the six largest it is still 0.1 ahead.
    comparison = from_differences(explained, {f"o{i}": 0.1 for i in range(7)})
    text = "Even without its 6 largest differences it would score higher."
    assert decided_in_words(comparison) == text
    five = from_differences(explained, {f"o{i}": 0.1 for i in range(5)})
    assert decided_in_words(five).startswith("Without o0, o1")
