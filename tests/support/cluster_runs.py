"""Runs for a cluster: tiny pictures and a tiny model in a bucket, trained in seconds on a CPU, or by the stand-in."""

import io
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from minio import Minio

from tests.cluster.images import STAND_IN
from tests.support.minio import S3Server

Json = dict[str, Any]
TRAINER_REQUESTS = {"cpu": "100m", "memory": "1500Mi", "ephemeral-storage": "1Gi"}
STAND_IN_REQUESTS = {"cpu": "10m", "memory": "64Mi", "ephemeral-storage": "64Mi"}
IMAGES = 90


@dataclass(frozen=True)
class Bucket:
    """A bucket and how pods reach it."""

    client: Minio = field(repr=False)
    name: str
    endpoint: str
    """As pods see it."""
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)

    def upload(self, folder: Path, prefix: str) -> None:
        """Every file below `folder`."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.client.fput_object(self.name, f"{prefix}{path.relative_to(folder)}", str(path))

    def put(self, key: str, data: bytes) -> None:
        """One object."""
        self.client.put_object(self.name, key, io.BytesIO(data), len(data))

    def read(self, key: str) -> bytes:
        """One object."""
        response = self.client.get_object(self.name, key)
        try:
            return response.read()
        finally:
            response.close()
            response.release_conn()

    def keys(self, prefix: str) -> list[str]:
        """What lies below `prefix`."""
        found = self.client.list_objects(self.name, prefix, recursive=True)
        return [entry.object_name for entry in found if entry.object_name]

    def at(self, endpoint: str) -> "Bucket":
        """The same bucket by another way, such as a proxy."""
        return replace(self, endpoint=endpoint)

    def as_user(self, name: str, policy: str) -> "Bucket":
        """The same bucket with the keys of a user who has one of MinIO's policies; called again, it changes that."""
        server = S3Server(self.endpoint, self.access_key, self.secret_key, Path())
        user = server.add_user(name, f"{name}-secret", policy)
        return replace(self, access_key=user.access_key, secret_key=user.secret_key)

    def secret(self, name: str = "finetune-storage") -> Json:
        """The Secret that a run reads its keys from."""
        keys = {"endpoint": self.endpoint, "accessKey": self.access_key, "secretKey": self.secret_key}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": keys}


def put_tiny_data(bucket: Bucket, folder: Path) -> None:
    """`base/`, `pictures/` and `captions.csv` in the bucket."""
    # Torch takes seconds to import, and of all test processes one makes the data.
    from tests.support.models import tiny_open_clip_dir
    from tests.support.pictures import make_pictures, write_table

    tiny_open_clip_dir(folder / "base", "clip")
    pictures = make_pictures(folder / "pictures", IMAGES)
    split = ["test" if index % 3 == 2 else "train" for index in range(IMAGES)]
    write_table(folder / "captions.csv", pictures, split=split)
    bucket.upload(folder, "")


def tiny_run(bucket: str, name: str, *, output: str | None = None, compute: Json | None = None, **spec: Any) -> Json:
    """A FinetuneRun over put_tiny_data's objects; `spec` replaces its sections, `compute` adds to what it asks for."""
    captions = {"uri": f"s3://{bucket}/captions.csv", "images": f"s3://{bucket}/"}
    return {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FinetuneRun",
        "metadata": {"name": name},
        "spec": {
            "model": {"weights": {"uri": f"s3://{bucket}/base/"}},
            "data": {
                "train": {**captions, "where": {"split": "train"}},
                "test": {**captions, "where": {"split": "test"}},
            },
            "training": {"steps": 12, "batchSize": 16, "optimizer": {"learningRate": 1.0e-3}},
            "checkpoints": {"everySteps": 3},
            "output": {"uri": f"s3://{bucket}/{output or f'output/{name}'}/"},
            "compute": {
                "gpusPerNode": 0,
                "resources": {"requests": dict(TRAINER_REQUESTS)},
                "sharedMemory": "128Mi",
                "env": [{"name": "OMP_NUM_THREADS", "value": "1"}],
                **(compute or {}),
            },
            **spec,
        },
    }


def stand_in_run(bucket: str, name: str, script: Json, *, compute: Json | None = None, **spec: Any) -> Json:
    """A FinetuneRun that the stand-in carries out as `script` says, without any data."""
    said = {"name": "STAND_IN", "value": json.dumps(script)}
    stands = {"image": STAND_IN, "resources": {"requests": dict(STAND_IN_REQUESTS)}, "sharedMemory": "16Mi"}
    return tiny_run(bucket, name, compute={**stands, "env": [said], **(compute or {})}, **spec)
