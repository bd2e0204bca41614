"""Copies by an image embedding: a toy one, whose vectors are the picture in 8 x 8 colours."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image, ImageEnhance

from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.dedupe.duplicates import Duplicates
from pipeline.dedupe.run import Run
from pipeline.dedupe.similar import Similarity
from pipeline.errors import ConfigError
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
    assert (bits <= Similarity("m", cosine).radius).mean() > 0.99


def test_a_cosine_that_means_nothing_is_refused():
    with pytest.raises(ConfigError, match="must lie between"):
        DedupeConfig(model="m", model_cosine=0.5)
    assert Similarity("m", 0.88).radius <= 63


def test_small_pictures_are_enlarged(tmp_path):
    lake = pictures.indexed(
        tmp_path / "lake", {"dot.png": encoded(Image.new("RGB", (3, 2)), "PNG")}, tmp_path / "p"
    )
    assert search(lake, "dot", model=colours(tmp_path / "colours.onnx")) == {}
