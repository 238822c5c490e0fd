"""What would help, by reason: for ends whose own words say too little, and for what to do once a run has failed."""

from finetune_operator.manifests.pod import secret_name
from finetune_sdk.api import reasons
from finetune_sdk.api.run import FinetuneRunSpec

MENDED_OUTSIDE = frozenset({
    reasons.DATA_INVALID, reasons.WEIGHTS_INVALID, reasons.STORAGE_DENIED, reasons.GPU_UNAVAILABLE,
    reasons.STORAGE_UNAVAILABLE, reasons.TRAINER_ERROR, reasons.HUNG, reasons.RETRIES_EXHAUSTED,
})  # fmt: skip
"""Failures whose cause may lie outside of the spec, so that the same run can go on."""


def remedy_of(reason: str, spec: FinetuneRunSpec) -> str:
    """What to look at where the trainer could not say it itself; empty where its exit code says nothing either."""
    output, secret = spec.output.uri, secret_name(spec)
    keys = f"the keys in Secret {secret}" if secret else f"the rights of {spec.compute.service_account_name}"
    known = {
        reasons.INVALID_SPEC: "the trainer refuses the spec, and its log names each field: delete the run and apply "
        "the mended file",
        reasons.DATA_INVALID: "pictures, captions or weights cannot be used: look at spec.data and spec.model",
        reasons.STORAGE_UNAVAILABLE: f"storage cannot be reached or is full: look at {keys} and at spec.output.uri "
        f"{output}",
        reasons.TRAINER_ERROR: f"this is a bug of the trainer's: please report it with {_below(output, 'logs/')}",
        reasons.DIVERGED: "the loss was not finite: lower spec.training.optimizer.learningRate",
        reasons.HUNG: "there was no progress: look at storage and GPU, or raise spec.lifecycle.progressDeadlineSeconds",
        reasons.GPU_UNAVAILABLE: "fewer GPUs than spec.compute.gpusPerNode are usable: look at the node's driver and "
        "device plugin",
        reasons.STORAGE_DENIED: f"storage refuses: look at {keys} and at the bucket of spec.output.uri {output}",
        reasons.OUTPUT_IN_USE: f"spec.output.uri {output} holds another run: use another one",
        reasons.OUT_OF_GPU_MEMORY: "not even one pair fits the GPU: use a smaller spec.model.name, or freeze a tower "
        "with spec.training.freeze",
        reasons.GATE_NOT_MET: "the gain misses spec.evaluation.gate: look at "
        f"{_below(output, 'report.html')}; another gate is judged without training again",
    }
    return known.get(reason, "")


def afterwards(reason: str, retries: int | None) -> str:
    """How a failed run goes on; `retries` where all of them are used up."""
    if reason not in MENDED_OUTSIDE:
        return ""
    spent = f"the {1 + retries} attempts of spec.lifecycle.maxRetries {retries} are used up: " if retries else ""
    return (
        f"{spent}once the cause is mended, raise spec.lifecycle.restart, and the run goes on from its last checkpoint"
    )


def _below(output: str, name: str) -> str:
    return f"{output.rstrip('/')}/{name}"
