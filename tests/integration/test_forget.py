"""Forgetting on real photos: what is gone stays gone when the photos are indexed again."""

import shutil

import pandas as pd

from pipeline.commands.main import main
from tests.support.indexing import EXAMPLES, index

GONE = "obama-2009-speech.jpg"


def names(lake):
    return set(pd.read_parquet(lake / "images").uri.str.rsplit("/", n=1).str[-1])


def test_a_forgotten_photo_and_face_do_not_come_back(cluster, tmp_path, capsys) -> None:
    photos, lake = tmp_path / "photos", tmp_path / "lake"
    shutil.copytree(EXAMPLES, photos)
    assert index(photos, "--output", lake) == 0
    assert main(["cluster", str(lake), "--ray", "never"]) == 0
    faces = pd.read_parquet(lake / "faces")
    pair = faces[faces.uri.str.contains("composite")].sort_values("face_id")
    face = pair.face_id.iloc[0]
    arguments = ["forget", str(lake), "--yes", "--prove", "--image", GONE, "--face", face]
    assert main(arguments) == 0
    before = names(lake)
    # The photo again, elsewhere; and the photo of the face under another name.
    shutil.copy(photos / GONE, photos / "again.jpg")
    composite = photos / "obama-and-biden-composite.jpg"
    shutil.copy(composite, photos / "renamed.jpg")
    capsys.readouterr()
    assert index(photos, "--output", lake) == 0
    assert "2 forgotten before" in capsys.readouterr().out
    assert names(lake) == before | {"renamed.jpg"}
    now = pd.read_parquet(lake / "faces")
    assert len(now[now.uri.str.contains("renamed")]) == len(pair) - 1
    assert face not in set(now.face_id)
    assert main(["forget", str(lake), "--prove"]) == 0
    assert main(["check", str(lake)]) == 0
