"""What every store does, on files, MinIO and SeaweedFS alike."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from finetune_sdk.errors import DataInvalid, ObjectNotFound
from finetune_sdk.storage import Store, open_object, open_store
from finetune_sdk.storage.s3_upload import PART_SIZE
from finetune_sdk.uri import path_to_uri

NAMES = ["a.txt", "a/b.json", "a/b/c", "a0", "ä/ü ö", "odd #?%+&=~'\"()*.txt", "日本/語", "z" * 200, "A"]


@pytest.fixture(params=["file", "minio", "seaweedfs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "file":
        return open_store(path_to_uri(tmp_path / "store"))
    server = request.getfixturevalue(f"{request.param}_server")
    return open_store(server.scratch(), server.credentials)


def keys(store: Store, prefix: str = "") -> list[str]:
    return [entry.key for entry in store.list(prefix)]


class TestEveryStore:
    def test_what_is_written_is_read(self, store: Store) -> None:
        for name in NAMES:
            store.write(name, name.encode())
        assert [store.read(name) for name in NAMES] == [name.encode() for name in NAMES]

    def test_keys_are_listed_sorted_as_utf8_below_folders_too(self, store: Store) -> None:
        for name in NAMES:
            store.write(name, b"")
        assert keys(store) == sorted(NAMES, key=str.encode)

    def test_a_prefix_is_text_not_a_folder(self, store: Store) -> None:
        for name in ("step-1/a", "step-10/a", "step-2/a", "s", "other/step-1"):
            store.write(name, b"")
        assert keys(store, "step-1") == ["step-1/a", "step-10/a"]
        assert keys(store, "step-1/") == ["step-1/a"]
        assert keys(store, "nothing/here") == []

    def test_more_objects_than_a_page_are_listed(self, store: Store) -> None:
        names = [f"many/{number:05}" for number in range(1005)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: store.write(name, b"x"), names))
        assert keys(store, "many/") == names

    def test_no_more_are_listed_than_are_asked_for(self, store: Store) -> None:
        for name in NAMES:
            store.write(name, b"")
        for most in (0, 2, 1000):
            found = [entry.key for entry in store.list(most=most)]
            assert len(found) == min(most, len(NAMES))
            assert set(found) <= set(NAMES)
            assert found == sorted(found, key=str.encode)

    def test_listing_and_stat_agree(self, store: Store) -> None:
        store.write("a/b", b"12345")
        (entry,) = store.list()
        assert (entry.key, entry.size) == ("a/b", 5)
        assert store.stat("a/b") == entry

    def test_an_empty_store_lists_nothing(self, store: Store) -> None:
        assert keys(store) == []

    def test_an_absent_object_has_no_entry(self, store: Store) -> None:
        store.write("a/b", b"")
        assert [store.stat(key) for key in ("absent", "a", "a/b/c")] == [None, None, None]

    @pytest.mark.parametrize("key", ["absent", "absent/too", "a"])
    def test_an_absent_object_is_named(self, store: Store, key: str) -> None:
        store.write("a/b", b"")
        with pytest.raises(ObjectNotFound, match=store.uri_of(key)):
            store.read(key)

    @pytest.mark.parametrize(("start", "expected"), [(0, b"0123456789"), (4, b"456789"), (10, b""), (99, b"")])
    def test_a_stream_begins_where_asked(self, store: Store, start: int, expected: bytes) -> None:
        store.write("digits", b"0123456789")
        with store.open("digits", start) as stream:
            assert stream.read() == expected

    def test_an_empty_object_is_an_object(self, store: Store) -> None:
        store.write("empty", b"")
        assert (store.read("empty"), keys(store)) == (b"", ["empty"])

    def test_writing_again_replaces_and_changes_the_etag(self, store: Store) -> None:
        store.write("key", b"first")
        first = store.stat("key")
        store.write("key", b"other")
        second = store.stat("key")
        assert store.read("key") == b"other"
        assert first is not None
        assert second is not None
        assert first.etag != second.etag

    @pytest.mark.parametrize("size", [0, 1, PART_SIZE, PART_SIZE + 1, 2 * PART_SIZE + 12345])
    def test_a_file_is_stored_whole(self, store: Store, tmp_path: Path, size: int) -> None:
        data = secrets.token_bytes(1021) * (size // 1021 + 1)
        (tmp_path / "local").write_bytes(data[:size])
        store.write_file("in/parts", tmp_path / "local")
        assert store.read("in/parts") == data[:size]

    def test_large_bytes_are_stored_whole(self, store: Store) -> None:
        data = secrets.token_bytes(1021) * (PART_SIZE // 1021 + 100)
        store.write("large", data)
        assert store.read("large") == data

    def test_a_local_file_that_is_missing_is_named(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(ObjectNotFound, match="local/absent"):
            store.write_file("key", tmp_path / "local" / "absent")

    def test_a_deleted_object_is_gone(self, store: Store) -> None:
        store.write("a/b/c", b"")
        store.delete("a/b/c")
        store.delete("a/b/c")
        store.delete("never/there")
        assert keys(store) == []

    def test_only_the_first_creates(self, store: Store) -> None:
        etag = store.write_if("owner/owner.json", b"first", None)
        assert etag is not None
        assert store.write_if("owner/owner.json", b"second", None) is None
        found = store.stat("owner/owner.json")
        assert found is not None
        assert (store.read("owner/owner.json"), found.etag) == (b"first", etag)

    def test_who_knows_the_last_etag_replaces(self, store: Store) -> None:
        first = store.write_if("owner.json", b"1st", None)
        second = store.write_if("owner.json", b"2nd", first)
        assert second is not None
        assert store.write_if("owner.json", b"3rd", first) is None
        assert store.read("owner.json") == b"2nd"

    def test_a_plain_write_fences_out_who_knew_the_etag(self, store: Store) -> None:
        etag = store.write_if("owner.json", b"1st", None)
        store.write("owner.json", b"2nd")
        assert store.write_if("owner.json", b"3rd", etag) is None

    def test_nothing_is_replaced_that_is_gone(self, store: Store) -> None:
        etag = store.write_if("owner.json", b"1st", None)
        store.delete("owner.json")
        assert store.write_if("owner.json", b"2nd", etag) is None
        assert keys(store) == []

    def test_of_many_creators_one_wins(self, store: Store) -> None:
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda number: store.write_if("owner.json", b"%d" % number, None), range(16)))
        (winner,) = (number for number, etag in enumerate(won) if etag is not None)
        assert store.read("owner.json") == b"%d" % winner

    def test_of_many_replacers_one_wins(self, store: Store) -> None:
        etag = store.write_if("owner.json", b"start", None)
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda number: store.write_if("owner.json", b"%d" % number, etag), range(16)))
        (winner,) = (number for number, new in enumerate(won) if new is not None)
        assert store.read("owner.json") == b"%d" % winner

    @pytest.mark.parametrize("key", ["", "/etc/passwd", "../outside", "a/../../b", "a//b", "a/", "./a", "a\0b"])
    def test_no_key_leaves_the_store(self, store: Store, key: str) -> None:
        for action in (store.read, store.stat, store.delete, store.uri_of, store.open):
            with pytest.raises(DataInvalid, match="is no name below"):
                action(key)
        with pytest.raises(DataInvalid, match="is no name below"):
            store.write(key, b"")

    def test_no_prefix_leaves_the_store(self, store: Store) -> None:
        with pytest.raises(DataInvalid, match="is no name below"):
            store.list("../")

    def test_an_object_is_opened_by_its_own_uri(self, store: Store, request: pytest.FixtureRequest) -> None:
        store.write("a/ü #%.csv", b"rows")
        kind = request.node.callspec.params["store"]
        source = None if kind == "file" else request.getfixturevalue(f"{kind}_server").credentials
        parent, key = open_object(store.uri_of("a/ü #%.csv"), source)
        assert (key, parent.read(key)) == ("ü #%.csv", b"rows")

    def test_a_store_at_the_root_of_another_sees_the_same(self, store: Store, request: pytest.FixtureRequest) -> None:
        store.write("a/b", b"x")
        kind = request.node.callspec.params["store"]
        source = None if kind == "file" else request.getfixturevalue(f"{kind}_server").credentials
        assert keys(open_store(store.uri + "/a/", source)) == ["b"]
