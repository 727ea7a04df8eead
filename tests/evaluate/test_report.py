import json
import math
import re
import sys

import pytest

from armorm.errors import DataError, StorageError
from armorm.evaluate import wording
from armorm.evaluate.figures import DataFacts, PreferenceFigures, Report
from armorm.evaluate.interval import Interval, value_only
from armorm.evaluate.markdown import Picture, render_markdown
from armorm.evaluate.report import check_report_folder, read_report, report_json, write_report


def interval(value, low, high, **more):
    return Interval(value=value, low=low, high=high, n_rows=200, n_groups=100, **more)


def preference(scorer, accuracy, difference=None, n=200):
    return PreferenceFigures(
        scorer=scorer, n=n, n_ties=0, accuracy=accuracy, difference_to_gated=difference
    )


def test_write_then_read_is_identity(report, tmp_path):
    write_report(report, tmp_path)
    assert read_report(tmp_path) == report
    assert read_report(tmp_path / "report.json") == report


def test_one_report_has_one_sequence_of_bytes(report, tmp_path):
    shuffled = report.model_dump(by_alias=True)
    shuffled["versions"] = dict(reversed(shuffled["versions"].items()))
    shuffled = Report.model_validate(dict(reversed(shuffled.items())))
    for name, one in [("a", report), ("b", shuffled)]:
        write_report(one, tmp_path / name)
    for file in ("report.json", "report.md", "report.html"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_report_of_the_first_schema_is_read_as_one_of_this(report, tmp_path):
    content = report_json(report) | {"schema": 1}
    for name in ("calibration", "length", "comparisons"):
        del content[name]
    (tmp_path / "report.json").write_text(json.dumps(content))
    assert read_report(tmp_path) == report


def test_a_report_has_a_page_beside_it_and_without_the_extra_a_note(report, tmp_path, monkeypatch):
    assert write_report(report, tmp_path) == report
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    monkeypatch.delitem(sys.modules, "armorm.evaluate.html.report_page", raising=False)
    monkeypatch.delitem(sys.modules, "armorm.evaluate.html.page", raising=False)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    for _ in range(2):  # said once, however often it is written
        written = write_report(report, tmp_path)
        assert written.notes[:-1] == report.notes
        assert written.notes[-1] == (
            "writing pages needs the optional packages: pip install 'armorm[plots]'"
        )
        report_again = write_report(written, tmp_path)
        assert report_again.notes == written.notes
    assert not (tmp_path / "report.html").exists()
    assert read_report(tmp_path) == written


def test_nan_is_null_in_json_and_nan_when_read(tmp_path):
    figure = value_only(math.nan, n_rows=2, n_groups=2)
    write_report(Report(name="x", protocol="none", mean_spearman=figure), tmp_path)
    text = (tmp_path / "report.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["mean_spearman"]["value"] is None
    assert math.isnan(read_report(tmp_path).mean_spearman.value)


def test_json_starts_with_the_schema_and_keeps_the_order_of_the_fields(report):
    keys = list(report_json(report))
    assert keys[:3] == ["schema", "name", "protocol"]
    assert keys[-2:] == ["timings", "notes"]
    assert report_json(report)["schema"] == 2


def test_a_report_is_immutable(report):
    with pytest.raises(ValueError, match="frozen"):
        report.name = "other"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, r"report.json: no such file"),
        ("{", r"report.json: must be a JSON file in UTF-8; "),
        ("[" * 100_000, r"report.json: must be a JSON file in UTF-8; maximum recursion depth"),
        ("[1]", r"report.json: must hold a JSON object; found list"),
        ('{"schema": 3}', r"`schema` must be 1 or 2; found 3, written by a newer armorm$"),
        ('{"schema": true}', r"`schema` must be 1 or 2; found True$"),
        ('{"name": "x"}', r"`schema` must be 1 or 2; found None$"),
        ('{"schema": 1, "name": "x"}', r"`protocol` does not fit the schema: field required"),
        (
            '{"schema": 1, "name": "x", "protocol": "y", "accuracy": 3}',
            r"`accuracy` does not fit the schema: extra inputs are not permitted; found 3",
        ),
        (
            '{"schema": 1, "name": "x", "protocol": "y", "data": {"pairs": "' + "a" * 99 + '"}}',
            r"`data.pairs` does not fit the schema: .* found 'a{56}\.\.\.$",
        ),
    ],
)
def test_a_file_that_is_no_report_is_refused(tmp_path, content, text):
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(DataError, match=text):
        read_report(tmp_path / "report.json")


def test_a_folder_that_cannot_take_a_report_is_told_before_there_is_one(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=r"report\.md: cannot be written: Not a directory$"):
        check_report_folder(tmp_path / "file")
    (tmp_path / "taken" / "report.json").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"report\.json: cannot be written: Is a directory$"):
        check_report_folder(tmp_path / "taken")
    check_report_folder(tmp_path / "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "taken"]


def test_markdown_shows_every_objective_scorer_source_and_dropped_row(report):
    text = render_markdown(report)
    for one in report.objectives:
        row = next(line for line in text.splitlines() if line.startswith(f"| {one.name} "))
        assert f"| {one.spearman.value:.2f} |".replace("|", "").strip() in row
    for one in report.preferences:
        assert re.search(
            rf"\| (\*\*)?{one.scorer}(\*\*)? +\| +{100 * one.accuracy.value:.1f} %", text
        )
    for source in report.by_source:
        assert f"| {source} " in text
    assert re.search(r"\| pairs.jsonl \| longer than 4,096 tokens \| +2 \|", text)
    assert "1 (edge)" in text
    assert "alpha of 'complexity' lies at the edge" in text


def test_every_markdown_table_is_rectangular(report):
    lines = render_markdown(report).splitlines()
    tables = [[]]
    for line in lines:
        if line.startswith("|"):
            tables[-1].append(len(re.findall(r"(?<!\\)\|", line)))
        elif tables[-1]:
            tables.append([])
    assert len([t for t in tables if t]) == 8
    assert all(len(set(t)) == 1 for t in tables if t)


def test_text_of_a_name_cannot_break_a_table():
    data = DataFacts(dropped={"a|b.jsonl": {"line\nbreak": 1, "never": 0}})
    text = render_markdown(Report(name="x|y\nz", protocol="p", data=data))
    assert "| a\\|b.jsonl | line break |    1 |" in text
    assert text.startswith("# Report: x\\|y z\n")
    assert "never" not in text


def test_pictures_stand_in_their_section_with_a_text_for_who_cannot_see_them(report):
    picture = Picture("debias", "plots/debias.png", "What debias removes")
    text = render_markdown(report, [picture])
    section = text[text.index("## Debias") : text.index("## Gating")]
    assert "![What debias removes](plots/debias.png)" in section
    assert text.count("![") == 1


def test_a_report_without_figures_says_what_it_rests_on():
    text = render_markdown(Report(name="empty", protocol="Nothing was measured."))
    assert "Protocol: Nothing was measured." in text
    assert "No row was dropped." in text
    assert "## Objectives" not in text
    assert "## Gating" not in text


def test_a_source_without_a_scorer_shows_a_dash():
    whole = interval(0.7, 0.6, 0.8)
    rows = (preference("gated", whole), preference("longer wins", whole, interval(0, -0.1, 0.1)))
    report = Report(
        name="x",
        protocol="p",
        preferences=rows,
        by_source={"a": rows, "b": (preference("gated", value_only(0.5, n_rows=4, n_groups=4)),)},
    )
    text = render_markdown(report)
    assert re.search(r"\| b +\| +200 \| +50.0 \| +- \|", text)
    assert "70.0 (60 to 80)" in text


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (interval(-0.05, -0.09, -0.01), "the gated model is ahead by more than chance explains"),
        (interval(0.05, 0.01, 0.09), "the gated model is behind by more than chance explains"),
        (interval(0.01, -0.03, 0.05), "the difference is within what chance explains"),
        (value_only(0.01, n_rows=9, n_groups=9), "too few prompts to tell them apart"),
    ],
)
def test_headline_says_whether_the_best_baseline_is_beaten(difference, words):
    report = Report(
        name="x",
        protocol="p",
        preferences=(
            preference("gated", interval(0.70, 0.64, 0.76)),
            preference("longer wins", interval(0.5, 0.4, 0.6), interval(-0.2, -0.3, -0.1)),
            preference("uniform mean", interval(0.68, 0.6, 0.75), difference),
        ),
    )
    first, second = wording.headline(report)
    assert first == (
        "The gated model prefers the chosen response in 70.0 % of 200 preference pairs "
        "(95 % interval 64.0 to 76.0 %)."
    )
    assert second.startswith("The best baseline, uniform mean, reaches 68.0 % (")
    assert words in second


def test_headline_counts_the_objectives_that_are_defined(report):
    assert "over 13 objectives (95 % interval" in wording.headline(report)[-1]
    undefined = report.objectives[0].model_copy(
        update={"spearman": value_only(math.nan, n_rows=0, n_groups=0)}
    )
    fewer = report.model_copy(update={"objectives": (undefined, *report.objectives[1:])})
    assert "over 12 objectives" in wording.headline(fewer)[-1]


def test_best_baseline_is_the_most_accurate_rival(report):
    best = report.best_baseline()
    rivals = [one for one in report.preferences if one.scorer != "gated"]
    assert best.accuracy.value == max(one.accuracy.value for one in rivals)
    assert report.scorer("longer wins").scorer == "longer wins"
    assert report.scorer("nobody") is None
    assert Report(name="x", protocol="p").best_baseline() is None


def test_numbers_never_show_a_minus_zero():
    assert wording.number(-0.0004) == "0.00"
    assert wording.number(-0.0004, sign=True) == "+0.00"
    assert wording.number(-0.25, sign=True) == "-0.25"


def test_debias_of_two_nuisances_has_a_column_each(report):
    debias = report.debias.model_copy(
        update={
            "nuisances": ("verbosity", "log_length"),
            "penalties": {"honesty": {"verbosity": 0.1, "log_length": -0.2}},
            "n_rows": None,
        }
    )
    text = render_markdown(report.model_copy(update={"debias": debias}))
    assert "Spearman correlation with verbosity and log_length; after" in text
    assert "| penalty (verbosity) | penalty (log_length) |" in text
    assert re.search(r"\| honesty +\| +\+0.100 \| +-0.200 \|", text)


def test_a_steered_model_is_named_where_it_is_the_reference(report):
    whole = interval(0.7, 0.6, 0.8)
    rows = (
        preference("steered", whole),
        preference("gated", whole, interval(0.05, 0.01, 0.09)),
    )
    steered = Report(name="x", protocol="p", preferences=rows)
    text = render_markdown(steered)
    assert "to steered, points" in text
    assert "**To steered**: a scorer's accuracy minus that of steered" in text
    assert "The steered model prefers the chosen response in 70.0 %" in text
    assert "the steered model is behind by more than chance explains" in text
    assert report.reference().scorer == "gated"
    assert Report(name="x", protocol="p").reference() is None


def test_a_report_of_one_source_has_no_table_by_source(report):
    one = report.model_copy(update={"by_source": {"code": report.by_source["code"]}})
    assert "By source" not in render_markdown(one)


def test_headline_without_intervals_has_no_brackets(report):
    bare = value_only(0.4, n_rows=9, n_groups=9)
    text = wording.headline(Report(name="x", protocol="p", mean_spearman=bare))[0]
    assert "(" not in text
