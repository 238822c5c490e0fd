"""Specs for tests: the smallest one, the samples with every field, and a strategy for all that is valid."""

import copy
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from finetune_sdk.strict_yaml import read_yaml

DATA = Path(__file__).parents[1] / "data"
MINIMAL: dict[str, Any] = {
    "model": {"name": "ViT-B-32", "weights": {"random": {}}},
    "data": {"source": {"uri": "file:///data/captions.csv"}},
    "output": {"uri": "file:///out"},
}


def a_spec(**changes: Any) -> dict[str, Any]:
    """The smallest spec with `changes` over it; a name like training__batchSize reaches below a part."""
    spec = copy.deepcopy(MINIMAL)
    for name, value in changes.items():
        *parents, key = name.split("__")
        part = spec
        for parent in parents:
            part = part.setdefault(parent, {})
        part[key] = value
    return spec


def a_run(**changes: Any) -> dict[str, Any]:
    """A whole document around `a_spec`."""
    head = {"apiVersion": "finetune.dev/v1alpha1", "kind": "FinetuneRun", "metadata": {"name": "tiny"}}
    return {**head, "spec": a_spec(**changes)}


def sample(name: str) -> dict[str, Any]:
    """A document of tests/data."""
    document: dict[str, Any] = read_yaml((DATA / name).read_bytes()).plain()
    return document


def _group(required: dict[str, Any] | None = None, **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required or {}, optional=optional)


_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
_uris = st.from_regex(r"(s3://[a-z]{3,8}/|file:///)[a-zé #%{}]{0,20}", fullmatch=True)
_one_line = st.characters(codec="utf-8", exclude_characters=[*map(chr, range(32)), "\x7f"])
_cells = st.text(_one_line, max_size=20)
_columns = st.text(_one_line, min_size=1, max_size=20)
_fractions = st.floats(0, 1)
_int_or_auto = st.just("auto") | st.integers(1, 10_000)
_sources = _group(
    {"uri": _uris},
    format=st.sampled_from(["auto", "csv", "parquet", "folder"]),
    images=_uris,
    columns=_group(image=_columns, caption=_columns, group=_columns),
    where=st.dictionaries(_columns, _cells, max_size=4),
)
_towers = st.fixed_dictionaries(
    {"image": _group({"timm": _names}, uri=_uris), "text": _group({"huggingface": _names}), "embedDim": st.just(64)}
)
_weights = st.one_of(_group({"tag": _names}), _group({"uri": _uris}), _group({"random": st.just({})}))
_models = _group({"name": _names, "weights": _weights}) | _group({"towers": _towers})
_data_kinds: dict[str, st.SearchStrategy[Any]] = {
    "maxBadFraction": _fractions,
    "leakage": st.sampled_from(["drop", "report"]),
}
_data = _group({"source": _sources}, **_data_kinds) | _group(
    {"train": _sources, "test": _sources}, validation=_sources, **_data_kinds
)
_freeze = _group({"blocks": st.integers(0, 12)}) | _group({"all": st.booleans()})
_training_parts: dict[str, st.SearchStrategy[Any]] = {
    "batchSize": st.integers(2, 4096),
    "microBatchSize": _int_or_auto,
    "optimizer": _group(learningRate=_fractions, weightDecay=_fractions),
    "schedule": _group(name=st.just("cosine"), warmupFraction=_fractions),
    "precision": st.sampled_from(["auto", "bf16", "fp32"]),
    "freeze": _group(image=_freeze, text=_freeze),
    "lora": _group(rank=st.integers(1, 64)),
    "wiseft": _group(alphas=st.lists(_fractions, min_size=1, max_size=5)),
    "seed": st.integers(0, 2**31 - 1),
}
_training = st.one_of(
    _group(None, **_training_parts),
    _group({"epochs": st.integers(1, 100)}, **_training_parts),
    _group({"steps": st.integers(1, 100)}, **_training_parts),
)
specs: st.SearchStrategy[dict[str, Any]] = _group(
    {"model": _models, "data": _data, "output": _group({"uri": _uris}, exports=st.just(["onnx", "open_clip"]))},
    task=st.just("image-text"),
    training=_training,
    evaluation=_group(
        recallAt=st.lists(st.integers(1, 100), min_size=1, max_size=4, unique=True),
        every=_int_or_auto,
        gate=_group(minGain=_fractions, compare=st.just("lowerBound"), maxLoss=_fractions),
    ),
    checkpoints=_group(keep=st.integers(1, 9)),
    compute=_group(gpusPerNode=st.integers(0, 8), sharedMemory=st.just("1Gi")),
    suspend=st.booleans(),
    lifecycle=_group(maxRetries=st.integers(0, 9)),
)
"""Every valid spec, as far as it matters to what reads one."""
