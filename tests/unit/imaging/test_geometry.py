import numpy as np
import pytest
from PIL import Image

from pipeline.imaging import geometry
from pipeline.imaging.geometry import ARCFACE_112


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def scene(width=200, height=160):
    """Smooth, so that bilinear interpolation is nearly exact."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x, y, (x + y) / 2], axis=-1).astype(np.uint8)


def test_iou_of_known_boxes():
    found = geometry.iou(
        boxes([0, 0, 10, 10]), boxes([0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30])
    )
    assert found.shape == (1, 3)
    assert found[0] == pytest.approx([1, 1 / 3, 0])


def test_iou_of_empty_and_turned_boxes_is_zero():
    assert geometry.iou(boxes([3, 3, 3, 9], [9, 9, 3, 3]), boxes([0, 0, 10, 10])).max() == 0
    assert geometry.iou(boxes(), boxes([0, 0, 1, 1])).shape == (0, 1)


def test_nms_keeps_the_best_first_and_ties_in_order():
    b = boxes([0, 0, 10, 10], [0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60])
    kept = geometry.nms(b, np.array([0.5, 0.9, 0.9, 0.1], np.float32), 0.5)
    assert kept.tolist() == [1, 3]


def test_nms_keeps_overlap_equal_to_the_threshold():
    b = boxes([0, 0, 10, 10], [0, 0, 10, 5])
    assert len(geometry.nms(b, np.array([0.9, 0.8], np.float32), 0.5)) == 2
    assert len(geometry.nms(b, np.array([0.9, 0.8], np.float32), 0.49)) == 1


def test_nms_over_the_smaller_area_counts_the_last_pixel():
    # 11 x 11 pixels around 6 x 6: all of the smaller one, 36 of 121 by union
    b = boxes([0, 0, 10, 10], [2, 2, 7, 7])
    scores = np.array([0.9, 0.8], np.float32)
    assert geometry.nms(b, scores, 0.7, over_smaller=True).tolist() == [0]
    assert geometry.nms(b, scores, 0.7).tolist() == [0, 1]
    # 3 x 11 shared of 11 x 11: 0.27; without the last pixel 0.2, or 0.33 of areas without it
    b = boxes([0, 0, 10, 10], [8, 0, 18, 10])
    assert geometry.nms(b, scores, 0.29, over_smaller=True).tolist() == [0, 1]
    assert geometry.nms(b, scores, 0.26, over_smaller=True).tolist() == [0]


@pytest.mark.parametrize("over_smaller", [False, True])
def test_nms_of_collapsed_boxes_neither_warns_nor_drops(over_smaller):
    b = boxes([5, 5, 5, 5], [5, 5, 5, 5], [6, 6, 5, 5], [9, 9, 1, 1])
    kept = geometry.nms(b - 0.0, np.linspace(1, 0.5, 4, dtype=np.float32), 0.5)
    assert kept.tolist() == [0, 1, 2, 3]
    geometry.nms(b, np.ones(4, np.float32), 0.5, over_smaller=over_smaller)
    assert geometry.nms(boxes(), np.zeros(0, np.float32), 0.5).tolist() == []


def test_square():
    assert geometry.square(boxes([0, 0, 10, 20])).tolist() == [[-5, 0, 15, 20]]


def test_margin_box_follows_the_reference_formula():
    # facenet: margin * side / (size - margin), half of it on each side, then int()
    box = np.array([50.7, 40.2, 110.9, 120.6], np.float32)
    margin_x, margin_y = 32 * 60.2 / 128 / 2, 32 * 80.4 / 128 / 2
    expected = [int(50.7 - margin_x), int(40.2 - margin_y)]
    expected += [int(110.9 + margin_x), int(120.6 + margin_y)]
    assert geometry.margin_box(box, 640, 480, 160, 32).tolist() == expected
    assert geometry.margin_box(box, 640, 480, 160, 0).tolist() == [50, 40, 110, 120]


@pytest.mark.parametrize("box", [[-50, -50, -10, -10], [900, 900, 950, 950], [3, 3, 3, 3]])
def test_a_box_outside_the_image_still_gives_a_crop(box):
    crop = geometry.crop_box(scene(), np.array(box, np.float32), 32)
    assert crop.shape == (32, 32, 3)
    assert crop.dtype == np.uint8


def test_crop_box_is_pillows_bilinear():
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    crop = geometry.crop_box(pixels, np.array([10.9, 5.2, 80.1, 70.8], np.float32), 48)
    wanted = Image.fromarray(pixels[5:70, 10:80]).resize((48, 48), Image.Resampling.BILINEAR)
    assert np.array_equal(crop, np.asarray(wanted))


def turned(points, degrees=0.0, scale=1.0, shift=(0.0, 0.0)):
    a = np.radians(degrees)
    rotation = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return points @ (scale * rotation).T + np.array(shift)


@pytest.mark.parametrize(("degrees", "scale"), [(0, 1), (30, 2.5), (-170, 0.3), (90, 10)])
def test_similarity_transform_recovers_a_known_one(degrees, scale):
    target = turned(ARCFACE_112.astype(np.float64), degrees, scale, (7, -3))
    matrix = geometry.similarity_transform(ARCFACE_112, target)
    mapped = ARCFACE_112 @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(mapped - target).max() < 1e-4
    assert np.hypot(*matrix[:, 0]) == pytest.approx(scale, rel=1e-6)


def test_similarity_transform_never_mirrors_and_bears_one_point():
    mirrored = ARCFACE_112 * [-1, 1]
    assert np.linalg.det(geometry.similarity_transform(mirrored, ARCFACE_112)[:, :2]) > 0
    same = np.tile(np.array([[3.0, 4.0]], np.float32), (5, 1))
    matrix = geometry.similarity_transform(same, ARCFACE_112)
    assert np.allclose(matrix[:, :2], np.eye(2))
    assert np.allclose(matrix[:, :2] @ [3, 4] + matrix[:, 2], ARCFACE_112.mean(axis=0))


def test_align_of_the_template_itself_changes_nothing():
    pixels = np.random.default_rng(1).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    # Pillow cuts fractions off
    assert np.abs(geometry.align_five(pixels, ARCFACE_112).astype(int) - pixels).max() <= 1


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 3.7])
def test_align_puts_each_landmark_where_the_template_has_it(scale):
    """The scene's colour is its position: read back where a pixel of the crop came from."""
    points = turned(ARCFACE_112, 20, scale / 3, (60, 40)).astype(np.float32)
    pixels = scene(256, 200)
    crop = geometry.align_five(pixels, points, 112).astype(np.float64)
    for (x, y), (sx, sy) in zip(ARCFACE_112, points, strict=True):
        red, green = crop[round(float(y)), round(float(x)), :2]
        # half a crop pixel of rounding, in the scale of the source, and the colours' rounding
        assert red == pytest.approx(sx, abs=0.6 * scale / 3 + 1)
        assert green == pytest.approx(sy, abs=0.6 * scale / 3 + 1)


def test_align_of_a_large_face_averages_instead_of_skipping():
    stripes = np.zeros((1200, 1200, 3), np.uint8)
    stripes[:, ::2] = 255  # one pixel wide: any point sample is 0 or 255
    crop = geometry.align_five(stripes, ARCFACE_112 * 10)
    assert np.abs(crop.astype(int) - 127).max() <= 2


def test_align_is_black_outside_the_image():
    points = ARCFACE_112 - np.array([60, 0], np.float32)  # half of the face is left of the image
    crop = geometry.align_five(np.full((120, 120, 3), 200, np.uint8), points)
    assert (crop[:, :58] == 0).all()
    assert (crop[:, 62:110] == 200).all()
    far = geometry.align_five(np.full((20, 20, 3), 200, np.uint8), points + 5000)
    assert (far == 0).all()
