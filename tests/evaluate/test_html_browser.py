"""Pages in a headless Chromium: what a reader does, and what must never happen."""

import contextlib

import pytest

import pages
from armorm.evaluate.html.audit_page import render_audit_html
from armorm.evaluate.html.protocol_page import render_result_html
from armorm.evaluate.html.report_page import render_report_html
from browser import chromium

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
KINDS = ["report", "audit", "protocol"]


@pytest.fixture(scope="module")
def files(report, tmp_path_factory):
    """Address of each page as a file."""
    folder = tmp_path_factory.mktemp("pages")
    rendered = {
        "report": render_report_html(pages.with_curves(report)),
        "audit": render_audit_html(pages.make_audit()),
        "protocol": render_result_html(pages.make_result(folder)),
    }
    for kind, text in rendered.items():
        (folder / f"{kind}.html").write_text(text)
    return {kind: (folder / f"{kind}.html").as_uri() for kind in rendered}


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@contextlib.contextmanager
def opened(browser, address, **settings):
    """A page that must ask for nothing and complain about nothing, also when it is used."""
    context = browser.new_context(**settings)
    page = context.new_page()
    problems = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
    page.on(
        "request",
        lambda request: (
            problems.append(request.url) if not request.url.startswith(("file:", "data:")) else None
        ),
    )
    try:
        page.goto(address)
        yield page
        assert problems == []
    finally:
        context.close()


def shown(page):
    """Prompts of the rows that can be seen."""
    return page.locator("tr.pair:visible .c-prompt").all_inner_texts()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_the_page_without_scrolling_sideways(browser, files, kind, scheme):
    with opened(browser, files[kind], viewport=PHONE, color_scheme=scheme) as page:
        for one in page.locator("details").all():
            one.evaluate("one => { one.open = true; }")
        if kind == "report":
            page.locator("tr.pair button").first.click()
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        wide = page.evaluate(
            """() => [...document.querySelectorAll('main *, header *')].filter(
                one => one.getBoundingClientRect().right > innerWidth + 1
                && !one.closest('.scroll, .drawing.wide, .quiet, svg')).map(one => one.outerHTML)"""
        )
        assert wide == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_the_contrast_of_wcag_aa(browser, files, kind, scheme):
    with opened(browser, files[kind], color_scheme=scheme) as page:
        ratios = page.evaluate(CONTRAST)
        assert len(ratios) > 20
        assert [one for one in ratios if one[0] < 4.5] == []


def test_filters_leave_the_rows_that_fit_and_say_how_many(browser, files):
    with opened(browser, files["report"]) as page:
        count = page.locator("#count")
        assert count.inner_text() == "37 of 37 shown"
        assert count.get_attribute("aria-live") == "polite"
        page.get_by_role("searchbox").fill("KETTLES")
        assert len(shown(page)) == 8
        page.get_by_role("combobox", name="Source").select_option("code")
        assert shown(page) == [shown(page)[0], "Question 15?", "Question 30?"]
        assert count.inner_text() == "3 of 37 shown"
        page.get_by_role("searchbox").fill("nowhere")
        assert shown(page) == []
        assert page.get_by_text("No comparison fits").is_visible()
        page.get_by_role("button", name="Clear").click()
        page.get_by_text("37 of 37 shown").wait_for()
        page.get_by_role("combobox", name="Show").select_option("wrong")
        verdicts = page.locator("tr.pair:visible .verdict").all_inner_texts()
        assert verdicts
        assert set(verdicts) == {"wrong"}
        assert "Question 2?" in shown(page)


def test_margin_and_objective_filter_by_number_and_name(browser, files):
    with opened(browser, files["report"]) as page:
        page.get_by_label("Margin from").fill("0.3")
        page.get_by_label("Margin to").fill("0.5")
        margins = [float(m) for m in page.locator("tr.pair:visible .c-margin").all_inner_texts()]
        assert margins
        assert all(0.295 <= m <= 0.505 for m in margins)
        page.get_by_role("button", name="Clear").click()
        page.get_by_role("combobox", name="Decided by").select_option("is_safe")
        assert set(page.locator("tr.pair:visible .c-deciding").all_inner_texts()) == {"is_safe"}


def test_the_most_and_the_least_certain_quarter_are_a_quarter(browser, files):
    with opened(browser, files["report"]) as page:

        def sizes():
            cells = page.locator("tr.pair:visible .c-margin").all_inner_texts()
            return sorted(abs(float(m)) for m in cells)

        everything = sizes()
        page.get_by_role("combobox", name="Show").select_option("sure")
        assert sizes() == everything[-9:]
        page.get_by_role("combobox", name="Show").select_option("unsure")
        assert sizes() == everything[:9]


def test_columns_sort_both_ways(browser, files):
    with opened(browser, files["report"]) as page:
        head = page.locator("th.c-margin").first
        for way, is_down in (("ascending", False), ("descending", True)):
            head.get_by_role("button").click()
            margins = [float(m) for m in page.locator("tr.pair .c-margin").all_inner_texts()]
            assert margins == sorted(margins, reverse=is_down)
            assert head.get_attribute("aria-sort") == way
        page.locator("th.c-source").first.get_by_role("button").click()
        assert head.get_attribute("aria-sort") is None


def test_filters_stand_in_the_address_and_come_back(browser, files):
    with opened(browser, files["report"]) as page:
        page.get_by_role("combobox", name="Source").select_option("safety")
        page.get_by_role("searchbox").fill("other & answer")
        page.get_by_role("searchbox").fill("answer")
        page.locator("th.c-margin").first.get_by_role("button").click()
        address, rows = page.url, shown(page)
        assert "#comparisons?" in address
    with opened(browser, address) as page:
        assert shown(page) == rows
        assert page.get_by_role("combobox", name="Source").input_value() == "safety"
        page.get_by_role("button", name="Clear").click()
        page.get_by_text("37 of 37 shown").wait_for()
        assert "source" not in page.url


def test_a_row_opens_by_keyboard_to_texts_bars_and_reasons(browser, files):
    with opened(browser, files["report"]) as page:
        button = page.locator("tr.pair button").first
        button.focus()
        page.keyboard.press("Enter")
        assert button.get_attribute("aria-expanded") == "true"
        detail = page.locator(f"#{button.get_attribute('aria-controls')}")
        said = detail.inner_text()
        for text in (
            pages.HOSTILE,
            "Sentence of pair 0.",
            "Answer 0 about kettles.",
            "It would prefer the other one if honesty counted for less.",
            "--scale honesty=0.4",
            "honesty rated 3 on a scale from 0 to 4: “So.”",
        ):
            assert text in said
        assert detail.locator(".bar i").count() == 4
        total = float(detail.locator("tfoot .sum").inner_text())
        parts = [float(one) for one in detail.locator("tbody .sum").all_inner_texts()]
        assert total == pytest.approx(sum(parts), abs=0.03)  # of rounded numbers
        page.keyboard.press("Space")
        assert not detail.is_visible()
        assert page.locator("img").count() == 0


def test_a_filter_hides_an_open_row_and_brings_it_back(browser, files):
    with opened(browser, files["report"]) as page:
        page.locator("tr.pair button").nth(1).click()
        detail = page.locator("tr.detail")
        assert "Answer 1. …" in detail.inner_text()  # clipped
        page.get_by_role("searchbox").fill("Question 20?")
        assert not detail.is_visible()
        page.get_by_role("searchbox").fill("")
        assert detail.is_visible()


def test_the_first_key_leads_to_the_skip_link_and_it_leads_to_the_figures(browser, files):
    with opened(browser, files["report"]) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "content"
        assert page.locator("nav a").count() == page.locator("main > section").count()


def test_print_shows_every_row_and_number_and_no_filter(browser, files, tmp_path):
    with opened(browser, files["report"]) as page:
        page.get_by_role("searchbox").fill("Question 20?")
        assert len(shown(page)) == 1
        page.emulate_media(media="print")
        assert len(shown(page)) == 37
        for one in (".filters", "nav", "#count"):
            assert not page.locator(one).is_visible()
        closed = page.locator("details:not([open]) tbody td").first
        assert closed.evaluate("cell => cell.checkVisibility({contentVisibilityAuto: true})")
        page.pdf(path=tmp_path / "report.pdf")
        assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
        page.emulate_media(media="screen")
        assert len(shown(page)) == 1


def test_without_scripts_the_table_is_whole(browser, files):
    with opened(browser, files["report"], java_script_enabled=False) as page:
        assert len(shown(page)) == 37
        assert not page.locator("#filters").is_visible()


CONTRAST = """() => {
  const channel = (part) => {
    const v = part / 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  };
  const rgba = (text) => text.match(/[0-9.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const found = rgba(getComputedStyle(one).backgroundColor);
      if (found.length < 4 || found[3] === 1) return found;
    }
    return rgba(getComputedStyle(document.body).backgroundColor);
  };
  const found = [];
  document.querySelectorAll("body *").forEach((one) => {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const isText = !one.closest("script, style, .quiet, option, title, desc");
    if (!own || !isText || !one.checkVisibility()) return;
    const style = getComputedStyle(one);
    const ink = rgba(one.closest("svg") ? style.fill : style.color);
    const [a, b] = [light(ink), light(behind(one))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), one.outerHTML.slice(0, 120)]);
  });
  return found;
}"""
