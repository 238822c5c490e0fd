"""FinetuneRun v1alpha1: the source of truth of which the CRD and the JSON Schema are generated."""

from finetune_sdk.api.compute import Compute
from finetune_sdk.api.data import Columns, Data, DataFormat, DataSource
from finetune_sdk.api.defaults import DEFAULT_EVERY_MINUTES, DEFAULT_RECALL_AT, headline_metric
from finetune_sdk.api.digest import spec_digest
from finetune_sdk.api.evaluation import Evaluation, Gate
from finetune_sdk.api.lifecycle import Lifecycle
from finetune_sdk.api.model import ImageTower, Model, RandomWeights, TextTower, Towers, Weights
from finetune_sdk.api.output import Checkpoints, Output, SecretRef, Storage
from finetune_sdk.api.run import FinetuneRun, FinetuneRunSpec, Metadata
from finetune_sdk.api.status import Condition, FinetuneRunStatus, RunEvaluation, RunProgress
from finetune_sdk.api.support import Mistake, unsupported
from finetune_sdk.api.training import (
    EarlyStopping,
    Freeze,
    Lora,
    Optimizer,
    Schedule,
    TowerFreeze,
    Training,
    WiseFt,
)

__all__ = [
    "DEFAULT_EVERY_MINUTES",
    "DEFAULT_RECALL_AT",
    "Checkpoints",
    "Columns",
    "Compute",
    "Condition",
    "Data",
    "DataFormat",
    "DataSource",
    "EarlyStopping",
    "Evaluation",
    "FinetuneRun",
    "FinetuneRunSpec",
    "FinetuneRunStatus",
    "Freeze",
    "Gate",
    "ImageTower",
    "Lifecycle",
    "Lora",
    "Metadata",
    "Mistake",
    "Model",
    "Optimizer",
    "Output",
    "RandomWeights",
    "RunEvaluation",
    "RunProgress",
    "Schedule",
    "SecretRef",
    "Storage",
    "TextTower",
    "TowerFreeze",
    "Towers",
    "Training",
    "Weights",
    "WiseFt",
    "headline_metric",
    "spec_digest",
    "unsupported",
]
