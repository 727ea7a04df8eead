import sys

import numpy as np
import pytest

from armorm.errors import MissingDependency
from armorm.evaluate import canvas, drawing
from armorm.evaluate.figures import Report
from armorm.evaluate.interval import value_only
from armorm.evaluate.plots import write_plots


@pytest.fixture(autouse=True)
def unchanged_style():
    """No picture leaves a trace in matplotlib's global state."""
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules


def texts(figure):
    """Everything that is written on a picture."""
    axes = figure.axes[0]
    return [t.get_text() for t in (*axes.texts, *axes.get_yticklabels(), axes.xaxis.label)]


def test_every_section_gets_a_picture_with_a_text(report, tmp_path):
    pictures = write_plots(report, tmp_path)
    assert [p.section for p in pictures] == ["objectives", "preferences", "debias", "gating"]
    for picture in pictures:
        content = (tmp_path / picture.path).read_bytes()
        assert content.startswith(b"\x89PNG")
        # 7.2 inches at 150 dots an inch
        assert int.from_bytes(content[16:20], "big") == 1080
        assert len(picture.alt) > 30


def test_a_report_without_figures_has_no_pictures(tmp_path):
    assert write_plots(Report(name="x", protocol="p"), tmp_path) == ()
    assert not (tmp_path / "plots").exists()


def test_one_report_gives_one_sequence_of_bytes(report, tmp_path):
    for name in ("a", "b"):
        write_plots(report, tmp_path / name)
    for file in sorted((tmp_path / "a/plots").iterdir()):
        assert file.read_bytes() == (tmp_path / "b/plots" / file.name).read_bytes()
        assert b"Software" not in file.read_bytes()
        assert b"tIME" not in file.read_bytes()


def test_objectives_are_sorted_with_the_strongest_on_top(report):
    labels = [t.get_text() for t in drawing.plot_objectives(report).axes[0].get_yticklabels()]
    values = {one.name: one.spearman.value for one in report.objectives}
    assert labels == sorted(values, key=values.get)


def test_an_undefined_objective_has_a_name_but_no_point(report):
    undefined = report.objectives[0].model_copy(
        update={"spearman": value_only(float("nan"), n_rows=0, n_groups=0)}
    )
    figure = drawing.plot_objectives(
        report.model_copy(update={"objectives": (undefined, *report.objectives[1:4])})
    )
    written = texts(figure)
    assert undefined.name in written
    assert sum(t in {f"{o.spearman.value:.2f}" for o in report.objectives[1:4]} for t in written)
    assert not any("nan" in t for t in written)


def test_values_without_intervals_are_drawn_without_a_level(report):
    bare = tuple(
        one.model_copy(update={"accuracy": value_only(0.6, n_rows=9, n_groups=9)})
        for one in report.preferences
    )
    figure = drawing.plot_preferences(bare)
    assert figure.axes[0].get_xlabel() == "Preference accuracy in per cent"
    assert "(95 % intervals)" in drawing.plot_preferences(report.preferences).axes[0].get_xlabel()


def test_heat_map_shows_each_weight_in_per_cent(report):
    axes = drawing.plot_gating(report.gating).axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == [*report.gating.by_source, "all"]
    shown = np.array([float(t.get_text()) for t in axes.texts]).reshape(13, 5)
    assert shown[:, -1] == pytest.approx([100 * w for w in report.gating.mean.values()], abs=0.051)


def test_heat_map_of_one_source_has_one_column(report):
    one = {"general": report.gating.by_source["general"]}
    axes = drawing.plot_gating(report.gating.model_copy(update={"by_source": one})).axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["all"]


def test_contributions_are_bars_that_add_up_to_the_sum_below():
    parts = {"helpfulness": 0.06, "correctness": 0.12, "verbosity": -0.03}
    axes = drawing.plot_contributions(parts, title="Why", total="margin").axes[0]
    labels = [t.get_text() for t in axes.get_yticklabels()]
    assert labels == ["margin", "verbosity", "helpfulness", "correctness"]
    widths = [bar.get_width() for bar in axes.patches[:4]]
    assert widths == pytest.approx([0.15, -0.03, 0.06, 0.12])
    assert [t.get_text() for t in axes.texts] == ["+0.15", "-0.03", "+0.06", "+0.12"]


def test_contributions_that_are_all_zero_can_be_drawn(tmp_path):
    figure = drawing.plot_contributions({"a": 0.0}, title="Nothing")
    canvas.save_figure(figure, tmp_path / "nothing.png")
    assert (tmp_path / "nothing.png").stat().st_size > 1000


def test_no_contributions_are_refused():
    with pytest.raises(ValueError, match="`contributions` must have at least 1 objective"):
        drawing.plot_contributions({}, title="")


def test_without_matplotlib_the_extra_is_named(report, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "armorm.evaluate.canvas")
    monkeypatch.delattr("armorm.evaluate.canvas")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependency, match=r"drawing plots needs .*'armorm\[plots\]'"):
        write_plots(report, tmp_path)
    assert not (tmp_path / "plots").exists()
