"""report.html: what a reader finds in it, and what a hostile file name cannot do to it."""

import base64
import hashlib
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import pytest

from finetune_trainer.records import DataReport, Examples, GateResult, Problem, QueryExample, RunRecord
from finetune_trainer.report import text
from finetune_trainer.report.caveats import caveats
from finetune_trainer.report.inputs import ReportInput
from finetune_trainer.report.render import render_report
from tests.support import report_sample

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>\x1b[31m\u202e\udcff&amp;"
VOID = {"meta", "link", "img", "br"}


class Outline(HTMLParser):
    """Checks that tags nest, and keeps them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@cache
def rendered() -> str:
    return render_report(report_sample.whole())


def words(html: str) -> str:
    """The visible text, spaces made single."""
    without_style = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", without_style).split())


FOUND = {
    "the verdict's sentence": report_sample.outcome().sentence,
    "the headline's gain and interval": "+15.2 points , 95 % interval +12.9 to +17.6, 1,000 test images",
    "a metric that fell": "recall@10 61.3 % 60.6 % −0.7 −3.1 to +1.7",
    "the gate": "Gate passed. The gain of 15.2 points",
    "bad rows by kind": "7 bad rows: 3 missing-image, 2 broken-image, 2 empty-caption",
    "a bad row": "captions.csv:1928 broken-image image file is truncated",
    "leaks": "4 training pictures also, or nearly, in validation or test: dropped from training",
    "what was chosen": "step 270 at alpha 0.75, +10.7 points over the base with a standard error of 0.8",
    "the command": "clip_benchmark eval",
    "the spec": "learningRate: 1e-05",
    "the hardware": "NVIDIA A10G (cuda)",
    "the seed caveat": "leaves out the luck of training",
    "ties": "3 queries scored another candidate exactly as high",
}


@pytest.mark.parametrize("found", FOUND.values(), ids=FOUND)
def test_a_whole_report_tells(found: str) -> None:
    assert found.replace("'", "&#39;") in words(rendered())


def test_the_file_is_well_formed_and_small() -> None:
    outline = Outline(rendered())
    assert outline.open == []
    assert len(rendered().encode()) < 1_500_000


def test_nothing_in_the_file_can_run_or_reach_a_network() -> None:
    outline = Outline(rendered())
    assert not {"script", "iframe", "object", "form"} & set(outline.tags)
    assert not [name for name, _ in outline.attributes if name.startswith("on") or name == "style"]
    addresses = [value or "" for name, value in outline.attributes if name in {"src", "href"}]
    assert {address.split(":")[0] for address in addresses if not address.startswith("#")} == {"data"}


def test_the_policy_names_the_style_by_its_hash() -> None:
    style = re.search(r"<style>(.*?)</style>", rendered(), flags=re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'" in rendered()


def hostile() -> ReportInput:
    """Every text that a user or a file name decides, at its worst."""
    whole = report_sample.whole()
    query = QueryExample(
        caption=HOSTILE, image=HOSTILE, rank_before=9, rank_after=1, top_before=["gone.jpg"], top_after=[HOSTILE]
    )
    data = report_sample.data().model_copy(
        update={"problems": [Problem(kind=HOSTILE, where=HOSTILE, detail=HOSTILE * 500)], "oddities": {HOSTILE: 1}}
    )
    outcome = report_sample.outcome().model_copy(
        update={"sentence": HOSTILE, "notes": [HOSTILE], "timings": {HOSTILE: 1.0}, "model_uri": f"s3://{HOSTILE}"}
    )
    run = report_sample.run().model_copy(
        update={"run": HOSTILE, "spec": {HOSTILE: [HOSTILE]}, "versions": {HOSTILE: HOSTILE}}
    )
    return replace(
        whole,
        run=run,
        data=data,
        outcome=outcome,
        examples=Examples(wins=[query], losses=[], thumbnails={HOSTILE: '"><script>'}),
        gate=GateResult(passed=False, message=HOSTILE),
        reproduce=HOSTILE,
        failure=HOSTILE,
    )


def test_hostile_text_stays_text() -> None:
    html = render_report(hostile())
    outline = Outline(html)
    assert "script" not in outline.tags
    assert not [name for name, _ in outline.attributes if name.startswith("on")]
    assert "\x1b" not in html
    html.encode()  # a lone surrogate of a file name would fail


def test_a_thumbnail_that_is_not_base64_is_a_blank() -> None:
    assert '<img src="data:image/jpeg;base64,"' not in render_report(hostile())
    assert 'class="blank"' in render_report(hostile())


def test_a_killed_run_shows_what_is_there_and_says_what_is_not() -> None:
    told = words(render_report(report_sample.killed()))
    assert "Not finished This run has no result yet: it is in stage train, after step 120 of 300" in told
    assert "recall@5 42.1 % not measured yet" in told
    assert "headline 42.1 %" not in told, "nothing says which metric is the headline, so none is marked"
    for missing in ("Nothing chosen", "No command", "Not there: single queries"):
        assert missing in told


def test_a_run_that_failed_at_once_has_a_report() -> None:
    given = ReportInput(
        run=report_sample.run(), rendered_at=report_sample.WHEN, stage="prepare", failure="captions.csv:3 has no image"
    )
    told = words(render_report(given))
    assert "This run ended without a result in stage prepare. captions.csv:3 has no image" in told
    assert "No curves" in told


def test_the_right_picture_is_marked_in_its_row() -> None:
    pictures = re.findall(r'<li class="shot( right)?">', rendered())
    assert pictures.count(" right") == 20 + 20, "each query's own, and one of its six found"


def few_images() -> ReportInput:
    whole = report_sample.whole()
    assert whole.after
    return replace(whole, after=whole.after.model_copy(update={"images": 150}))


def other_queries() -> ReportInput:
    whole = report_sample.whole()
    assert whole.after
    return replace(whole, after=whole.after.model_copy(update={"queries_digest": "other"}))


def kept_leaks() -> ReportInput:
    return replace(report_sample.whole(), data=report_sample.data().model_copy(update={"leakage": "report"}))


CAVEATS = {
    "a small test set": (few_images(), "The test set has 150 images. Under 200"),
    "another set of queries": (other_queries(), "measured on different queries"),
    "leaks that stayed": (kept_leaks(), "4 training pictures may also be in validation or test"),
}


@pytest.mark.parametrize(("given", "said"), CAVEATS.values(), ids=CAVEATS)
def test_caveats(given: ReportInput, said: str) -> None:
    assert any(said in caveat for caveat in caveats(given))
    assert not any(said in caveat for caveat in caveats(report_sample.whole()))


WORDS = {
    "points rise": (text.points(0.152), "+15.2"),
    "points fall, with a true minus": (text.points(-0.0312), "−3.1"),
    "a gain that rounds to nothing has no sign": (text.points(-0.0002), "0.0"),
    "percent": (text.percent(0.4213), "42.1 %"),
    "seconds": (text.duration(0.42), "0.4 s"),
    "minutes never show 60 seconds": (text.duration(119.7), "2:00 min"),
    "hours": (text.duration(8_100), "2:15 h"),
    "bytes": (text.byte_size(1_572_864), "1.5 MiB"),
    "one": (text.count(1, "query"), "1 query"),
    "many": (text.count(2_000, "query"), "2,000 queries"),
    "a foreign metric": (text.metric_name("mean_rank"), "mean_rank"),
}


@pytest.mark.parametrize(("got", "expected"), WORDS.values(), ids=WORDS)
def test_words(got: str, expected: str) -> None:
    assert got == expected


def test_metrics_are_ordered_by_direction_then_by_number() -> None:
    names = ["text_retrieval_recall@1", "image_retrieval_recall@10", "image_retrieval_recall@5"]
    assert text.in_order(dict.fromkeys(names, 0.0)) == [names[2], names[1], names[0]]


def test_the_spec_can_be_read_back_as_yaml() -> None:
    from ruamel.yaml import YAML

    spec = {"name": "yes", "rate": 1e-5, "path": "a: b # c", "list": [1, 2], "odd\x07": None}
    read = YAML(typ="safe").load(text.as_yaml(spec))
    assert read == {"name": "yes", "rate": 1e-5, "path": "a: b # c", "list": [1, 2], "odd\ufffd": None}


def test_the_first_rows_are_shown_and_the_rest_counted() -> None:
    problems = [Problem(kind="bad-row", where=f"a.csv:{row}", detail="") for row in range(500)]
    data = DataReport.model_validate({**report_sample.data().model_dump(), "problems": problems, "rows_bad": 1_500})
    html = render_report(replace(report_sample.killed(), data=data))
    assert "The first 200 of 1,500; prepare.json lists up to 1,000." in words(html)
    assert "a.csv:199<" in html
    assert "a.csv:200<" not in html


def test_the_sample_is_a_valid_record() -> None:
    assert RunRecord.model_validate_json(report_sample.run().model_dump_json()) == report_sample.run()
