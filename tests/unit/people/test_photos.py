"""Photos by who is on them, and what is made of them for other programs."""

import io
import json
import os
import zipfile
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.commands.main import main
from pipeline.errors import ConfigError
from pipeline.library import Lake
from pipeline.people import actions
from pipeline.people.albums import MISSING, file_names, linked, zipped
from pipeline.people.photos import Chosen, chosen_photos
from pipeline.people.view import view
from pipeline.sources.originals import Originals
from tests.support.review_lakes import review_lake

PERSONS = "abc"


class On:
    """Tells the faces of persons: photos by person."""

    def __init__(self, photos):
        self.photos = photos

    def faces(self, person):
        return [{"image_id": image} for image in sorted(self.photos[person])]


def images(count, **columns):
    rows = [{"image_id": str(at), "taken_at": None, "camera": None, "faces": 1} | {
        name: values[at] for name, values in columns.items()} for at in range(count)]  # fmt: skip
    kinds = [("image_id", pa.string()), ("taken_at", pa.timestamp("us")), ("camera", pa.string()),
             ("faces", pa.int32())]  # fmt: skip
    return pa.Table.from_pylist(rows, pa.schema(kinds))


some = st.sets(st.sampled_from(PERSONS))


@given(st.fixed_dictionaries({p: st.sets(st.integers(0, 9)) for p in PERSONS}), some, some)
def test_together_and_without(on, together, without):
    now = On({person: {str(image) for image in on[person]} for person in PERSONS})
    found = chosen_photos(now, images(10), Chosen(sorted(together), sorted(without)))
    assert found["image_id"].to_pylist() == [
        str(image) for image in range(10)
        if all(image in on[p] for p in together) and not any(image in on[p] for p in without)
    ]  # fmt: skip


def test_year_camera_and_faces():
    dates = [datetime(2004, 12, 31, 23), datetime(2005, 1, 1), None, datetime(2004, 1, 1)]
    table = images(4, taken_at=dates, camera=["A", "B", "A", None], faces=[1, 2, 3, 4])

    def found(**chosen):
        return chosen_photos(On({}), table, Chosen(**chosen))["image_id"].to_pylist()

    assert found(year=2004) == ["0", "3"]
    assert found(camera="A") == ["0", "2"]
    assert found(least_faces=3) == ["2", "3"]
    assert found(year=2004, camera="A", least_faces=2) == []


@pytest.fixture
def named(tmp_path):
    people = review_lake(tmp_path, people=2, each=3)
    first, second = sorted(view(people).people["person_id"].to_pylist())
    actions.name(people, first, "Ann")
    actions.name(people, second, "Bob")
    return Lake(str(tmp_path / "lake"))


def test_in_python_and_on_the_command_line(named, capsys, tmp_path):
    assert named.people.photos("Ann").num_rows == named.people.photos().num_rows / 2 == 3
    assert named.people.photos("Ann", "Bob").num_rows == 0
    assert named.people.photos("Ann", without=["Bob"]).num_rows == 3
    with pytest.raises(ConfigError, match="no person"):
        named.people.photos("Nobody")

    def run(*words):
        assert main(["people", named.url, "photos", *words]) == 0
        return capsys.readouterr().out

    assert "3 photos" in run("Ann")
    rows = json.loads(run("Bob", "--json"))
    assert {row["uri"] for row in rows} == set(named.people.photos("Bob")["uri"].to_pylist())
    run("Ann", "--list", str(tmp_path / "list.txt"))
    assert (tmp_path / "list.txt").read_text().split("\n")[:-1] == [
        row["uri"] for row in named.people.photos("Ann").to_pylist()
    ]
    run("Ann", "--zip", str(tmp_path / "ann.zip"))
    with zipfile.ZipFile(tmp_path / "ann.zip") as packed:
        assert packed.testzip() is None
        assert len(packed.namelist()) == 3
    assert "3 of 3 photos linked" in run("Ann", "--links", str(tmp_path / "links"))
    assert "3 of 3 photos linked" in run("Ann", "--links", str(tmp_path / "links")), "once more"
    assert main(["people", named.url, "photos", "--json", "--list", "x"]) != 0
    assert main(["people", named.url, "photos", "--zip", str(tmp_path / "no" / "x.zip")]) != 0


def row(uri, **columns):
    return {"image_id": "0" * 32, "uri": uri, "shard": "", "sha256": "", "taken_at": None} | columns


def test_names_are_told_apart_and_lead_nowhere():
    uris = ["/a/x.jpg", "/b/X.jpg", "s3://c/x.jpg", "/d/t.tar#../../x.jpg", "/e/.x", f"/{MISSING}"]
    names = file_names([row(uri) for uri in uris])
    assert names == ["x.jpg", "X (2).jpg", "x (3).jpg", "x (4).jpg", "x", "not included (2).txt"]
    assert not any("/" in name or name.startswith(".") for name in names)


def test_what_cannot_be_read_is_said(named, tmp_path):
    rows = named.people.photos("Ann").to_pylist()
    os.unlink(rows[0]["uri"])
    rows[1] = rows[1] | {"taken_at": datetime(1999, 5, 1, 10, tzinfo=UTC)}
    with Originals() as originals:
        data = b"".join(zipped(originals, [*rows, row("/nowhere/y.jpg")]))
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        assert len(packed.namelist()) == 3
        assert packed.read(MISSING).decode().count("\n") == 2
        assert packed.infolist()[0].date_time == (1999, 5, 1, 10, 0, 0)
        with open(rows[1]["uri"], "rb") as photo:
            assert packed.read(packed.namelist()[0]) == photo.read()
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / os.path.basename(rows[2]["uri"])).write_text("theirs")
    done = linked(rows, str(tmp_path / "links"))
    assert (done.links, sum(done.skipped.values())) == (1, 2)
    assert (tmp_path / "links" / os.path.basename(rows[2]["uri"])).read_text() == "theirs"
