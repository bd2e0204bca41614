"""Rows of photos that are gone go for good when somebody says so."""

from datetime import UTC, datetime

from pipeline import Lake
from pipeline.commands.main import main
from pipeline.lake.moves import park
from tests.support.photo_lakes import face, image_id, photo_lake


def test_prune(tmp_path, capsys):
    folder = tmp_path / "lake"
    store = photo_lake(folder, {"a": [face()], "b": [face()], "c": []})
    park(store, {image_id("b"), image_id("c")}, datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    lake = Lake(folder)
    assert main(["prune", str(folder), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "2026-01-02 03:04  /archive/b" in out
    assert "2 photos that are gone would be removed" in out
    assert len(lake.gone) == 2
    assert main(["prune", str(folder)]) == 0
    assert "2 photos that are gone removed" in capsys.readouterr().out
    assert len(lake.gone) == 0
    assert len(lake.images) == len(lake.faces) == 1
    assert lake.check().findings == []
    assert main(["prune", str(folder)]) == 0
    assert main(["prune", str(tmp_path / "none")]) == 2
