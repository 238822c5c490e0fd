"""Runs on a cluster from Python: `RunClient`, what it returns, and what it raises.

    with RunClient() as runs:
        runs.create("run.yaml")
        run = runs.wait("my-pictures", timeout=3600)
        print(run.status.evaluation.gain)

The package kubernetes, of the extra [cluster], is imported when a client connects.
"""

from finetune_sdk.client.artifacts import Deleted
from finetune_sdk.client.changes import RunChange
from finetune_sdk.client.errors import (
    AlreadyExists,
    ArtifactsLeft,
    ClientError,
    ClusterPackageMissing,
    Conflict,
    CrdMissing,
    Forbidden,
    InvalidRun,
    NoCluster,
    NoLogs,
    NoReport,
    NotFound,
    OutputNotOwned,
    Refused,
    RunDeleted,
    RunFailed,
    RunNotFound,
    ServerError,
    Unauthorized,
    Unreachable,
    WaitTimeout,
)
from finetune_sdk.client.logs import LogLine
from finetune_sdk.client.runs import RunClient
from finetune_sdk.client.secret import StorageKeys

__all__ = [
    "AlreadyExists",
    "ArtifactsLeft",
    "ClientError",
    "ClusterPackageMissing",
    "Conflict",
    "CrdMissing",
    "Deleted",
    "Forbidden",
    "InvalidRun",
    "LogLine",
    "NoCluster",
    "NoLogs",
    "NoReport",
    "NotFound",
    "OutputNotOwned",
    "Refused",
    "RunChange",
    "RunClient",
    "RunDeleted",
    "RunFailed",
    "RunNotFound",
    "ServerError",
    "StorageKeys",
    "Unauthorized",
    "Unreachable",
    "WaitTimeout",
]
