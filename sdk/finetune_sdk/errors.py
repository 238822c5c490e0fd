"""The one tree of errors. A class says how a run ends: its reason, its exit code, and whether trying again can help.

    FinetuneError
    ├── UsageError              2   the command line
    ├── InvalidSpec            64   run.yaml
    ├── DataInvalid            65   the user's pictures and captions
    │   └── ObjectNotFound     65   a URI that holds nothing
    ├── WeightsInvalid         65   the model's weights
    ├── StorageUnavailable     69   unreachable, slow, full (retry)
    ├── TrainerError           70   a bug of ours (retry)
    ├── Diverged               71   the loss is not finite
    ├── Hung                   74   no progress (retry)
    ├── Stopped                75   stopped from outside, saved (retry)
    ├── GpuUnavailable         76   fewer GPUs than asked for
    ├── StorageDenied          77   wrong key, no bucket, read-only
    ├── OutputInUse            78   another run's output
    ├── OutOfGpuMemory         79   even one pair does not fit
    └── GateNotMet             80   measured, and not good enough

The codes are those of DESIGN section 3; 64 to 77 follow BSD's sysexits.h where a meaning fits.
"""

from typing import ClassVar


class FinetuneError(Exception):
    """Base of every error that a user may see; `str(error)` is one sentence with the value met and what would work."""

    reason: str
    """The `status.reason` of a run that ends so; part of the API."""
    exit_code: int
    """The exit status of the trainer and of `finetune run`."""
    retry: ClassVar[bool] = False
    """Whether the same run may succeed when it is started again unchanged."""


class UsageError(FinetuneError):
    """The command line is wrong."""

    reason = "Usage"
    exit_code = 2


class InvalidSpec(FinetuneError):
    """The run's spec is wrong; the message holds every mistake, a line each."""

    reason = "InvalidSpec"
    exit_code = 64


class DataInvalid(FinetuneError):
    """The data cannot be used; the message names file and row."""

    reason = "DataInvalid"
    exit_code = 65


class ObjectNotFound(DataInvalid):
    """Nothing is stored at a URI. Who reads something else than data translates it."""


class WeightsInvalid(FinetuneError):
    """The weights are broken, unsafe, or of another architecture."""

    reason = "WeightsInvalid"
    exit_code = 65


class StorageUnavailable(FinetuneError):
    """Storage is unreachable, keeps failing or is full."""

    reason = "StorageUnavailable"
    exit_code = 69
    retry = True


class TrainerError(FinetuneError):
    """A bug of the trainer's."""

    reason = "TrainerError"
    exit_code = 70
    retry = True


class Diverged(FinetuneError):
    """The loss or a gradient was not finite in three steps in a row."""

    reason = "Diverged"
    exit_code = 71


class Hung(FinetuneError):
    """No progress within the deadline."""

    reason = "Hung"
    exit_code = 74
    retry = True


class Stopped(FinetuneError):
    """Stopped by SIGTERM or SIGINT after saving; the same command goes on."""

    reason = "Stopped"
    exit_code = 75
    retry = True


class GpuUnavailable(FinetuneError):
    """Fewer usable GPUs than the spec asks for."""

    reason = "GpuUnavailable"
    exit_code = 76


class StorageDenied(FinetuneError):
    """Storage refuses: wrong key, no such bucket, read-only."""

    reason = "StorageDenied"
    exit_code = 77


class OutputInUse(FinetuneError):
    """The output holds another run, or another process is writing it."""

    reason = "OutputInUse"
    exit_code = 78


class OutOfGpuMemory(FinetuneError):
    """Even the smallest micro-batch does not fit the GPU."""

    reason = "OutOfGpuMemory"
    exit_code = 79


class GateNotMet(FinetuneError):
    """The run is measured and its gain misses `evaluation.gate`."""

    reason = "GateNotMet"
    exit_code = 80
