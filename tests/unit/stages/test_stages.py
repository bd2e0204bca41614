import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from pipeline.config import DecodeConfig, DetectConfig
from pipeline.imaging import geometry
from pipeline.lake import schema
from pipeline.lake.columns import matrix, pixels_column
from pipeline.lake.store import LakeStore, Models
from pipeline.lake.tombstones import from_rows, salted
from pipeline.maintenance.check import check
from pipeline.models.cards.card import find_card
from pipeline.stages import decode as stage
from pipeline.stages.decode import Decode
from pipeline.stages.detect import Detect
from pipeline.stages.embed import Embed
from pipeline.stages.records import DECODED, DETECTED, TIMINGS, embedded
from pipeline.stages.write import RESULT, Write
from tests.support.builders import PHOTOS, planned, put, read_all

NAMES = ["collins-nasa-portrait.png", "cat-no-face.png", "obama-and-biden-composite.jpg"]
FACES = {"collins-nasa-portrait.png": 1, "cat-no-face.png": 0, "obama-and-biden-composite.jpg": 2}
MODELS = Models("mtcnn@1", "sface@2", 128)
WHOLE = DecodeConfig(side=None)  # no JPEG is reduced


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """Three photos, and files that fail in ways of their own."""
    root = tmp_path_factory.mktemp("photos")
    bad = {"empty.jpg": b"", "text.jpg": b"no picture at all" * 9, "raw.cr2": b"II*\0" + b"x" * 99}
    photo = (PHOTOS / NAMES[2]).read_bytes()
    bad["cut.jpg"] = photo[: len(photo) // 3]
    put(root, bad | {name: (PHOTOS / name).read_bytes() for name in NAMES})
    (root / "gone.jpg").symlink_to(root / "nowhere")
    rows, _ = read_all(planned(root))
    assert len(rows) == 8
    return rows


def decoded_by(stage, batch):
    tables = list(stage(batch))
    assert all(t.schema.equals(DECODED) for t in tables)
    return pa.concat_tables(tables)


@pytest.fixture(scope="module")
def decoded(encoded):
    return decoded_by(Decode(WHOLE), encoded)


@pytest.fixture(scope="module")
def detect():
    return Detect(find_card("sface"))


@pytest.fixture(scope="module")
def embed():
    return Embed("sface", threads=1)


@pytest.fixture(scope="module")
def detected(detect, decoded):
    return detect(decoded)


@pytest.fixture(scope="module")
def vectors(embed, detected):
    return embed(detected)


def by_name(table):
    return {row["uri"].rsplit("/", 1)[-1]: row for row in table.to_pylist()}


def test_decode_keeps_every_row_and_tells_what_is_wrong(encoded, decoded):
    assert decoded["image_id"].equals(encoded["image_id"])
    rows = by_name(decoded)
    assert {name: row["error"] for name, row in rows.items()} == dict.fromkeys(NAMES) | {
        "empty.jpg": "empty",
        "text.jpg": "unsupported_format",
        "raw.cr2": rows["raw.cr2"]["error"],
        "cut.jpg": "truncated",
        "gone.jpg": "unreadable",
    }
    for name, row in rows.items():
        good = name in NAMES
        assert (row["pixels"] is not None) is good
        assert (row["error_detail"] is None) is good
        for column in ("width", "height", "format", "orientation", "phash", "phash_quality"):
            assert (row[column] is not None) is good, (name, column)
        assert row["decode_timing"]["seconds"] >= 0
    for name in NAMES:
        pixels = np.asarray(Image.open(PHOTOS / name).convert("RGB"))
        assert (rows[name]["height"], rows[name]["width"]) == pixels.shape[:2]
        assert rows[name]["pixels"] == pixels.tobytes()


def test_decode_hands_on_large_photos_in_pieces(encoded, decoded, monkeypatch):
    monkeypatch.setattr(stage, "TABLE_PIXELS", 1)
    tables = list(Decode(WHOLE)(encoded))
    assert len(tables) > 3
    whole = pa.concat_tables(tables).drop_columns(["decode_timing"])
    assert whole.equals(decoded.drop_columns(["decode_timing"]))


def test_decode_refuses_too_many_pixels(encoded):
    rows = by_name(decoded_by(Decode(replace(WHOLE, max_pixels=600 * 600)), encoded))
    assert {n: rows[n]["error"] for n in NAMES} == {
        NAMES[0]: None, NAMES[1]: None, NAMES[2]: "too_large"
    }  # fmt: skip


def test_detect_finds_the_faces_and_drops_the_pixels(decoded, detected):
    assert detected.schema.equals(DETECTED)
    rows = by_name(detected)
    assert {name: len(row["detections"]) for name, row in rows.items()} == FACES | {
        n: 0 for n in rows if n not in FACES
    }
    for name in DETECTED.names:
        if name in decoded.column_names:
            assert detected[name].equals(decoded[name])
    assert {n: row["turn"] for n, row in rows.items()} == {
        n: None if row["error"] else 0 for n, row in rows.items()
    }
    for row in rows.values():
        for face in row["detections"]:
            x1, y1, x2, y2 = face["box"]
            assert face["size_px"] == pytest.approx(min(x2 - x1, y2 - y1), rel=1e-5)
            assert 0.7 < face["score"] <= 1
            assert 0 < face["quality"] <= 1
            assert face["sharpness"] > 0
            assert -60 < face["yaw"] < 60
            assert -60 < face["roll"] < 60
            assert len(face["crop"]) == 112 * 112 * 3
            crop = np.frombuffer(face["crop"], np.uint8).reshape(112, 112, 3)
            thumbnail = np.asarray(Image.open(io.BytesIO(face["thumbnail"])))
            assert np.abs(thumbnail.astype(int) - crop).mean() < 8


def test_detect_aligns_each_crop_by_its_own_landmarks(detected, photo_pixels):
    for name in NAMES:
        for face in by_name(detected)[name]["detections"]:
            points = np.array(face["landmarks"], np.float32).reshape(5, 2)
            wanted = geometry.align_five(photo_pixels[name], points, 112)
            assert face["crop"] == wanted.tobytes()


def test_detect_says_how_a_picture_was_turned_and_cuts_upright_faces(
    decoded, detected, detect, photo_pixels
):
    pixels = photo_pixels[NAMES[2]]
    assert by_name(detected)[NAMES[2]]["turn"] == 0
    upright = decoded.filter([name.endswith(NAMES[2]) for name in decoded["uri"].to_pylist()])
    scan = np.ascontiguousarray(pixels[::-1, ::-1])
    column = upright.column_names.index("pixels")
    turned = upright.set_column(column, DECODED.field("pixels"), pixels_column([scan]))
    row = detect(turned).to_pylist()[0]
    wanted = by_name(detected)[NAMES[2]]
    assert row["turn"] == 180
    height, width = pixels.shape[:2]
    for face, other in zip(row["detections"], wanted["detections"], strict=True):
        x1, y1, x2, y2 = other["box"]
        assert face["box"] == pytest.approx([width - x2, height - y2, width - x1, height - y1])
        assert abs(face["roll"]) > 150
        assert face["yaw"] == pytest.approx(other["yaw"], abs=0.01)
        crop, upright_crop = (np.frombuffer(f["crop"], np.uint8) for f in (face, other))
        assert np.abs(crop.astype(int) - upright_crop).max() <= 1


def test_detect_without_thumbnails_and_with_a_selection(decoded):
    config = DetectConfig(selection="largest")
    stage = Detect(find_card("sface"), config, thumbnails=False)
    rows = by_name(stage(decoded))
    assert len(rows[NAMES[2]]["detections"]) == 1
    assert all(f["thumbnail"] is None for row in rows.values() for f in row["detections"])


def test_embed_gives_unit_vectors_that_tell_people_apart(detected, vectors):
    assert vectors.schema.equals(embedded(128))
    rows = by_name(vectors)
    assert {n: len(r["detections"]) for n, r in rows.items() if r["detections"]} == {
        n: k for n, k in FACES.items() if k
    }
    faces = [f for row in rows.values() for f in row["detections"]]
    matrix_ = np.array([f["embedding"] for f in faces])
    assert np.allclose(np.linalg.norm(matrix_, axis=1), 1, atol=1e-5)
    assert all(f["embedding_norm"] > 0 for f in faces)
    similar = matrix_ @ matrix_.T
    assert np.abs(similar[~np.eye(3, dtype=bool)]).max() < 0.35
    before = [f for row in by_name(detected).values() for f in row["detections"]]
    for old, new in zip(before, faces, strict=True):
        assert all(new[k] == old[k] for k in old if k != "crop")


def slices(table):
    return [table.slice(0, 3), table.slice(3, 2), table.slice(5)]


def plain(table):
    return table.drop_columns(
        [f.name for f in TIMINGS if f.name in table.column_names]
    ).combine_chunks()


def test_slices_of_a_table_give_what_the_whole_gives(
    encoded, decoded, detect, detected, embed, vectors
):
    """Ray cuts and joins batches at will."""
    parts = [decoded_by(Decode(WHOLE), part) for part in slices(encoded)]
    assert plain(pa.concat_tables(parts)).equals(plain(decoded))
    parts = [detect(part) for part in slices(decoded)]
    joined = pa.concat_tables(parts)
    assert [len(f) for f in joined["detections"].to_pylist()] == [
        len(f) for f in detected["detections"].to_pylist()
    ]
    parts = pa.concat_tables([embed(part) for part in slices(detected)])
    assert plain(parts).equals(plain(vectors))
    assert plain(embed(pa.concat_tables(slices(detected)))).equals(plain(vectors))


def test_empty_batches(encoded, decoded, detect, detected, embed, vectors, tmp_path):
    assert decoded_by(Decode(WHOLE), encoded.slice(0, 0)).num_rows == 0
    assert detect(decoded.slice(0, 0)).equals(DETECTED.empty_table())
    assert embed(detected.slice(0, 0)).equals(embedded(128).empty_table())
    lake = LakeStore(str(tmp_path / "lake"))
    assert Write(lake, MODELS, "r")(vectors.slice(0, 0)).equals(RESULT.empty_table())
    assert lake.parts() == []
    none = detected.filter(pa.compute.is_valid(detected["error"]))
    assert len(none) == 5
    assert [len(f) for f in embed(none)["detections"].to_pylist()] == [0] * 5


def test_what_was_forgotten_is_not_written(vectors, tmp_path):
    """A photo by its pixels in another file; a face by its place, the others keep their ids."""
    salt = b"s" * 32
    rows = {row["uri"].rpartition("#")[2]: row for row in vectors.to_pylist() if row["detections"]}
    hidden, partly = sorted(rows.values(), key=lambda row: len(row["detections"]))
    face = partly["detections"][0]
    none = dict.fromkeys(f.name for f in schema.FORGOTTEN)
    sides = [partly["width"], partly["height"]] * 2
    forgotten = from_rows(salt, [
        none | {"kind": "image", "key": bytes(16),
                "pixels": salted(salt, hidden["pixels_sha256"])},
        none | {"kind": "face", "key": salted(salt, f"{partly['image_id']}-0"),
                    "content": salted(salt, partly["sha256"]),
                "box": [v / side for v, side in zip(face["box"], sides, strict=True)]},
    ])  # fmt: skip
    lake = LakeStore(str(tmp_path / "lake"))
    lake.claim(MODELS)
    result = Write(lake, MODELS, "r", forgotten)(vectors).to_pylist()[0]
    images, faces = lake.read("images"), lake.read("faces")
    assert hidden["image_id"] not in images["image_id"].to_pylist()
    assert result["images"] == len(images) == len(vectors) - 1
    left = [f for f in faces["face_id"].to_pylist() if f.startswith(partly["image_id"])]
    ranks = range(1, len(partly["detections"]))
    assert left == [f"{partly['image_id']}-{k}" for k in ranks]
    counts = dict(zip(images["image_id"].to_pylist(), images["faces"].to_pylist(), strict=True))
    assert counts[partly["image_id"]] == len(left)
    assert check(lake).findings == []


def test_stages_do_not_change_their_input(encoded, detect, embed, decoded, detected):
    for run, table in ((detect, decoded), (embed, detected)):
        copy = pa.Table.from_batches(table.to_batches())
        run(table)
        assert table.equals(copy)


def test_write_conserves_images_and_faces(encoded, vectors, tmp_path):
    lake = LakeStore(str(tmp_path / "lake"))
    lake.claim(MODELS)
    result = Write(lake, MODELS, "run-1")(vectors)
    assert result.schema.equals(RESULT)
    (row,) = result.to_pylist()
    assert (row["images"], row["faces"], row["with_face"]) == (8, 3, 2)
    assert row["bytes"] == sum(b or 0 for b in encoded["bytes"].to_pylist())
    assert '"empty": 1' in row["errors"]
    assert lake.parts() == [row["part"]]

    images, faces = lake.read("images"), lake.read("faces")
    assert images.schema.equals(schema.IMAGES)
    assert faces.schema.equals(schema.faces_schema(128))
    assert images["image_id"].to_pylist() == encoded["image_id"].to_pylist()
    forgotten = by_name(images)
    assert {n: forgotten[n]["faces"] for n in NAMES} == FACES
    assert all((r["faces"] is None) == (r["error"] is not None) for r in forgotten.values())
    assert sum(r["faces"] or 0 for r in forgotten.values()) == len(faces)
    for image in forgotten.values():
        own_faces = [f for f in faces.to_pylist() if f["image_id"] == image["image_id"]]
        assert [f["face_id"] for f in own_faces] == [
            f"{image['image_id']}-{k}" for k in range(image["faces"] or 0)
        ]
        assert all(f["uri"] == image["uri"] for f in own_faces)
        areas = geometry.areas(np.array([f["box"] for f in own_faces], np.float32).reshape(-1, 4))
        assert (np.diff(areas) <= 0).all()
    assert set(faces["run_id"].to_pylist()) == set(images["run_id"].to_pylist()) == {"run-1"}
    assert set(faces["detector"].to_pylist()) == {"mtcnn@1"}
    assert set(faces["embedder"].to_pylist()) == {"sface@2"}
    detections = [f for r in vectors.to_pylist() for f in r["detections"]]
    assert np.array_equal(
        matrix(faces["embedding"]), np.array([f["embedding"] for f in detections], np.float32)
    )
    for table in (images, faces):
        for column in table.schema:
            assert column.nullable or table[column.name].null_count == 0, column.name

    # the same rows in another order and from slices are the same part
    again = Write(lake, MODELS, "run-1")(pa.concat_tables(slices(vectors)[::-1]))
    assert again["part"].to_pylist() == [row["part"]]
    assert len(lake.read("faces")) == 3


def test_write_of_rows_without_a_face(vectors, tmp_path):
    lake = LakeStore(str(tmp_path / "lake"))
    lake.claim(MODELS)
    none = vectors.filter(pa.compute.is_valid(vectors["error"]))
    Write(lake, MODELS, "r")(none)
    assert len(lake.read("images")) == 5
    assert lake.read("faces").equals(schema.faces_schema(128).empty_table())


@pytest.fixture
def box_embedder(tmp_path) -> Path:
    """An ONNX model that gives the mean colour, times a matrix, of a crop by box."""
    weight = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 40, 40])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "tiny.onnx")
    (tmp_path / "tiny.toml").write_text(
        'file = "tiny.onnx"\ninput_size = 40\nalignment = "box"\nmargin_px = 8\ncolour = "RGB"\n'
        "mean = 0\nstd = 255\ndimension = 4\n"
    )
    return tmp_path / "tiny.onnx"


def test_an_embedder_of_boxes_gets_boxes_with_their_margin(box_embedder, decoded, photo_pixels):
    card = find_card(str(box_embedder), "embedder")
    detections = Detect(card)(decoded)
    table = Embed(str(box_embedder))(detections)
    assert table.schema.equals(embedded(4))
    for name in NAMES:
        for face in by_name(detections)[name]["detections"]:
            box = np.array(face["box"], np.float32)
            wanted = geometry.crop_box(photo_pixels[name], box, 40, 8)
            assert face["crop"] == wanted.tobytes()
    assert [len(f) for f in table["detections"].to_pylist()] == [
        len(f) for f in detections["detections"].to_pylist()
    ]


def test_faces_of_a_reduced_photo_are_in_pixels_of_the_whole_one(photo_pixels, tmp_path):
    """Decoded at half its size, a photo has its faces where they are in the whole one."""
    pixels = photo_pixels["obama-2012-portrait.jpg"]
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", quality=95)
    rows, _ = read_all(planned(tmp_path))
    detections = {}
    for side in (None, max(pixels.shape) // 2):
        decoded = decoded_by(Decode(DecodeConfig(side=side), isolate=side is None), rows)
        assert decoded["reduced"].to_pylist() == [1 if side is None else 2]
        assert decoded["width"].to_pylist() == [pixels.shape[1]]
        detect = Detect(find_card("sface"), DetectConfig(selection="most-probable"))
        (detections[side],) = detect(decoded)["detections"].to_pylist()[0]
    whole, half = detections.values()
    assert half["box"] == pytest.approx(whole["box"], abs=0.05 * whole["size_px"])
    assert half["landmarks"] == pytest.approx(whole["landmarks"], abs=0.05 * whole["size_px"])
    assert half["size_px"] == pytest.approx(whole["size_px"], rel=0.1)
