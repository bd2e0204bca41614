"""An archive and its lake agree: photos that move, change, vanish and come back."""

import os
import shutil

import fsspec
import pyarrow as pa
import pytest

from pipeline.errors import NoImagesError
from tests.support.builders import jpeg, planned, put, tar_bytes, zip_bytes

A, B, C, D, E = (jpeg(seed) for seed in range(5))


def later(path):
    """Let a file look as if it was written a second later."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def ids(archive):
    return {row["uri"].rsplit("/", 1)[-1]: row["image_id"] for row in archive.rows.to_pylist()}


def uris(archive, root):
    return sorted(os.path.relpath(uri, root) for uri in archive.rows["uri"].to_pylist())


@pytest.fixture
def root(tmp_path, archive):
    put(
        tmp_path, {"p/a.jpg": A, "p/in/b.jpg": B, "p/in/c.jpg": C, "p/t.tar": tar_bytes([("d", D)])}
    )
    assert len(archive.run(tmp_path / "p")[0]) == 4
    return tmp_path / "p"


def nothing_changes(archive, root):
    before = archive.rows
    rows, _ = archive.run(root)
    assert len(rows) == 0
    assert not archive.change.gone
    assert archive.rows.equals(before)


def test_a_second_run_compares_nothing(root, archive):
    for _ in range(2):
        rows, report = archive.run(root)
        assert (len(rows), report.already_in_lake) == (0, 4)
        assert not archive.change


@pytest.mark.parametrize("inputs", ["p", "."])
def test_a_folder_that_was_renamed(tmp_path, root, archive, inputs):
    before = ids(archive)
    (root / "in").rename(root / "out")
    rows, _ = archive.run(tmp_path / inputs)
    assert len(rows) == 0
    assert archive.change.moved == 2
    assert ids(archive) == before
    assert uris(archive, root) == ["a.jpg", "out/b.jpg", "out/c.jpg", "t.tar#d"]
    nothing_changes(archive, root)


def test_the_whole_archive_moved_and_is_given_by_its_new_name_alone(tmp_path, root, archive):
    before = ids(archive)
    rows, _ = archive.run(root.rename(tmp_path / "q"))
    assert (len(rows), archive.change.moved) == (0, 4)
    assert ids(archive) == before
    assert uris(archive, tmp_path / "q") == ["a.jpg", "in/b.jpg", "in/c.jpg", "t.tar#d"]
    nothing_changes(archive, tmp_path / "q")


def test_what_a_renamed_archive_lost_is_gone(tmp_path, root, archive):
    before = ids(archive)
    new = root.rename(tmp_path / "q")
    (new / "a.jpg").unlink()
    put(tmp_path, {"beside": "the disk is there"})
    rows, _ = archive.run(new)
    assert (len(rows), archive.change.moved) == (0, 3)
    assert archive.change.gone == {before["a.jpg"]}


def test_what_was_copied_from_a_disk_that_is_not_mounted(tmp_path, archive):
    put(tmp_path, {"disk/p/a.jpg": A, "disk/p/b.jpg": B})
    archive.run(tmp_path / "disk")
    put(tmp_path, {"home/a.jpg": A})
    shutil.rmtree(tmp_path / "disk" / "p")
    archive.run(tmp_path / "home")
    assert archive.change.moved == 1
    assert not archive.change.gone


def test_what_moved_is_not_said_to_be_read(root, archive):
    (root / "in").rename(root / "out")
    (root / "t.tar").rename(root / "u.tar")
    put(root, {"new.jpg": E})
    before, shards = archive.ledger, dict(archive.shards)
    archive.run(root)
    listed = planned(root, ledger=before, shards=shards)
    archive.change.take_from(listed)
    assert [unit.names for unit in listed.units] == [("new.jpg",)]
    assert listed.already_in_lake == 4


def test_a_copy_elsewhere_is_a_photo_of_its_own(tmp_path, root, archive):
    shutil.copytree(root, tmp_path / "q")
    assert len(archive.run(tmp_path / "q")[0]) == 4
    assert len(set(archive.rows["image_id"].to_pylist())) == 8
    nothing_changes(archive, root)


def test_photos_that_are_gone_leave_and_come_back(root, archive):
    before = ids(archive)
    (root / "in" / "b.jpg").unlink()
    archive.run(root)
    assert archive.change.gone == {before["b.jpg"]}
    assert uris(archive, root) == ["a.jpg", "in/c.jpg", "t.tar#d"]
    nothing_changes(archive, root)
    put(root, {"elsewhere/other.jpg": B})
    rows, _ = archive.run(root)
    assert len(rows) == 0
    assert ids(archive)["other.jpg"] == before["b.jpg"]
    assert len(archive.gone) == 0


def test_another_photo_at_the_place_of_one_that_is_gone(root, archive):
    before = ids(archive)["a.jpg"]
    (root / "a.jpg").unlink()
    archive.run(root)
    put(root, {"a.jpg": E})
    rows, _ = archive.run(root)
    assert len(rows) == 1
    assert ids(archive)["a.jpg"] != before
    assert archive.gone["image_id"].to_pylist() == [before]


@pytest.mark.parametrize("size", ["same", "other"])
def test_a_file_edited_in_place_is_read_again(root, archive, size):
    before = ids(archive)
    data = bytearray(A)
    data[-3] ^= 1
    put(root, {"a.jpg": bytes(data) + b"x" * (size == "other")})
    later(root / "a.jpg")
    rows, _ = archive.run(root)
    assert rows["image_id"].to_pylist() == [before["a.jpg"]]
    assert len(archive.rows) == 4
    nothing_changes(archive, root)


def test_rows_of_an_earlier_version_learn_the_versions_of_their_files(root, archive):
    nothing = pa.nulls(len(archive.rows), pa.string())
    at = archive.rows.schema.get_field_index("file_version")
    archive.rows = archive.rows.set_column(at, "file_version", nothing)
    rows, _ = archive.run(root)
    assert len(rows) == archive.change.moved == 0
    loose = [r for r in archive.rows.to_pylist() if r["uri"].endswith(".jpg")]
    assert all(row["file_version"] for row in loose)
    later(root / "a.jpg")
    put(root, {"a.jpg": A[:-1] + b"x"})
    rows, _ = archive.run(root)
    assert len(rows) == 1


def test_a_file_with_another_time_alone_is_not_read_again(root, archive):
    for _ in range(2):
        later(root / "a.jpg")
        rows, _ = archive.run(root)
        assert len(rows) == archive.change.moved == 0
        assert not archive.change.gone
    assert len(archive.rows) == 4


def test_a_file_that_was_read_while_it_was_copied(tmp_path, archive):
    put(tmp_path, {"p/a.jpg": A[:100], "p/b.jpg": b""})
    assert len(archive.run(tmp_path / "p")[0]) == 2
    put(tmp_path, {"p/a.jpg": A, "p/b.jpg": B})
    rows, _ = archive.run(tmp_path / "p")
    assert rows["data"].to_pylist() == [A, B]
    assert len(archive.rows) == 2


def test_a_changed_file_that_cannot_be_read_keeps_its_row(root, archive, monkeypatch):
    import pipeline.sources.files as files

    put(root, {"a.jpg": E})
    later(root / "a.jpg")
    before = archive.rows

    def broken(*_):
        raise OSError("the disk is broken")

    monkeypatch.setattr(files, "fetch", broken)
    rows, report = archive.run(root)
    assert len(rows) == 0
    assert report.skipped["changed, and cannot be read now"] == 1
    assert archive.rows.equals(before)


def test_names_that_were_exchanged_or_numbered_anew(root, archive):
    before = ids(archive)
    (root / "a.jpg").rename(root / "x")
    (root / "in" / "b.jpg").rename(root / "a.jpg")
    (root / "in" / "c.jpg").rename(root / "in" / "b.jpg")
    (root / "x").rename(root / "in" / "c.jpg")
    rows, _ = archive.run(root)
    assert len(rows) == 0
    after = {row["sha256"]: row["image_id"] for row in archive.rows.to_pylist()}
    assert [ids(archive)[name] for name in ("a.jpg", "b.jpg", "c.jpg")] == [
        before["b.jpg"], before["c.jpg"], before["a.jpg"],
    ]  # fmt: skip
    assert len(after) == 4
    nothing_changes(archive, root)


def test_copies_keep_their_names_apart(root, archive):
    put(root, {"in/two.jpg": A})
    archive.run(root)
    before = ids(archive)
    (root / "a.jpg").rename(root / "in" / "a.jpg")
    (root / "in" / "two.jpg").rename(root / "two.jpg")
    rows, _ = archive.run(root)
    assert len(rows) == 0
    assert ids(archive) == before


@pytest.mark.parametrize("pack", [tar_bytes, zip_bytes])
def test_archives_that_are_renamed_packed_anew_or_lose_members(tmp_path, archive, pack):
    ending = "tar" if pack is tar_bytes else "zip"
    put(tmp_path, {f"p/one.{ending}": pack([("a.jpg", A), ("b.jpg", B), ("c.jpg", C)])})
    archive.run(tmp_path / "p")
    before = {row["sha256"]: row["image_id"] for row in archive.rows.to_pylist()}
    (tmp_path / f"p/one.{ending}").rename(tmp_path / f"p/two.{ending}")
    rows, _ = archive.run(tmp_path / "p")
    assert (len(rows), archive.change.moved) == (0, 3)
    assert archive.shards[f"{tmp_path}/p/two.{ending}"][1] == 3
    nothing_changes(archive, tmp_path / "p")
    put(tmp_path, {f"p/two.{ending}": pack([("b.jpg", B), ("z.jpg", A), ("e.jpg", E)])})
    rows, _ = archive.run(tmp_path / "p")
    assert rows["data"].to_pylist() == [E]
    after = {row["sha256"]: row["image_id"] for row in archive.rows.to_pylist()}
    assert len(archive.change.gone) == 1
    assert all(before[sha] == image for sha, image in after.items() if sha in before)
    (tmp_path / f"p/two.{ending}").unlink()
    put(tmp_path, {"p/a.jpg": A, "p/b.jpg": B, "p/e.jpg": E})
    rows, _ = archive.run(tmp_path / "p")
    assert (len(rows), archive.change.moved) == (0, 3)


def test_a_damaged_archive_loses_nothing(tmp_path, archive):
    whole = tar_bytes([("a.jpg", A), ("b.jpg", B), ("c.jpg", C)])
    put(tmp_path, {"p/one.tar": whole, "p/x.jpg": D})
    archive.run(tmp_path / "p")
    put(tmp_path, {"p/one.tar": whole[:1000]})
    later(tmp_path / "p" / "one.tar")
    archive.run(tmp_path / "p")
    assert not archive.change.gone


def test_one_photo_has_one_row_whatever_path_reached_it(tmp_path, archive):
    put(tmp_path, {"arch/2020/a.jpg": A, "arch/2021/b.jpg": B, "arch/c.zip": zip_bytes([("c", C)])})
    (tmp_path / "link").symlink_to(tmp_path / "arch")
    names = [f"{tmp_path}/arch/2020/a.jpg", f"{tmp_path}/link/2021/b.jpg"]
    put(tmp_path, {"list.txt": "\n".join(names), "rel.txt": "arch/2020/a.jpg\n./arch/c.zip"})
    archive.run(tmp_path / "arch")
    for inputs in (["arch/2020"], ["list.txt"], ["rel.txt"], ["."], ["link"], ["arch/2021/b.jpg"],
                   ["arch/*/*.jpg"], ["link/c.zip", "arch"]):  # fmt: skip
        rows, _ = archive.run(*(tmp_path / one for one in inputs))
        assert len(rows) == 0, inputs
        assert len(archive.rows) == 3
    fresh = type(archive)()
    for inputs in ("rel.txt", "link/2021", "arch/2020", "arch"):
        fresh.run(tmp_path / inputs)
    assert len(fresh.rows) == len(set(fresh.rows["image_id"].to_pylist())) == 3


def test_an_input_that_is_empty_or_cannot_be_listed_marks_nothing(tmp_path, archive):
    put(tmp_path, {"p/a.jpg": A, "p/usb/b.jpg": B, "p/usb/c.jpg": C, "q/d.jpg": D})
    archive.run(tmp_path / "p", tmp_path / "q")
    for name in ("b.jpg", "c.jpg"):
        (tmp_path / "p" / "usb" / name).unlink()
    archive.run(tmp_path / "p")
    assert not archive.change.gone
    assert "usb is empty; is its disk mounted? Its 2 photos" in archive.change.notices[0]
    (tmp_path / "p" / "a.jpg").unlink()
    archive.run(tmp_path / "p", tmp_path / "q")
    assert not archive.change.gone
    assert "p is empty; is its disk mounted? Its 3 photos" in archive.change.notices[0]
    with pytest.raises(NoImagesError):
        archive.run(tmp_path / "p")
    put(tmp_path, {"p/e.jpg": E})
    (tmp_path / "p" / "usb").rmdir()
    archive.run(tmp_path / "p")
    assert len(archive.change.gone) == 3


def test_a_folder_that_cannot_be_listed(root, archive, monkeypatch):
    real = os.scandir

    def scandir(path):
        if str(path).endswith("/in"):
            raise PermissionError(13, "no")
        return real(path)

    (root / "a.jpg").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        archive.run(root)
    assert not archive.change.gone
    assert "could not be listed whole" in archive.change.notices[0]
    archive.run(root)
    assert len(archive.change.gone) == 1


def test_globs_and_lists_cover_what_they_name(tmp_path, root, archive):
    before = ids(archive)
    put(root, {"keep.png": E})
    archive.run(root)
    (root / "a.jpg").unlink()
    (root / "keep.png").unlink()
    put(root, {"z.jpg": jpeg(9)})
    archive.run(f"{root}/*.jpg")
    assert archive.change.gone == {before["a.jpg"]}
    put(tmp_path, {"l.txt": f"{root}/in/b.jpg\n{root}/in/c.jpg\n{root}/no.jpg"})
    (root / "in" / "b.jpg").unlink()
    rows, _ = archive.run(tmp_path / "l.txt")
    assert archive.change.gone == {before["b.jpg"]}
    assert rows["error"].to_pylist() == ["unreadable"]


def test_what_no_input_covers_stays(root, archive):
    shutil.rmtree(root / "in")
    put(root, {"new.jpg": E})
    archive.run(root / "new.jpg")
    assert not archive.change
    assert len(archive.rows) == 5


def test_the_memory_back_end(archive):
    fs = fsspec.filesystem("memory")
    fs.pipe({"/move/p/a.jpg": A, "/move/p/b.jpg": B, "/move/p/c.jpg": C})
    try:
        archive.run("memory://move/p")
        before = ids(archive)
        fs.mv("/move/p/a.jpg", "/move/p/in/a.jpg")
        fs.rm("/move/p/b.jpg")
        fs.pipe("/move/p/c.jpg", D)
        rows, _ = archive.run("memory://move")
        assert rows["image_id"].to_pylist() == [before["c.jpg"]]
        assert archive.change.gone == {before["b.jpg"]}
        assert ids(archive)["a.jpg"] == before["a.jpg"]
    finally:
        fs.rm("/move", recursive=True)
