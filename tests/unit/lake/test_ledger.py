import errno
import os

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from pipeline.errors import StorageError
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


places = st.integers(0, 5).map(lambda n: f"/{n}")
some_rows = st.lists(st.tuples(ids, places, st.sampled_from([None, "ab" * 32, "cd" * 32]),
                               st.integers(0, 9)), max_size=40)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(some_rows, some_rows, st.integers(1, 7))
def test_a_ledger_in_files_answers_as_one_in_memory(rows, gone, piece):
    def made(held_rows):
        pieces = [table(rows[k : k + piece]) for k in range(0, len(rows), piece)]
        return Ledger.from_tables(pieces, gone=[table(gone)], held_rows=held_rows)

    memory, files = made(10**6), made(3)
    assert (memory.shared(), files.shared() is None) == (None, len(rows) + len(gone) <= 3)
    every = np.arange(len(memory))
    for ledger in (files, files.shared() and Ledger.open(files.shared())):
        if not ledger:
            continue
        assert len(ledger) == len(memory)
        assert ledger.ids(every) == memory.ids(every)
        assert ledger.doubled().tolist() == memory.doubled().tolist()
        assert ledger.is_gone(every).tolist() == memory.is_gone(every).tolist()
        wanted = [*memory.place.tolist(), 5]
        assert ledger.at(wanted).tolist() == memory.at(wanted).tolist()
        for content in (0, 0xABABABABABABABAB, 1):
            found = ledger.with_content(content).tolist()
            assert found == memory.with_content(content).tolist()
            assert all(int(memory.content[row]) == content for row in found)
        shards = range(len(memory.shards))
        assert ledger.rows_of(shards).tolist() == memory.rows_of(shards).tolist()
        for shard in shards:
            rows_there = ledger.rows_of([shard])
            assert rows_there.tolist() == np.flatnonzero(memory.shard == shard).tolist()
        part = ledger.some(every[::2])
        assert part.ids(range(len(part))) == memory.ids(every[::2])
        assert [part.shard_of(r) for r in range(len(part))] == [
            memory.shard_of(r) for r in every[::2]
        ]


def test_files_of_a_ledger_are_removed_with_it():
    ledger = Ledger.from_tables([table([(f"{i:032x}", "/a", None, i) for i in range(9)])],
                                held_rows=4)  # fmt: skip
    folder = ledger.shared()
    assert Ledger.open(folder).find([f"{8:032x}"]).tolist() == [8]
    del ledger
    assert not os.path.exists(folder)


def test_a_temporary_folder_that_is_full_is_told(monkeypatch):
    ledger = Ledger.from_tables([table([(f"{i:032x}", "/a", None, i) for i in range(9)])],
                                held_rows=4)  # fmt: skip

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageError, match=r"\(No space left on device\); set TMPDIR"):
        ledger.mask("x")


def test_who_opens_a_ledger_makes_no_file_of_its_own():
    ledger = Ledger.from_tables([table([(f"{i:032x}", f"/{i % 2}", None, i) for i in range(9)])],
                                held_rows=4)  # fmt: skip
    folder = ledger.shared()
    before = sorted(os.listdir(folder))
    opened = Ledger.open(folder)
    assert opened.rows_of([1]).tolist() == ledger.rows_of([1]).tolist() == [1, 3, 5, 7]
    assert opened.at(ledger.place).tolist() == list(range(9))
    assert sorted(os.listdir(folder)) == before
    first = ledger.mask("x")
    first[:] = True
    assert not ledger.mask("x").any()
    assert first.all()
