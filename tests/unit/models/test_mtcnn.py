import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.config import DetectConfig
from pipeline.errors import ConfigError
from pipeline.imaging import geometry
from pipeline.models.cards.card import find_card
from pipeline.models.detections import Detections
from pipeline.models.detector import load_detector, reduction, select
from pipeline.models.faces import face_crops
from pipeline.models.mtcnn.cascade import pyramid, regress, smallest_face
from pipeline.models.mtcnn.sums import Tables
from tests.support.detections import assert_same

SMALL = ["collins-nasa-portrait.png", "obama-2012-closeup.jpg", "cat-no-face.png"]
TWO = "obama-and-biden-composite.jpg"
POINTS = [f"l{i}{axis}" for i in range(5) for axis in "xy"]


@pytest.fixture(scope="module")
def detected(detector, photo_pixels):
    """Every example photo, one at a time."""
    return {name: detector.detect(pixels) for name, pixels in photo_pixels.items()}


def test_example_photos_equal_facenet_pytorch(detected, photo_pixels, reference):
    assert set(reference.file) <= set(photo_pixels)
    for name, found in detected.items():
        rows = reference[reference.file == name]
        wanted = Detections(
            rows[["x1", "y1", "x2", "y2"]].to_numpy(np.float32),
            rows["prob"].to_numpy(np.float32),
            rows[POINTS].to_numpy(np.float32).reshape(-1, 5, 2),
        )
        assert_same(found, wanted)


def test_what_detect_returns(detected):
    for found in detected.values():
        assert found.boxes.dtype == found.scores.dtype == found.landmarks.dtype == np.float32
        assert found.boxes.shape == (len(found), 4)
        assert found.landmarks.shape == (len(found), 5, 2)
        assert (np.diff(geometry.areas(found.boxes)) <= 0).all()
    assert {n for n, f in detected.items() if not len(f)} == {
        "cat-no-face.png",
        "coffee-no-face.png",
    }


def test_a_batch_of_mixed_sizes_equals_one_at_a_time(detector, photo_pixels, detected):
    names = [*SMALL, "obama-2012-letterboxed-480p.jpg", TWO]
    tiny = np.zeros((3, 3, 3), np.uint8)
    images = [tiny, *(photo_pixels[n] for n in names), tiny, photo_pixels[SMALL[0]]]
    found = detector.detect(images)
    assert len(found[0]) == len(found[-2]) == 0
    for name, mine in zip(names, found[1:-2], strict=True):
        assert_same(mine, detected[name], 1e-3, 1e-5)
    assert_same(found[-1], detected[SMALL[0]], 1e-3, 1e-5)


def test_neighbours_in_a_batch_do_not_suppress_each_other(detector, photo_pixels, detected):
    pixels = photo_pixels[SMALL[0]]
    mirrored = np.ascontiguousarray(pixels[:, ::-1])
    batch = detector.detect([pixels, mirrored, pixels, np.zeros_like(pixels)])
    for found in (batch[0], batch[2]):
        assert_same(found, detected[SMALL[0]], 1e-3, 1e-5)
    assert_same(batch[1], detector.detect(mirrored), 1e-3, 1e-5)
    assert len(batch[3]) == 0
    # nor do they lend each other candidates, which the later networks would only hide
    images = [pixels, mirrored, np.zeros_like(pixels)]
    together = detector._mtcnn._propose(Tables.of(images))
    alone = [len(detector._mtcnn._propose(Tables.of([image])).boxes) for image in images]
    assert np.bincount(together.owner, minlength=3).tolist() == alone


def test_small_batch_pixels_only_split_the_work(photo_pixels, detected):
    lean = load_detector(config=DetectConfig(batch_pixels=1))
    for name, found in zip(SMALL, lean.detect([photo_pixels[n] for n in SMALL]), strict=True):
        assert_same(found, detected[name], 1e-3, 1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (11, 11), (19, 400), (12, 12)])
def test_images_smaller_than_a_face_have_none(detector, shape):
    found = detector.detect(np.full((*shape, 3), 120, np.uint8))
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert found.landmarks.shape == (0, 5, 2)


@pytest.mark.parametrize("shape", [(20, 20), (21, 333), (64, 64)])
def test_noise_and_flat_images_have_no_face(detector, shape):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert [len(f) for f in detector.detect([noise, np.zeros_like(noise)])] == [0, 0]


def test_no_images(detector):
    assert detector.detect([]) == []


def test_pyramid_follows_the_reference():
    assert pyramid(19, 500, 20, 0.709) == []
    levels = pyramid(100, 60, 20, 0.709)
    assert levels[0] == (0.6, int(100 * 0.6 + 1), int(60 * 0.6 + 1))
    assert len(levels) == 4  # 36, 25.5, 18.1, 12.8
    assert levels[1][0] == pytest.approx(0.6 * 0.709)


def test_regress_counts_the_last_pixel_where_told():
    box, shift = np.array([[0, 0, 9, 19]], np.float32), np.full((1, 4), 0.1, np.float32)
    assert regress(box, shift, 0)[0] == pytest.approx([0.9, 1.9, 9.9, 20.9])
    assert regress(box, shift, 1)[0] == pytest.approx([1, 2, 10, 21])


def test_thresholds_decide(photo_pixels, reference):
    name = "obama-2012-portrait.jpg"  # a second, doubtful face of 0.815
    pixels = photo_pixels[name]
    assert (reference.file == name).sum() == 2
    strict = load_detector(config=DetectConfig(thresholds=(0.6, 0.7, 0.9))).detect(pixels)
    assert len(strict) == 1
    assert strict.scores.min() > 0.9
    for impossible in ((1, 0.7, 0.7), (0.6, 1, 0.7), (0.6, 0.7, 1)):
        assert len(load_detector(config=DetectConfig(thresholds=impossible)).detect(pixels)) == 0


def test_min_face_px(photo_pixels):
    pixels = photo_pixels[TWO]
    assert len(load_detector(config=DetectConfig(min_face_px=20)).detect(pixels)) == 2
    assert len(load_detector(config=DetectConfig(min_face_px=500)).detect(pixels)) == 0


def three():
    boxes = np.array([[0, 0, 40, 40], [45, 45, 55, 55], [70, 70, 99, 99]], np.float32)
    return Detections(
        boxes, np.array([0.8, 0.9, 0.95], np.float32), np.zeros((3, 5, 2), np.float32)
    )


@pytest.mark.parametrize(
    ("how", "kept"), [("all", 3), ("largest", 0), ("most-probable", 2), ("central", 1)]
)
def test_selection(how, kept):
    found = select(three(), how, np.zeros((100, 100, 3), np.uint8))
    if how == "all":
        assert len(found) == 3
    else:
        assert found.boxes.tolist() == [three().boxes[kept].tolist()]


def test_selection_of_none_and_of_one():
    pixels = np.zeros((9, 9, 3), np.uint8)
    for how in ("largest", "most-probable", "central"):
        assert len(select(Detections.none(), how, pixels)) == 0
        assert len(select(three().take(np.array([1])), how, pixels)) == 1


def test_selection_is_applied_to_photos(photo_pixels):
    found = load_detector(config=DetectConfig(selection="largest")).detect(photo_pixels[TWO])
    assert len(found) == 1
    assert found.boxes[0, 0] > 700


def test_detection_side_leaves_small_faces_of_large_photos_out(photo_pixels, detected):
    name = "obama-2012-letterboxed-1080p.jpg"
    pixels = photo_pixels[name]
    side = int(min(detected[name].boxes[0, 2:] - detected[name].boxes[0, :2]))
    config = DetectConfig(detection_side=640, selection="largest")
    found = load_detector(config=config).detect(pixels)
    # boxes and landmarks are as exact as ever: they are looked at in the photo's own pixels
    assert geometry.iou(found.boxes, detected[name].boxes)[0, 0] > 0.9
    assert np.abs(found.landmarks - detected[name].landmarks).max() < 8
    too_small = int(1920 * 20 / side * 0.3)
    assert not len(load_detector(config=DetectConfig(detection_side=too_small)).detect(pixels))


def test_smallest_face():
    config = DetectConfig(min_face_px=20, detection_side=1000)
    assert smallest_face(3000, 4000, config) == smallest_face(4000, 3000, config) == 80
    assert smallest_face(1000, 300, config) == smallest_face(10, 10, config) == 20
    assert smallest_face(3000, 4000, DetectConfig(detection_side=None)) == 20
    # a panorama counts as a photo of as many pixels, others by their side
    assert smallest_face(2000, 4000, config) == 80
    assert smallest_face(1000, 12000, config) == smallest_face(12000, 1000, config) == 80
    assert smallest_face(4000, 4000, config) == 80


def test_faces_of_a_panorama_are_found(photo_pixels):
    """40 megapixels of grey, ten to one, with faces of 80 pixels all along."""
    photo = Image.fromarray(photo_pixels["biden-official-portrait.jpg"])
    face = np.asarray(photo.crop((300, 50, 980, 900)).resize((128, 160)))
    panorama = np.full((2000, 20_000, 3), 128, np.uint8)
    places = [(y, x) for y in range(100, 1800, 600) for x in range(100, 19_800, 2800)]
    for y, x in places:
        panorama[y : y + 160, x : x + 128] = face
    found = load_detector().detect(panorama)
    sides = np.minimum(*(found.boxes[:, 2:] - found.boxes[:, :2]).T)
    assert 60 < np.median(sides) < 110
    assert len(found) >= 0.95 * len(places)


def test_a_photo_too_large_for_memory_is_reduced_but_not_below_the_detection_side(photo_pixels):
    pixels = photo_pixels[TWO]
    height, width = pixels.shape[:2]
    whole = load_detector(config=DetectConfig(detection_side=500)).detect(pixels)
    lean = DetectConfig(detection_side=500, batch_pixels=height * width // 3)
    assert reduction(pixels, lean) == 2
    found = load_detector(config=lean).detect(pixels)
    assert len(found) == len(whole) == 2
    assert geometry.iou(found.boxes, whole.boxes).max(axis=1).min() > 0.85
    leaner = DetectConfig(detection_side=500, batch_pixels=1)
    assert reduction(pixels, leaner) == width // 500
    assert reduction(pixels, DetectConfig(detection_side=None, batch_pixels=1)) == 1


def test_reduced_and_enlarged():
    pixels = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    assert geometry.reduced(pixels, 1) is pixels
    assert geometry.reduced(pixels, 2).shape == (3, 4, 3)
    faces = three().enlarged(2)
    assert faces.boxes[0].tolist() == [0, 0, 80, 80]
    assert three().enlarged(1).boxes.tolist() == three().boxes.tolist()


def test_every_kind_of_image_is_the_same_image(detector, photo_pixels, detected):
    name = SMALL[0]
    pixels = photo_pixels[name]
    image = Image.fromarray(pixels)
    kinds = [
        image,
        image.convert("RGBA"),
        pixels.astype(np.float32),
        torch.from_numpy(pixels.copy()).permute(2, 0, 1),
        np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)]),
    ]
    for found in detector.detect(kinds):
        assert_same(found, detected[name], 1e-3, 1e-5)
    assert len(detector.detect(image.convert("L"))) == 1
    assert len(detector.detect(tuple(kinds[:1]))) == 1
    assert len(detector.detect(np.asarray(image.convert("L")))) == 1


def test_a_sideways_photo_is_turned_by_its_exif(detector, photo_pixels, detected):
    image = Image.fromarray(photo_pixels[SMALL[0]]).transpose(Image.Transpose.ROTATE_90)
    image.getexif()[0x0112] = 6  # shown turned by 90 degrees clockwise
    assert_same(detector.detect(image), detected[SMALL[0]], 1e-3, 1e-5)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((2, 5, 5, 3), np.uint8),
        np.zeros((5, 5, 2), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 5, 3), np.int32),
        np.full((5, 5, 3), -1.0),
        np.full((5, 5, 3), 0.5),
        np.full((5, 5, 3), np.nan),
        torch.zeros(2, 3, 5, 5),
    ],
)
def test_what_is_no_image_is_refused(detector, image):
    with pytest.raises(ConfigError, match="cannot be used"):
        detector.detect(image)


def test_crops_are_saved(detector, photo_pixels, detected, tmp_path):
    target = tmp_path / "new" / "two.png"
    crops = detector.crop(photo_pixels[TWO], detected[TWO], 96, 10, save_to=target)
    assert crops.shape == (2, 96, 96, 3)
    assert sorted(p.name for p in target.parent.iterdir()) == ["two.png", "two_2.png"]
    for crop, path in zip(crops, (target, target.with_stem("two_2")), strict=True):
        assert np.array_equal(np.asarray(Image.open(path)), crop)
    assert crops.flags.writeable
    nothing = detector.crop(photo_pixels[TWO], Detections.none(), save_to=tmp_path / "x" / "a.png")
    assert nothing.shape == (0, 160, 160, 3)
    assert not list(tmp_path.rglob("a.png"))


@pytest.mark.parametrize("name", ["sface", "facenet-vggface2"])
def test_crop_for_each_alignment(photo_pixels, detected, name):
    card = find_card(name)
    size = card.input_size
    crops = face_crops(photo_pixels[TWO], detected[TWO], card)
    assert crops.shape == (2, size, size, 3)
    assert face_crops(photo_pixels[TWO], Detections.none(), card).shape == (0, size, size, 3)
    pixels, face = photo_pixels[TWO], detected[TWO].take(np.array([1]))
    if card.alignment == "arcface5":
        wanted = geometry.align_five(pixels, face.landmarks[0], size)
    else:
        wanted = geometry.crop_box(pixels, face.boxes[0], size, card.margin_px)
    assert np.array_equal(crops[1], wanted)
