"""Lakes made before a column of `images` was there go on as any other."""

import pytest

from pipeline import Lake
from pipeline.lake import schema
from pipeline.lake.store import LakeStore, parquet_bytes
from pipeline.maintenance.check import check, check_and_repair
from tests.support.pictures import encoded, indexed, lake_of, photo, read_row
from tests.support.review_lakes import review_lake


def make_older(store, parts=None):
    """Write parts again without the columns that came later."""
    for name in parts or store.parts():
        rows = store.read_part("images", name)
        older = rows.drop_columns([c for c in sorted(schema.ADDED_LATER) if c in rows.column_names])
        assert older.num_columns < rows.num_columns
        store.folder.publish(f"images/{name}", parquet_bytes(older))


def test_only_what_came_later_may_be_missing():
    whole = schema.IMAGES
    assert schema.is_of_images(whole)
    for name in whole.names:
        less = whole.remove(whole.get_field_index(name))
        assert schema.is_of_images(less) == (name in schema.ADDED_LATER)
    assert not schema.is_of_images(whole.append(whole.field(0).with_name("other")))


def test_a_lake_of_older_and_newer_parts_is_read_checked_and_deduplicated(tmp_path):
    files = {f"{name}.jpg": encoded(photo(), quality=quality)
             for name, quality in (("a", 90), ("b", 80))}  # fmt: skip
    store = indexed(tmp_path / "lake", files, tmp_path / "photos")
    make_older(store)
    (tmp_path / "c.jpg").write_bytes(encoded(photo(), quality=70))
    lake_of(tmp_path / "lake", [read_row(tmp_path / "c.jpg", tmp_path)])
    store = LakeStore(str(tmp_path / "lake"))
    assert check(store).findings == []
    assert check_and_repair(store).findings == []
    assert store.read("images", sorted(schema.ADDED_LATER)).num_rows == 3
    assert store.ledger() is not None
    lake = Lake(str(tmp_path / "lake"))
    lake.dedupe()
    assert len(store.read("images")) == 3
    assert check(store).findings == []


@pytest.mark.parametrize("what", ["cluster", "forget"])
def test_people_of_an_older_lake(tmp_path, what):
    review_lake(tmp_path, people=3, each=4)
    store = LakeStore(str(tmp_path / "lake"))
    make_older(store)
    lake = Lake(str(tmp_path / "lake"))
    before = len(store.read("images"))
    if what == "cluster":
        lake.cluster(full=True)
        assert len(store.read("images")) == before
    else:
        uri = store.read("images", ["uri"])["uri"][0].as_py()
        lake.forget(image=[uri])
        assert len(store.read("images")) == before - 1
    assert "schema" not in {finding.kind for finding in check(store).findings}
