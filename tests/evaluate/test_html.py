import html
import itertools
import re
import sys
from xml.etree import ElementTree

import pytest

import pages
from armorm.evaluate import drawing
from armorm.evaluate.audit.files import write_audit
from armorm.evaluate.figures import Report
from armorm.evaluate.html.audit_page import render_audit_html
from armorm.evaluate.html.protocol_page import render_result_html
from armorm.evaluate.html.report_page import render_report_html
from armorm.evaluate.html.svg import draw_inline
from armorm.evaluate.protocols import write_result


@pytest.fixture(scope="module")
def whole(report):
    return pages.with_curves(report)


@pytest.fixture(scope="module")
def rendered(whole, tmp_path_factory):
    """All three pages by kind."""
    result = pages.make_result(tmp_path_factory.mktemp("rows"))
    return {
        "report": render_report_html(whole),
        "audit": render_audit_html(pages.make_audit()),
        "protocol": render_result_html(result),
    }


KINDS = ["report", "audit", "protocol"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_address_of_a_network_stands_on_a_page(rendered, kind):
    page = rendered[kind]
    assert re.findall(r"https?://", page) == []
    assert re.findall(r'(?:src|href)="(?!#|data:,")', page) == []
    assert "default-src 'none'; script-src 'sha256-" in page
    assert "unsafe" not in page
    assert 'style="' not in page  # the policy would drop it
    assert len(page) < 2_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_distinct_and_every_reference_leads_to_one(rendered, kind):
    page = rendered[kind]
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(set(ids)) == len(ids)
    references = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)|for="([^"]+)"', page))
    assert {name for one in references for name in one if name} <= set(ids)
    for names in re.findall(r'aria-labelledby="([^"]+)"', page):
        assert set(names.split()) <= set(ids)


@pytest.mark.parametrize(("kind", "n"), [("report", 9), ("audit", 7), ("protocol", 2)])
def test_every_figure_has_a_title_a_description_and_its_numbers(rendered, kind, n):
    figures = re.findall(r"<figure>(.*?)</figure>", rendered[kind], flags=re.DOTALL)
    assert len(figures) == n
    for figure in figures:
        assert figure.count('role="img"') == 1
        assert len(re.search(r"<desc [^>]*>(.*?)</desc>", figure)[1]) > 30
        title = re.search(r"<title [^>]*>(.*?)</title>", figure)[1]
        assert title
        assert title == re.search(r"<figcaption>(.*?)</figcaption>", figure)[1]
        numbers = re.search(r"<details.*?<tbody>(.*?)</tbody>", figure, flags=re.DOTALL)[1]
        assert re.search(r">[^<]*\d[^<]*</td>", numbers)


@pytest.mark.parametrize("kind", KINDS)
def test_headings_go_down_one_step_at_a_time(rendered, kind):
    levels = [int(level) for level in re.findall(r"<h([1-6])", rendered[kind])]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_texts_of_rows_are_text(rendered):
    page = rendered["report"]
    assert "<script>alert(1)" not in page
    assert "<img" not in page
    assert html.escape("</script><script>alert(1)", quote=False) in page  # in the table
    assert r"\u003c/script\u003e\u003cscript\u003ealert(1)" in page  # in the data
    assert "{{ 7 * 7 }}" in page
    assert "audited &lt;b&gt;" in rendered["audit"]
    assert "A note &lt;i&gt;." in rendered["audit"]
    assert "&lt;poor&gt;" in rendered["protocol"]


def test_one_report_gives_one_page(whole, rendered):
    assert render_report_html(whole) == rendered["report"]


def test_a_report_without_figures_has_a_page():
    page = render_report_html(Report(name="x", protocol="Nothing was measured."))
    assert "<figure>" not in page
    assert "Figures rest on nothing was measured." in page
    assert 'id="comparisons-table"' not in page


def test_names_of_any_letters_can_be_drawn(report):
    # Dollars were read as mathematics, letters without a glyph warned, a control character
    # made the drawing unreadable.
    odd = report.objectives[0].model_copy(update={"name": "a$b$ <c> & \u5bfe\x01"})
    page = render_report_html(report.model_copy(update={"objectives": (odd,)}))
    assert "a$b$ &lt;c&gt; &amp; \u5bfe" in page


def test_a_figure_in_a_page_takes_its_colours_and_its_font(report):
    drawn = draw_inline(drawing.plot_objectives(report), key="one", description="What it shows.")
    root = ElementTree.fromstring(drawn.svg)
    assert drawn.title == "How well each objective is predicted"
    assert drawn.is_wide
    assert root.find("desc").text == "What it shows."
    assert not re.findall(r"#[0-9a-f]{6}|font-family|style=", drawn.svg)
    words = [one.text for one in root.iter("text")]
    assert {one.name for one in report.objectives} <= set(words)
    assert drawn.title not in words  # the page shows it
    assert all(one.attrib["id"].startswith("one-") for one in root.iter() if "id" in one.attrib)


def test_audit_and_protocol_have_their_page_beside_them(tmp_path):
    audit = pages.make_audit()
    assert write_audit(audit, tmp_path) == audit
    assert (tmp_path / "audit.html").read_text() == render_audit_html(audit)
    result = pages.make_result(tmp_path)
    assert write_result(result, tmp_path) == result
    assert (tmp_path / "protocol.html").read_text() == render_result_html(result)


@pytest.mark.parametrize("kind", ["audit", "protocol"])
def test_without_the_extra_an_older_page_goes_and_a_note_says_so(kind, tmp_path, monkeypatch):
    value = pages.make_audit() if kind == "audit" else pages.make_result(tmp_path)
    write = write_audit if kind == "audit" else write_result
    (tmp_path / f"{kind}.html").write_text("older")
    for name in ("page", f"{kind}_page"):
        monkeypatch.delitem(sys.modules, f"armorm.evaluate.html.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    written = write(value, tmp_path)
    assert written.notes[-1].startswith("writing pages needs the optional packages: pip install")
    assert not (tmp_path / f"{kind}.html").exists()
    assert (tmp_path / f"{kind}.json").exists()
