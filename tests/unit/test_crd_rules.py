"""Each rule of the CRD has a row, and the models say of both its documents what the API server says."""

from collections import Counter

import pytest
from pydantic import ValidationError

from finetune_sdk.api import FinetuneRun
from finetune_sdk.api.rules import RULES
from tests.support.crd_rows import Row, rows, rules

ROWS = rows()
ACROSS = [row for row in ROWS if row.message in {rule.message for rule in RULES}]


def test_every_rule_has_one_row() -> None:
    assert Counter((row.place, row.message) for row in ROWS) == Counter(
        (place, rule["message"]) for place, rule in rules()
    )


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_models_agree(row: Row) -> None:
    FinetuneRun.model_validate(row.accepted)
    with pytest.raises(ValidationError):
        FinetuneRun.model_validate(row.refused)


@pytest.mark.parametrize("row", ACROSS, ids=str)
def test_rules_across_fields_have_the_same_words_in_both(row: Row) -> None:
    with pytest.raises(ValidationError) as refused:
        FinetuneRun.model_validate(row.refused)
    (error,) = refused.value.errors()
    assert [rule.message for rule in error["ctx"]["rules"]] == [row.message]
    assert error["loc"] == tuple(int(key) if key.isdigit() else key for key in _keys(row.place))


def _keys(place: str) -> list[str]:
    return place.replace("[", ".").replace("]", "").split(".")
