"""The commands that measure a run's number with CLIP Benchmark, which shares no code with this project."""

import shlex

from finetune_sdk.uri import uri_to_path
from finetune_trainer.records import Outcome

SHARDS = "test-shards"


def reproduce_command(output_uri: str, outcome: Outcome) -> str:
    """Shell commands: write the test set as CLIP Benchmark reads it, then measure the exported model on it."""
    ks = sorted({int(metric.rpartition("@")[2]) for metric in outcome.changes})
    lines = [f"finetune shards {shlex.quote(_shown(output_uri))} {SHARDS}"]
    if output_uri.startswith("file://"):
        folder = str(uri_to_path(outcome.model_uri)).rstrip("/")
    else:
        folder = "model"
        lines.append(
            f"aws s3 cp --recursive {shlex.quote(outcome.model_uri)} {folder}/"
            "  # not Amazon's S3: with --endpoint-url URL; or any other client"
        )
    lines += [
        f"shards=$PWD/{SHARDS}; cd {shlex.quote(folder)}",
        "clip_benchmark eval --model local-dir:. --pretrained none --num_workers 0 \\",
        '    --dataset wds/test --dataset_root "$shards" --task zeroshot_retrieval \\',
        f'    --no_amp --recall_k {" ".join(map(str, ks))} --output "$shards/clip_benchmark.json"',
    ]
    return "\n".join(lines)


def _shown(uri: str) -> str:
    return str(uri_to_path(uri)) if uri.startswith("file://") else uri
