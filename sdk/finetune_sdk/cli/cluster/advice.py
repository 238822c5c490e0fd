"""What to do next, by a run's reason or state, as one or two sentences. docs/troubleshooting.md says more."""

from finetune_sdk.api import reasons
from finetune_sdk.api.run import FinetuneRun

_AGAIN = "delete the run and apply the mended file: it goes on from its checkpoint"
_ANEW = "delete the run and apply the mended file under another output.uri"

BY_REASON = {
    reasons.WAITING_FOR_OPERATOR: "Is the operator installed, and does it look after this namespace? `kubectl get "
    "deployments -A -l app.kubernetes.io/name=finetune-operator`",
    reasons.WAITING_FOR_PREVIOUS_PODS: "Wait: pods of a deleted run of the same name still save and end.",
    reasons.UNSCHEDULABLE: "Free or add GPUs, or ask for less in spec.compute; a spec is changed by applying it anew.",
    reasons.IMAGE_PULL_FAILED: "Look at spec.compute.image and spec.compute.imagePullSecrets, or at the operator's "
    "default image.",
    reasons.POD_REJECTED: "Raise the quota, or ask for less in spec.compute.",
    reasons.VOLUME_MOUNT_FAILED: "Make the Secret or volume that the message names; storage keys: `{storage}`.",
    reasons.JOB_REJECTED: "Where the message names a field, mend it, then {again}. A webhook that fails and a policy "
    "that refuses are for whoever runs the cluster: it is tried again until they let it.",
    reasons.BACKING_OFF: "Wait: Kubernetes starts the next pod after a pause of up to 10 minutes.",
    reasons.NODE_LOST: "Bring the node back, or tell the cluster that it is gone: `kubectl taint node NODE "
    "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute`",
    reasons.PREEMPTED: "Wait: the run goes on from its checkpoint when there is room.",
    reasons.QUEUED_FOR_QUOTA: "Wait for quota, or look at the queue of the label kueue.x-k8s.io/queue-name.",
    reasons.INVALID_SPEC: "Mend the fields that the message names (`finetune validate -f run.yaml`), then {anew}.",
    reasons.DATA_INVALID: "Mend the rows that the message names, then `{retry}`. If the spec is wrong: {anew}.",
    reasons.WEIGHTS_INVALID: "Mend the weights, then `{retry}`. If spec.model is wrong: {anew}.",
    reasons.STORAGE_DENIED: "Renew the keys (`{storage} --replace`), then `{retry}`.",
    reasons.OUTPUT_IN_USE: "Apply the run again under another output.uri.",
    reasons.OUT_OF_GPU_MEMORY: "Apply the run again with a smaller model or a frozen tower, or on a larger GPU.",
    reasons.GPU_UNAVAILABLE: "Look at the node's driver and device plugin, then `{retry}`. spec.compute.gpusPerNode: 0 "
    "trains on the CPU.",
    reasons.DIVERGED: "Apply the run again with a lower training.optimizer.learningRate, under another output.uri.",
    reasons.GATE_NOT_MET: "Look at the report: `{report}`. The model is there; a changed gate is judged "
    "again without training if you delete the run and apply it with the same output.uri.",
    reasons.DEADLINE_EXCEEDED: "Raise spec.lifecycle.activeDeadlineSeconds (`{edit}`), then `{retry}`.",
    reasons.STORAGE_UNAVAILABLE: "Once storage is back or has room again: `{retry}`.",
    reasons.TRAINER_ERROR: "A bug: please report it with `{logs}`. `{retry}` goes on from the last checkpoint.",
    reasons.HUNG: "Look at the stacks in `{logs}`, at storage and GPU; then `{retry}`.",
    reasons.OUT_OF_MEMORY: "Raise spec.compute.resources.requests.memory in the file, then {again}.",
    reasons.SHARED_MEMORY_EXHAUSTED: "Raise spec.compute.sharedMemory in the file, then {again}.",
    reasons.EPHEMERAL_STORAGE_EXCEEDED: "Raise spec.compute.resources.requests.ephemeral-storage in the file, then "
    "{again}.",
    reasons.RETRIES_EXHAUSTED: "Look at `{logs}` and at spec.compute.image; then `{retry}`.",
    reasons.NO_GAIN: "The base model is the result. Look at captions, learning rate and amount of data: `{report}`",
    reasons.RESULT_UNREAD: "The run is complete; its figures are in the report: `{report}`",
}
"""Every reason of finetune_sdk.api.reasons."""

BY_STATE = {
    "Queued": "Wait: the queue holds the run back.",
    "Starting": "Wait: the pod starts.",
    "Running": "`{logs} -f`, or `{wait}`",
    "Retrying": "Wait: the next attempt goes on from the last checkpoint.",
    "Suspending": "Wait: the trainer saves.",
    "Suspended": "`{resume}` goes on from the last checkpoint.",
    "Succeeded": "`{report} --open`",
}


def what_next(run: FinetuneRun) -> str:
    """Advice for the run as it is; empty where there is none."""
    status = run.status
    text = BY_REASON.get(status.reason) or BY_STATE.get(status.state, "")
    if status.state == "Failed" and status.reason in reasons.WAITING:  # held up until the start deadline
        text = f"{text.rstrip('.')}; then `{{retry}}`."
    return text.format(**_commands(run), again=_AGAIN, anew=_ANEW)


def _commands(run: FinetuneRun) -> dict[str, str]:
    """Commands that can be copied: with name and namespace."""
    name, place = run.metadata.name, f"-n {run.metadata.namespace or 'default'}"
    about = {verb: f"kubectl finetune {verb} {name} {place}" for verb in ("retry", "report", "logs", "wait", "resume")}
    storage = f"kubectl finetune storage create {place}"
    return {**about, "storage": storage, "edit": f"kubectl edit ftr {name} {place}"}
