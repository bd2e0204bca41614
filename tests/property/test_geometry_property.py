import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from pipeline.imaging import geometry

FAST = settings(max_examples=150, deadline=None)
number = st.floats(-1e5, 1e5, width=32)


def box_arrays(smallest=0.0):
    """[N, 4] of corners in order, sides at least `smallest`."""
    side = st.floats(smallest, 1e4, width=32)

    def corners(rows):
        array = np.array(rows, np.float32).reshape(-1, 4)
        return np.concatenate([array[:, :2], array[:, :2] + array[:, 2:]], axis=1)

    return st.lists(st.tuples(number, number, side, side), max_size=12).map(corners)


any_boxes = hnp.arrays(np.float32, st.tuples(st.integers(0, 8), st.just(4)), elements=number)


@FAST
@given(st.one_of(box_arrays(), any_boxes), st.one_of(box_arrays(), any_boxes))
def test_iou_is_symmetric_and_from_0_to_1(boxes, others):
    found = geometry.iou(boxes, others)
    assert found.shape == (len(boxes), len(others))
    assert ((found >= 0) & (found <= 1)).all()
    assert np.array_equal(found, geometry.iou(others, boxes).T)


quarter_pixels = hnp.arrays(
    np.int64, st.tuples(st.integers(0, 8), st.just(2)), elements=st.integers(-400, 4000)
)


@FAST
@given(
    quarter_pixels,
    st.integers(1, 1000),
    st.integers(1, 1000),
    st.sampled_from([0, 90, 180, 270]),
)
def test_turning_back_is_the_exact_inverse_of_turning(quarters, height, width, turn):
    points = (quarters / 4).astype(np.float32)
    there = geometry.turned_points(points, height, width, turn)
    sides = (width, height) if turn % 180 else (height, width)
    assert np.array_equal(geometry.turned_points(there, *sides, -turn), points)
    inside = ((points >= 0) & (points <= [width, height])).all(axis=1)
    assert np.array_equal(((there >= 0) & (there <= sides[::-1])).all(axis=1), inside)


@FAST
@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([0, 90, 180, 270]), st.randoms())
def test_points_turn_as_pixels_do(height, width, turn, random):
    pixels = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    x, y = random.randrange(width), random.randrange(height)
    point = np.array([x, y], np.float32)
    column, row = geometry.turned_points(point, height - 1, width - 1, turn).astype(int)
    assert np.array_equal(geometry.turned(pixels, turn)[row, column], pixels[y, x])


@FAST
@given(box_arrays(1.0))
def test_a_box_overlaps_itself_wholly(boxes):
    assert np.allclose(np.diag(geometry.iou(boxes, boxes)), 1)


@FAST
@given(st.one_of(box_arrays(), any_boxes), st.floats(0.1, 0.9), st.booleans(), st.randoms())
def test_nms_keeps_the_best_and_no_pair_that_overlaps(boxes, threshold, over_smaller, random):
    scores = np.array([random.random() for _ in boxes], np.float32)
    kept = geometry.nms(boxes, scores, threshold, over_smaller=over_smaller)
    assert len(set(kept.tolist())) == len(kept)
    assert (np.diff(scores[kept]) <= 0).all()
    if not len(boxes):
        return
    assert kept[0] == scores.argmax()
    if over_smaller:
        return
    overlap = geometry.iou(boxes[kept], boxes[kept])
    np.fill_diagonal(overlap, 0)
    assert overlap.max() <= threshold + 1e-6
    # and what went had a better box that it overlapped
    gone = np.setdiff1d(np.arange(len(boxes)), kept)
    for i in gone:
        rivals = kept[scores[kept] >= scores[i]]
        assert geometry.iou(boxes[[i]], boxes[rivals]).max() > threshold - 1e-6


@FAST
@given(
    hnp.arrays(np.float32, 4, elements=number),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 64),
    st.floats(0, 0.9),
)
def test_a_crop_stays_inside_its_image_and_is_never_empty(box, height, width, size, margin):
    x1, y1, x2, y2 = geometry.margin_box(box, width, height, size, margin * size)
    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height
    pixels = np.full((height, width, 3), 7, np.uint8)
    crop = geometry.crop_box(pixels, box, size, margin * size)
    assert crop.shape == (size, size, 3)
    assert (crop == 7).all()  # nothing but the image's own pixels


@FAST
@given(box_arrays())
def test_square_keeps_the_centre_and_covers_the_box(boxes):
    found = geometry.square(boxes)
    sides = found[:, 2:] - found[:, :2]
    tolerance = 1e-6 * np.abs(boxes).max(initial=1) * 4
    assert np.allclose(sides[:, 0], sides[:, 1], atol=tolerance)
    assert np.allclose(
        (found[:, :2] + found[:, 2:]) / 2, (boxes[:, :2] + boxes[:, 2:]) / 2, atol=tolerance
    )
    assert (found[:, :2] <= boxes[:, :2] + tolerance).all()
    assert (found[:, 2:] >= boxes[:, 2:] - tolerance).all()


@FAST
@given(st.floats(-180, 180), st.floats(0.05, 20), st.floats(-500, 500), st.floats(-500, 500))
def test_align_always_gives_a_crop_and_the_transform_is_recovered(angle, scale, dx, dy):
    turn = np.radians(angle)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = (geometry.ARCFACE_112 @ (scale * rotation).T + [dx, dy]).astype(np.float32)
    matrix = geometry.similarity_transform(points, geometry.ARCFACE_112)
    assert np.abs(points @ matrix[:, :2].T + matrix[:, 2] - geometry.ARCFACE_112).max() < 0.05
    crop = geometry.align_five(np.full((60, 50, 3), 9, np.uint8), points)
    assert crop.shape == (112, 112, 3)
    assert set(np.unique(crop)) <= {0, 9, 8}
