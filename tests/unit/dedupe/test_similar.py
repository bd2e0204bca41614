"""Copies by an image embedding: a toy one, whose vectors are the picture in 8 x 8 colours."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image, ImageEnhance

from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.dedupe.duplicates import Duplicates
from pipeline.dedupe.run import Run
from pipeline.dedupe.similar import LEAST_HASHED, NEAREST, measured, nearest, radius
from pipeline.errors import ConfigError, WeightsError
from pipeline.lake.checkpoints import in_process
from tests.support import pictures
from tests.support.builders import tar_bytes
from tests.support.pictures import encoded, photo


def colours(path):
    nodes = [
        helper.make_node("AveragePool", ["x"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Flatten", ["pooled"], ["y"]),
    ]
    ends = (("x", ["N", 3, 32, 32]), ("y", ["N", 192]))
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in ends]
    graph = helper.make_graph(nodes, "colours", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    path.with_suffix(".toml").write_text(
        f'file = "{path.name}"\ninput_size = 32\nalignment = "box"\ncolour = "RGB"\n'
        "mean = 127.5\nstd = 127.5\ndimension = 192\n"
    )
    return str(path)


def cropped(image, share):
    x, y = int(image.width * share), int(image.height * share)
    return image.crop((x, y, image.width - x, image.height - y))


@pytest.fixture
def archive(tmp_path):
    image = photo("coffee-no-face.png", 600)
    files = {
        "whole.jpg": encoded(image, quality=95),
        "crop.jpg": encoded(ImageEnhance.Color(cropped(image, 0.05)).enhance(1.3)),
        "other.jpg": encoded(photo("obama-blue-room.jpg")),
        "cat.jpg": encoded(photo("cat-no-face.png")),
        "broken.jpg": encoded(image)[:100],
    }
    pictures.indexed(tmp_path / "lake", files, tmp_path / "photos")
    shard = tmp_path / "photos" / "a.tar"
    data = encoded(image.crop((0, 0, image.width - 60, image.height - 40)), quality=80)
    shard.write_bytes(tar_bytes([("in/tar.jpg", data), ("in/more.jpg", encoded(photo()))]))
    (tmp_path / "tar.jpg").write_bytes(data)
    row = pictures.read_row(tmp_path / "tar.jpg", tmp_path)
    uri = f"{shard}#in/tar.jpg"
    identity = {key: pictures.row(uri)[key] for key in ("image_id", "uri", "shard")}
    return pictures.lake_of(tmp_path / "lake", [row | identity])


def search(lake, run_id, **options):
    Run(Duplicates(lake), DedupeConfig(**options), in_process, run_id).dedupe()
    images = lake.read("images", ["image_id", "uri"]).to_pylist()
    names = {one["image_id"]: one["uri"].rsplit("/", 1)[-1] for one in images}
    return {names[r["image_id"]]: r["kind"] for r in Duplicates(lake).table().to_pylist()}


def test_what_hashes_miss_an_embedding_finds(archive, tmp_path):
    assert search(archive, "hashes") == {}
    model = colours(tmp_path / "colours.onnx")
    expected = {"whole.jpg": "kept", "crop.jpg": "similar", "tar.jpg": "similar"}
    assert search(archive, "model", model=model, model_cosine=0.92) == expected
    folder = next((tmp_path / "lake" / "duplicates" / "_vectors").iterdir())
    assert folder.name.startswith("colours@")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    (tmp_path / "photos" / "a.tar").unlink()  # vectors are kept: originals are read once
    assert search(archive, "again", model=model, model_cosine=0.92) == expected
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert search(archive, "stricter", model=model, model_cosine=0.999) == {}


@pytest.mark.parametrize("cosine", [0.88, 0.95, 0.99])
def test_the_searched_radius_holds_nearly_all_pairs_at_the_threshold(cosine):
    from pipeline.dedupe.algorithms.faces import sign_hashes

    random = np.random.default_rng(0)
    a, b = random.standard_normal((2, 2000, 128)).astype(np.float32)
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b -= (a * b).sum(axis=1, keepdims=True) * a
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    b = cosine * a + np.sqrt(1 - cosine**2) * b
    bits = np.bitwise_count(sign_hashes(a) ^ sign_hashes(b)).sum(axis=1, dtype=int)
    assert (bits <= radius(cosine)).mean() > 0.99


def test_a_cosine_that_means_nothing_is_refused():
    with pytest.raises(ConfigError, match="must lie between"):
        DedupeConfig(model="m", model_cosine=1.0)
    assert radius(LEAST_HASHED) <= 63


def test_small_pictures_are_enlarged(tmp_path):
    lake = pictures.indexed(
        tmp_path / "lake", {"dot.png": encoded(Image.new("RGB", (3, 2)), "PNG")}, tmp_path / "p"
    )
    assert search(lake, "dot", model=colours(tmp_path / "colours.onnx")) == {}


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_the_threshold_comes_from_the_lake_and_the_card():
    random = np.random.default_rng(0)
    strangers = unit(random.standard_normal((2000, 64)) + 0.5)
    threshold = measured(strangers, 0.75)
    cosines = strangers @ strangers.T
    np.fill_diagonal(cosines, 0)
    assert 0.05 < (cosines >= threshold).sum(axis=1).mean() < 2  # one, less for the card
    copies = unit(strangers + 0.02 * random.standard_normal(strangers.shape))
    pairs = np.stack([strangers, copies], axis=1).reshape(-1, 64)  # copies side by side
    assert measured(pairs, 0.75) == pytest.approx(threshold, abs=0.05)
    assert measured(strangers[:1], 0.75) == 0.75
    assert measured(strangers[:4], 0.75) == pytest.approx(0.75, abs=0.01)  # too few to tell
    assert measured(strangers[:1], None) == 0.95
    assert measured(unit(strangers + 5), 0.75) == 0.75  # all alike: not above the card's


def test_of_each_picture_the_nearest_are_looked_at():
    random = np.random.default_rng(0)
    vectors = unit(random.standard_normal((3000, 16)))
    found = nearest(vectors, 0.8)
    cosines = np.triu(vectors @ vectors.T, 1)
    assert found.tolist() == np.argwhere(cosines >= 0.8).tolist()
    crowd = nearest(np.repeat(vectors[:1], 100, axis=0), 0.9)
    assert len(crowd) <= 100 * NEAREST
    assert nearest(vectors[:1], 0.1).shape == (0, 2)


def test_pictures_that_only_look_alike_are_told_apart(tmp_path):
    """Colours say that they are one; the second look says what they show."""
    image = photo("coffee-no-face.png", 600)
    files = {
        "whole.jpg": encoded(image),
        "part.jpg": encoded(cropped(image, 0.1)),
        "upside.jpg": encoded(cropped(image, 0.1).rotate(180)),
        "cat.jpg": encoded(photo("cat-no-face.png")),
    }
    lake = pictures.indexed(tmp_path / "lake", files, tmp_path / "p")
    model = colours(tmp_path / "colours.onnx")
    found = search(lake, "looked", model=model, model_cosine=0.01)
    assert found == {"whole.jpg": "kept", "part.jpg": "similar"}
    believed = search(lake, "believed", model=model, model_cosine=0.01, confirm=False)
    assert set(believed) > set(found)


def test_a_model_that_may_not_be_used_is_refused(archive, tmp_path):
    with pytest.raises(WeightsError, match="card of colours does not say"):
        search(archive, "no", model=colours(tmp_path / "colours.onnx"), licences="commercial")
    with pytest.raises(ConfigError, match="mtcnn is a detector"):
        search(archive, "no", model="mtcnn")
