import inspect
import subprocess
import sys

import numpy as np
import pyarrow.compute as pc
import pytest

from pipeline import Lake, index, options, verify
from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.config import IndexConfig
from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.errors import ConfigError
from pipeline.evaluation import settings as evaluation
from pipeline.executor.planning.job import PlanConfig
from pipeline.search.settings import IdentifyConfig, SearchConfig, VectorIndexConfig, VerifyConfig
from pipeline.training.settings import TrainConfig
from pipeline.web.report.settings import ReportConfig
from tests.support import lakes

CONFIGS = [
    IndexConfig, ClusterConfig, DedupeConfig, SearchConfig, IdentifyConfig, VerifyConfig,
    VectorIndexConfig, ReportConfig, PlanConfig, evaluation.ClusteringConfig,
    evaluation.VerificationConfig, evaluation.IdentificationConfig, evaluation.DetectionConfig,
    evaluation.CalibrationConfig, TrainConfig,
]  # fmt: skip


@pytest.fixture
def lake(tmp_path):
    vectors, _ = lakes.archive(people=6, each=5)
    lakes.make(tmp_path / "lake", vectors)
    return Lake(tmp_path / "lake")


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, pipeline; assert 'pyarrow' not in sys.modules; "
        "from pipeline import Lake, index; "
        "print({'torch', 'ray', 'onnxruntime', 'openvino'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_tables_are_read_whole_in_columns_and_in_batches(lake):
    assert (len(lake.images), len(lake.faces)) == (30, 30)
    assert lake.faces.schema.field("box").metadata[b"unit"] == b"pixels"
    frame = lake.faces.to_pandas(columns=["uri", "box"])
    assert list(frame.columns) == ["uri", "box"]
    assert frame["box"][0].shape == (4,)
    batches = list(lake.faces.batches(["face_id"], rows=4))
    assert max(batch.num_rows for batch in batches) <= 4
    ids = [face for batch in batches for face in batch["face_id"].to_pylist()]
    assert sorted(ids) == sorted(lake.faces.to_arrow(["face_id"])["face_id"].to_pylist())
    some = lake.faces.to_arrow(["face_id"], pc.field("face_id") == ids[3])
    assert some["face_id"].to_pylist() == [ids[3]]


def test_vectors_are_one_matrix(lake):
    ids, vectors = lake.faces.vectors()
    assert (ids.shape, vectors.shape, vectors.dtype) == ((30,), (30, 128), np.float32)
    table = lake.faces.to_arrow(["face_id", "embedding"]).to_pylist()
    expected = {row["face_id"]: row["embedding"] for row in table}
    assert all(np.array_equal(vectors[i], expected[face]) for i, face in enumerate(ids))


def test_people_are_found_named_and_corrected(lake):
    with pytest.raises(ConfigError, match="run facelake cluster"):
        lake.people.to_arrow()
    steps = []
    figures = lake.cluster(ray="never", progress=lambda *step: steps.append(step))
    assert figures["people"] == len(lake.people) == 6
    assert len(lake.clusters) == 30
    assert steps
    first, second = lake.people.to_arrow(["person_id"])["person_id"].to_pylist()[:2]
    lake.people.name(first, "Ann")
    assert lake.people.to_pandas(["name"])["name"].tolist().count("Ann") == 1
    assert len(lake.people.faces("Ann")) == 5
    lake.people.merge("Ann", second)
    assert (len(lake.people), len(lake.people.faces("Ann"))) == (5, 10)
    lake.people.undo()
    assert [batch.num_rows for batch in lake.people.batches(["person_id"], rows=4)] == [4, 2]
    assert next(made.kind for made in lake.people.history()) == "name"
    assert any(name.startswith("cluster-") for name in lake.store.folder.child("runs").files())


def test_everything_else_has_a_method(lake):
    lake.cluster(ray="never")
    assert lake.check().findings == []
    face = lake.faces.to_arrow(["face_id"])["face_id"][0].as_py()
    assert len(lake.search(face_id=face, top=3).matches) == 3
    other = lake.search(face_id=face, top=1).matches[0].face_id
    assert lake.verify(face, other, threshold=0.1).same
    assert lake.report().pages > 2
    targets = []
    refused = lake.forget(
        face=face, confirm=lambda target: targets.append(target) is None and False
    )
    assert refused.removed is None
    assert len(targets) == 1
    gone = lake.forget(face=face, prove=True)
    assert gone.proof.findings == []
    assert len(lake.faces) == 29


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda lake: Lake(lake.url + "-none"), "There is no lake"),
        (lambda lake: lake.faces.to_pandas(["nobody"]), "faces has no column 'nobody'"),
        (lambda lake: list(lake.faces.batches(["nobody"])), "faces has no column 'nobody'"),
        (lambda lake: lake.cluster(neighbour=3), "did you mean neighbours"),
        (lambda lake: lake.cluster(neighbours=0), "neighbours is 0; give 2 or more"),
        (lambda lake: lake.dedupe(radius=64), "radius is 64; it must lie between 0 and 63"),
        (lambda lake: lake.search(), "Give either a photo or a face_id"),
        (lambda lake: lake.people.name("Ann", "Bob"), "run facelake cluster"),
        (lambda lake: lake.copies(["burst"]), "bursts are no copies"),
        (lambda lake: len(lake.duplicates), "Nobody has looked for duplicates"),
        (lambda lake: index([], "lake"), "no input"),
        (lambda lake: index("a", "lake", retry_errors=["x"]), "there is no such code"),
    ],
)
def test_errors_say_what_to_do(lake, call, message):
    with pytest.raises(ConfigError, match=message):
        call(lake)


@pytest.mark.parametrize(
    ("function", "config"),
    [
        (index, IndexConfig),
        (Lake.cluster, ClusterConfig),
        (Lake.dedupe, DedupeConfig),
        (Lake.search, SearchConfig),
        (Lake.identify, IdentifyConfig),
        (Lake.build_index, VectorIndexConfig),
        (Lake.report, ReportConfig),
        (Lake.train, TrainConfig),
        (Lake.evaluate_clustering, evaluation.ClusteringConfig),
        (Lake.evaluate_verification, evaluation.VerificationConfig),
        (Lake.evaluate_identification, evaluation.IdentificationConfig),
        (Lake.evaluate_detection, evaluation.DetectionConfig),
        (Lake.calibrate, evaluation.CalibrationConfig),
        (verify, VerifyConfig),
    ],
)
def test_options_are_shown_where_people_look_for_them(function, config):
    parameters = inspect.signature(function).parameters
    for one in options.settings(config):
        assert parameters[one.name].default == one.default
        assert f"    {one.name}: " in function.__doc__


@pytest.mark.parametrize("config", CONFIGS)
def test_every_number_has_bounds_that_its_default_keeps(config):
    for one in options.settings(config):
        if one.base in (int, float):
            assert one.option.rule()
            assert one.default is None or one.option.allows(one.default)
            assert not one.option.allows(float("nan"))


@pytest.mark.parametrize(
    ("option", "inside", "outside", "rule"),
    [
        (options.Option("", least=1), [1, 5], [0, float("nan")], "give 1 or more"),
        (options.Option("", above=0), [0.1], [0, -1], "give more than 0"),
        (options.Option("", least=0, most=1), [0, 1], [-0.1, 1.1], "it must lie between 0 and 1"),
        (options.Option("", above=0, below=1), [0.5], [0, 1], "it must lie between 0 and 1"),
        (options.Option("", above=0, most=9), [9], [0, 10], "give more than 0, at most 9"),
        (options.Option("", least=2000, why="else"), [2000], [1], "give 2,000 or more: else"),
    ],
)
def test_bounds(option, inside, outside, rule):
    assert all(map(option.allows, inside))
    assert not any(map(option.allows, outside))
    assert option.rule() == rule


def test_zero_stands_for_none_where_the_option_says_so():
    given = {"inputs": ("a",), "output": "b"}
    assert options.build(IndexConfig, {"decode_side": 0}, **given).decode.side is None
    assert options.build(IndexConfig, {"decode_side": None}, **given).decode.side is None
