"""Parquet shards: columns of every layout, files that rows name, and little memory."""

import io
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import ReadConfig
from pipeline.lake.ledger import Ledger
from pipeline.sources.members import Report
from pipeline.sources.parquet import parquet_members
from pipeline.sources.read import read
from pipeline.sources.units import Unit
from tests.support.builders import jpeg

IMAGES = [jpeg(i) for i in range(4)]
SIZE = len(IMAGES[0])
STRUCTS = [{"bytes": image, "path": None} for image in IMAGES]


def members(column, **columns):
    out = io.BytesIO()
    pq.write_table(pa.table({"image": column} | columns), out)
    report = Report()
    config = ReadConfig(1 << 20, "image", "name" if columns else None)
    found = list(parquet_members(out, lambda key: True, config, report))
    assert report.damage == []
    return [(m.key, m.data) for m in found]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(IMAGES, pa.binary()),
        pa.array(IMAGES, pa.large_binary()),
        pa.array(IMAGES, pa.binary_view()),
        pa.array(IMAGES, pa.binary()).dictionary_encode(),
        pa.array(STRUCTS),
        pa.chunked_array([pa.array(STRUCTS[:1]), pa.array(STRUCTS[1:])]),
    ],
    ids=lambda column: str(column.type)[:12],
)
def test_bytes_of_any_layout(column):
    assert members(column) == [(str(i), image) for i, image in enumerate(IMAGES)]


def test_fixed_size_bytes():
    padded = [image.ljust(4000, b"\0") for image in IMAGES]
    assert members(pa.array(padded, pa.binary(4000))) == [(str(i), p) for i, p in enumerate(padded)]


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.binary()),
        pa.large_list(pa.large_binary()),
        pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    ],
)
def test_lists_give_every_image_a_key(kind):
    is_struct = pa.types.is_struct(kind.value_type)
    values = STRUCTS if is_struct else IMAGES
    column = pa.array([values[:2], [], None, values[2:3]], kind)
    assert members(column) == [("0/0", IMAGES[0]), ("0/1", IMAGES[1]), ("3/0", IMAGES[2])]
    names = pa.array(["a", "b", "c", "a"]).dictionary_encode()
    keys = [key for key, _ in members(column, name=names)]
    assert keys == ["a/0", "a/1", "a/0@2"]


def rows_of(path):
    unit = Unit("parquet", str(path), place=path.name, sizes=(1,))
    report = Report()
    tables = read(unit, Ledger.empty(), ReadConfig(), report)
    return [row for table in tables for row in table.to_pylist()], report


def test_a_path_without_bytes_is_read_inside_the_folder_and_not_outside(tmp_path):
    folder = tmp_path / "set"
    (folder / "img").mkdir(parents=True)
    (folder / "img" / "a.jpg").write_bytes(IMAGES[0])
    (tmp_path / "outside.jpg").write_bytes(IMAGES[1])
    os.symlink(tmp_path / "outside.jpg", folder / "link.jpg")
    paths = [
        "img/a.jpg",
        str(folder / "img" / "a.jpg"),
        "img/none.jpg",
        "../outside.jpg",
        str(tmp_path / "outside.jpg"),
        "link.jpg",
        "http://127.0.0.1:1/a.jpg",
        "file:///etc/passwd",
        None,
    ]
    column = [{"bytes": None, "path": path} for path in paths]
    pq.write_table(pa.table({"image": column}), folder / "train.parquet")
    rows, report = rows_of(folder / "train.parquet")
    assert [row["data"] for row in rows] == [IMAGES[0]] * 2 + [None] * 6 + [b""]
    assert [row["error"] for row in rows] == [
        None, None, "unreadable", *["unsafe_member"] * 5, None
    ]  # fmt: skip
    assert "img/none.jpg" in rows[2]["error_detail"]
    assert "outside the folder" in rows[3]["error_detail"]
    assert report.damage == []


MEASURE = """
import sys, threading, time
from pipeline.config import ReadConfig
from pipeline.sources.members import Report
from pipeline.sources.parquet import parquet_members

def held():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

before, peak, over = held(), 0, False
def watch():
    global peak
    while not over:
        peak = max(peak, held())
        time.sleep(0.002)
thread = threading.Thread(target=watch)
thread.start()
with open(sys.argv[1], "rb") as file:
    size = sum(len(m.data) for m in parquet_members(file, lambda key: True, ReadConfig(), Report()))
over = True
thread.join()
print(size, peak - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
def test_a_large_row_group_is_not_held_whole(tmp_path):
    path = tmp_path / "large.parquet"
    images = [os.urandom(400_000) for _ in range(400)]
    pq.write_table(pa.table({"image": images}), path, write_batch_size=8, use_dictionary=False)
    assert pq.read_metadata(path).num_row_groups == 1
    told = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    size, peak = map(int, told.stdout.split())
    assert size == 160_000_000
    assert peak < size / 2


def test_few_rows_at_a_time_where_images_are_large(monkeypatch):
    from pipeline.sources.parquet import _batch_rows

    def of(images):
        out = io.BytesIO()
        pq.write_table(pa.table({"image": images}), out)
        return _batch_rows(pq.read_metadata(out))

    assert of([os.urandom(10_000_000)] * 1) == 3
    assert of([os.urandom(100_000_000)]) == 1
    assert of([b"x"] * 10) == 32
    assert of(pa.array([], pa.binary())) == 32
