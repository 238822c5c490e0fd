"""Credentials from the environment and from the files of a mounted Secret."""

from pathlib import Path

import pytest

from finetune_sdk.errors import InvalidSpec, StorageDenied
from finetune_sdk.storage import CredentialsDirectory, credentials_from_environment, open_object, open_store

FILES = {"endpoint": "http://minio:9000\n", "accessKey": "key-1\n", "secretKey": "secret-1\n", "region": "eu-1"}
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "key-1", "AWS_SECRET_ACCESS_KEY": "secret-1"}


def write_files(folder: Path, **changes: str | None) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in (FILES | changes).items():
        if text is not None:
            (folder / name).write_text(text)
    return folder


def mount_secret(folder: Path, version: int) -> Path:
    """As kubelet does: files are links through ..data, which is swapped as a whole."""
    folder.mkdir(exist_ok=True)
    write_files(folder / f"..{version}", accessKey=f"key-{version}", secretKey=f"secret-{version}")
    (folder / "..new").symlink_to(f"..{version}")
    (folder / "..new").rename(folder / "..data")
    for name in FILES:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    return folder


def test_files_are_read_without_their_line_ends(tmp_path: Path) -> None:
    found = CredentialsDirectory(write_files(tmp_path)).load()
    assert (found.endpoint, found.access_key, found.secret_key) == ("http://minio:9000", "key-1", "secret-1")
    assert (found.region, found.ca_file) == ("eu-1", None)


def test_a_renewed_secret_is_seen(tmp_path: Path) -> None:
    source = CredentialsDirectory(mount_secret(tmp_path / "secret", 1))
    assert source.load().secret_key == "secret-1"
    mount_secret(tmp_path / "secret", 2)
    assert source.load().secret_key == "secret-2"


def test_a_swap_in_mid_read_pairs_no_key_with_anothers_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = mount_secret(tmp_path / "secret", 1)
    read_text = Path.read_text

    def swapping(path: Path, encoding: str | None = None) -> str:
        text = read_text(path, encoding=encoding)
        if path.name == "accessKey" and text == "key-1":
            mount_secret(folder, 2)
        return text

    monkeypatch.setattr(Path, "read_text", swapping)
    found = CredentialsDirectory(folder).load()
    assert (found.access_key, found.secret_key) == ("key-2", "secret-2")


BAD_FILES: dict[str, tuple[dict[str, str | None], str]] = {
    "a missing secret": ({"secretKey": None}, "there is no file secretKey in "),
    "a missing endpoint": ({"endpoint": None}, "there is no file endpoint in "),
    "an empty key": ({"accessKey": " \n"}, "accessKey are empty"),
    "an endpoint without scheme": ({"endpoint": "minio:9000"}, "endpoint is 'minio:9000': write http://HOST"),
    "an endpoint with a path": ({"endpoint": "http://minio/bucket"}, "leave out what follows the host"),
    "an endpoint with a password": ({"endpoint": "http://me:hunter2@minio"}, "endpoint holds a user or password"),
}


@pytest.mark.parametrize(("changes", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files(tmp_path: Path, changes: dict[str, str | None], message: str) -> None:
    with pytest.raises(StorageDenied, match=message) as caught:
        CredentialsDirectory(write_files(tmp_path, **changes)).load()
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (write_files(tmp_path) / "secretKey").write_bytes(b"\xff\xfe")
    with pytest.raises(StorageDenied, match="secretKey are no UTF-8 text"):
        CredentialsDirectory(tmp_path).load()


def test_the_environment() -> None:
    more = {"AWS_ENDPOINT_URL": "https://s3:443", "AWS_REGION": "eu", "AWS_SESSION_TOKEN": "t", "AWS_CA_BUNDLE": "/ca"}
    found = credentials_from_environment(ENVIRONMENT | more).load()
    assert (found.endpoint, found.region, found.session_token, found.ca_file) == (
        "https://s3:443", "eu", "t", Path("/ca"),
    )  # fmt: skip


def test_without_endpoint_and_keys_it_is_aws_and_anonymous() -> None:
    found = credentials_from_environment({}).load()
    assert (found.endpoint, found.access_key) == ("https://s3.amazonaws.com", None)


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_half_a_pair_of_keys_is_named(name: str) -> None:
    with pytest.raises(StorageDenied, match=f"the variable {name} is not set"):
        credentials_from_environment({each: "x" for each in ENVIRONMENT if each != name}).load()


def test_no_repr_shows_a_key(tmp_path: Path) -> None:
    directory = CredentialsDirectory(write_files(tmp_path))
    environment = credentials_from_environment(ENVIRONMENT | {"AWS_SESSION_TOKEN": "token-1"})
    shown = repr([directory, directory.load(), vars(environment.load()).keys(), environment, environment.load()])
    assert not any(secret in shown for secret in ("key-1", "secret-1", "token-1"))


URIS = {
    "the web": ("https://host/a.csv?X-Amz-Signature=hunter2", "is on the web: download it first"),
    "no scheme": ("data/a.csv", "has no scheme: write file:///ABSOLUTE/PATH or s3://BUCKET/KEY"),
    "another cloud": ("gs://bucket/a.csv", "gs:// is not supported, only file:///ABSOLUTE/PATH and s3://BUCKET/KEY"),
    "keys in the URI": ("s3://key:hunter2@bucket/a", "leave them out"),
    "keys in another URI": ("hf://me:hunter2@host/a", "hf:// is not supported"),
    "no bucket": ("s3:///a.csv", "is no bucket's name"),
    "a bucket's name that none has": ("s3://my bucket/a.csv", "'my bucket' is no bucket's name"),
    "a bucket's name like an address": ("s3://127.0.0.1/a.csv", "is no bucket's name"),
    "a host in a file URI": ("file://host/a.csv", "file:///ABSOLUTE/PATH"),
}


@pytest.mark.parametrize(("uri", "message"), URIS.values(), ids=URIS)
def test_uris_that_are_refused(uri: str, message: str) -> None:
    for opening in (open_store, open_object):
        with pytest.raises(InvalidSpec) as caught:
            opening(uri)
        assert message in str(caught.value)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("uri", ["file:///data/", "file:///", "s3://bucket", "s3://bucket/", "s3://bucket/folder/"])
def test_a_folder_is_no_object(uri: str) -> None:
    with pytest.raises(InvalidSpec, match=r"names a (bucket or a )?folder"):
        open_object(uri)


def test_uris_survive() -> None:
    for uri in ("file:///data/50%20%25", "s3://bucket/pre/fix", "s3://bucket"):
        assert open_store(uri + "/").uri == uri
    store, key = open_object("s3://bucket/pre/a.csv")
    assert (store.uri, key, store.uri_of(key)) == ("s3://bucket/pre", "a.csv", "s3://bucket/pre/a.csv")
