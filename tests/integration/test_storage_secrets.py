"""TLS, renewed keys, and that no key shows in any message, log or traceback."""

import logging
import secrets
import shutil
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from finetune_sdk.errors import FinetuneError, StorageDenied
from finetune_sdk.storage import CredentialsDirectory, Retry, Store, credentials_from_environment, open_store
from tests.support.faults import FaultProxy, Rule, run_proxy
from tests.support.minio import ACCESS_KEY, SECRET_KEY, S3Server, run_minio

CANARIES = (ACCESS_KEY, SECRET_KEY, "canary-token-Zq7", "X-Amz-Signature", "X-Amz-Credential")
BRIEF = Retry(patience=0, first_patience=0)
DOINGS: dict[str, Callable[[Store], object]] = {
    "read": lambda store: store.read("key"),
    "stat": lambda store: store.stat("key"),
    "list": lambda store: list(store.list()),
    "write": lambda store: store.write("key", b"data"),
    "write parts": lambda store: store.write("key", b"x" * (17 << 20)),
    "create": lambda store: store.write_if("key", b"data", None),
    "delete": lambda store: store.delete("key"),
}
ECHO = f"you said {SECRET_KEY} {ACCESS_KEY} canary-token-Zq7 at http://h/b?X-Amz-Credential={ACCESS_KEY}"
FAULTS: dict[str, Callable[[FaultProxy], None]] = {
    "refused": lambda proxy: proxy.refuse(),
    "an answer that echoes": lambda proxy: proxy.say(403, "AccessDenied", ECHO, times=99),
    "a failure that echoes": lambda proxy: proxy.say(500, "InternalError", ECHO, times=99),
    "a page that echoes": lambda proxy: proxy.add(Rule(times=99, answer=(403, "text/html", ECHO.encode()))),
    "no XML": lambda proxy: proxy.add(Rule(times=99, answer=(403, "application/xml", ECHO.encode()))),
    "an answer cut": lambda proxy: proxy.add(Rule(times=99, cut_answer_at=20)),
    "a wrong token": lambda proxy: proxy.heal(),
}


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with run_minio(tmp_path_factory.mktemp("tls"), tls=True) as server:
        server.make_bucket("bucket")
        yield server


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("doing", DOINGS.values(), ids=DOINGS)
def test_no_key_in_any_message_log_or_traceback(
    minio_server: S3Server, caplog: pytest.LogCaptureFixture,
    doing: Callable[[Store], object], fault: Callable[[FaultProxy], None],
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    uri = minio_server.scratch()
    with run_proxy(minio_server) as proxy:
        fault(proxy)
        env = minio_server.at(proxy.endpoint).environment | {"AWS_SESSION_TOKEN": "canary-token-Zq7"}
        with pytest.raises(FinetuneError) as caught:
            doing(open_store(uri, credentials_from_environment(env), retry=BRIEF))
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert [canary for canary in CANARIES if canary in told] == []


def test_renewed_keys_are_used_in_mid_run(minio_server: S3Server, tmp_path: Path) -> None:
    uri = minio_server.scratch()
    first, second = (minio_server.add_user(f"user{n}", f"{secrets.token_hex(8)}", "readwrite") for n in (1, 2))
    folder = tmp_path / "credentials"
    write_secret(folder, first)
    store = open_store(uri, CredentialsDirectory(folder))
    store.write("key", b"1")
    remove_user(minio_server, first)
    with pytest.raises(StorageDenied, match=r"does not know the access key .*check the file accessKey in "):
        store.read("key")
    write_secret(folder, second)
    assert store.read("key") == b"1"


def test_keys_renewed_just_after_a_refusal_are_tried(minio_server: S3Server, tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    with run_proxy(minio_server) as proxy:
        server = minio_server.at(proxy.endpoint)
        write_secret(folder, server.with_keys("old", "old-secret"))
        proxy.add(Rule(before=lambda: write_secret(folder, server)))
        open_store(minio_server.scratch(), CredentialsDirectory(folder)).write("key", b"1")
        assert len(proxy.requests) == 2


def test_a_private_authority_is_trusted_when_named(tls_server: S3Server, tmp_path: Path) -> None:
    write_secret(tmp_path / "credentials", tls_server)
    for source in (tls_server.credentials, CredentialsDirectory(tmp_path / "credentials")):
        store = open_store("s3://bucket/pre", source)
        store.write("key", b"1" * (17 << 20))
        assert len(store.read("key")) == 17 << 20


TLS = {
    "not named": ({"AWS_CA_BUNDLE": ""}, "is not trusted .*: name its CA by AWS_CA_BUNDLE"),
    "a file that is missing": ({"AWS_CA_BUNDLE": "/no/ca.crt"}, "AWS_CA_BUNDLE: /no/ca.crt holds no certificates"),
    "a file that is none": ({"AWS_CA_BUNDLE": "/dev/null"}, "AWS_CA_BUNDLE: /dev/null holds no certificates"),
}


@pytest.mark.parametrize(("changes", "message"), TLS.values(), ids=TLS)
def test_a_private_authority(tls_server: S3Server, changes: dict[str, str], message: str) -> None:
    store = open_store("s3://bucket", credentials_from_environment(tls_server.environment | changes))
    with pytest.raises(StorageDenied, match=message):
        store.read("key")


def test_http_and_https_mixed_up(minio_server: S3Server, tls_server: S3Server) -> None:
    plain = open_store("s3://bucket", tls_server.at(tls_server.endpoint.replace("https", "http")).credentials)
    with pytest.raises(StorageDenied, match="HTTPS"):
        plain.read("key")
    encrypted = open_store("s3://bucket", minio_server.at(minio_server.endpoint.replace("http", "https")).credentials)
    with pytest.raises(StorageDenied, match="does not speak TLS: write http:// in AWS_ENDPOINT_URL"):
        encrypted.read("key")


def write_secret(folder: Path, server: S3Server) -> None:
    folder.mkdir(exist_ok=True)
    values = {"endpoint": server.endpoint, "accessKey": server.access_key, "secretKey": server.secret_key}
    for name, value in values.items():
        (folder / f"{name}.new").write_text(value)
        (folder / f"{name}.new").rename(folder / name)
    if server.ca_file:
        shutil.copy(server.ca_file, folder / "ca.crt")


def remove_user(server: S3Server, user: S3Server) -> None:
    from minio.credentials.providers import StaticProvider
    from minio.minioadmin import MinioAdmin

    host = server.endpoint.partition("://")[2]
    keys = StaticProvider(server.access_key, server.secret_key)
    MinioAdmin(endpoint=host, credentials=keys, secure=False).user_remove(user.access_key)
