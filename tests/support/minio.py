"""A real MinIO server for tests."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import minio.minioadmin
import pytest
import urllib3
from minio import Minio
from minio.credentials.providers import StaticProvider

from finetune_sdk.storage import CredentialsSource, credentials_from_environment
from tests.support.certificates import make_certificates
from tests.support.go_tools import go_program
from tests.support.processes import answers, free_ports, running

MODULE, VERSION = "github.com/minio/minio", "v0.0.0-20260212201848-7aac2a2c5b7c"
ACCESS_KEY, SECRET_KEY = "canary-access-key", "canary-secret-key-Zq7"
"""Odd enough to be found wherever they leak to."""


@dataclass(frozen=True)
class S3Server:
    """Where a test server is and who may use it."""

    endpoint: str
    access_key: str
    secret_key: str
    folder: Path
    ca_file: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which `finetune run` reaches it."""
        variables = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
        }
        return variables | ({"AWS_CA_BUNDLE": str(self.ca_file)} if self.ca_file else {})

    @property
    def credentials(self) -> CredentialsSource:
        return credentials_from_environment(self.environment)

    def at(self, endpoint: str) -> "S3Server":
        """The same server by another way, such as a proxy."""
        return replace(self, endpoint=endpoint)

    def with_keys(self, access_key: str, secret_key: str) -> "S3Server":
        return replace(self, access_key=access_key, secret_key=secret_key)

    def client(self) -> Minio:
        """minio's own client, for what a test does behind the store's back."""
        secure = self.endpoint.startswith("https")
        http = urllib3.PoolManager(ca_certs=str(self.ca_file)) if secure else None
        host = self.endpoint.partition("://")[2]
        return Minio(host, self.access_key, self.secret_key, secure=secure, region="us-east-1", http_client=http)

    def make_bucket(self, name: str) -> str:
        """Make a bucket; returns its URI."""
        self.client().make_bucket(name)
        return f"s3://{name}"

    def scratch(self) -> str:
        """A URI below which nothing lies yet."""
        client = self.client()
        if not client.bucket_exists("scratch"):
            client.make_bucket("scratch")
        return f"s3://scratch/{secrets.token_hex(6)}"

    def add_user(self, access_key: str, secret_key: str, policy: str) -> "S3Server":
        """MinIO only: a user with one of its named policies (readonly, readwrite, writeonly)."""
        admin = minio.minioadmin.MinioAdmin(
            endpoint=self.endpoint.partition("://")[2],
            credentials=StaticProvider(self.access_key, self.secret_key),
            secure=self.endpoint.startswith("https"),
        )
        admin.user_add(access_key, secret_key)
        admin.policy_set(policy, user=access_key)
        return self.with_keys(access_key, secret_key)


@contextmanager
def run_minio(folder: Path, *, tls: bool = False, address: str = "127.0.0.1") -> Iterator[S3Server]:
    """A server on a free port of `address` with its data in `folder`, until the end of the block."""
    (port,) = free_ports(1)
    server = make_server(folder, f"{address}:{port}", tls=tls)
    with running(command_of(server), lambda: is_ready(server), folder / "minio.log", environment()):
        yield server


def make_server(folder: Path, address: str, *, tls: bool = False) -> S3Server:
    """A server to be started at `address`, host and port, with its files in `folder`."""
    certificates = folder / "certs"
    certificates.mkdir(parents=True, exist_ok=True)
    scheme, ca_file = ("https", make_certificates(certificates)) if tls else ("http", None)
    return S3Server(f"{scheme}://{address}", ACCESS_KEY, SECRET_KEY, folder / "data", ca_file)


def command_of(server: S3Server) -> list[str | Path]:
    """What starts `server`, with environment()."""
    certificates, address = server.folder.parent / "certs", server.endpoint.partition("://")[2]
    options = ["server", "--quiet", f"--certs-dir={certificates}", f"--address={address}"]
    return [go_program(MODULE, VERSION), *options, str(server.folder)]


def is_ready(server: S3Server) -> bool:
    """Whether `server` takes requests."""
    return answers(f"{server.endpoint}/minio/health/ready", server.ca_file)


def environment() -> dict[str, str]:
    """Of a server's process."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MINIO_"))},
        "MINIO_ROOT_USER": ACCESS_KEY,
        "MINIO_ROOT_PASSWORD": SECRET_KEY,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
        "MINIO_CI_CD": "on",  # allows data on the root file system
    }


@pytest.fixture(scope="session")
def minio_server() -> Iterator[S3Server]:
    """One server for all tests of a process: each makes buckets of its own."""
    folder = Path(tempfile.mkdtemp(prefix="finetune-minio-"))
    try:
        with run_minio(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)
