import io
import struct
import tarfile
import zipfile
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config import ReadConfig
from pipeline.errors import ErrorCode
from pipeline.sources.identity import Keys
from pipeline.sources.members import NOTICES, Report, is_unsafe, shown
from pipeline.sources.parquet import parquet_members
from pipeline.sources.tars import tar_members
from pipeline.sources.walk import unopened_text
from pipeline.sources.zips import zip_members
from tests.support.builders import (
    jpeg,
    parquet_bytes,
    planned,
    put,
    read_all,
    tar_bytes,
    tar_entry,
    zip_bytes,
)

MEMBERS = [(f"{i:03}.jpg", jpeg(i)) for i in range(4)]


def everything(key):
    return True


def tar_of(data, max_bytes=1 << 20, wanted=everything):
    report = Report()
    return list(tar_members(io.BytesIO(data), wanted, max_bytes, report)), report


def zip_of(data, max_bytes=1 << 20, wanted=everything):
    report = Report()
    return list(zip_members(io.BytesIO(data), wanted, max_bytes, report)), report


def parquet_of(data, columns=("image", None), max_bytes=1 << 20):
    report, config = Report(), ReadConfig(max_bytes, *columns)
    return list(parquet_members(io.BytesIO(data), everything, config, report)), report


def codes(members):
    return {m.key: m.error for m in members}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_plain_and_compressed(mode):
    found, report = tar_of(tar_bytes(MEMBERS, mode))
    assert [(m.key, m.data) for m in found] == MEMBERS
    assert [m.size for m in found] == [len(data) for _, data in MEMBERS]
    assert report == Report()


def test_a_tar_cut_anywhere_keeps_every_image_before_and_tells():
    whole = tar_bytes(MEMBERS)
    ends, at = [], 0
    for _, data in MEMBERS:
        ends.append(at + 512 + len(data))
        at += 512 + -(-len(data) // 512) * 512
    end_mark = at
    cuts = [*range(0, end_mark, 512), *range(1, end_mark, 97), *ends, *(e - 1 for e in ends)]
    for cut in sorted(set(cuts)):
        found, report = tar_of(whole[:cut])
        good = [(m.key, m.data) for m in found if m.error is None]
        assert good == MEMBERS[: sum(end <= cut for end in ends)], cut
        bad = [m for m in found if m.error]
        assert len(bad) <= 1, cut
        assert all(m.error is ErrorCode.TRUNCATED and m.data is None for m in bad), cut
        assert len(report.damage) == 1, cut


def test_a_tar_with_all_its_images_and_one_block_of_its_end_mark_is_whole():
    whole = tar_bytes(MEMBERS)
    content = len(whole.rstrip(b"\0"))
    end_mark = -(-content // 512) * 512
    for cut in (end_mark + 512, end_mark + 1024, len(whole)):
        found, report = tar_of(whole[:cut])
        assert (len(found), report.damage) == (4, [])


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_compressed_tar_that_is_cut_keeps_what_can_be_unpacked(mode):
    members = [(f"{i}.jpg", np.random.default_rng(i).bytes(300_000)) for i in range(4)]
    whole = tar_bytes(members, mode)
    for cut in (3, 100, len(whole) // 2, len(whole) - 2000):
        found, report = tar_of(whole[:cut])
        good = [(m.key, m.data) for m in found if m.error is None]
        assert good == members[: len(good)]
        assert len(report.damage) == 1, cut
    assert len(good) == 3 or mode == "w:bz2"


def test_a_damaged_header_is_told():
    whole = bytearray(tar_bytes(MEMBERS))
    second = 512 + -(-len(MEMBERS[0][1]) // 512) * 512
    whole[second + 20] ^= 0xFF
    found, report = tar_of(bytes(whole))
    assert [m.key for m in found] == ["000.jpg"]
    assert "damaged header, after 1 images" in report.damage[0]


def test_joined_tars_are_told():
    found, report = tar_of(tar_bytes(MEMBERS[:1]) + tar_bytes(MEMBERS[1:]))
    assert len(found) == 1
    assert "more data follows the end" in report.damage[0]


def test_no_tar_at_all():
    for data in (b"", b"text" * 500, jpeg(), b"\x1f\x8b rubbish" * 100):
        found, report = tar_of(data)
        assert found == []
        assert len(report.damage) == 1
    assert tar_of(tar_bytes([])) == ([], Report())


def test_hostile_members_are_rows_and_are_never_followed(tmp_path):
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(jpeg(99))
    good = jpeg()
    found, report = tar_of(
        tar_bytes(
            [
                ("../up.jpg", good),
                ("a/../../up.jpg", good),
                ("/abs.jpg", good),
                ("C:\\win.jpg", good),
                ("..\\win.jpg", good),
                (tar_entry("sym.jpg", tarfile.SYMTYPE, str(secret)), None),
                (tar_entry("hard.jpg", tarfile.LNKTYPE, str(secret)), None),
                (tar_entry("fifo.jpg", tarfile.FIFOTYPE), None),
                (tar_entry("char.jpg", tarfile.CHRTYPE), None),
                (tar_entry("block.jpg", tarfile.BLKTYPE), None),
                (tar_entry("folder.jpg", tarfile.DIRTYPE), None),
                ("a..dots..jpg", good),
                ("good.jpg", good),
            ]
        )
    )
    assert len(found) == 12
    bad = [m for m in found if m.error]
    assert {m.error for m in bad} == {ErrorCode.UNSAFE_MEMBER}
    assert len(bad) == 10
    assert all(m.data is None and "was not followed" in m.detail for m in bad)
    assert [m.key for m in found if m.data == good] == ["a..dots..jpg", "good.jpg"]
    assert report.damage == []


@pytest.mark.parametrize(
    ("name", "unsafe"),
    [
        ("a.jpg", False), ("a/b.jpg", False), ("./a.jpg", False), ("..a/b.jpg", False),
        ("a..jpg", False), ("..", True), ("a/..", True), ("/a", True), ("\\a", True),
        ("a\\..\\b", True), ("c:/a", True), ("C:\\a", True), ("ab:/c", False),
    ],
)  # fmt: skip
def test_is_unsafe(name, unsafe):
    assert is_unsafe(name) is unsafe


@pytest.mark.parametrize("read", [tar_of, zip_of])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_of_one_name_are_all_kept(read):
    pack = tar_bytes if read is tar_of else zip_bytes
    same = [("a.jpg", jpeg(i)) for i in range(3)]
    found, report = read(pack([same[0], ("a.jpg@2", jpeg(7)), *same[1:], ("b.jpg", jpeg(9))]))
    keys = [m.key for m in found]
    assert len(set(keys)) == len(keys)
    assert {"a.jpg", "a.jpg@2", "a.jpg@3", "a.jpg@4", "b.jpg"} == set(keys)
    assert [m.data for m in found if m.key.startswith("a")][-2:] == [d for _, d in same[1:]]
    assert "2 names occur more than once" in report.notices[0]


def test_keys_are_unique_whatever_the_names():
    keys = Keys()
    names = ["a", "a", "a@2", "a", "a@2", "a@2@2", "b"]
    given = [keys.key(n) for n in names]
    assert given[:2] == ["a", "a@2"]
    assert len(set(given)) == len(names) == len(keys)


@pytest.mark.parametrize("read", [tar_of, zip_of])
def test_what_is_no_image_is_counted(read):
    pack = tar_bytes if read is tar_of else zip_bytes
    data = jpeg()
    found, report = read(
        pack(
            [
                ("1.jpg", data), ("1.json", b"{}"), ("2.json", b"{}"), ("__MACOSX/._1.jpg", data),
                ("a/.hid/1.jpg", data), (".x.jpg", data), ("in.tar", b""), ("in.zip", b""),
                ("t.parquet", b""), ("@eaDir/2.jpg", data), ("raw.nef", data),
            ]
        )
    )  # fmt: skip
    assert [m.key for m in found] == ["1.jpg", "raw.nef"]
    assert report.skipped == {
        "not an image (.json)": 2,
        "__MACOSX folder": 1,
        "hidden folder": 1,
        "hidden file": 1,
        "archive inside an archive": 3,
        "@eaDir folder": 1,
    }
    assert report.unopened == ["in.tar", "in.zip", "t.parquet"]


def test_a_flood_of_notices_is_cut():
    _, report = tar_of(tar_bytes([(f"{i}.jpg", b"") for i in range(3)] + [("i.zip", b"")] * 50))
    for i in range(NOTICES + 30):
        report.note(str(i))
    assert len(report.notices) == NOTICES
    assert report.skipped == Counter({"archive inside an archive": 50})
    assert len(unopened_text(report.unopened)) < 300


@pytest.mark.parametrize("read", [tar_of, zip_of])
def test_too_many_bytes_and_what_is_not_wanted(read):
    pack = tar_bytes if read is tar_of else zip_bytes
    big = ("big.jpg", b"x" * 5000)
    found, report = read(pack([MEMBERS[0], big, MEMBERS[1]]), max_bytes=4999)
    assert codes(found) == {"000.jpg": None, "big.jpg": ErrorCode.TOO_LARGE, "001.jpg": None}
    assert (found[1].data, found[1].size) == (None, 5000)
    found, report = read(pack([MEMBERS[0], big]), wanted=lambda key: key != "000.jpg")
    assert [m.key for m in found] == ["big.jpg"]
    assert report.damage == []


def test_zip_methods_and_folders():
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        found, report = zip_of(zip_bytes([("folder/", b""), *MEMBERS], method))
        assert [(m.key, m.data) for m in found] == MEMBERS
        assert report == Report()


def test_a_zip_that_is_cut_or_none():
    whole = zip_bytes(MEMBERS)
    for data in (b"", b"rubbish" * 99, whole[: len(whole) // 2], whole[:-5]):
        found, report = zip_of(data)
        assert found == []
        assert len(report.damage) == 1


def test_a_zip_whose_directory_lost_members_is_told():
    whole = zip_bytes(MEMBERS)
    end = whole.rindex(b"PK\5\6")
    directory = whole.index(b"PK\1\2")
    one = (end - directory) // 4
    record = bytearray(whole[end:])
    record[12:16] = struct.pack("<I", one)
    found, report = zip_of(whole[: directory + one] + bytes(record))
    assert len(found) == 1
    assert "promises 4 members and names 1" in report.damage[0]
    commented = io.BytesIO(whole)
    with zipfile.ZipFile(commented, "a") as archive:
        archive.comment = b"made by a camera"
    assert zip_of(commented.getvalue())[1] == Report()


def patched(data, offset, value, after=b"PK\x01\x02"):
    """Overwrite a 16 or 32 bit field of the first entry of the central directory."""
    at = data.index(after) + offset
    return data[:at] + value + data[at + len(value) :]


def test_a_locked_member_is_encrypted():
    locked = patched(zip_bytes(MEMBERS), 8, struct.pack("<H", 1))
    assert codes(zip_of(locked)[0]) == {
        "000.jpg": ErrorCode.ENCRYPTED, "001.jpg": None, "002.jpg": None, "003.jpg": None
    }  # fmt: skip


def test_links_and_devices_in_a_zip():
    for kind, unsafe in ((0o120777, True), (0o020644, True), (0o010644, True), (0o100644, False)):
        info = zipfile.ZipInfo("x.jpg")
        info.external_attr = kind << 16
        (found,), _ = zip_of(zip_bytes([(info, b"/etc/passwd")]))
        assert (found.error is ErrorCode.UNSAFE_MEMBER) is unsafe, oct(kind)
    found, _ = zip_of(zip_bytes([("../a.jpg", b"x"), ("/b.jpg", b"x")]))
    assert set(codes(found).values()) == {ErrorCode.UNSAFE_MEMBER}


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
@pytest.mark.parametrize("at", [0, 1, 3, 8, 40, 300])
def test_damaged_bytes_spoil_one_member_only(method, at):
    whole = bytearray(zip_bytes(MEMBERS, method))
    start = 30 + len("000.jpg")
    for i in range(3):
        whole[start + at + i] ^= 0xA5
    found, report = zip_of(bytes(whole))
    assert codes(found) == {"000.jpg": ErrorCode.CORRUPT} | {name: None for name, _ in MEMBERS[1:]}
    assert "damaged in the zip" in found[0].detail
    assert report.damage == []


@pytest.mark.parametrize("size", [0, 1, 10_000, 2**31])
def test_a_zip_that_lies_about_a_size_costs_one_member(size):
    lying = patched(zip_bytes(MEMBERS, zipfile.ZIP_DEFLATED), 24, struct.pack("<I", size))
    found, _ = zip_of(lying)
    assert len(found) == 4
    # one that promises too much still gives its own bytes
    if size < len(MEMBERS[0][1]) or size > 1 << 20:
        assert found[0].error in (ErrorCode.CORRUPT, ErrorCode.TOO_LARGE)
    else:
        assert found[0].data == MEMBERS[0][1]
    assert [m.error for m in found[1:]] == [None] * 3


def test_a_bomb_that_promises_little_is_not_unpacked():
    bomb = zip_bytes([("a.jpg", b"\0" * 50_000_000)], zipfile.ZIP_DEFLATED)
    import tracemalloc

    tracemalloc.start()
    (found,), _ = zip_of(patched(bomb, 24, struct.pack("<I", 1000)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.error is ErrorCode.CORRUPT
    assert peak < 5_000_000


def test_parquet_binary_struct_null_and_keys():
    images = [jpeg(0), None, b"", jpeg(1)]
    found, report = parquet_of(parquet_bytes(image=images))
    assert [(m.key, m.data) for m in found] == [
        ("0", images[0]), ("1", b""), ("2", b""), ("3", images[3])
    ]  # fmt: skip
    structs = [{"bytes": i, "path": "x"} for i in images[:3]] + [None]
    data = parquet_bytes(photo=structs, name=["a", "b", "a", "c"])
    found, report = parquet_of(data, ("photo", "name"))
    assert [(m.key, m.data) for m in found] == [
        ("a", images[0]), ("b", b""), ("a@2", b""), ("c", b"")
    ]  # fmt: skip
    assert "1 names occur more than once" in report.notices[0]
    large = pa.array(images, pa.large_binary())
    assert [m.data for m in parquet_of(parquet_bytes(image=large))[0]] == [i or b"" for i in images]


def test_parquet_with_many_rows_in_groups():
    import pyarrow.parquet as pq

    out = io.BytesIO()
    images = [jpeg(i % 7) for i in range(100)]
    pq.write_table(pa.table({"image": images}), out, row_group_size=33)
    found, _ = parquet_of(out.getvalue())
    assert [(m.key, m.data) for m in found] == [(str(i), d) for i, d in enumerate(images)]
    assert [m.error for m in parquet_of(out.getvalue(), max_bytes=3)[0]] == [
        ErrorCode.TOO_LARGE
    ] * 100


def test_parquet_that_cannot_be_used():
    whole = parquet_bytes(image=[jpeg(0)], text=["x"], number=[1])
    for columns, words in [
        (("photo", None), "no column 'photo', only image, text, number; name it with --image-col"),
        (("image", "id"), "no column 'id'"),
        (("text", None), "column 'text' holds string, not bytes"),
        (("number", None), "holds int64, not bytes"),
    ]:
        found, report = parquet_of(whole, columns)
        assert found == []
        assert words in report.damage[0]
    for data in (b"", b"PAR1", whole[: len(whole) // 2], whole[:-3]):
        found, report = parquet_of(data)
        assert found == []
        assert len(report.damage) == 1


def test_names_are_shown_shortened_and_without_control_characters():
    assert shown("a/ü 🎉.jpg") == "a/ü 🎉.jpg"
    assert shown("a\x1b[31m\n\udcff") == "a\\x1b[31m\\x0a%FF"
    assert len(shown("x" * 9999)) < 300


def test_rows_of_a_shard(tmp_path):
    put(tmp_path, {"s.tar": tar_bytes([("in/a.jpg", jpeg(0)), ("b", b"text"), ("c", jpeg(1))])})
    rows, report = read_all(planned(tmp_path))
    assert rows["uri"].to_pylist() == [f"{tmp_path}/s.tar#in/a.jpg", f"{tmp_path}/s.tar#c"]
    assert set(rows["shard"].to_pylist()) == {f"{tmp_path}/s.tar"}
    assert report.skipped == {"not an image": 1}
    assert rows["bytes"].to_pylist() == [len(jpeg(0)), len(jpeg(1))]


def test_a_large_shard_is_handed_on_in_tables(tmp_path):
    from pipeline.lake.ledger import Ledger
    from pipeline.sources.read import TABLE_IMAGES, read

    put(tmp_path, {"s.tar": tar_bytes([(f"{i:04}.jpg", b"x" * 10) for i in range(150)])})
    (unit,) = planned(tmp_path).units
    sizes = [len(t) for t in read(unit, Ledger.empty(), ReadConfig(), Report())]
    assert sizes == [TABLE_IMAGES, TABLE_IMAGES, 150 - 2 * TABLE_IMAGES]


def test_names_in_a_tar_that_are_not_utf_8(tmp_path, archive):
    names = ["caf\udce9.jpg", "🎉#[x].jpg", "new\nline.jpg"]
    put(tmp_path, {"s.tar": tar_bytes([(n, jpeg(i)) for i, n in enumerate(names)])})
    rows, _ = archive.run(tmp_path)
    assert rows["error"].null_count == 3
    assert rows["uri"][0].as_py().endswith("s.tar#caf%E9.jpg")
    assert len(archive.run(tmp_path)[0]) == 0


def test_noise_over_shards_never_raises():
    """Whatever bytes are damaged: rows and damage, no exception."""
    random = np.random.default_rng(0)
    shards = {
        tar_of: tar_bytes([*MEMBERS, ("long/" * 40 + "a.jpg", jpeg(5))]),
        zip_of: zip_bytes(MEMBERS, zipfile.ZIP_DEFLATED),
        parquet_of: parquet_bytes(image=[d for _, d in MEMBERS]),
    }
    for read, whole in shards.items():
        for _ in range(150):
            data = np.frombuffer(whole, np.uint8).copy()
            where = random.integers(0, len(data), random.integers(1, 30))
            data[where] = random.integers(0, 256, len(where))
            found, report = read(data.tobytes())
            assert len(found) <= 6
            assert all((m.data is None) == (m.error is not None) for m in found)
            # the directories of the others may be damaged into smaller ones that hold together
            assert len(found) >= 4 or report.damage or report.skipped or read is not tar_of
