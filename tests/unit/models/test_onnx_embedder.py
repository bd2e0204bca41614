import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.errors import ResourceError, WeightsError
from pipeline.models import embedder as embedder_module
from pipeline.models.cards.card import find_card
from pipeline.models.drift import lowest_cosine, probe_faces
from pipeline.models.embedder import load_embedder
from pipeline.models.onnx import embedder as onnx_embedder
from pipeline.models.onnx.embedder import OnnxEmbedder
from pipeline.models.onnx.graph import read_model, simplify
from pipeline.models.openvino.embedder import OpenvinoEmbedder
from pipeline.models.runtime import has_bfloat16
from pipeline.models.weights.store import DATA, WeightStore

SFACE = DATA / "face_recognition_sface_2021dec_int8bq.onnx"
WEIGHT = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def crops(count: int, size: int = 112) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def make_model(
    path: Path, batch: int | str = "N", weight: np.ndarray = WEIGHT, external: bool = False
) -> Path:
    """Write a model that multiplies the mean colour by a matrix, and its card."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, weight.shape[1]])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(
        model,
        path,
        save_as_external_data=external,
        location="weights.bin",
        size_threshold=0,
    )
    path.with_suffix(".toml").write_text(
        f'file = "{path.name}"\ninput_size = 32\nalignment = "box"\ncolour = "BGR"\n'
        "mean = [1, 2, 3]\nstd = 4\ndimension = 4\n"
    )
    return path


def expected(faces: np.ndarray) -> np.ndarray:
    mean = faces[..., ::-1].astype(np.float64).mean((1, 2))
    raw: np.ndarray = (mean - [1, 2, 3]) / 4 @ WEIGHT
    return raw


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("batch", ["N", 1])
def test_any_onnx_runs_by_path(tmp_path: Path, batch: int | str, external: bool) -> None:
    path = make_model(tmp_path / "mine.onnx", batch, external=external)
    embedder = load_embedder(str(path), precision="float32")
    faces = crops(5, 32)
    vectors, norms = embedder.embed(faces)
    np.testing.assert_allclose(vectors * norms[:, None], expected(faces), rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    assert vectors.dtype == norms.dtype == np.float32
    assert embedder.card.name == "mine"
    assert embedder.revision.startswith("mine@")


def test_no_crops_give_empty_arrays(tmp_path: Path) -> None:
    embedder = load_embedder(str(make_model(tmp_path / "mine.onnx")))
    vectors, norms = embedder.embed(crops(0, 32))
    assert vectors.shape == (0, 4)
    assert norms.shape == (0,)
    assert vectors.dtype == norms.dtype == np.float32


@pytest.mark.parametrize("case", ["size", "type", "rank"])
def test_wrong_crops_are_refused(tmp_path: Path, case: str) -> None:
    embedder = load_embedder(str(make_model(tmp_path / "mine.onnx")))
    wrong = {
        "size": crops(1, 31),
        "type": crops(1, 32).astype(np.float32),
        "rank": crops(1, 32)[0],
    }
    with pytest.raises(ValueError, match=r"uint8 \[N, 32, 32, 3\]"):
        embedder.embed(wrong[case])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_broken_weights_are_an_error_not_a_vector(tmp_path: Path, bad: float) -> None:
    path = make_model(tmp_path / "mine.onnx", weight=np.full_like(WEIGHT, bad))
    with pytest.raises(WeightsError, match="2 of 2 vectors that are zero or not finite"):
        load_embedder(str(path)).embed(crops(2, 32))


def test_models_that_contradict_their_card_are_refused(tmp_path: Path) -> None:
    path = make_model(tmp_path / "mine.onnx")
    card = find_card(str(path))
    with pytest.raises(WeightsError, match="vectors of 4 numbers; its card says dimension = 5"):
        OnnxEmbedder(replace(card, dimension=5), path)
    with pytest.raises(WeightsError, match=r"not \[N, 3, 64, 64\]"):
        OnnxEmbedder(replace(card, input_size=64), path)
    with pytest.raises(WeightsError, match="exactly 8 faces"):
        OnnxEmbedder(card, make_model(path, batch=8))
    path.write_bytes(b"no model")
    with pytest.raises(WeightsError, match="not an ONNX model"):
        OnnxEmbedder(card, path)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "link.bin"])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = make_model(folder / "mine.onnx", external=True)
    (tmp_path / "secret.bin").write_bytes((folder / "weights.bin").read_bytes())
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    path.write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match="outside the folder"):
        load_embedder(str(path))


@pytest.mark.parametrize(
    ("key", "value"),
    [("location", "fifo"), ("location", "hard.bin"), ("length", str(10 << 30)), ("length", "-5"),
     ("offset", "99999999999")],
)  # fmt: skip
def test_external_data_that_is_no_part_of_a_file_is_refused(
    tmp_path: Path, key: str, value: str
) -> None:
    path = make_model(tmp_path / "mine.onnx", external=True)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "secret.bin").write_bytes((tmp_path / "weights.bin").read_bytes())
    os.link(tmp_path / "secret.bin", tmp_path / "hard.bin")
    model = onnx.load(path, load_external_data=False)
    data = model.graph.initializer[0].external_data
    kept = {entry.key: entry.value for entry in data} | {key: value}
    del data[:]
    for name, text in kept.items():
        data.add(key=name, value=text)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match="cannot read its external data"):
        load_embedder(str(path))


def test_sface_needs_no_download() -> None:
    embedder = load_embedder("sface")
    faces = crops(3)
    vectors, norms = embedder.embed(faces)
    assert vectors.shape == (3, 128)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    assert (norms > 0).all()
    assert embedder.revision == "sface@fb143eea0783"
    assert embedder.card.alignment == "arcface5"
    alone = np.concatenate([embedder.embed(faces[i : i + 1])[0] for i in range(3)])
    np.testing.assert_allclose(alone, vectors, atol=1e-6)


def test_folding_sface_keeps_its_outputs() -> None:
    shipped = read_model(SFACE)
    folded = simplify(shipped)
    kinds = [node.op_type for node in folded.graph.node]
    assert {"DequantizeLinear", "Reshape"}.isdisjoint(kinds)
    assert kinds.count("PRelu") == 2  # of 27; these have slopes above 1
    assert [value.name for value in folded.graph.input] == ["data"]
    del shipped.graph.input[1:]  # the dangling ones, without which it does not load
    x = crops(2).astype(np.float32).transpose(0, 3, 1, 2)
    before, after = (run(model, x[:1]) for model in (shipped, folded))
    np.testing.assert_allclose(
        after / np.linalg.norm(after), before / np.linalg.norm(before), atol=5e-6
    )
    assert run(simplify(shipped, free_batch=True), x).shape == (2, 128)


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    output: np.ndarray = session.run(None, {model.graph.input[0].name: x})[0]
    return output


@pytest.mark.parametrize("mixes", [False, True])
def test_a_model_of_batch_one_is_freed_only_if_faces_do_not_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mixes: bool
) -> None:
    path = make_model(tmp_path / "mine.onnx", batch=1)
    if mixes:  # a mean over the batch: right for one face only
        model = onnx.load(path)
        mean = helper.make_node("ReduceMean", ["x"], ["own"], axes=[0], keepdims=1)
        minus = helper.make_node("Mul", ["x", "own"], ["product"])
        model.graph.node[0].input[0] = "product"
        nodes = [mean, minus, *model.graph.node]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        onnx.save(model, path)
    monkeypatch.setattr(onnx_embedder, "BATCH", 4)
    embedder = load_embedder(str(path), precision="float32")
    # where faces mix, OpenVINO would give other vectors than ONNX Runtime one at a time
    assert isinstance(embedder, OnnxEmbedder if mixes else OpenvinoEmbedder)
    embedder = OnnxEmbedder(find_card(str(path)), path)
    faces = crops(5, 32)
    vectors, _ = embedder.embed(faces)
    alone = np.concatenate([embedder.embed(faces[i : i + 1])[0] for i in range(5)])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)
    assert embedder._batch == (1 if mixes else 4)


@pytest.mark.parametrize("kind", ["tensor", "axis", "blocks", "negative axis"])
def test_dequantising_agrees_with_onnx_runtime(kind: str) -> None:
    generator = np.random.default_rng(3)
    data = generator.integers(-128, 128, (6, 10)).astype(np.int8)
    shape, options = {
        "tensor": ((), {}),
        "axis": ((6,), {"axis": 0}),
        "blocks": ((6, 5), {"axis": 1, "block_size": 2}),
        "negative axis": ((10,), {"axis": -1}),
    }[kind]
    scale = generator.random(shape).astype(np.float32)
    zero = generator.integers(-5, 5, shape).astype(np.int8)
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["data", "scale", "zero"], ["weight"], **options),
            helper.make_node("Add", ["x", "weight"], ["y"]),
        ],
        "dequantise",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [6, 10])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [6, 10])],
        [
            numpy_helper.from_array(np.asarray(value), name)
            for name, value in (("data", data), ("scale", scale), ("zero", zero))
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    folded = simplify(model)
    assert [node.op_type for node in folded.graph.node] == ["Add"]
    x = np.zeros((6, 10), np.float32)
    np.testing.assert_array_equal(run(folded, x), run(model, x))


def test_prelu_above_one_is_kept() -> None:
    def model(slope: float) -> onnx.ModelProto:
        graph = helper.make_graph(
            [helper.make_node("PRelu", ["x", "slope"], ["y"])],
            "prelu",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])],
            [numpy_helper.from_array(np.array([slope], np.float32), "slope")],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    x = np.array([-2, 0, 3], np.float32)
    for slope, kinds in ((2.0, ["PRelu"]), (0.25, ["Mul", "Max"]), (-1.0, ["Mul", "Max"])):
        folded = simplify(model(slope))
        assert [node.op_type for node in folded.graph.node] == kinds
        np.testing.assert_array_equal(run(folded, x), np.where(x < 0, slope * x, x))


@pytest.mark.parametrize("wanted", ["bfloat16", "float32", None])
def test_precision_of_sface(wanted: str | None) -> None:
    """By itself SFace stays in float32: bfloat16 moves some of its vectors by 5e-4."""
    if wanted == "bfloat16" and not has_bfloat16():
        with pytest.raises(ResourceError, match="no bfloat16"):
            load_embedder("sface", precision="bfloat16")
        return
    embedder = load_embedder("sface", precision=wanted)
    assert embedder.precision == (wanted or "float32")
    faces = probe_faces(112)
    exact = OnnxEmbedder(embedder.card, WeightStore().path(embedder.card)).embed(faces)[0]
    cosine = lowest_cosine(exact, embedder.embed(faces)[0])
    assert 0.998 < cosine < 0.99999 if wanted == "bfloat16" else cosine > 0.99999


def test_bfloat16_is_refused_where_only_onnx_runtime_runs_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_model(tmp_path / "mine.onnx")
    monkeypatch.setattr(embedder_module, "has_bfloat16", lambda: True)
    monkeypatch.setattr(embedder_module, "openvino", lambda: None)
    with pytest.raises(ResourceError, match="runs in ONNX Runtime here, in float32"):
        load_embedder(str(path), precision="bfloat16")


def test_a_face_and_its_mirror_image_make_one_vector():
    one, both = load_embedder("sface"), load_embedder("sface", views="flip")
    faces = probe_faces(112)
    (first, norms), (second, more) = one.embed(faces), one.embed(faces[:, :, ::-1].copy())
    vectors, norm = both.embed(faces)
    mean = (first + second) / np.linalg.norm(first + second, axis=1, keepdims=True)
    assert np.allclose(vectors, mean, atol=1e-6)
    assert np.allclose(norm, (norms + more) / 2)
    assert (vectors.dtype, norm.dtype) == (np.float32, np.float32)
    assert both.revision == f"{one.revision}+flip"
    assert both.embed(faces[:0])[0].shape == (0, 128)
