"""`finetune weights fetch`: what is wrong with its arguments is told before torch is imported."""

import pytest
from click.testing import CliRunner

from finetune_sdk.cli.main import finetune
from finetune_sdk.cli.weights import lines_for_run, parse_model
from finetune_sdk.errors import UsageError
from finetune_sdk.strict_yaml import read_yaml
from tests.support.light_start import output_of_light

WRONG = {
    "a tag without its architecture": ("laion400m_e31", "such as ViT-B-16:laion400m_e31, "),
    "a tag of many": ("openai", "such as RN50-quickgelu:openai, RN50x4-quickgelu:openai, "),
    "an architecture without a tag": ("coca_ViT-B-32", "such as coca_ViT-B-32:laion2b_s13b_b90k"),
    "an architecture with a colon": ("coca_ViT-B-32:", "such as coca_ViT-B-32:laion2b_s13b_b90k"),
    "a tag with a colon": (":laion2b_s13b_b90k", "such as coca_ViT-B-32:laion2b_s13b_b90k"),
    "a name misspelt": ("ViT-B32", "did you mean ViT-B-32"),
    "something else": ("@@", "`finetune models` lists them"),
    "a slash for the colon": ("ViT-B-32-quickgelu/openai", "did you mean ViT-B-32-quickgelu or"),
}


@pytest.mark.parametrize(("typed", "told"), WRONG.values(), ids=WRONG)
def test_what_is_not_architecture_and_tag_is_told_with_what_is(typed: str, told: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_model(typed)
    assert f"{typed!r} is not ARCHITECTURE:TAG: " in str(refused.value)
    assert told in str(refused.value)


def test_another_scheme_is_told() -> None:
    arguments = ["weights", "fetch", "ViT-B-32-quickgelu:openai", "gs://bucket"]
    with pytest.raises(UsageError, match=r"URI 'gs://bucket' is neither a folder nor file:///FOLDER nor s3://BUCKET/"):
        CliRunner().invoke(finetune, arguments, catch_exceptions=False)


@pytest.mark.parametrize("uri", ["s3://models/published/a/b/", "file:///it's%20mine/: #1/"])
def test_the_lines_for_a_run_read_as_the_uri(uri: str) -> None:
    document = read_yaml(lines_for_run("ViT-B-32", uri).encode()).plain()
    assert document == {"spec": {"model": {"name": "ViT-B-32", "weights": {"uri": uri}}}}


def test_help_imports_no_torch() -> None:
    assert "finetune weights fetch ViT-B-32-quickgelu:openai" in output_of_light("weights", "fetch", "--help")
