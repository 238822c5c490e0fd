"""What only files have: permissions, a full disk, symlinks, killed writers, other processes."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from finetune_sdk.errors import DataInvalid, FinetuneError, ObjectNotFound, StorageDenied, StorageUnavailable
from finetune_sdk.storage import Store, open_store
from finetune_sdk.storage.file_errors import translate_file_error
from finetune_sdk.uri import path_to_uri


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Store:
    return open_store(path_to_uri(folder))


def test_folders_are_made_and_tidied_away(store: Store, folder: Path) -> None:
    store.write("a/b/c/one", b"")
    store.write("a/two", b"")
    store.delete("a/b/c/one")
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) == ["a", "a/two"]


@pytest.mark.parametrize("at", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_unavailable_and_leaves_the_old(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch, at: str, number: int
) -> None:
    store.write("key", b"old")

    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(*((os, "fsync", full) if at == "fsync" else (Path, "replace", full)))
    with pytest.raises(StorageUnavailable, match=r"store/key cannot be written: the disk .*; free space"):
        store.write("key", b"new")
    assert (store.read("key"), [path.name for path in folder.iterdir()]) == (b"old", ["key"])


MEANINGS: dict[str, tuple[int, bool, type[FinetuneError]]] = {
    "no permission to write": (errno.EACCES, True, StorageDenied),
    "no permission to read": (errno.EACCES, False, StorageDenied),
    "a read-only file system": (errno.EROFS, True, StorageDenied),
    "a file where a folder should be": (errno.ENOTDIR, True, StorageDenied),
    "a folder where a file should be": (errno.EISDIR, True, StorageDenied),
    "reading a folder": (errno.EISDIR, False, ObjectNotFound),
    "reading what is not there": (errno.ENOENT, False, ObjectNotFound),
    "a name too long to write": (errno.ENAMETOOLONG, True, StorageDenied),
    "a name too long to exist": (errno.ENAMETOOLONG, False, ObjectNotFound),
    "a broken disk": (errno.EIO, False, StorageUnavailable),
    "a stale network mount": (errno.ESTALE, True, StorageUnavailable),
}


@pytest.mark.parametrize(("number", "writing", "expected"), MEANINGS.values(), ids=MEANINGS)
def test_errors_of_the_system(number: int, writing: bool, expected: type[FinetuneError]) -> None:
    error = translate_file_error(OSError(number, os.strerror(number)), "file:///data/key", writing=writing)
    assert type(error) is expected
    assert "file:///data/key" in str(error)


def test_a_file_in_the_way_of_a_folder_is_named(store: Store) -> None:
    store.write("a", b"")
    with pytest.raises(StorageDenied, match=r"store/a/b cannot be written .*something else lies in its place"):
        store.write("a/b", b"")


def test_a_folder_in_the_way_of_a_file_is_named(store: Store) -> None:
    store.write("a/b", b"")
    with pytest.raises(StorageDenied, match="store/a cannot be written"):
        store.write("a", b"")
    with pytest.raises(StorageDenied, match="store/a cannot be written"):
        store.delete("a")
    with pytest.raises(ObjectNotFound, match="store/a is no file"):
        store.read("a")


def test_a_disk_that_fails_in_mid_read_is_ours(store: Store) -> None:
    store.write("key", b"x")
    root = os.open("/", os.O_RDONLY)
    with store.open("key") as stream:
        os.dup2(root, stream.fileno())  # reading a folder fails as a disk may
        with pytest.raises(ObjectNotFound, match="store/key is no file"):
            stream.read(1)
    os.close(root)


def test_symlinks_are_followed_but_not_in_circles(store: Store, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "picture").write_bytes(b"1")
    store.write("own", b"")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "circle").symlink_to(folder)
    (folder / "broken").symlink_to(tmp_path / "nothing")
    assert [entry.key for entry in store.list()] == ["linked/picture", "own"]
    assert store.read("linked/picture") == b"1"


def test_what_a_killed_writer_left_is_invisible_and_cleared_by_the_next(store: Store, folder: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from finetune_sdk.storage import open_store
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
open_store({store.uri!r}).write("key", b"half")
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    (left,) = folder.iterdir()
    assert (list(store.list()), store.stat("key")) == ([], None)
    with pytest.raises(DataInvalid, match="named like an unfinished write"):
        store.read(left.name)
    store.write("other", b"")
    assert [path.name for path in folder.iterdir()] == ["other"]


def test_a_living_writer_is_left_alone(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrived, go_on, fsync = threading.Event(), threading.Event(), os.fsync

    def slow(descriptor: int) -> None:
        if threading.current_thread() is writer:
            arrived.set()
            go_on.wait(30)
        fsync(descriptor)

    writer = threading.Thread(target=store.write, args=("slow", b"whole"))
    monkeypatch.setattr(os, "fsync", slow)
    writer.start()
    assert arrived.wait(30)
    open_store(store.uri).write("quick", b"")
    assert [entry.key for entry in store.list()] == ["quick"]
    go_on.set()
    writer.join(30)
    assert store.read("slow") == b"whole"


def test_between_looking_and_replacing_nobody_else_does(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    etag = store.write_if("owner.json", b"start", None)
    won: list[str | None] = []
    other = threading.Thread(target=lambda: won.append(open_store(store.uri).write_if("owner.json", b"other", etag)))
    replace = Path.replace

    def while_another_tries(path: Path, target: Path) -> Path:
        if threading.current_thread() is not other:
            other.start()
            other.join(0.3)  # it would be done by then, if it could
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", while_another_tries)
    assert store.write_if("owner.json", b"first", etag) is not None
    other.join(30)
    assert (won, store.read("owner.json")) == ([None], b"first")


def test_conditions_hold_between_processes(store: Store) -> None:
    etag = store.write_if("owner.json", b"start", None)
    script = f"""
import sys
from finetune_sdk.storage import open_store
store = open_store({store.uri!r})
sys.stdin.readline()
won = [store.write_if("owner.json", sys.argv[1].encode(), {etag!r}), store.write_if("new", sys.argv[1].encode(), None)]
print(*(int(each is not None) for each in won))
"""
    command = [sys.executable, "-c", script]
    many = [
        subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    said = [process.communicate("go\n", timeout=60)[0].split() for process in many]
    for column, key in enumerate(["owner.json", "new"]):
        (winner,) = (number for number, words in enumerate(said) if words[column] == "1")
        assert store.read(key) == str(winner).encode()


def test_where_links_are_unknown_creation_still_holds(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    assert store.write_if("owner.json", b"first", None) is not None
    assert store.write_if("owner.json", b"second", None) is None
    assert store.read("owner.json") == b"first"


def test_a_folder_with_a_name_too_long_to_exist_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFound, match="nor does its folder"):
        open_store(path_to_uri(tmp_path)).read("x" * 300 + "/a.jpg")
