"""Every reason has its row in the page that people look reasons up in."""

import re
from pathlib import Path

from finetune_sdk.api.reasons import ON_SUCCESS, REASONS, TERMINAL, TERMINAL_AFTER_RETRIES, WAITING

PAGE = Path(__file__).resolve().parents[2] / "docs/troubleshooting.md"
SECTIONS = {
    "Over at once": TERMINAL,
    "Over once the retries are used up": TERMINAL_AFTER_RETRIES,
    "Waiting": WAITING,
    "Succeeded, and yet a reason": ON_SUCCESS,
}


def test_each_section_holds_its_reasons_and_no_other() -> None:
    told = {}
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        told[title] = set(re.findall(r"^\| ([A-Z]\w+) \|", text, re.MULTILINE))
    assert {title: told[title] for title in SECTIONS} == {title: set(reasons) for title, reasons in SECTIONS.items()}


def test_no_reason_is_in_two_groups() -> None:
    assert len(REASONS) == sum(map(len, SECTIONS.values()))
