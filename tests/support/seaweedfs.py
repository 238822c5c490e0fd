"""A real SeaweedFS server for tests: master, volume, filer and S3 gateway in one process."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.minio import ACCESS_KEY, SECRET_KEY, S3Server
from tests.support.processes import answers, free_ports, running


@contextmanager
def run_seaweedfs(folder: Path) -> Iterator[S3Server]:
    """A server on free ports of 127.0.0.1 with its data in `folder`, until the end of the block."""
    data = folder / "data"
    data.mkdir(parents=True)
    identities = folder / "identities.json"
    keys = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identities.write_text(json.dumps({"identities": [{"name": "test", "credentials": keys, "actions": actions}]}))
    names = ["master", "volume", "filer", "s3"]
    ports = free_ports(2 * len(names))
    s3_port = ports[names.index("s3")]
    command: list[str | Path] = [
        Path(sys.executable).parent / "weed",
        "server",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3",
        f"-s3.config={identities}",
        "-s3.autoCreateBucket=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=1000",  # each bucket takes some
        "-volume.preStopSeconds=0",
        "-master.telemetry=false",
        *(f"-{name}.port={port}" for name, port in zip(names, ports[:4], strict=True)),
        *(f"-{name}.port.grpc={port}" for name, port in zip(names, ports[4:], strict=True)),
    ]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "S3_"))}
    server = S3Server(f"http://127.0.0.1:{s3_port}", ACCESS_KEY, SECRET_KEY, data)
    with running(command, lambda: answers(f"{server.endpoint}/healthz"), folder / "weed.log", env):
        yield server


@pytest.fixture(scope="session")
def seaweedfs_server() -> Iterator[S3Server]:
    """One server for all tests of a process: each makes buckets of its own."""
    folder = Path(tempfile.mkdtemp(prefix="finetune-seaweedfs-"))
    try:
        with run_seaweedfs(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)
