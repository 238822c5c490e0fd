"""States and reasons: short words that people script against. They are API; a meaning never changes."""

from typing import Final, Literal

State = Literal[
    "Pending",  # no Job yet
    "Queued",  # Kueue holds the Job back
    "Starting",  # the Job exists, its pod does not run yet
    "Running",  # the trainer works
    "Retrying",  # an attempt failed, the next is on its way; the reason says what went wrong
    "Suspending",  # asked to stop; a pod is still saving
    "Suspended",  # stopped, no pod is left
    "Succeeded",  # the result is in storage
    "Failed",  # over; the reason says why
]

# Waiting: these clear themselves once their cause is gone.
WAITING_FOR_OPERATOR: Final = "WaitingForOperator"  # no operator has seen the run yet
WAITING_FOR_PREVIOUS_PODS: Final = "WaitingForPreviousPods"  # pods of a deleted run of the same name still end
UNSCHEDULABLE: Final = "Unschedulable"  # no node fits; the message holds the scheduler's words
IMAGE_PULL_FAILED: Final = "ImagePullFailed"  # the image does not exist, or may not be pulled
POD_REJECTED: Final = "PodRejected"  # quota, policy or priority class refuse the pod
VOLUME_MOUNT_FAILED: Final = "VolumeMountFailed"  # a Secret or volume is missing; the message says how to make it
JOB_REJECTED: Final = "JobRejected"  # the API server refuses the Job or a change of it, or cannot take it
BACKING_OFF: Final = "BackingOff"  # Kubernetes waits before the next pod
NODE_LOST: Final = "NodeLost"  # the pod's node no longer answers
PREEMPTED: Final = "Preempted"  # a pod of higher priority took the place
QUEUED_FOR_QUOTA: Final = "QueuedForQuota"  # Kueue waits for quota

# Terminal at once: starting again unchanged cannot help.
INVALID_SPEC: Final = "InvalidSpec"  # the spec is wrong in a way that only the trainer can see
DATA_INVALID: Final = "DataInvalid"  # pictures or captions cannot be used
WEIGHTS_INVALID: Final = "WeightsInvalid"  # weights are broken, unsafe, or of another architecture
STORAGE_DENIED: Final = "StorageDenied"  # wrong key, no bucket, read-only
OUTPUT_IN_USE: Final = "OutputInUse"  # the output holds another run
OUT_OF_GPU_MEMORY: Final = "OutOfGpuMemory"  # even one pair does not fit
GPU_UNAVAILABLE: Final = "GpuUnavailable"  # fewer GPUs than asked for
DIVERGED: Final = "Diverged"  # the loss is not finite
GATE_NOT_MET: Final = "GateNotMet"  # measured, and not good enough
DEADLINE_EXCEEDED: Final = "DeadlineExceeded"  # activeDeadlineSeconds passed

# Terminal once retries are used up.
STORAGE_UNAVAILABLE: Final = "StorageUnavailable"  # storage is unreachable, slow or full
TRAINER_ERROR: Final = "TrainerError"  # a bug of the trainer's
HUNG: Final = "Hung"  # no progress within progressDeadlineSeconds
OUT_OF_MEMORY: Final = "OutOfMemory"  # the node's memory, not the GPU's
SHARED_MEMORY_EXHAUSTED: Final = "SharedMemoryExhausted"  # /dev/shm is full
EPHEMERAL_STORAGE_EXCEEDED: Final = "EphemeralStorageExceeded"  # scratch disk is full
RETRIES_EXHAUSTED: Final = "RetriesExhausted"  # exits without a type

# On success.
NO_GAIN: Final = "NoGain"  # the base was the best, and is the model
RESULT_UNREAD: Final = "ResultUnread"  # succeeded, but the figures could not be read; they are in storage

WAITING: Final = frozenset({
    WAITING_FOR_OPERATOR, WAITING_FOR_PREVIOUS_PODS, UNSCHEDULABLE, IMAGE_PULL_FAILED, POD_REJECTED,
    VOLUME_MOUNT_FAILED, JOB_REJECTED, BACKING_OFF, NODE_LOST, PREEMPTED, QUEUED_FOR_QUOTA,
})  # fmt: skip
TERMINAL: Final = frozenset({
    INVALID_SPEC, DATA_INVALID, WEIGHTS_INVALID, STORAGE_DENIED, OUTPUT_IN_USE, OUT_OF_GPU_MEMORY, GPU_UNAVAILABLE,
    DIVERGED, GATE_NOT_MET, DEADLINE_EXCEEDED,
})  # fmt: skip
TERMINAL_AFTER_RETRIES: Final = frozenset({
    STORAGE_UNAVAILABLE, TRAINER_ERROR, HUNG, OUT_OF_MEMORY, SHARED_MEMORY_EXHAUSTED, EPHEMERAL_STORAGE_EXCEEDED,
    RETRIES_EXHAUSTED,
})  # fmt: skip
ON_SUCCESS: Final = frozenset({NO_GAIN, RESULT_UNREAD})
REASONS: Final = WAITING | TERMINAL | TERMINAL_AFTER_RETRIES | ON_SUCCESS
