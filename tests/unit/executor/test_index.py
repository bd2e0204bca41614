from dataclasses import replace

import pytest

from pipeline.config import IndexConfig
from pipeline.errors import ConfigError, LakeMismatchError, WeightsError
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
    with pytest.raises(LakeMismatchError, match=r"or run with --embedder sface$"):
        index.check_names(config, lake)
    monkeypatch.setattr(
        index, "prepare_models", lambda *_: Models("mtcnn@1", "facenet-vggface2@3", 512)
    )
    for embedder in ("facenet-vggface2", "/by/its/path.onnx"):
        with pytest.raises(LakeMismatchError, match=r"--output\), or run with --embedder sface"):
            index.prepare_lake(replace(config, embedder=embedder), lake, Plan(), Watch())


def test_licences_are_looked_at_before_anything_is_fetched(tmp_path):
    config = IndexConfig(
        inputs=("photos",), output="lake", weights_dir=str(tmp_path), licences="commercial"
    )
    index.prepare_models(replace(config, embedder="sface"), Watch())
    with pytest.raises(WeightsError, match="card of facenet-vggface2 does not say"):
        index.prepare_models(config, Watch())
    with pytest.raises(ConfigError, match="is a model of kind picture"):
        index.prepare_models(replace(config, embedder="sscd"), Watch())


def test_views_do_not_mix(tmp_path):
    lake, other = (LakeStore(str(tmp_path / name)) for name in ("lake", "other"))
    config = IndexConfig(inputs=("photos",), output=lake.folder.url, embedder="sface")
    one, both = (
        index.prepare_models(replace(config, views=views), Watch()) for views in ("one", "flip")
    )
    assert both == replace(one, embedder=f"{one.embedder}+flip")
    assert both.names == one.names
    for made, models, way in ((lake, both, "--views flip"), (other, one, "--views one")):
        made.claim(models)
        made.publish_part(*rows(1))
        views = way.split()[1]
        index.prepare_lake(replace(config, views=views), made, Plan(), Watch())
        wrong = replace(config, views="one" if views == "flip" else "flip")
        for refuse in (index.check_names, lambda c, m: index.prepare_lake(c, m, Plan(), Watch())):
            with pytest.raises(LakeMismatchError, match=rf"--output\), or run with {way}$"):
                refuse(wrong, made)
    with pytest.raises(LakeMismatchError, match=r"or run with --embedder sface --views flip$"):
        index.check_names(replace(config, embedder="facenet-vggface2"), lake)
