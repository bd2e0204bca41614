import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.commands.main import main
from pipeline.errors import ConfigError
from pipeline.library import Lake
from pipeline.maintenance.runs import differences, find_run, runs
from tests.support.pictures import lake_of, row

INDEX, LATER = "20270102T030405-aaaaaa", "20270102T030405-bbbbbb"
DEDUPE = "dedupe-20261231T235959-cccccc"


def run_left(lake, run_id, **facts):
    lake.publish_json(f"runs/{run_id}.json", {"run_id": run_id, "status": "finished"} | facts)


@pytest.fixture
def lake(tmp_path):
    noon = datetime(2020, 5, 1, 12, tzinfo=UTC)
    nothing = dict.fromkeys(("sha256", "bytes", "width", "height", "format", "faces"))
    rows = [
        row("/p/a.jpg", taken_at=noon, bytes=500),
        row("/p/b.png", format="PNG", phash=row("/p/a.jpg")["phash"]),
        row("/p/c.jpg", error="damaged", **nothing),
    ]
    return lake_of(tmp_path / "lake", rows, part=2)


def test_runs_are_listed_the_last_first(lake, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    url = lake.folder.url
    assert main(["runs", url]) == 0
    assert "Nothing was done" in capsys.readouterr().out
    run_left(lake, DEDUPE, seconds=1.4, images=2)
    run_left(lake, INDEX, seconds=61, images=3, errors={"damaged": 1})
    run_left(lake, LATER, status="interrupted", images=0)
    lake.folder.publish("runs/broken.json", b"{")
    lake.folder.publish("runs/other.json", b"[]")
    assert [about["run_id"] for about in runs(lake)] == [LATER, INDEX, DEDUPE]
    assert [about["command"] for about in Lake(url).runs()] == ["index", "index", "dedupe"]
    assert main(["runs", url]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"{INDEX} 2027-01-02 03:04 1 min 1 s 3 photos, 1 damaged" in told
    assert f"{LATER} 2027-01-02 03:04 interrupted" in told
    assert main(["runs", url, "list", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3


def test_a_run_is_named_in_several_ways(lake):
    for run_id in (INDEX, LATER, DEDUPE):
        run_left(lake, run_id)
    names = {
        INDEX: INDEX, INDEX[:-3]: INDEX, "last": LATER, "last-dedupe": DEDUPE, "dedupe": DEDUPE,
    }  # fmt: skip
    assert {name: find_run(lake, name)["run_id"] for name in names} == names
    with pytest.raises(ConfigError, match="2 runs begin with 2027"):
        find_run(lake, "2027")
    for name in ("2028", "last-train"):
        with pytest.raises(ConfigError, match=f"no run {name}"):
            find_run(lake, name)


def test_two_runs_are_compared(lake, capsys):
    run_left(lake, INDEX, config={"batch": 8, "deep": {"x": [1, 2]}}, images=3)
    run_left(lake, LATER, config={"batch": 16, "deep": {"x": [1, 2]}}, faces=2)
    one, other = (find_run(lake, run_id) for run_id in (INDEX, LATER))
    assert differences(one, other) == {
        "config.batch": (8, 16), "images": (3, None), "faces": (None, 2),
    }  # fmt: skip
    assert differences(one, one) == {}
    url = lake.folder.url
    assert main(["runs", url, "diff", INDEX, LATER]) == 0
    assert "config.batch" in capsys.readouterr().out
    assert main(["runs", url, "diff", INDEX, LATER, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["config.batch"] == [8, 16]
    assert main(["runs", url, "diff", INDEX, "last-index"]) == 0
    assert main(["runs", url, "show", "last"]) == 0
    assert "config.deep.x" in capsys.readouterr().out
    assert main(["runs", url, "show", "elsewhere"]) == ConfigError.exit_code


def test_a_lake_is_counted(lake, capsys):
    url = lake.folder.url
    before = Lake(url).stats()
    assert before["people"] is None
    assert before["copies"] is None
    assert before["photos"] | {"parts": 0} == {
        "count": 3, "with_faces": 0, "faces": 0, "dated": 1, "bytes": 1500, "pixels": 16000,
        "parts": 0, "first_taken": "2020-05-01T12:00:00", "last_taken": "2020-05-01T12:00:00",
        "errors": {"damaged": 1}, "formats": {"JPEG": 1, "PNG": 1},
    }  # fmt: skip
    assert main(["dedupe", url, "--no-confirm"]) == 0
    assert main(["cluster", url]) == 0
    capsys.readouterr()
    assert main(["stats", url, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["copies"] == {"kinds": {"kept": 1, "near": 1}, "bytes": 500}
    assert found["people"]["people"] == found["people"]["corrections"] == 0
    files = [path for path in Path(url).rglob("*") if path.is_file()]
    assert sum(one["files"] for one in found["folders"].values()) == len(files)
    assert sum(one["bytes"] for one in found["folders"].values()) == sum(
        path.stat().st_size for path in files
    )
    assert main(["stats", url]) == 0
    told = capsys.readouterr().out
    assert "1 kept, 1 near" in told
    assert "1 damaged" in told


def test_there_must_be_a_lake(tmp_path):
    for command in ("runs", "stats"):
        assert main([command, str(tmp_path)]) == ConfigError.exit_code
