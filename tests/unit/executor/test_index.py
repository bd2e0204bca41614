from dataclasses import replace

import pytest

from pipeline.config import IndexConfig
from pipeline.errors import LakeMismatchError
from pipeline.executor import index
from pipeline.executor.progress import Watch
from pipeline.lake.store import LakeStore, Models
from pipeline.sources.units import Plan
from tests.unit.lake.test_lake import rows


def test_the_way_back_to_the_models_of_a_lake_is_named(tmp_path, monkeypatch):
    lake = LakeStore(str(tmp_path / "lake"))
    config = IndexConfig(
        inputs=("photos",), output=str(tmp_path / "lake"), embedder="facenet-vggface2"
    )
    lake.claim(Models("mtcnn@1", "sface@2", 4))
    index.check_names(config, lake)  # nothing was written: it may change its models
    lake.publish_part(*rows(1))
    index.check_names(replace(config, embedder="sface"), lake)
    monkeypatch.setattr(
        index, "prepare_models", lambda *_: Models("mtcnn@1", "facenet-vggface2@3", 512)
    )
    for embedder in ("facenet-vggface2", "/by/its/path.onnx"):
        with pytest.raises(LakeMismatchError, match=r"--output\), or run with --embedder sface"):
            index.prepare_lake(replace(config, embedder=embedder), lake, Plan(), Watch())
