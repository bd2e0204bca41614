import io
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.lake import schema
from pipeline.stages.records import DECODED, DETECTED, embedded

TABLES = schema.tables(8)


def value(kind):
    if pa.types.is_fixed_size_list(kind):
        return [0.5] * kind.list_size
    if pa.types.is_list(kind):
        return [value(kind.value_type)] * 2
    if pa.types.is_boolean(kind):
        return True
    if pa.types.is_fixed_size_binary(kind):
        return b"\xff" * kind.byte_width
    if pa.types.is_timestamp(kind):
        return datetime(2020, 2, 29, 12, tzinfo=UTC if kind.tz else None)
    if pa.types.is_floating(kind):
        return 0.5
    return {pa.string(): "ü", pa.binary(): b"\0"}.get(kind, 7)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_tables_round_trip_through_parquet(name, rows):
    kind = TABLES[name]
    table = pa.table([pa.array([value(f.type)] * rows, f.type) for f in kind], schema=kind)
    out = io.BytesIO()
    pq.write_table(table, out)
    back = pq.read_table(out)
    assert back.schema.equals(kind)
    for mine, written in zip(kind, back.schema, strict=True):
        assert written.metadata.items() >= mine.metadata.items()
        assert written.nullable == mine.nullable
    assert back.equals(table)


@pytest.mark.parametrize("name", TABLES)
def test_every_column_says_what_it_means(name):
    for column in TABLES[name]:
        assert column.metadata[b"doc"].strip(), column.name
        assert b"unit" not in column.metadata or column.metadata[b"unit"]
    lines = schema.markdown(TABLES[name]).splitlines()
    assert len(lines) == 2 + len(TABLES[name])
    assert all(line.count("|") == 4 for line in lines)


def test_the_design_s_columns_are_there():
    assert set(schema.IMAGES.names) >= {
        "image_id", "uri", "shard", "sha256", "bytes", "width", "height", "format",
        "orientation", "taken_at", "phash", "faces", "error", "error_detail", "run_id",
    }  # fmt: skip
    assert set(schema.faces_schema(512).names) >= {
        "face_id", "image_id", "uri", "box", "landmarks", "score", "size_px", "sharpness", "yaw",
        "roll", "quality", "embedding", "embedding_norm", "thumbnail", "detector", "embedder",
        "run_id",
    }  # fmt: skip
    assert schema.faces_schema(512).field("embedding").type == pa.list_(pa.float32(), 512)
    assert len(schema.LANDMARK_NAMES) * 2 == schema.LANDMARKS.list_size


def test_what_travels_carries_every_column_of_images():
    later = {"faces", "run_id", "gone_since"}
    found = [(table, later) for table in (DETECTED, embedded(8))]
    for travelling, without in [(DECODED, later | {"turn"}), *found]:
        for column in schema.IMAGES:
            if column.name not in without:
                assert travelling.field(column.name).type == column.type
