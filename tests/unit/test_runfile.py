"""A run's file: what it may hold, and what a person is told when it is wrong."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_sdk.api import FinetuneRun
from finetune_sdk.errors import InvalidSpec
from finetune_sdk.runfile import RunFileInvalid, parse_run
from tests.support.specs import sample

HEAD = "apiVersion: finetune.dev/v1alpha1\nkind: FinetuneRun\nmetadata: {name: tiny}\nspec:\n"
MODEL = "  model: {name: ViT-B-32, weights: {random: {}}}\n"
SOURCE = "  data: {source: {uri: pictures}}\n"
OUTPUT = "  output: {uri: out}\n"
GOOD = HEAD + MODEL + SOURCE + OUTPUT


def parse(text: str | bytes) -> FinetuneRun:
    data = text.encode() if isinstance(text, str) else text
    return parse_run(data, name="run.yaml", folder=Path("/srv/my run"), home=Path("/home/me"))


def told(text: str | bytes) -> str:
    with pytest.raises(RunFileInvalid) as invalid:
        parse(text)
    assert invalid.value.exit_code == 64
    return str(invalid.value)


def with_training(line: str) -> str:
    return GOOD + f"  training: {line}\n"


NOT_READ = {
    "an empty file": ("", "run.yaml:1  is empty"),
    "only a comment": ("# later\n", "run.yaml:1  is empty"),
    "a list": ("- a\n", "run.yaml:1  must hold a mapping with apiVersion, kind, metadata and spec"),
    "a key twice": (GOOD + OUTPUT, "run.yaml:8  output stands here twice, first in line 7: keep one"),
    "a second document": (GOOD + "---\na: 1\n", "run.yaml:8  a second document begins here: keep one run in a file"),
    "a tab": (HEAD + "\tmodel: 1\n", "run.yaml:5  a tab: indent with spaces"),
    "Latin-1": (GOOD.encode() + b"# caf\xe9\n", "run.yaml:8  byte 0xe9 is not UTF-8: save the file as UTF-8"),
    "UTF-16": (GOOD.encode("utf-16"), "run.yaml:1  byte 0xff is not UTF-8: save the file as UTF-8"),
    "a control character": (GOOD + "# \x07\n", "run.yaml:8  the control character U+0007: remove it"),
    "an open bracket": (HEAD + "  model: {name: a\n", "run.yaml:6  a comma or a closing bracket is missing"),
    "an open quote": (HEAD + "  model: 'a\n", "run.yaml:6  a quote or bracket is not closed"),
    "two colons": (HEAD + "  model: a: b\n", "run.yaml:5  a second ': ' in one line"),
    "a tag": (HEAD + "  model: !!python/name:os.system x\n", "is not supported: remove it"),
    "an alias of nothing": (HEAD + "  model: *base\n", "run.yaml:5  *base names nothing above it"),
    "an alias of itself": (HEAD + "  model: &base {a: *base}\n", "run.yaml:5  *base names nothing above it"),
    "a list as key": (HEAD + "  ? [a]\n  : b\n", "run.yaml:5  a key must be plain text"),
    "half of a character": (
        HEAD + '  model: "\\ud83d"\n',
        "run.yaml:5  half of a character, an escape from \\ud800 to",
    ),
    "a key with half of one": (HEAD + '  "\\ude00": 1\n', "run.yaml:5  half of a character"),
    "endless nesting": ("[" * 200, "run.yaml:1  more than 40 levels deep"),
    "another file": (b"#" * (2 << 20), "is 2,097,152 bytes; a run's file holds at most 1,048,576"),
}


@pytest.mark.parametrize(("text", "message"), NOT_READ.values(), ids=NOT_READ)
def test_text_that_is_not_read(text: str | bytes, message: str) -> None:
    assert message in told(text)


def test_a_billion_laughs_end_early() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    assert "more than 20,000 values, aliases written out" in told("\n".join(lines))


WRONG = {
    "a misspelt key": (
        with_training("{batchsize: 8}"),
        "run.yaml:8  spec.training.batchsize: unknown key; did you mean batchSize?",
    ),
    "snake case": (with_training("{batch_size: 8}"), "spec.training.batch_size: unknown key; did you mean batchSize?"),
    "a key in the wrong place": (
        with_training("{learningRate: 1}"),
        "unknown key here; it belongs at spec.training.optimizer.learningRate",
    ),
    "a key of nowhere": (GOOD + "  colour: red\n", "spec.colour: unknown key; spec knows task, model, data, training"),
    "a key of random": (
        HEAD + "  model: {name: a, weights: {random: {seed: 1}}}\n" + SOURCE + OUTPUT,
        "spec.model.weights.random.seed: unknown key here; it belongs at spec.training.seed",
    ),
    "text for a number": (with_training("{epochs: '5'}"), 'spec.training.epochs: must be a whole number; found "5"'),
    "a fraction for a whole number": (
        with_training("{epochs: 1.5}"),
        "spec.training.epochs: must be a whole number; found 1.5",
    ),
    "true for a number": (with_training("{seed: true}"), "spec.training.seed: must be a whole number; found true"),
    "too small": (with_training("{batchSize: 1}"), "spec.training.batchSize: must be at least 2; found 1"),
    "too large": (
        with_training("{optimizer: {learningRate: 3}}"),
        "spec.training.optimizer.learningRate: must be at most 1; found 3",
    ),
    "infinite": (
        with_training("{optimizer: {weightDecay: .inf}}"),
        "spec.training.optimizer.weightDecay: must be a finite number",
    ),
    "neither number nor auto": (
        with_training("{microBatchSize: big}"),
        'spec.training.microBatchSize: a whole number from 1 on, or auto; found "big"',
    ),
    "a choice that is none": (
        with_training("{precision: bf61}"),
        'must be one of auto, bf16, fp16, fp32; found "bf61", did you mean bf16?',
    ),
    "the only choice": (GOOD + "  task: text-text\n", 'spec.task: must be image-text; found "text-text"'),
    "YAML 1.1's yes": (
        GOOD + "  suspend: yes\n",
        'must be true or false; found "yes", which YAML 1.2 reads as text: write true',
    ),
    "a number for text": (
        HEAD + "  model: {name: 32, weights: {random: {}}}\n" + SOURCE + OUTPUT,
        "spec.model.name: must be text: put it in quotes; found 32",
    ),
    "a number in where": (
        HEAD + MODEL + "  data: {source: {uri: a, where: {fold: 1}}}\n" + OUTPUT,
        "spec.data.source.where.fold: must be text: put it in quotes; found 1",
    ),
    "a list for a mapping": (
        with_training("[1]"),
        "spec.training: must be a mapping with keys such as epochs, steps, batchSize",
    ),
    "a number for a list": (GOOD + "  evaluation: {recallAt: 5}\n", "spec.evaluation.recallAt: must be a list"),
    "an empty list": (
        GOOD + "  evaluation: {recallAt: []}\n",
        "spec.evaluation.recallAt: must have at least one entry",
    ),
    "a k twice": (GOOD + "  evaluation: {recallAt: [1, 1]}\n", "spec.evaluation.recallAt: 1 stands in it twice"),
    "an unknown metric": (
        GOOD + "  evaluation: {metric: accuracy}\n",
        "must be image_retrieval_recall@K or text_retrieval_recall@K",
    ),
    "a metric that is not measured": (
        GOOD + "  evaluation: {metric: image_retrieval_recall@3}\n",
        "run.yaml:8  spec.evaluation: metric must be one that is measured",
    ),
    "a null in a list": (GOOD + "  evaluation: {recallAt: [null]}\n", "spec.evaluation.recallAt[0]: must be a whole"),
    "a required key with no value": (
        HEAD + MODEL + SOURCE + "  output:\n",
        "spec.output: is missing (where everything is left)",
    ),
    "no output": (HEAD + MODEL + SOURCE, "run.yaml:4  spec.output: is missing (where everything is left)"),
    "no spec": (
        "apiVersion: finetune.dev/v1alpha1\nkind: FinetuneRun\nmetadata: {name: a}\n",
        "run.yaml:1  spec: is missing",
    ),
    "another kind": (
        GOOD.replace("FinetuneRun", "Deployment"),
        'run.yaml:2  kind: must be FinetuneRun; found "Deployment"',
    ),
    "another version": (GOOD.replace("v1alpha1", "v2"), "run.yaml:1  apiVersion: must be finetune.dev/v1alpha1"),
    "a name in capitals": (
        GOOD.replace("tiny", "Tiny"),
        "metadata.name: must be lower-case letters, digits and dashes",
    ),
    "a long name": (GOOD.replace("tiny", "t" * 51), "metadata.name: must have at most 50 characters"),
    "another scheme": (
        GOOD.replace("uri: out", "uri: gs://b/out"),
        'spec.output.uri: must be a path, or a URI such as s3://bucket/folder; found "gs://b/out"',
    ),
    "an empty URI": (GOOD.replace("uri: out", "uri: ''"), "spec.output.uri: must not be empty"),
    "both of a group": (
        with_training("{epochs: 1, steps: 1}"),
        "run.yaml:8  spec.training: give at most one of epochs and steps",
    ),
    "none of a group": (GOOD.replace("random: {}", ""), "spec.model.weights: give exactly one of tag, uri and random"),
    "towers beside a name": (
        GOOD.replace("weights: {random: {}}", "towers: {image: {timm: a}, text: {huggingface: b}}"),
        "spec.model: towers stands in place of name and weights",
    ),
    "source beside test": (
        GOOD.replace("{source:", "{test: {uri: b}, source:"),
        "spec.data: give either source, which is split by image hash, or train and test",
    ),
    "train without test": (
        GOOD.replace("source:", "train:"),
        "spec.data: give both train and test, or source in place of them",
    ),
    "not supported yet": (
        GOOD + "  compute: {nodes: 2}\n",
        "run.yaml:8  spec.compute.nodes: several nodes are not supported yet: use 1",
    ),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_has_one_mistake(text: str, message: str) -> None:
    first, *rest = told(text).splitlines()
    assert first == "run.yaml: 1 mistake"
    assert len(rest) == 1
    assert message in rest[0]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = HEAD.replace("tiny", "8") + (
        "  model: {name: 5, wieghts: {tag: openai}}\n"
        "  data: {source: {uri: a}}\n"
        "  ouput: {uri: out}\n"
        "  training:\n"
        "    epochs: 5\n"
        "    steps: 5\n"
        "    batchSize: 1\n"
        "  evaluation: {recallAt: [1, 0]}\n"
        "  compute: {nodes: 2}\n"
    )
    assert told(text).splitlines() == [
        "run.yaml: 8 mistakes",
        "run.yaml:3  metadata.name: must be text: put it in quotes; found 8",
        "run.yaml:5  spec.model.wieghts: unknown key; did you mean weights?",
        "run.yaml:5  spec.model.name: must be text: put it in quotes; found 5",
        "run.yaml:7  spec.ouput: unknown key; did you mean output?",
        "run.yaml:9  spec.training: give at most one of epochs and steps",
        "run.yaml:11  spec.training.batchSize: must be at least 2; found 1",
        "run.yaml:12  spec.evaluation.recallAt[1]: must be at least 1; found 0",
        "run.yaml:13  spec.compute.nodes: several nodes are not supported yet: use 1",
    ]


def test_a_message_keeps_to_its_line() -> None:
    first, *rest = told(GOOD.replace("uri: out", '"u\\u2028ri": out, uri: "gs://\\u2028\\e[2J"')).splitlines()
    assert first == "run.yaml: 2 mistakes"
    assert rest == [
        "run.yaml:7  spec.output.u\\u2028ri: unknown key; did you mean uri?",
        r'run.yaml:7  spec.output.uri: must be a path, or a URI such as s3://bucket/folder; found "gs://\u2028\u001b[2J"',
    ]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in `value` with each of its keys."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


@given(data=st.data(), name=st.sampled_from(["full_tag.yaml", "full_towers.yaml", "minimal.yaml"]))
@settings(max_examples=150, deadline=None)
def test_any_other_value_anywhere_is_read_or_told(data: st.DataObject, name: str) -> None:
    document = sample(name)
    for _ in range(data.draw(st.integers(1, 3))):
        part, key = data.draw(st.sampled_from(list(places(document))))
        part[key] = data.draw(values)
    with suppress(RunFileInvalid):
        parse(json.dumps(document))


def test_mistakes_can_be_read_by_a_program() -> None:
    with pytest.raises(RunFileInvalid) as invalid:
        parse(with_training("{batchSize: 1}"))
    (mistake,) = invalid.value.mistakes
    assert (mistake.path, mistake.value, mistake.line) == ("spec.training.batchSize", 1, 8)
    assert isinstance(invalid.value, InvalidSpec)


def test_the_value_of_a_variable_is_never_repeated() -> None:
    text = GOOD + "  compute: {env: [{name: TOKEN, value: 12345}, {name: 1A, value: hush}]}\n"
    message = told(text)
    assert "spec.compute.env[0].value: must be text: put it in quotes" in message
    assert "12345" not in message
    assert "hush" not in message


def test_yaml_1_2_numbers_and_words() -> None:
    run = parse(
        with_training("{optimizer: {learningRate: 1e-5}, seed: 0x10}") + "  evaluation: {gate: {compare: lowerBound}}\n"
    )
    assert run.spec.training.optimizer.learning_rate == 1e-5
    assert run.spec.training.seed == 16
    assert run.spec.evaluation.gate is not None
    assert run.spec.evaluation.gate.compare == "lowerBound"


def test_bom_crlf_and_aliases_are_read() -> None:
    text = HEAD + MODEL + "  data:\n    train: &set {uri: a.csv}\n    test: *set\n" + OUTPUT
    run = parse(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert run.spec.data.train == run.spec.data.test


def test_a_character_in_two_escapes_is_read_as_one() -> None:
    """As JSON writes it."""
    source = parse(GOOD.replace("uri: pictures", r'uri: "\ud83d\ude00.csv"')).spec.data.source
    assert source is not None
    assert source.uri == "file:///srv/my%20run/%F0%9F%98%80.csv"


def test_a_status_from_the_cluster_is_left_out() -> None:
    assert parse(GOOD + "status: {state: Failed, whatever: 1}\n").status.state == "Pending"
