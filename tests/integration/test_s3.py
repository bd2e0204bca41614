"""The main job on a real S3-compatible server."""

import io
import tarfile
import time
from pathlib import Path

import fsspec
import pytest

from pipeline.commands.main import main
from pipeline.errors import EXIT_UNSOUND, StorageError
from tests.support.indexing import EXAMPLES, assert_same_tables, index, tables
from tests.support.weed import free_port

pytestmark = pytest.mark.s3
NAMES = ["obama-2012-closeup.jpg", "collins-nasa-portrait.png", "cat-no-face.png"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    with tarfile.open(folder / "a.tar", "w") as archive:
        for name in NAMES[:2]:
            archive.add(EXAMPLES / name, arcname=name)
        data = b"\xff\xd8 not a picture"
        info = tarfile.TarInfo("broken.jpg")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    (folder / "loose #1").mkdir()
    (folder / "loose #1" / "çà.png").write_bytes((EXAMPLES / NAMES[2]).read_bytes())
    return folder


def test_tables_equal_the_local_ones(cluster, s3, shards, tmp_path) -> None:
    remote = fsspec.filesystem("s3", **s3.settings)
    remote.put(str(shards), "photos/archive", recursive=True)
    source, lake = "s3://photos/archive", "s3://photos/lake"
    assert index(shards, "--output", tmp_path / "lake") == 0
    assert index(source, "--output", lake, *s3.options) == 0
    local = tables(tmp_path / "lake")
    assert len(local[0]) == 4
    assert_same_tables(tables(lake, s3.settings), local)
    uris = sorted(fsspec_uris(lake, s3.settings))
    assert uris == [
        "s3://photos/archive/a.tar#broken.jpg",
        "s3://photos/archive/a.tar#collins-nasa-portrait.png",
        "s3://photos/archive/a.tar#obama-2012-closeup.jpg",
        "s3://photos/archive/loose #1/çà.png",
    ]
    before = remote.find("photos/lake/images")
    assert index(source, "--output", lake, *s3.options) == 0
    assert index("s3://photos/archive/*.tar", "--output", lake, *s3.options) == 0
    assert remote.find("photos/lake/images") == before


def fsspec_uris(lake: str, options: dict) -> list[str]:
    from pipeline.lake.store import LakeStore

    return LakeStore(lake, options).read("images", ["uri"])["uri"].to_pylist()


def test_doctor_tells_what_may_be_done(s3, capsys) -> None:
    address = "s3://photos/nothing-yet"
    assert main(["doctor", address, *s3.options]) == 0
    assert main(["doctor", address, *s3.options[:-1], "secret=wrong"]) == EXIT_UNSOUND
    assert "the credentials were refused" in " ".join(capsys.readouterr().out.split())
    names = fsspec.filesystem("s3", **s3.settings).find("photos")
    assert not [name for name in names if ".facelake-doctor" in name]


@pytest.mark.parametrize("case", ["unreachable", "wrong key", "no bucket"])
def test_bad_storage_is_told_in_one_message_within_15_s(case, s3, tmp_path, capsys) -> None:
    options = s3.options
    source = "s3://photos/archive"
    if case == "unreachable":
        options = ["--storage-option", f"endpoint_url=http://127.0.0.1:{free_port()}",
                   "--storage-option", "key=a", "--storage-option", "secret=b"]  # fmt: skip
    elif case == "wrong key":
        options = [*options[:-1], "secret=wrong"]
    else:
        source = "s3://nowhere/archive"
    began = time.monotonic()
    code = main(
        ["index", source, "--output", str(tmp_path / "lake"), "--embedder", "sface", *options]
    )
    assert time.monotonic() - began < 15
    assert code == StorageError.exit_code
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert source in message
    assert not (tmp_path / "lake").exists()
