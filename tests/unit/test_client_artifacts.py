"""What may be deleted of an output: what this run's trainer wrote, as long as the output is its own."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.client import ArtifactsLeft, OutputNotOwned, Refused
from finetune_sdk.client.artifacts import FILES, FOLDERS, OWNER, Output
from finetune_sdk.client.memory_store import MemoryStore
from finetune_sdk.client.secret import SecretCredentials, StorageKeys
from finetune_sdk.client.testing import FakeRunClient
from finetune_sdk.errors import OutputInUse, StorageDenied
from finetune_sdk.storage import Entry
from finetune_trainer.checkpoint import manifest, metrics
from finetune_trainer.pipeline import layout
from finetune_trainer.pipeline.owner import claim
from tests.support.client_contract import a_run, keys

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def owned(uid: str) -> FinetuneRun:
    return FinetuneRun.model_validate(a_run("mine", uid=uid, namespace="a"))


def test_all_that_a_trainer_writes_is_known() -> None:
    names = {value for name, value in vars(layout).items() if name.isupper()}
    names |= {metrics.JOINED, metrics.ROOT, manifest.ROOT}
    unknown = {name for name in names if name not in FILES and not f"{name.rstrip('/')}/x".startswith(FOLDERS)}
    assert unknown == set()


def test_the_trainers_mark_is_read_and_its_process_fenced_out() -> None:
    store = MemoryStore("s3://runs/x")
    fence = claim(store, run="uid-1", process="pod", now=NOW)
    store.write("model/weights", b"1")
    Output(store, owned("uid-1")).require_own()
    fence.check()
    assert Output(store, owned("uid-1")).erase(NOW) == (2, ())
    with pytest.raises(OutputInUse):
        fence.check()
    assert keys(store) == []
    claim(store, run="uid-1", process="pod", now=NOW)
    with pytest.raises(OutputNotOwned, match="belongs to run uid-1 since 2026-01-02 03:04:05 UTC, not to 'mine'"):
        Output(store, owned("uid-2")).require_own()


class Raced(MemoryStore):
    """Another run claims the output while its objects are listed for deletion."""

    def list(self, prefix: str = "", most: int | None = None) -> Iterator[Entry]:
        found = list(super().list(prefix, most))
        claim(self, run="uid-other", process="pod", now=NOW)
        return iter(found)


def test_an_output_that_another_run_takes_meanwhile_is_left_alone() -> None:
    store = Raced("s3://runs/x")
    claim(store, run="uid-1", process="pod", now=NOW)
    store.write("model/weights", b"1")
    with pytest.raises(OutputNotOwned, match="was taken by another process just now"):
        Output(store, owned("uid-1")).erase(NOW)
    assert store.read("model/weights") == b"1"


def test_a_mark_of_another_version_is_nobodys() -> None:
    store = MemoryStore("s3://runs/x")
    store.write(OWNER, b"{}")
    with pytest.raises(OutputNotOwned, match=r"s3://runs/x/owner.json was not written by this version"):
        Output(store, owned("uid-1")).require_own()


def test_what_was_left_is_told_once_the_run_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRunClient()
    fake.create(a_run("x"))
    fake.succeed("x", before=0.1, after=0.2)

    def denied(key: str) -> None:
        raise StorageDenied("s3://runs/output/x: read-only")

    monkeypatch.setattr(fake._memory.open_store("s3://runs/output/x", None), "delete", denied)
    with pytest.raises(ArtifactsLeft, match=r"run 'x' is deleted, but objects are left under s3://.*: read-only"):
        fake.delete("x", artifacts=True)


def test_an_output_on_a_volume_is_out_of_reach() -> None:
    fake = FakeRunClient()
    fake.create(a_run("x", "file:///data/out"))
    with pytest.raises(Refused, match=r"output.uri file:///data/out lies on a volume of the run's pods"):
        fake.delete("x", artifacts=True)
    assert fake.get("x")


def test_keys_of_a_secret(tmp_path: Path) -> None:
    keys = StorageKeys("https://s3.example.com/", "key", "canary", region="r", ca=b"PEM")
    assert "canary" not in repr(keys)
    source = SecretCredentials(keys.data(), "a/s")
    loaded = source.load()
    assert (loaded.endpoint, loaded.access_key, loaded.secret_key, loaded.region) == (
        "https://s3.example.com",
        "key",
        "canary",
        "r",
    )
    assert loaded.ca_file is not None
    assert loaded.ca_file.read_bytes() == b"PEM"
    source.close()
    assert not loaded.ca_file.exists()
    assert "canary" not in repr(source) + repr(loaded)
    assert SecretCredentials(keys.data(), "a/s", "http://127.0.0.1:9000").load().endpoint == "http://127.0.0.1:9000"


BAD = {
    "no secret key": (
        {"endpoint": b"http://a", "accessKey": b"k"},
        "Secret a/s has no key secretKey: it needs endpoint",
    ),
    "no text": ({"endpoint": b"http://a", "accessKey": b"\xff"}, "key accessKey of Secret a/s is no UTF-8 text"),
    "no URL": ({"endpoint": b"minio:9000"}, "key endpoint of Secret a/s is 'minio:9000': write http://HOST:PORT"),
}


@pytest.mark.parametrize(("data", "words"), BAD.values(), ids=BAD)
def test_a_secret_that_is_not_whole(data: dict[str, bytes], words: str) -> None:
    with pytest.raises(StorageDenied) as told:
        SecretCredentials(data, "a/s").load()
    assert words in str(told.value)


@pytest.mark.parametrize(("access_key", "secret_key"), [(" ", "s"), ("k", "")])
def test_an_empty_key_makes_no_secret(access_key: str, secret_key: str) -> None:
    with pytest.raises(StorageDenied, match="is empty"):
        StorageKeys("http://a", access_key, secret_key).data()
