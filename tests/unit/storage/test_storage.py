import errno
import os
import pickle
import resource
import threading
import time

import fsspec
import pytest

from pipeline.errors import ConfigError, StorageError
from pipeline.storage import folder as storage
from pipeline.storage.errors import storage_errors, within
from pipeline.storage.folder import Folder, filesystem, parse_options, printable


@pytest.fixture
def memory():
    """The in-memory back end of fsspec, emptied."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    return Folder("memory://bucket/lake")


def everything(path):
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


def test_publish_writes_and_replaces(tmp_path):
    folder = Folder(str(tmp_path / "lake"))
    assert folder.files() == {}
    folder.publish("faces/a.parquet", b"one")
    folder.publish("faces/a.parquet", b"three")
    assert folder.read("faces/a.parquet") == b"three"
    assert folder.child("faces").files() == {"a.parquet": 5}
    assert everything(tmp_path / "lake" / "faces") == ["a.parquet"]
    with folder.open("faces/a.parquet") as file:
        file.seek(2)
        assert file.read() == b"ree"


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    folder = Folder(str(tmp_path))
    folder.publish("a", b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"the disk is full; free some space and run again"):
        folder.publish("a", b"new")
    with pytest.raises(StorageError, match=str(tmp_path / "b")):
        folder.publish("b", b"new")
    assert everything(tmp_path) == ["a"]
    assert folder.read("a") == b"old"


def test_a_write_that_really_fails_midway_leaves_nothing(tmp_path):
    folder = Folder(str(tmp_path))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"Cannot write .*big.*File too large"):
            folder.publish("big", b"x" * 50_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert everything(tmp_path) == []


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Folder(str(tmp_path)).publish("a", b"new")
    assert everything(tmp_path) == []


def test_hidden_and_temporary_files_are_not_listed(tmp_path):
    for name in (".part.tmp", "_SUCCESS", "part-1.parquet"):
        (tmp_path / name).write_bytes(b"12")
    (tmp_path / "folder").mkdir()
    assert Folder(str(tmp_path)).files() == {"part-1.parquet": 2}


def test_the_memory_back_end_works_like_a_disk(memory):
    assert memory.files() == {}
    assert not memory.exists("lake.json")
    memory.publish("faces/a.parquet", b"one")
    memory.publish("faces/a.parquet", b"three")
    assert memory.child("faces").files() == {"a.parquet": 5}
    assert memory.read("faces/a.parquet") == b"three"
    assert memory.exists("faces/a.parquet")
    memory.child("faces").remove("a.parquet")
    memory.child("faces").remove("a.parquet")
    assert memory.child("faces").files() == {}


def test_messages_say_what_to_do(tmp_path):
    folder = Folder(str(tmp_path))
    with pytest.raises(StorageError, match=rf"Cannot read {tmp_path}/no: it does not exist; check"):
        folder.read("no")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"NotADirectoryError|FileExistsError"):
        folder.publish("file/a", b"")
    with pytest.raises(ConfigError, match="Cannot use nosuch://a"):
        filesystem("nosuch://a", {})


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EACCES, "Permission denied", "/a"), "permission denied; check the owner"),
        (OSError(errno.EROFS, "Read-only", "/a"), "read-only; choose another"),
        (OSError(errno.EDQUOT, "Quota", "/a"), "quota is used up"),
        (PermissionError("Access Denied"), "access was denied"),
        (OSError("An error occurred (403) when calling HeadObject"), "access was denied"),
        (PermissionError("The AWS Access Key Id ... InvalidAccessKeyId"), "were refused"),
        (OSError("NoSuchBucket: it is not there"), "the bucket does not exist"),
        (ConnectionRefusedError(111, "Connection refused"), "cannot be reached"),
        (ValueError("something else"), "ValueError: something else"),
        # names of files are no signs
        (OSError(errno.EIO, "I/O error", "/photos-403/Forbidden.jpg"), "OSError.*I/O error"),
        (OSError("object 14031 is damaged"), "OSError: object 14031"),
    ],
)
def test_what_back_ends_raise_becomes_a_hint(error, words):
    with pytest.raises(StorageError, match=words) as caught, storage_errors("read", "s3://b/a"):
        raise error
    assert str(caught.value).startswith("Cannot read s3://b/a: ")
    assert caught.value.__cause__ is error


def test_the_cause_of_a_cause_is_seen():
    def fail():
        try:
            raise ConnectionError("x")
        except ConnectionError as error:
            raise OSError("wrapped") from error

    with pytest.raises(StorageError, match="cannot be reached"), storage_errors("read", "s3://b"):
        fail()


def test_within_gives_the_answer_or_the_error():
    assert within(lambda: 7, "read", "s3://b", 5) == 7
    assert within(lambda: None, "read", "s3://b", 5) is None
    with pytest.raises(StorageError, match="it does not exist"):
        within(lambda: os.stat("/no/such/file"), "read", "s3://b", 5)


def test_within_gives_up_and_does_not_keep_the_program_from_ending():
    release = threading.Event()
    before = set(threading.enumerate())
    began = time.monotonic()
    with pytest.raises(StorageError, match=r"Cannot list s3://b: no answer within 0 s; check"):
        within(release.wait, "list", "s3://b", 0.05)
    assert time.monotonic() - began < 2
    left = set(threading.enumerate()) - before
    release.set()
    assert left
    assert all(thread.daemon for thread in left)


def test_parse_options():
    options = ["anon=true", "use_ssl=False", "retries=3", "endpoint_url=http://h:1/?a=b", "e="]
    assert parse_options(options) == {
        "anon": True,
        "use_ssl": False,
        "retries": 3,
        "endpoint_url": "http://h:1/?a=b",
        "e": "",
    }


def test_secrets_and_leading_zeros_stay_text():
    pairs = ["key=123", "secret=456", "token=7", "project=0012", "n=0"]
    assert parse_options(pairs) == {
        "key": "123",
        "secret": "456",
        "token": "7",
        "project": "0012",
        "n": 0,
    }


@pytest.mark.parametrize("pair", ["anon", "=true", ""])
def test_an_option_without_a_value_is_refused(pair):
    with pytest.raises(ConfigError, match="is not key=value"):
        parse_options([pair])


def test_printable():
    assert printable("/a/ünï 🎉#[1].jpg") == "/a/ünï 🎉#[1].jpg"
    assert printable(os.fsdecode(b"/a/\xff\xe9.jpg")) == "/a/%FF%E9.jpg"
    assert printable("\ud800x").encode()  # no byte's surrogate: shown somehow


def test_folders_are_absolute_and_travel_to_other_processes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in ("lake", "./lake/", "x/../lake", f"file://{tmp_path}/lake"):
        assert Folder(text).url == f"{tmp_path}/lake"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Folder("~/lake").url == f"{tmp_path}/lake"
    assert Folder("/").child("a").path() == "/a"
    assert Folder("s3://bucket/").url == "s3://bucket"
    folder = Folder("lake", {"anon": True})
    folder.publish("a", b"1")
    copy = pickle.loads(pickle.dumps(folder))
    assert copy == folder
    assert copy.read("a") == b"1"


def test_local_names_are_taken_literally(tmp_path):
    """`::` would be a chain of file systems, `#` and `?` parts of a URL."""
    for name in ("a::b.jpg", "zip::c", "a#b?c=d.jpg", "a%20b", "new\nline"):
        (tmp_path / name).write_bytes(name.encode())
        fs, path = filesystem(str(tmp_path / name), {"anything": 1})
        assert fs.cat_file(path) == name.encode()
        assert Folder(str(tmp_path)).read(name) == name.encode()


def test_s3_is_told_to_give_up():
    fs, path = filesystem("s3://bucket/a b", {"endpoint_url": "http://h", "anon": True})
    assert path == "bucket/a b"
    assert fs.config_kwargs["connect_timeout"] == 5
    assert fs.config_kwargs["retries"]["total_max_attempts"] == storage.S3_ATTEMPTS
