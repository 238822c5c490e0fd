"""S3 when the network or the server fails: what is tried again, what is told, and that nothing half is seen."""

import itertools
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from finetune_sdk.errors import ObjectNotFound, StorageDenied, StorageUnavailable
from finetune_sdk.storage import Retry, Store, open_store
from finetune_sdk.storage.s3_upload import PART_SIZE
from tests.support.faults import FaultProxy, Rule, gets, run_proxy, writes
from tests.support.minio import S3Server

MIB = 1 << 20


@dataclass
class Time:
    """A clock that only sleeping moves."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)

    def retry(self, patience: float = 60.0) -> Retry:
        return Retry(patience, patience, clock=lambda: self.now, sleep=self.sleep, random=lambda: 0.5)


@pytest.fixture
def proxy(minio_server: S3Server) -> Iterator[FaultProxy]:
    with run_proxy(minio_server) as proxy:
        yield proxy


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def direct(minio_server: S3Server) -> Store:
    """Where the test looks at what is stored."""
    return open_store(minio_server.scratch(), minio_server.credentials)


@pytest.fixture
def store(minio_server: S3Server, proxy: FaultProxy, direct: Store, time: Time) -> Store:
    """The same place through the proxy."""
    return open_store(direct.uri, minio_server.at(proxy.endpoint).credentials, retry=time.retry())


ACTIONS: dict[str, Callable[[Store], object]] = {
    "read": lambda store: store.read("there"),
    "stat": lambda store: store.stat("there"),
    "list": lambda store: list(store.list()),
    "write": lambda store: store.write("new", b"data"),
    "create": lambda store: store.write_if("new", b"data", None),
    "delete": lambda store: store.delete("there"),
}


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
@pytest.mark.parametrize("fault", ["503", "429", "refused", "answer lost"])
def test_a_failure_that_passes_is_not_noticed(
    store: Store, direct: Store, proxy: FaultProxy, time: Time, action: Callable[[Store], object], fault: str
) -> None:
    direct.write("there", b"content")
    match fault:
        case "503" | "429":
            proxy.say(int(fault), "SlowDown", times=3)
        case "refused":
            proxy.refuse(times=3)
        case _:
            proxy.add(Rule(times=3, lose_answer=True))
    assert action(store) != []
    assert time.slept == [0.125, 0.25, 0.5]


def test_a_stream_that_breaks_goes_on_at_its_offset(store: Store, direct: Store, proxy: FaultProxy) -> None:
    data = secrets.token_bytes(3 * MIB)
    direct.write("large", data)
    proxy.add(Rule(gets, times=2, cut_answer_at=MIB + 100_000))
    with store.open("large", 10) as stream:
        assert stream.read() == data[10:]
    first, second, third = [int(each.headers["range"][6:-1]) for each in proxy.requests]
    assert first == 10 < second < third


def test_a_stream_whose_object_is_replaced_never_mixes(store: Store, direct: Store, proxy: FaultProxy) -> None:
    direct.write("large", b"a" * 3 * MIB)
    proxy.add(Rule(gets, cut_answer_at=MIB + 100_000))
    with store.open("large") as stream:
        assert stream.read(10) == b"a" * 10
        direct.write("large", b"b" * 3 * MIB)
        with pytest.raises(StorageUnavailable, match="was replaced while it was read"):
            stream.read()


def test_one_broken_part_is_sent_again_alone(store: Store, direct: Store, proxy: FaultProxy, tmp_path: Path) -> None:
    data = secrets.token_bytes(PART_SIZE) * 2 + b"end"
    (tmp_path / "file").write_bytes(data)
    proxy.add(Rule(lambda request: "partNumber=2" in request.target, cut_request_at=1000))
    store.write_file("parts", tmp_path / "file")
    parts = [each for each in proxy.requests if "partNumber=" in each.target]
    assert (direct.read("parts") == data, len(parts)) == (True, 4)


def test_a_completion_whose_answer_is_lost_is_a_success(store: Store, direct: Store, proxy: FaultProxy) -> None:
    data = b"x" * (PART_SIZE + 1)
    proxy.add(Rule(lambda request: request.method == "POST" and "uploads" not in request.target, lose_answer=True))
    store.write("parts", data)
    assert direct.read("parts") == data


def test_a_conditional_write_whose_answer_is_lost_knows_its_own(store: Store, direct: Store, proxy: FaultProxy) -> None:
    proxy.add(Rule(writes, lose_answer=True))
    first = store.write_if("owner.json", b"mine", None)
    proxy.add(Rule(writes, lose_answer=True))
    second = store.write_if("owner.json", b"still mine", first)
    found = direct.stat("owner.json")
    assert found is not None
    assert (direct.read("owner.json"), second) == (b"still mine", found.etag)


def test_a_conditional_write_that_lost_the_race_says_so(store: Store, direct: Store, proxy: FaultProxy) -> None:
    proxy.add(Rule(writes, cut_request_at=1, before=lambda: direct.write("owner.json", b"theirs")))
    assert store.write_if("owner.json", b"mine", None) is None
    assert direct.read("owner.json") == b"theirs"


def test_an_upload_cut_anywhere_leaves_nothing_visible(
    store: Store, direct: Store, proxy: FaultProxy, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"x" * (2 * PART_SIZE + 1))
    store.write("first", b"reached")
    for cut in itertools.count():
        proxy.heal()
        proxy.cut_from_write(cut)
        try:
            store.write_file("parts", tmp_path / "file")
        except StorageUnavailable:
            assert [entry.key for entry in direct.list()] == ["first"]
            continue
        break
    assert cut == 5, "begin, three parts, completion"
    assert direct.stat("parts") is not None


def test_a_broken_upload_leaves_no_parts(minio_server: S3Server, store: Store, proxy: FaultProxy) -> None:
    proxy.say(400, "EntityTooLarge", matches=lambda request: "partNumber=2" in request.target)
    with pytest.raises(StorageDenied, match="EntityTooLarge"):
        store.write("parts", b"x" * (PART_SIZE + 1))
    assert proxy.requests[-1].method == "DELETE"


def test_an_object_is_replaced_whole_or_not_at_all(store: Store, direct: Store, proxy: FaultProxy) -> None:
    direct.write("key", b"old")
    proxy.cut_from_write(0)
    with pytest.raises(StorageUnavailable):
        store.write("key", b"new" * MIB)
    assert direct.read("key") == b"old"


def test_patience_ends(store: Store, proxy: FaultProxy, time: Time) -> None:
    proxy.say(503, "SlowDown", "busy", times=1000)
    with pytest.raises(StorageUnavailable, match=r"keeps failing \(SlowDown: busy\)"):
        store.read("key")
    assert 50 < time.now <= 60


def test_a_server_never_reached_is_given_up_soon_but_a_known_one_is_waited_for(
    minio_server: S3Server, proxy: FaultProxy, time: Time, direct: Store
) -> None:
    retry = Retry(100, 10, clock=lambda: time.now, sleep=time.sleep)
    store = open_store(direct.uri, minio_server.at(proxy.endpoint).credentials, retry=retry)
    proxy.refuse()
    with pytest.raises(StorageUnavailable, match="cannot be reached"):
        store.read("key")
    assert time.now <= 10
    proxy.heal()
    store.write("key", b"")
    proxy.refuse()
    with pytest.raises(StorageUnavailable, match="cannot be reached"):
        store.read("key")
    assert 50 < time.now <= 110


NOBODY = {
    "nobody listens": ("http://127.0.0.1:1", "cannot be reached (Connection refused): check AWS_ENDPOINT_URL"),
    "unknown host": ("http://no-such-host.invalid:9000", "cannot be reached (its name is not known)"),
}


@pytest.mark.parametrize(("endpoint", "message"), NOBODY.values(), ids=NOBODY)
def test_an_endpoint_where_nobody_is(minio_server: S3Server, time: Time, endpoint: str, message: str) -> None:
    store = open_store("s3://bucket/pre", minio_server.at(endpoint).credentials, retry=time.retry(5))
    with pytest.raises(StorageUnavailable) as caught:
        store.read("key")
    assert f"s3://bucket/pre/key: {endpoint} {message}" in str(caught.value)
    assert 0 < time.now <= 5


ANSWERS = {
    "full disk": (507, "XMinioStorageFull", "no space", StorageUnavailable, "is full"),
    "quota": (400, "XMinioAdminBucketQuotaExceeded", "quota", StorageUnavailable, "is full"),
    "expired token": (400, "ExpiredToken", "old", StorageDenied, "renew the credentials"),
    "presigned too late": (403, "AccessDenied", "Request has expired", StorageDenied, "clocks"),
    "clock": (403, "RequestTimeTooSkewed", "skewed", StorageDenied, "clocks of this machine"),
    "region": (400, "AuthorizationHeaderMalformed", "expecting 'eu'", StorageDenied, "check AWS_REGION"),
    "redirect": (301, "PermanentRedirect", "elsewhere", StorageDenied, "wants another region or endpoint"),
    "policy": (403, "AccessDenied", "no", StorageDenied, "allow it for bucket 'scratch'"),
    "unknown refusal": (405, "MethodNotAllowed", "no", StorageDenied, "refuses (MethodNotAllowed: no)"),
}


@pytest.mark.parametrize(("status", "code", "said", "error", "message"), ANSWERS.values(), ids=ANSWERS)
def test_a_refusal_is_told_at_once(
    store: Store, proxy: FaultProxy, time: Time, status: int, code: str, said: str, error: type, message: str
) -> None:
    proxy.say(status, code, said, times=10)
    with pytest.raises(error) as caught:
        store.write("key", b"data")
    assert message in str(caught.value)
    assert store.uri_of("key") in str(caught.value)
    assert time.slept == []


def test_a_server_that_is_no_s3_server_is_named(store: Store, proxy: FaultProxy) -> None:
    proxy.add(Rule(times=10, answer=(404, "text/html", b"<html>nginx</html>")))
    with pytest.raises(StorageDenied, match=r"does not answer like an S3 server .*nginx.*check AWS_ENDPOINT_URL"):
        store.read("key")


def test_a_wrong_clock_is_told(minio_server: S3Server, direct: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    import minio.time

    now = minio.time.utcnow()
    direct.write("key", b"")
    for years in (-1, 1):
        monkeypatch.setattr(minio.time, "utcnow", lambda years=years: now.replace(year=now.year + years, day=1))
        for action in (lambda: direct.read("key"), lambda: direct.write("key", b"")):
            with pytest.raises(StorageDenied, match="the clocks of this machine and of"):
                action()


WRONG = {
    "wrong access key": ("nobody", "canary-secret-key-Zq7", "does not know the access key"),
    "wrong secret key": ("canary-access-key", "guessed-secret", "the secret key does not fit"),
}


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
@pytest.mark.parametrize(("access_key", "secret_key", "message"), WRONG.values(), ids=WRONG)
def test_wrong_keys(
    minio_server: S3Server, direct: Store, action: Callable[[Store], object], access_key: str, secret_key: str,
    message: str,
) -> None:  # fmt: skip
    store = open_store(direct.uri, minio_server.with_keys(access_key, secret_key).credentials)
    with pytest.raises(StorageDenied, match=message):
        action(store)


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_no_bucket(minio_server: S3Server, action: Callable[[Store], object]) -> None:
    with pytest.raises(StorageDenied, match="there is no bucket 'no-such-bucket'"):
        action(open_store("s3://no-such-bucket/pre", minio_server.credentials))


def test_a_read_only_key_reads_but_does_not_write(minio_server: S3Server, direct: Store) -> None:
    direct.write("key", b"content")
    reader = minio_server.add_user("reader", "reader-secret", "readonly")
    store = open_store(direct.uri, reader.credentials)
    assert store.read("key") == b"content"
    for action in (store.write, lambda key, data: store.write_if(key, data, None)):
        with pytest.raises(StorageDenied, match="refuses this to the given key"):
            action("key", b"other")
    with pytest.raises(StorageDenied):
        store.delete("key")


def test_without_keys_what_is_public_is_read_and_the_rest_named(minio_server: S3Server) -> None:
    uri = minio_server.make_bucket(f"public-{secrets.token_hex(4)}")
    statement = f'"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{uri[5:]}/open/*"'
    minio_server.client().set_bucket_policy(uri[5:], f'{{"Version":"2012-10-17","Statement":[{{{statement}}}]}}')
    open_store(uri, minio_server.credentials).write("open/key", b"content")
    store = open_store(uri, minio_server.with_keys("", "").credentials)
    assert store.read("open/key") == b"content"
    with pytest.raises(StorageDenied, match=r"refuses anonymous access .*set AWS_ACCESS_KEY_ID"):
        store.write("open/key", b"")


def test_an_unknown_key_is_not_found_without_noise(store: Store, time: Time) -> None:
    with pytest.raises(ObjectNotFound):
        store.read("absent")
    assert time.slept == []


def test_a_server_that_ignores_conditions_is_told(
    store: Store, proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    ok = (200, "application/xml", b"")
    proxy.add(Rule(writes, times=4, answer=ok))
    store.write_if("owner.json", b"1", None)
    store.write_if("owner.json", b"2", None)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{store.uri_of('owner.json')}: the server ignores If-None-Match:")
    assert len(proxy.requests) == 3


@pytest.mark.parametrize("name", ["minio_server", "seaweedfs_server"])
def test_real_servers_obey_conditions(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    server = request.getfixturevalue(name)
    store = open_store(server.scratch(), server.credentials)
    store.write_if("owner.json", b"2", store.write_if("owner.json", b"1", None))
    assert caplog.records == []


def test_the_environment_is_read_only_when_it_is_needed(monkeypatch: pytest.MonkeyPatch, direct: Store) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    store = open_store("s3://bucket/pre")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    with pytest.raises(StorageDenied, match="AWS_ENDPOINT_URL is 'nonsense'"):
        store.read("key")
