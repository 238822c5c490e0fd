"""What can go wrong between a program and its runs on a cluster; each message is a sentence that says what would work.

    FinetuneError
    └── ClientError                      exit code 1 where none is given
        ├── ClusterPackageMissing          the extra [cluster] is not installed
        ├── NoCluster                      no kubeconfig, no such context
        ├── ServerError                    the API server failed, or is too busy
        │   └── Unreachable                  it does not answer at all
        ├── Forbidden                      who you are may not do that
        │   └── Unauthorized                 the API server does not know who you are
        ├── CrdMissing                     the cluster does not know FinetuneRun
        ├── NotFound                       no such namespace or Secret
        │   └── RunNotFound                  no such run; near names are told
        │       └── RunDeleted                 it went away while it was waited for
        ├── AlreadyExists                  that name is taken
        ├── Conflict                       somebody else changed it in the same instant
        ├── InvalidRun                64   also an InvalidSpec: every mistake with its field
        ├── Refused                        the run is not in a state that allows it
        │   ├── NoLogs                       there is no pod to read of
        │   ├── NoReport                     there is no report yet
        │   └── OutputNotOwned               the output is another run's: it is left alone
        ├── ArtifactsLeft                  the run is deleted, its stored objects are not, or not all
        ├── RunFailed                      the run ended in Failed; the exit code is its reason's
        └── WaitTimeout              124   also a TimeoutError

Storage answers with its own StorageDenied and StorageUnavailable.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from finetune_sdk import errors
from finetune_sdk.errors import FinetuneError, InvalidSpec

if TYPE_CHECKING:
    from finetune_sdk.api import FinetuneRun

TIMED_OUT = 124
"""Exit code of the command `timeout`."""


class ClientError(FinetuneError):
    """Base of all that this package raises; `str(error)` is a sentence for a person."""

    reason = "ClientError"
    exit_code = 1


class ClusterPackageMissing(ClientError):
    """The package was installed without its extra [cluster]."""

    def __init__(self) -> None:
        super().__init__("runs on a cluster need the package kubernetes: pip install 'finetune-operator[cluster]'")


class NoCluster(ClientError):
    """Nothing says where the API server is."""


class ServerError(ClientError):
    """The API server failed, or asks to come again later."""


class Unreachable(ServerError):
    """The API server does not answer."""


class Forbidden(ClientError):
    """The API server refuses; the message names verb, resource and namespace."""


class Unauthorized(Forbidden):
    """The API server does not accept the credentials at all."""


class CrdMissing(ClientError):
    """The cluster does not know FinetuneRun."""


class NotFound(ClientError):
    """An object does not exist."""


class RunNotFound(NotFound):
    """No run of that name; the message tells near names."""


class RunDeleted(RunNotFound):
    """The run went away while it was waited for."""


class AlreadyExists(ClientError):
    """The name is taken."""


class Conflict(ClientError):
    """Somebody else changed the object in the same instant."""


class InvalidRun(ClientError, InvalidSpec):
    """The run cannot be created or changed so; the message holds every mistake, a line each."""

    reason = "InvalidSpec"
    exit_code = 64


class Refused(ClientError):
    """The run is not in a state that allows it."""


class NoLogs(Refused):
    """No pod of the run has a log."""


class NoReport(Refused):
    """The run has no report yet."""


class OutputNotOwned(Refused):
    """The objects under output.uri are not this run's. Nothing was deleted."""


class ArtifactsLeft(ClientError):
    """The run is deleted, but not all that it stored."""


class RunFailed(ClientError):
    """The run ended in Failed."""

    def __init__(self, run: "FinetuneRun") -> None:
        self.run = run
        self.reason = run.status.reason
        """One word, of finetune_sdk.api.reasons."""
        self.message = run.status.message
        """Why, and what would help, as the operator says it."""
        self.exit_code = exit_code_of(self.reason)
        super().__init__(f"run {run.metadata.name!r} failed, {self.reason}: {self.message}")


class WaitTimeout(ClientError, TimeoutError):
    """The time is over; the run goes on."""

    exit_code = TIMED_OUT

    def __init__(self, message: str, run: "FinetuneRun") -> None:
        super().__init__(message)
        self.run = run
        """As it was seen last."""


def exit_code_of(reason: str) -> int:
    """The trainer's exit code for a reason; 1 for a reason that no exit code stands for."""
    return _CODES.get(reason, ClientError.exit_code)


def _trainers_errors(base: type[FinetuneError]) -> Iterator[type[FinetuneError]]:
    for kind in base.__subclasses__():
        if kind.__module__ == errors.__name__ and kind is not errors.UsageError:
            yield kind
            yield from _trainers_errors(kind)


_CODES = {kind.reason: kind.exit_code for kind in _trainers_errors(FinetuneError)}
