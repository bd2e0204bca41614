import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from pipeline.lake.columns import (
    binary_views,
    digest,
    elements,
    fixed_lists,
    lists_of,
    matrix,
    pixel_views,
    pixels_column,
    structs,
)

FAST = settings(max_examples=120, deadline=None)
image = hnp.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3)))
maybe_images = st.lists(st.none() | image, max_size=8)


def sliced(data, length):
    """A start and a stop inside `length`."""
    start = data.draw(st.integers(0, length))
    return start, data.draw(st.integers(start, length))


def chunked(array, data):
    """The array as chunks that are slices of something larger."""
    cut, _ = sliced(data, len(array))
    return pa.chunked_array([array[:cut], array[cut:]], array.type)


def same(found, wanted):
    assert len(found) == len(wanted)
    for mine, theirs in zip(found, wanted, strict=True):
        assert (mine is None) == (theirs is None)
        assert mine is None or np.array_equal(mine, theirs)


@FAST
@given(maybe_images, st.data())
def test_pixels_come_back_from_any_slice(images, data):
    array = pixels_column(images)
    array.validate(full=True)
    start, stop = sliced(data, len(images))
    column = chunked(array, data).slice(start, stop - start)
    part = images[start:stop]
    heights = [None if i is None else i.shape[0] for i in part]
    widths = [None if i is None else i.shape[1] for i in part]
    found = pixel_views(column, heights, widths, [1] * len(heights))
    same(found, part)
    assert not any(i.flags.writeable for i in found if i is not None)
    # and through what Ray does: concatenation and serialisation
    table = pa.table({"pixels": column})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    back = pa.ipc.open_stream(sink.getvalue()).read_all()["pixels"].combine_chunks()
    same(pixel_views(pa.chunked_array([back]), heights, widths, [1] * len(heights)), part)


@FAST
@given(st.lists(st.none() | st.binary(max_size=9), max_size=9), st.data(), st.booleans())
def test_binary_views(values, data, large):
    array = pa.array(values, pa.large_binary() if large else pa.binary())
    start, stop = sliced(data, len(values))
    views = binary_views(chunked(array, data).slice(start, stop - start))
    assert [None if v is None else v.tobytes() for v in views] == values[start:stop]


def test_no_column_at_all():
    assert binary_views(pa.chunked_array([], pa.large_binary())) == []
    assert len(pixels_column([])) == 0


@FAST
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(0, 6), st.just(4)),
        elements=st.floats(width=32, allow_nan=True),
    ),
    st.data(),
)
def test_fixed_lists_and_matrix(values, data):
    array = fixed_lists(values, pa.list_(pa.float32(), 4))
    assert array.null_count == 0
    start, stop = sliced(data, len(values))
    found = matrix(chunked(array, data).slice(start, stop - start))
    assert found.dtype == np.float32
    assert np.array_equal(found, values[start:stop], equal_nan=True)
    assert np.array_equal(matrix(array), values, equal_nan=True)


@FAST
@given(st.lists(st.integers(0, 4), max_size=8), st.data())
def test_lists_of_and_elements(counts, data):
    fields = [pa.field("n", pa.int64()), pa.field("text", pa.string())]
    numbers = np.arange(sum(counts))
    array = lists_of(counts, structs(fields, [numbers, [str(n) for n in numbers]]))
    array.validate(full=True)
    assert [len(v) for v in array.to_pylist()] == counts
    start, stop = sliced(data, len(counts))
    found, values = elements(chunked(array, data).slice(start, stop - start))
    assert found.tolist() == counts[start:stop]
    first = sum(counts[:start])
    assert values.field("n").to_pylist() == list(range(first, first + sum(counts[start:stop])))
    assert [int(t) for t in values.field("text").to_pylist()] == values.field("n").to_pylist()


def test_elements_of_no_chunk():
    kind = pa.list_(pa.struct([pa.field("n", pa.int64())]))
    counts, values = elements(pa.chunked_array([], kind))
    assert (len(counts), len(values)) == (0, 0)


def test_structs_take_arrays_of_the_right_type_only():
    with pytest.raises(pa.ArrowInvalid):
        structs([pa.field("n", pa.float32())], [pa.array([1], pa.int64())])


@FAST
@given(st.lists(st.none() | st.lists(st.none() | st.text(max_size=3), max_size=3)), st.data())
def test_the_digest_of_lists_is_that_of_their_values(values, data):
    def table(rows):
        return pa.table({"a": pa.array(rows, pa.list_(pa.string()))})

    start, stop = sliced(data, len(values))
    assert digest(table(values).slice(start, stop - start)) == digest(table(values[start:stop]))
    for at, value in enumerate(values):
        assert digest(table([*values[:at], [*(value or []), "x"], *values[at + 1 :]])) != digest(
            table(values)
        )
    assert digest(table([["a"], ["b", "c"]])) != digest(table([["a", "b"], ["c"]]))
