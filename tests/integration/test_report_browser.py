"""report.html in a real browser: it is quiet, reaches for nothing, fits a phone and can be read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from finetune_trainer.report.render import render_report
from tests.support import report_sample
from tests.support.browser import Page, chromium
from tests.unit.test_report import hostile

REPORTS = {"whole": report_sample.whole, "killed": report_sample.killed, "hostile": hostile}
SCREENS = {"a desk in light": (1280, "light"), "a desk in dark": (1280, "dark"), "a phone": (390, "light")}

CONTRAST = """
(() => {
  const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const parse = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const [r, g, b, a = 1] = parse(getComputedStyle(node).backgroundColor);
      if (a === 1) return [r, g, b];
    }
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim());
    if (!own || node.closest(".sr, .skip, .blank") || !node.checkVisibility()) continue;
    const style = getComputedStyle(node);
    const ink = parse(node instanceof SVGElement ? style.fill : style.color);
    const [low, high] = [light(ink), light(behind(node))].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) found.push(`${ratio.toFixed(2)} ${node.className} ${node.textContent.slice(0, 40)}`);
  }
  return found;
})()
"""
"""WCAG 2.2's contrast (1.4.3) of every text with what lies behind it; returns what falls short of AA."""

SECTIONS = "[...document.querySelectorAll('main section[aria-labelledby]')].map(section => section.id)"
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
BROKEN = "[...document.images].filter(image => !image.complete || !image.naturalWidth || !image.alt).length"
LONE_HEADERS = "document.querySelectorAll('th:not([scope])').length"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module", params=REPORTS.values(), ids=list(REPORTS))
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_report(request.param()), encoding="utf-8")
    return path


@pytest.mark.parametrize(("width", "scheme"), SCREENS.values(), ids=SCREENS)
def test_the_report_opens_quietly_and_fits(page: Page, report: Path, width: int, scheme: str) -> None:
    page.visit(report, width, scheme)
    assert page.evaluate("innerWidth") == width, "a page that is too wide makes a phone zoom out"
    assert page.evaluate(WIDE) == 0
    assert page.complaints == []
    assert page.requests == []
    assert page.evaluate(CONTRAST) == []


def test_its_parts_are_there_for_eyes_and_for_screen_readers(page: Page, report: Path) -> None:
    page.visit(report, 1280)
    parts = ["verdict", "recall", "examples", "training", "weights", "data", "reproduce", "provenance"]
    assert page.evaluate(SECTIONS) == parts
    assert page.evaluate(BROKEN) == 0
    assert page.evaluate(LONE_HEADERS) == 0
    assert page.evaluate("document.querySelectorAll('h1').length") == 1


def test_dark_is_dark_and_light_is_light(page: Page, report: Path) -> None:
    paper = {}
    for scheme in ("light", "dark"):
        page.visit(report, 1280, scheme)
        paper[scheme] = page.evaluate("Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])")
    assert paper["light"] > 240
    assert paper["dark"] < 40


def test_the_policy_stops_what_slips_in(page: Page, tmp_path: Path) -> None:
    slipped = render_report(report_sample.killed()).replace(
        "</main>", "<script>document.title = 'ran'</script><img src='http://127.0.0.1:9/x.png' alt='x'></main>"
    )
    path = tmp_path / "slipped.html"
    path.write_text(slipped, encoding="utf-8")
    page.visit(path, 1280)
    assert page.evaluate("document.title") != "ran"
    assert page.complaints, "the policy's refusals are told, so that this test's silence elsewhere means something"
