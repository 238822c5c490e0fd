"""The digest of a spec: equal for two runs that must end with the same weights and figures.

It covers only what changes them, and leaves out what equals a default: more memory, another image, another gate or a
new field of the API must not make an output belong to another run.
"""

import hashlib
import json
from typing import Any

from finetune_sdk.api.defaults import DEFAULT_RECALL_AT, headline_metric
from finetune_sdk.api.run import FinetuneRunSpec

DIGEST_VERSION = "v1"
_COVERED = {"task", "model", "data", "training", "evaluation"}
_OUTSIDE: dict[str, Any] = {
    "data": {"max_bad_fraction"},  # whether the run may go on, not what it makes
    "training": {"micro_batch_size"},  # memory and speed
    "evaluation": {"gate"},  # judged from stored figures
}


def spec_digest(spec: FinetuneRunSpec) -> str:
    """`v1:` and the SHA-256 of the canonical JSON of what `spec` says about weights and figures."""
    return f"{DIGEST_VERSION}:{hashlib.sha256(canonical_json(digested(spec)).encode()).hexdigest()}"


def digested(spec: FinetuneRunSpec) -> dict[str, Any]:
    """What the digest covers: for a message that says in what two specs differ."""
    covered = spec.model_dump(mode="json", by_alias=True, include=_COVERED, exclude=_OUTSIDE, exclude_defaults=True)
    if evaluation := _planned_defaults_left_out(covered.pop("evaluation", {}), spec):
        covered["evaluation"] = evaluation
    return {name: part for name, part in covered.items() if part}


def _planned_defaults_left_out(evaluation: dict[str, Any], spec: FinetuneRunSpec) -> dict[str, Any]:
    """recallAt and metric have defaults outside the schema; written out, they mean the same."""
    recall_at = spec.evaluation.recall_at
    if recall_at is not None:
        evaluation["recallAt"] = sorted(recall_at)
        if evaluation["recallAt"] == list(DEFAULT_RECALL_AT):
            del evaluation["recallAt"]
    if spec.evaluation.metric == headline_metric(None, recall_at):
        evaluation.pop("metric", None)
    return evaluation


def canonical_json(document: Any) -> str:
    """One text for one document: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
