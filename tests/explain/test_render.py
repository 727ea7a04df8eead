import io

import pytest
from rich.console import Console

from armorm.explain.compare import compare
from armorm.explain.parts import sanitise
from armorm.explain.render import (
    ComparisonView,
    ExplanationView,
    render_conversation,
    render_pair,
)
from armorm.types import Conversation, Message, PreferencePair, Scale

SCALES = {
    "general": {name: Scale(0, 4) for name in ("helpfulness", "correctness", "verbosity")},
    "safety": {"is_safe": Scale(0, 1), "respectfulness": Scale(1, 5)},
}
PROMPT = (Message("system", "Be brief."), Message("user", "How many cups is 500 g of flour?"))
PAIR = PreferencePair("p1", PROMPT, "About four.", "Two cups. " * 60, "general")


def render(renderable, width=80, encoding="utf-8", **more):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(width=width, file=file, **more).print(renderable)
    file.flush()
    return file.buffer.getvalue().decode(encoding)


def row(text, name):
    return next(line for line in text.splitlines() if line.startswith(name))


@pytest.mark.parametrize("width", [80, 120])
def test_a_pair_shows_every_objective_its_numbers_and_a_bar(sides, width):
    text = render(render_pair(PAIR, compare(*sides, beta=10.0), scales=SCALES), width)
    assert all(len(line) <= width for line in text.splitlines())
    assert row(text, "correctness").split()[1:7] == [
        "0.90",
        "(3.6)",
        "0.60",
        "(2.4)",
        "+0.40",
        "+0.12",
    ]
    assert "│━" in row(text, "correctness")
    assert "━│" in row(text, "verbosity") or "╺│" in row(text, "verbosity")
    assert row(text, "margin").split() == ["margin", "+0.21"]
    assert "The chosen response scores 0.21 higher" in text
    assert "Probability that the chosen response is better: 89 %" in text
    assert "0-4 correctness, helpfulness, verbosity; 0-1 is_safe" in " ".join(text.split())
    assert "(1 earlier message) How many cups is 500 g of flour?" in text


@pytest.mark.parametrize("width", [80, 120])
def test_a_conversation_shows_scores_on_both_scales_and_the_sum(sides, width):
    conversation = Conversation(PROMPT, "About four.", "c7")
    view = render_conversation(conversation, sides[0], scales=SCALES, source="general")
    text = render(view, width)
    assert all(len(line) <= width for line in text.splitlines())
    assert text.startswith("c7\n")
    assert "3.6 of 0-4" in row(text, "correctness")
    assert "0.9 of 0-1" in row(text, "is_safe")
    assert row(text, "correctness").split()[-2] == "+0.36"
    bare = render(
        render_conversation(conversation, sides[0], scales={"s": SCALES["safety"]}), width
    )
    assert row(bare, "correctness").split()[1:3] == ["0.90", "+0.40"]
    assert row(text, "score").split() == ["score", "+0.72"]


def test_without_scales_there_is_no_raw_rating(sides):
    text = render(ExplanationView(sides[0]))
    assert " of 0-4" not in text
    assert "rating" not in text
    text = render(ComparisonView(compare(*sides)))
    assert "In brackets" not in text
    assert "Probability" not in text
    assert text.startswith("objective")


def test_bars_share_one_zero_line(sides):
    text = render(ComparisonView(compare(*sides)))
    at = {row(text, name).index("│") for name in ("correctness", "is_safe", "verbosity")}
    assert len(at) == 1


def test_long_texts_are_cut_with_an_ellipsis(sides):
    text = render(render_pair(PAIR, compare(*sides)))
    assert text.count("Two cups.") < 30
    assert "…" in text
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("rejected  Two"))
    assert lines[first + 3].strip() == ""


def test_text_from_a_file_cannot_steer_the_terminal(sides):
    nasty = "\x1b[2J\x1b]0;title\x07 [red]no markup[/red] \u202eoverride\r\nnext line"
    pair = PreferencePair("\x1b[31mid", nasty_prompt(nasty), nasty, "other", "")
    text = render(render_pair(pair, compare(*sides)), force_terminal=True, color_system=None)
    assert "\x1b[2J" not in text
    assert "\x1b]0" not in text
    assert "\x07" not in text
    assert "\u202e" not in text
    assert "[red]no markup[/red]" in text
    assert sanitise("tab\tand\nline") == "tab and line"
    assert sanitise("emoji \U0001f600 and e\u0301 stay") == "emoji \U0001f600 and e\u0301 stay"


def nasty_prompt(text):
    return (Message("user", text),)


def test_colours_are_decoration_only(sides, monkeypatch):
    view = ComparisonView(compare(*sides))
    coloured = render(view, force_terminal=True, color_system="truecolor")
    assert "36m━" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    assert "36m" not in render(view, force_terminal=True)
    assert "\x1b" not in render(view)


def test_a_plain_terminal_gets_plain_characters(sides):
    text = render(render_pair(PAIR, compare(*sides)), encoding="ascii")
    assert text.isascii()
    assert "|==" in row(text, "correctness")
    assert "..." in text


def test_a_narrow_terminal_loses_the_bar_and_keeps_the_numbers(sides):
    text = render(ComparisonView(compare(*sides)), 52)
    assert "│" not in text
    assert row(text, "correctness").split()[1:] == ["0.90", "0.60", "+0.40", "+0.12"]


def test_a_prompt_may_be_text_and_a_title_may_be_given(sides):
    text = render(ExplanationView(sides[0], prompt="What?", response="That.", title="Row 3"))
    assert text.splitlines()[:3] == ["Row 3", *(line for line in text.splitlines()[1:3])]
    assert "prompt    What?" in text
    assert "response  That." in text


def test_objectives_that_are_all_zero_have_no_bar(explained):
    view = ExplanationView(explained({"a": 0.0}, {"a": 1.0}))
    assert row(render(view), "score").split() == ["score", "+0.00"]


def test_a_scale_of_an_unknown_objective_is_refused_with_the_nearest_name(sides):
    with pytest.raises(ValueError, match="got 'correct'; did you mean 'correctness'"):
        ExplanationView(sides[0], scales={"correct": Scale(0, 4)})
    with pytest.raises(ValueError, match="`scales` must name objectives; got 'x'"):
        ComparisonView(compare(*sides), scales={"x": Scale(0, 4)})


def test_an_explanation_that_does_not_add_up_is_refused(sides):
    from dataclasses import replace

    with pytest.raises(ValueError, match=r"`explanation\.contributions` must add up"):
        ExplanationView(replace(sides[0], score=2.0))
