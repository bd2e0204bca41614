import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given, settings

from pipeline.lake.ledger import Ledger, content_key, halves


def table(rows):
    """Rows of image_id, shard, sha256, bytes."""
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    kinds = (pa.string(), pa.string(), pa.string(), pa.int64())
    names = ("image_id", "shard", "sha256", "bytes")
    given = {n: pa.array(c, k) for n, c, k in zip(names, columns, kinds, strict=True)}
    uris = [f"{shard or ''}/{image}.jpg" for image, shard in zip(*columns[:2], strict=True)]
    nothing = pa.nulls(len(uris), pa.string())
    return pa.table(given | {"uri": pa.array(uris, pa.string()), "file_version": nothing,
                             "error": nothing})  # fmt: skip


def test_empty():
    ledger = Ledger.empty()
    assert len(ledger) == 0
    assert ledger.find(["0" * 32]).tolist() == [-1]
    assert ledger.find([]).tolist() == []


def test_rows_keep_together_when_sorted():
    rows = [
        ("f" * 32, "/b", "ab" * 32, 5),
        ("0" * 32, None, None, None),
        ("8" * 32, "/a", "cd" * 32, 0),
    ]
    ledger = Ledger.from_tables([table(rows)])
    first, second, third = ledger.find([r[0] for r in rows]).tolist()
    assert (second, third, first) == (0, 1, 2)
    assert [ledger.shard_of(i) for i in (first, second, third)] == ["/b", "", "/a"]
    assert [int(ledger.size[i]) for i in (first, second, third)] == [5, -1, 0]
    assert int(ledger.content[first]) == 0xABABABABABABABAB == content_key("ab" * 32)
    assert int(ledger.content[second]) == 0


def test_tables_of_several_chunks():
    whole = table([(f"{i:032x}", f"/{i % 2}", None, i) for i in range(10)])
    ledger = Ledger.from_tables([whole.slice(6), whole.slice(0, 6)])
    assert [int(ledger.size[i]) for i in ledger.find([f"{i:032x}" for i in range(10)])] == list(
        range(10)
    )


def test_ids_that_are_no_hex_are_refused():
    with pytest.raises(ValueError, match="hex"):
        halves(["x" * 32])


# Few values a half, so that halves collide often
half = st.sampled_from([0, 1, 2, 2**63, 2**64 - 1])
ids = st.tuples(half, half).map(lambda pair: f"{pair[0]:016x}{pair[1]:016x}")


@settings(max_examples=200, deadline=None)
@given(st.sets(ids), st.lists(ids))
def test_find_equals_a_dict(known, wanted):
    rows = [(i, f"/{n}", None, n) for n, i in enumerate(known)]
    ledger = Ledger.from_tables([table(rows)])
    size = {row[0]: row[3] for row in rows}
    found = ledger.find(wanted).tolist()
    assert [None if at < 0 else int(ledger.size[at]) for at in found] == [
        size.get(i) for i in wanted
    ]
    assert all(ledger.shard_of(at) == f"/{size[i]}" for at, i in zip(found, wanted) if at >= 0)  # noqa: B905
