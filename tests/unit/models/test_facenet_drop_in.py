import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline import facenet
from pipeline.errors import ConfigError
from pipeline.imaging import geometry
from pipeline.imaging.modes import to_rgb
from pipeline.models.facenet.drop_in.selection import METHODS, chosen

ONE, TWO, NONE = "obama-2012-closeup.jpg", "obama-and-biden-composite.jpg", "cat-no-face.png"


@pytest.fixture(scope="module")
def images(photo_pixels):
    return {name: Image.fromarray(pixels) for name, pixels in photo_pixels.items()}


@pytest.fixture(scope="module")
def mtcnn():
    return facenet.MTCNN()


@pytest.fixture(scope="module")
def everyone():
    return facenet.MTCNN(keep_all=True)


@pytest.fixture(scope="module")
def found(mtcnn, images):
    """Boxes, probabilities and landmarks of the photo with two faces."""
    return mtcnn.detect(images[TWO], landmarks=True)


def standardised(pixels, box, size=160, margin=0):
    crop = geometry.crop_box(pixels, np.asarray(box, np.float64), size, margin)
    return (torch.from_numpy(crop.astype(np.float32)).permute(2, 0, 1) - 127.5) / 128


def test_detects_what_the_reference_detects(mtcnn, images, reference):
    for name in (ONE, TWO):
        boxes, probs, points = mtcnn.detect(images[name], landmarks=True)
        rows = reference[reference.file == name]
        wanted = rows[["x1", "y1", "x2", "y2"]].to_numpy()
        order = np.argsort(-geometry.areas(wanted))
        np.testing.assert_allclose(boxes, wanted[order], atol=1e-3)
        np.testing.assert_allclose(probs, rows["prob"].to_numpy()[order], atol=1e-5)
        landmarks = rows[[f"l{i}{axis}" for i in range(5) for axis in "xy"]].to_numpy()
        np.testing.assert_allclose(points, landmarks[order].reshape(-1, 5, 2), atol=1e-3)


def test_one_image_gives_its_largest_face(mtcnn, images, photo_pixels, found):
    face, prob = mtcnn(images[TWO], return_prob=True)
    torch.testing.assert_close(face, standardised(photo_pixels[TWO], found[0][0]), rtol=0, atol=0)
    assert type(prob) is float
    assert prob == found[1][0]
    assert torch.equal(mtcnn(images[TWO]), face)
    boxes, probs = mtcnn.detect(images[TWO])
    assert (boxes == found[0]).all()
    assert (probs == found[1]).all()


def test_keep_all_gives_every_face(everyone, images, photo_pixels, found):
    faces, probs = everyone(images[TWO], return_prob=True)
    assert faces.shape == (2, 3, 160, 160)
    for face, box in zip(faces, found[0], strict=True):
        assert torch.equal(face, standardised(photo_pixels[TWO], box))
    assert (probs == found[1]).all()


@pytest.mark.parametrize("image", [NONE, (15, 15), (12, 400), (1, 1)], ids=str)
def test_no_face(mtcnn, everyone, images, image):
    image = images[image] if isinstance(image, str) else Image.new("RGB", image)
    assert mtcnn(image) is everyone(image) is None
    assert mtcnn(image, return_prob=True) == (None, None)
    faces, probs = everyone(image, return_prob=True)
    assert faces is None
    assert list(probs) == [None]
    boxes, probs, points = mtcnn.detect(image, landmarks=True)
    assert boxes is points is None
    assert list(probs) == [None]


def test_a_batch_of_mixed_sizes_some_without_a_face(mtcnn, everyone, images):
    names = [ONE, NONE, TWO]
    batch = [images[name] for name in names]
    faces, probs = mtcnn([*batch, Image.new("RGB", (5, 5))], return_prob=True)
    assert [face is None for face in faces] == [False, True, False, True]
    assert [list(prob) == [None] for prob in probs] == [False, True, False, True]
    for image, face, prob in zip(batch, faces, probs, strict=False):
        alone, its_prob = mtcnn(image, return_prob=True)
        assert alone is face is None or torch.equal(alone, face)
        assert prob[0] == its_prob
    assert [None if face is None else len(face) for face in everyone(tuple(batch))] == [1, None, 2]
    boxes, probs, points = mtcnn.detect(batch, landmarks=True)
    assert [None if box is None else box.shape for box in boxes] == [(1, 4), None, (2, 4)]
    assert points[2].shape == (2, 5, 2)


def test_images_with_as_many_faces_give_plain_arrays(mtcnn, images):
    boxes, probs, points = mtcnn.detect([images[TWO]] * 2, landmarks=True)
    assert (boxes.shape, probs.shape, points.shape) == ((2, 2, 4), (2, 2), (2, 2, 5, 2))
    assert boxes.dtype == probs.dtype == points.dtype == np.float32


def test_no_images(mtcnn):
    assert mtcnn([]) == []
    faces, probs = mtcnn([], return_prob=True)
    assert len(faces) == len(probs) == 0
    assert [len(column) for column in mtcnn.detect([], landmarks=True)] == [0, 0, 0]
    assert len(mtcnn(np.zeros((0, 40, 40, 3), np.uint8))) == 0


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "I;16", "I"])
def test_pictures_of_any_mode(mtcnn, images, mode):
    picture = images[ONE]
    if mode.startswith("I"):
        deep = np.asarray(picture.convert("L")).astype(np.uint16 if ";" in mode else np.int32) * 257
        picture = Image.fromarray(deep)
    else:
        picture = picture.convert("RGBA" if mode == "PA" else mode).convert(mode)
    assert picture.mode == mode
    face = mtcnn(picture)
    assert torch.equal(face, mtcnn(to_rgb(picture)))


def test_arrays_and_tensors_give_what_images_do(mtcnn, images, photo_pixels):
    pixels, face = photo_pixels[ONE], mtcnn(images[ONE])
    tensor = torch.from_numpy(pixels.copy())
    singles = [pixels, pixels[:, ::-1][:, ::-1], pixels.astype(np.int64), pixels.astype(np.float64)]
    singles += [pixels / np.float32(1), tensor, tensor.float(), tensor.int(), tensor.bfloat16()]
    opaque = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    for given_image in [*singles, opaque]:
        assert torch.equal(mtcnn(given_image), face)
    for batch in (pixels[None], tensor[None], tensor[None].float(), [pixels], (tensor, tensor)):
        assert all(torch.equal(one, face) for one in mtcnn(batch))
    grey = photo_pixels[ONE].mean(axis=2).astype(np.uint8)
    assert torch.equal(mtcnn(grey), mtcnn(Image.fromarray(grey)))
    assert torch.equal(mtcnn(grey[..., None]), mtcnn(grey))


@pytest.mark.parametrize(
    ("image", "hint"),
    [
        (torch.zeros(3, 50, 60, dtype=torch.uint8), r"permute\(1, 2, 0\)"),
        (np.zeros((2, 3, 50, 60), np.uint8), r"permute\(1, 2, 0\)"),
        (np.full((50, 60, 3), 3000, np.uint16), "give uint8"),
        (np.full((50, 60, 3), 0.5), "multiply it by 255"),
        (np.full((50, 60, 3), np.nan), "floats from 0 to 255"),
        (np.zeros((50, 60, 2), np.uint8), "PIL images"),
        ("photo.jpg", "PIL images"),
    ],
)
def test_what_is_no_image_says_what_to_give(mtcnn, image, hint):
    with pytest.raises(ConfigError, match=hint):
        mtcnn.detect(image)


def test_exif_does_not_turn_the_picture(mtcnn, images, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    images[ONE].save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as picture:
        boxes, _ = mtcnn.detect(picture)
    assert (boxes == mtcnn.detect(images[ONE])[0]).all()


def test_faces_are_saved_as_they_were_cut(mtcnn, everyone, images, tmp_path):
    face = mtcnn(images[TWO], save_path=str(tmp_path / "new" / "face.png"))
    with Image.open(tmp_path / "new" / "face.png") as picture:
        saved = np.asarray(picture)
    np.testing.assert_array_equal(saved, (face * 128 + 127.5).permute(1, 2, 0).numpy())
    everyone([images[NONE], images[TWO]], [tmp_path / "none.png", tmp_path / "a" / "two.png"])
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"two.png", "two_2.png"}
    assert not (tmp_path / "none.png").exists()
    mtcnn([images[ONE]] * 2, save_path=[None, str(tmp_path / "second.jpg")])
    with Image.open(tmp_path / "second.jpg") as picture:
        assert picture.size == (160, 160)


@pytest.mark.parametrize(
    ("paths", "hint"),
    [
        (["a.png", "sub/face"], "name it face.png"),
        (["a.png", "face.jpgg"], "name it face.png"),
        (["a.png", "face.psd"], "name it face.png"),  # Pillow reads it only
        (["a.png"], "1 save paths for 2 images"),
        ("a.png", "1 save paths for 2 images"),
    ],
)
def test_paths_are_checked_before_anything_is_saved(mtcnn, images, tmp_path, paths, hint):
    paths = str(tmp_path / paths) if isinstance(paths, str) else [tmp_path / p for p in paths]
    with pytest.raises(ConfigError, match=hint):
        mtcnn([images[ONE], images[ONE]], save_path=paths)
    assert list(tmp_path.iterdir()) == []


def test_options_of_the_crop(images, photo_pixels, found):
    mtcnn = facenet.MTCNN(image_size=112, margin=14, post_process=False)
    raw = mtcnn(images[TWO])
    wanted = standardised(photo_pixels[TWO], found[0][0], 112, 14) * 128 + 127.5
    assert torch.equal(raw, wanted)
    assert torch.equal(raw, facenet.extract_face(images[TWO], found[0][0], 112, 14))
    mtcnn.margin, mtcnn.post_process = 40, True  # attributes, as there
    assert torch.equal(mtcnn(images[TWO]), standardised(photo_pixels[TWO], found[0][0], 112, 40))


def test_settings_of_the_search_may_change_later(images):
    mtcnn = facenet.MTCNN()
    assert len(mtcnn.detect(images[TWO])[0]) == 2
    mtcnn.thresholds = [0.6, 0.7, 0.99998]
    assert len(mtcnn.detect(images[TWO])[0]) == 1
    mtcnn.min_face_size = 600
    assert mtcnn.detect(images[TWO])[0] is None


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"selection_method": "best"}, "choose from largest, probability"),
        ({"thresholds": (0.6, 0.7)}, "three numbers"),
        ({"factor": 1.0}, "factor"),
        ({"min_face_size": 0}, "min_face_px"),
    ],
)
def test_options_that_cannot_be(options, hint):
    with pytest.raises(ConfigError, match=hint):
        facenet.MTCNN(**options)


def test_a_margin_as_large_as_the_crop_cannot_be(images):
    with pytest.raises(ConfigError, match="smaller than image_size"):
        facenet.MTCNN(margin=160)(images[ONE])


def test_order_and_default_selection(mtcnn, images, found):
    probable = facenet.MTCNN(select_largest=False)
    assert (mtcnn.selection_method, probable.selection_method) == ("largest", "probability")
    boxes, probs = probable.detect(images[TWO])
    assert (np.diff(probs) <= 0).all()
    assert sorted(boxes.tolist()) == sorted(found[0].tolist())
    assert (np.diff(geometry.areas(found[0])) <= 0).all()


def test_selection_of_one_image(mtcnn, images, photo_pixels, found):
    for image in (images[TWO], photo_pixels[TWO], torch.from_numpy(photo_pixels[TWO].copy())):
        box, prob, points = mtcnn.select_boxes(*found, image, method="center_weighted_size")
        assert (box.shape, points.shape) == ((1, 4), (1, 5, 2))
        assert (box[0] == found[0][1]).all()  # the smaller face is nearer to the centre
        assert prob == found[1][1]
    box, prob, _ = mtcnn.select_boxes(*found, images[TWO])
    assert prob == found[1].max()
    nobody = mtcnn.select_boxes(*found, images[TWO], method="largest_over_threshold", threshold=1)
    assert nobody == mtcnn.select_boxes(None, [None], None, images[TWO]) == (None, None, None)
    # the probability belongs to the box, where the reference takes one of the others
    probs = np.array([0.5, 0.95])
    box, prob, _ = mtcnn.select_boxes(
        found[0], probs, found[2], images[TWO], method="largest_over_threshold"
    )
    assert (box[0] == found[0][1]).all()
    assert prob == 0.95


def test_selection_of_a_batch(mtcnn, images):
    batch = [images[TWO], images[NONE], images[ONE]]
    found = mtcnn.detect(batch, landmarks=True)
    boxes, probs, points = mtcnn.select_boxes(*found, batch, method="largest")
    assert [None if box is None else box.shape for box in boxes] == [(1, 4), None, (1, 4)]
    assert probs[1][0] is points[1] is None
    with pytest.raises(ConfigError, match="3 boxes for 2 images"):
        mtcnn.select_boxes(*found, batch[:2])
    with pytest.raises(ConfigError, match="choose from"):
        mtcnn.select_boxes(None, [None], None, images[NONE], method="best")


def test_extract(mtcnn, everyone, images, found):
    boxes = found[0]
    assert torch.equal(mtcnn.extract(images[TWO], boxes, None), mtcnn(images[TWO]))
    assert torch.equal(everyone.extract(images[TWO], boxes[::-1]), everyone(images[TWO]).flip(0))
    assert mtcnn.extract(images[TWO], None) is None
    first, none = mtcnn.extract([images[TWO]] * 2, [boxes.tolist(), boxes[:0]])
    assert torch.equal(first, mtcnn(images[TWO]))
    assert none is None
    with pytest.raises(ConfigError, match="1 boxes for 2 images"):
        mtcnn.extract([images[TWO]] * 2, [boxes])


faces = st.lists(
    st.tuples(*[st.integers(-50, 250)] * 2, *[st.integers(1, 120)] * 2, st.floats(0, 1)),
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(faces, st.sampled_from(METHODS), st.floats(0, 1), st.floats(0, 4))
def test_the_chosen_face_is_beaten_by_none(rows, method, threshold, weight):
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h, _ in rows], np.float64).reshape(-1, 4)
    scores = np.array([row[4] for row in rows])
    place = chosen(boxes, scores, (100, 200), method, threshold, weight)
    allowed = [i for i in range(len(rows)) if "over" not in method or scores[i] > threshold]
    if place is None:
        assert allowed == []
        return
    assert place in allowed

    def value(i):
        x, y, w, h, score = rows[i]
        if method == "probability":
            return score
        distance = (x + w / 2 - 100) ** 2 + (y + h / 2 - 50) ** 2
        return w * h - (weight * distance if method == "center_weighted_size" else 0)

    assert value(place) >= max(map(value, allowed)) - 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_of_equal_faces_the_last_is_taken(method):
    boxes = np.array([[1.0, 1, 5, 5], [10, 10, 50, 50], [10, 10, 50, 50], [1, 1, 5, 5]])
    scores = np.array([0.5, 0.99, 0.99, 0.5])
    assert chosen(boxes, scores, (60, 60), method) == 2


@settings(max_examples=60, deadline=None)
@given(*[st.floats(-40, 120)] * 4, st.integers(8, 48), st.integers(0, 7))
def test_any_box_gives_a_crop(x1, y1, x2, y2, size, margin):
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    face = facenet.extract_face(image, (x1, y1, x2, y2), size, margin)
    assert face.shape == (3, size, size)
    assert face.dtype == torch.float32
    assert face.min() >= 0
    assert face.max() <= 255


def test_standardisation():
    x = torch.tensor([0.0, 127.5, 255.0])
    assert facenet.fixed_image_standardization(x).tolist() == [-0.99609375, 0, 0.99609375]
    assert facenet.fixed_image_standardization(np.array([127.5])).tolist() == [0]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.floats(1, 200), st.floats(-100, 100))
def test_prewhitened_pixels_have_mean_0_and_deviation_1(seed, spread, shift):
    x = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(seed)) * spread + shift
    white = facenet.prewhiten(x)
    assert white.mean().abs() < 1e-4
    assert (white.std() - 1).abs() < 1e-4
    assert facenet.prewhiten(torch.full((3, 8, 8), shift)).abs().max() < 1e-2


def test_moving_converting_and_copying_change_no_answer(images, found):
    mtcnn = facenet.MTCNN(device="cpu")
    assert mtcnn.device == torch.device("cpu")
    copies = [
        mtcnn.to("cpu").eval(), mtcnn.train(), mtcnn.double(),
        copy.deepcopy(mtcnn), pickle.loads(pickle.dumps(mtcnn)),
    ]  # fmt: skip
    for one in copies:
        assert (one.detect(images[TWO])[0] == found[0]).all()
    half = mtcnn.half()
    np.testing.assert_allclose(half.detect(images[TWO])[0], found[0], atol=2)
    assert half(images[TWO]).dtype == torch.float32


def test_weights_of_the_detector_come_and_go(images, found):
    mtcnn = facenet.MTCNN()
    state = mtcnn.state_dict()
    assert len(state) == 50
    assert {key.split(".")[0] for key in state} == {"pnet", "rnet", "onet"}
    assert len(mtcnn.detect(images[TWO])[0]) == 2
    kept = {key: value.clone() for key, value in state.items()}
    blind = kept["onet.dense6_1.bias"] - torch.tensor([0.0, 100.0])
    mtcnn.onet.load_state_dict(
        {**mtcnn.onet.state_dict(), "dense6_1.bias": blind}
    )  # a part of it is enough
    assert mtcnn.detect(images[TWO])[0] is None
    mtcnn.load_state_dict(kept)
    assert (mtcnn.detect(images[TWO])[0] == found[0]).all()
    with torch.inference_mode():
        assert (facenet.MTCNN().detect(images[TWO])[0] == found[0]).all()
