"""What a user gets for storage that refuses: `finetune run` in front of a real MinIO server."""

from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.minio import S3Server
from tests.support.runs import make_run

TINY = {"steps": 1, "batchSize": 4}


@pytest.fixture
def run(tmp_path: Path, minio_server: S3Server) -> Path:
    return make_run(tmp_path, images=24, training=TINY, output={"uri": minio_server.scratch()})


def test_a_wrong_key_is_denied(finetune: Command, tmp_path: Path, run: Path, minio_server: S3Server) -> None:
    ended = finetune(tmp_path, "run", "-f", run, **minio_server.with_keys("nobody-knows", "this-secret").environment)
    assert ended.code == 77, ended.err
    assert "this-secret" not in ended.err


def test_no_bucket_is_denied_and_named(finetune: Command, tmp_path: Path, minio_server: S3Server) -> None:
    run = make_run(tmp_path, images=24, training=TINY, output={"uri": "s3://no-such-bucket/here"})
    ended = finetune(tmp_path, "run", "-f", run, **minio_server.environment)
    assert ended.code == 77, ended.err
    assert "no-such-bucket" in ended.err


def test_a_key_that_may_only_read_is_denied(
    finetune: Command, tmp_path: Path, run: Path, minio_server: S3Server
) -> None:
    reader = minio_server.add_user("only-reader", "reads-and-no-more", "readonly")
    ended = finetune(tmp_path, "run", "-f", run, **reader.environment)
    assert ended.code == 77, ended.err


def test_no_keys_at_all_is_denied_and_says_which_to_set(
    finetune: Command, tmp_path: Path, run: Path, minio_server: S3Server
) -> None:
    ended = finetune(tmp_path, "run", "-f", run, AWS_ENDPOINT_URL=minio_server.endpoint)
    assert ended.code == 77, ended.err
    assert "AWS_ACCESS_KEY_ID" in ended.err


def test_keys_from_a_mounted_secret_serve(finetune: Command, tmp_path: Path, run: Path, minio_server: S3Server) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    keys = {"endpoint": minio_server.endpoint, "accessKey": minio_server.access_key}
    for name, value in {**keys, "secretKey": minio_server.secret_key}.items():
        (secret / name).write_text(value)
    ended = finetune(tmp_path, "run", "-f", run, "--credentials", secret)
    assert ended.code == 0, ended.err
