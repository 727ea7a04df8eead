import io

import pytest
from rich.console import Console

from armorm.evaluate.bars import signed_bar
from armorm.evaluate.figures import Report
from armorm.evaluate.interval import value_only
from armorm.evaluate.tables import summary


def render(renderable, width, encoding="utf-8", **more):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(width=width, file=file, **more).print(renderable)
    file.flush()
    return file.buffer.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [80, 120])
def test_summary_fits_and_cuts_nothing_off(report, width):
    text = render(summary(report), width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    for one in report.objectives:
        line = next(line for line in text.splitlines() if line.startswith(one.name))
        assert f"{one.spearman.low:.2f} to {one.spearman.high:.2f}" in line
        assert f"{one.r2.value:.2f}".replace("-0.00", "0.00") in line
    for one in report.preferences:
        assert any(
            line.startswith(one.scorer) and f"{100 * one.accuracy.value:.1f} %" in line
            for line in text.splitlines()
        )
    assert report.protocol.split(":")[0] in text


def test_wide_terminals_get_bars_and_verdicts(report):
    assert "━" in render(summary(report), 120)
    assert "no clear difference" in render(summary(report), 120)
    assert "━" not in render(summary(report), 80)


def test_long_names_give_way_and_numbers_stay(report):
    one = report.objectives[0].model_copy(update={"name": "ultrafeedback-instruction_following"})
    text = render(summary(report.model_copy(update={"objectives": (one,)})), 80)
    line = next(line for line in text.splitlines() if line.startswith("ultrafeedback-"))
    assert "…" in line
    assert f"{one.r2.low:.2f} to {one.r2.high:.2f}" in line


@pytest.mark.parametrize("name", ["[/x]", "[red]a[/red]", ":smile:", "a\\[b]"])
def test_a_name_that_looks_like_markup_is_shown_as_it_is(report, name):
    # One such name once failed a finished run.
    one = report.objectives[0].model_copy(update={"name": name})
    text = render(summary(report.model_copy(update={"objectives": (one,)})), 120)
    assert any(line.startswith(f"{name} ") for line in text.splitlines())


def test_piped_text_has_no_escape_and_a_plain_terminal_no_box_characters(report):
    assert "\x1b" not in render(summary(report), 120)
    assert render(summary(report), 120, encoding="ascii").isascii()
    assert "\x1b[" in render(summary(report), 120, force_terminal=True, color_system="truecolor")


def test_undefined_figures_are_dashes_in_the_table(report):
    undefined = report.objectives[0].model_copy(
        update={"spearman": value_only(float("nan"), n_rows=0, n_groups=0)}
    )
    text = render(summary(report.model_copy(update={"objectives": (undefined,)})), 120)
    assert next(line for line in text.splitlines() if "helpfulness" in line).split()[2] == "-"
    assert "nan" not in text


def test_summary_without_figures_is_the_protocol_alone():
    assert render(summary(Report(name="x", protocol="Nothing.")), 80) == "Nothing.\n"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, "    |======"),
        (0.5, "    |===   "),
        (0.25, "    |=-    "),
        (0.0, "    |      "),
        (-0.5, " ===|      "),
        (-2 / 3, "====|      "),
        (9.0, "    |======"),
        (-9.0, "====|      "),
    ],
)
def test_a_bar_is_as_long_as_its_value_and_stays_within_its_width(value, expected):
    bar = signed_bar(value, low=-2 / 3, high=1.0, width=11, ascii_only=True)
    assert bar.plain == expected


def test_a_bar_of_one_direction_starts_at_the_edge():
    assert signed_bar(1, low=0, high=2, width=9).plain == "│━━━━    "
    assert signed_bar(-0.5, low=-2, high=0, width=9).plain == "      ━━│"


def test_a_tiny_minus_does_not_stretch_the_bars_of_the_other_side():
    assert signed_bar(-1e-9, low=-1e-9, high=1, width=6).plain == " │    "
    assert signed_bar(0.5, low=-1e-9, high=1, width=6).plain == " │━━  "
