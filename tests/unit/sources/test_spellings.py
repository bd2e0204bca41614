"""Names in composed (NFC) and decomposed (NFD) Unicode: two spellings of one place."""

import os
import unicodedata

import pytest

from pipeline.sources.originals import Originals
from tests.support.builders import jpeg, put, tar_bytes, zip_bytes

A, B = jpeg(1), jpeg(2)
NFC, NFD = "é ü/José.jpg", unicodedata.normalize("NFD", "é ü/José.jpg")


def renormalised(root, form):
    """Rename everything below a folder, as a copy by another system does."""
    for folder, folders, files in os.walk(root, topdown=False):
        for name in (*files, *folders):
            os.rename(f"{folder}/{name}", f"{folder}/{unicodedata.normalize(form, name)}")


@pytest.mark.parametrize(("first", "second"), [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("moved", [False, True])
def test_a_copy_with_the_other_form_is_the_same_photo(tmp_path, archive, first, second, moved):
    names = [NFC, "plain.jpg", "Zoë.tar", "Ö.zip"]
    contents = [A, B, tar_bytes([("å.jpg", jpeg(3))]), zip_bytes([("å.jpg", jpeg(4))])]
    put(tmp_path, {f"p/{name}": data for name, data in zip(names, contents, strict=True)})
    renormalised(tmp_path / "p", first)
    assert len(archive.run(tmp_path / "p")[0]) == 4
    root = tmp_path / "p"
    if moved:
        root = root.rename(tmp_path / "q")
    renormalised(root, second)
    for _ in range(2):
        rows, report = archive.run(root)
        assert len(rows) == 0
        assert report.already_in_lake == 4


@pytest.mark.parametrize("pack", [tar_bytes, zip_bytes])
def test_members_of_an_archive_packed_anew_are_the_same(tmp_path, archive, pack):
    put(tmp_path, {"p/a.tar" if pack is tar_bytes else "p/a.zip": pack([(NFC, A)])})
    assert len(archive.run(tmp_path / "p")[0]) == 1
    put(tmp_path, {"p/a.tar" if pack is tar_bytes else "p/a.zip": pack([(NFD, A), ("é.jpg", B)])})
    rows, report = archive.run(tmp_path / "p")
    assert rows["data"].to_pylist() == [B]
    assert report.already_in_lake == 1


def test_both_forms_in_one_folder_are_two_photos(tmp_path, archive):
    put(tmp_path, {f"p/{NFC}": A})
    assert len(archive.run(tmp_path / "p")[0]) == 1
    put(tmp_path, {f"p/{NFD}": A})
    if os.path.samefile(tmp_path / "p" / NFC, tmp_path / "p" / NFD):
        pytest.skip("this file system knows no spellings")
    assert len(archive.run(tmp_path / "p")[0]) == 1
    assert len(archive.run(tmp_path / "p")[0]) == 0
    assert len(set(archive.rows["image_id"].to_pylist())) == 2


def test_other_bytes_under_the_other_form_elsewhere_are_another_photo(tmp_path, archive):
    put(tmp_path, {f"p/{NFC}": A, f"q/{NFD}": B})
    assert len(archive.run(tmp_path / "p")[0]) == 1
    assert len(archive.run(tmp_path / "q")[0]) == 1
    assert len(archive.run(tmp_path / "q")[0]) == 0


def test_originals_are_found_under_the_other_form(tmp_path, archive):
    put(tmp_path, {f"p/{NFC}": A, "p/Ö.zip": zip_bytes([("å.jpg", B)])})
    rows = archive.run(tmp_path / "p")[0].select(["uri", "shard", "sha256"]).to_pylist()
    renormalised(tmp_path / "p", "NFD")
    put(tmp_path, {unicodedata.normalize("NFD", "p/Ö.zip"): zip_bytes([("a\u030a.jpg", B)])})
    with Originals() as originals:
        assert [originals.read(row) for row in rows] == [A, B]
        assert [error for _, _, error in originals.try_jpegs(rows, 64)] == ["", ""]
