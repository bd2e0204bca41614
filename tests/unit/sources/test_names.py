"""Names that do not tell what a file is, and archives that are not opened."""

import os

import fsspec
import pyarrow as pa
import pytest

from pipeline.errors import ConfigError, NoImagesError
from pipeline.sources.walk import is_unopened_archive, unopened_text
from tests.support.builders import jpeg, planned, put, read_all, tar_bytes, zip_bytes

A, B = jpeg(1), jpeg(2)
STRANGE = ["photo.jpg_large", "photo.jpg.1", "Dr. Smith", "IMG_1.JPG~", "x.bin", "café.été"]
NONE = {
    "data.bin2": b"\0" * 100,
    "text.weird": b"hello",
    "empty.odd": b"",
    "a.unknownextension": b"?",
}
COUNTED = {
    "not an image (.bin2)": 1,
    "not an image (.weird)": 1,
    "not an image (.odd)": 1,
    "not an image": 1,
}


def names_of(rows):
    return sorted(uri.rsplit("/", 1)[-1].rsplit("#", 1)[-1] for uri in rows["uri"].to_pylist())


@pytest.mark.parametrize("how", ["folder", "glob", "list"])
def test_first_bytes_decide_on_a_disk(tmp_path, how):
    put(tmp_path, {f"p/{name}": A for name in STRANGE} | {f"p/{n}": d for n, d in NONE.items()})
    put(tmp_path, {"p/film.mp4": A})  # known to be none: not looked into
    names = [*STRANGE, *NONE]
    (tmp_path / "all.txt").write_text("".join(f"p/{name}\n" for name in names))
    given = {"folder": "p", "glob": "p/*", "list": "all.txt"}[how]
    plan = planned(tmp_path / given)
    rows, report = read_all(plan)
    assert names_of(rows) == sorted(STRANGE)
    assert {row["error"] for row in rows.to_pylist()} == {None}
    found = plan.skipped + report.skipped
    assert found == COUNTED | ({} if how == "list" else {"not an image (.mp4)": 1})


@pytest.mark.parametrize("pack", [tar_bytes, zip_bytes])
def test_first_bytes_decide_in_archives(tmp_path, pack):
    members = [(name, A) for name in STRANGE] + list(NONE.items())
    put(tmp_path, {"a.tar" if pack is tar_bytes else "a.zip": pack(members)})
    rows, report = read_all(planned(tmp_path))
    assert names_of(rows) == sorted(STRANGE)
    assert report.skipped == COUNTED


def test_first_bytes_decide_on_remote_storage():
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    for name in STRANGE:
        fs.pipe_file(f"/bucket/{name}", A)
    for name, data in NONE.items():
        fs.pipe_file(f"/bucket/{name}", data)
    fs.pipe_file("/bucket/huge.blob", b"\0" * 10**6)
    rows, report = read_all(planned("memory://bucket"))
    assert names_of(rows) == sorted(STRANGE)
    assert report.skipped == COUNTED | {"not an image (.blob)": 1}


def test_a_folder_in_a_list_may_have_a_dot(tmp_path):
    put(tmp_path, {"Dr. Smith/a.jpg": A, "list.txt": "Dr. Smith\n"})
    assert names_of(read_all(planned(tmp_path / "list.txt"))[0]) == ["a.jpg"]


def test_a_file_that_is_named_must_be_an_image(tmp_path):
    put(tmp_path, {"photo.jpg_large": A, "text.weird": "hello"})
    assert planned(tmp_path / "photo.jpg_large").images == 1
    with pytest.raises(ConfigError, match="not an image"):
        planned(tmp_path / "text.weird")


def test_a_second_run_adds_nothing(tmp_path, archive):
    put(tmp_path, {f"p/{name}": A for name in STRANGE} | {"p/a.tar": tar_bytes([("x.jpg_1", B)])})
    assert len(archive.run(tmp_path / "p")[0]) == len(STRANGE) + 1
    assert len(archive.run(tmp_path / "p")[0]) == 0


@pytest.mark.parametrize(
    "name", ["a.7z", "b.rar", "c.CBR", "d.tar.Z", "e.zip.001", "f.iso", "g.r00"]
)
def test_names_of_archives_that_are_not_opened(name):
    assert is_unopened_archive(name)


@pytest.mark.parametrize("name", ["a.zip", "b.tar.zst", "c.jpg", "photo.001", "7z", "rar.jpg"])
def test_names_of_what_is_something_else(name):
    assert not is_unopened_archive(name)


def test_archives_that_are_not_opened_are_told_like_damage(tmp_path):
    put(
        tmp_path,
        {"a.jpg": A, "b.7z": b"7z\xbc\xaf\x27\x1c", "in/c.rar": b"Rar!", "d.old": b"Rar!\x1a\x07"},
    )
    plan = planned(tmp_path)
    assert plan.skipped == {"archive that cannot be opened": 3}
    (told,) = plan.damage
    assert told.startswith("3 archives were not opened")
    assert all(name in told for name in ("b.7z", "in/c.rar", "d.old"))
    os.unlink(tmp_path / "a.jpg")
    with pytest.raises(NoImagesError, match=r"b\.7z"):
        planned(tmp_path)


@pytest.mark.parametrize("pack", [tar_bytes, zip_bytes])
def test_archives_inside_archives_too(tmp_path, pack):
    members = [("a.jpg", A), ("in.zip", b""), ("b.7z", b""), ("c.old", b"7z\xbc\xaf\x27\x1c")]
    put(tmp_path, {"a.tar" if pack is tar_bytes else "a.zip": pack(members)})
    _, report = read_all(planned(tmp_path))
    assert report.damage == [unopened_text(["in.zip", "b.7z", "c.old"])]


@pytest.mark.parametrize(("ending", "codec"), [("zst", "zstd"), ("lz4", "lz4")])
def test_tars_packed_by_zstandard_and_lz4_are_read(tmp_path, ending, codec):
    plain = tar_bytes([(f"{i}.jpg", jpeg(i, 200, 200)) for i in range(30)])
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, codec) as packer:
        packer.write(plain)
    packed = out.getvalue().to_pybytes()
    put(tmp_path, {f"p/a.tar.{ending}": packed, f"q/b.tar.{ending}": packed[: len(packed) // 2]})
    rows, report = read_all(planned(tmp_path / "p"))
    assert (len(rows), report.damage) == (30, [])
    rows, report = read_all(planned(tmp_path / "q"))
    assert len(rows) < 30
    assert report.damage
