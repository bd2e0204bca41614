"""What pages of people and photos list, filter and tell; the safety of all is in test_review."""

import io
import json
import re
import zipfile
from datetime import datetime

import pyarrow as pa
import pytest

from pipeline.lake.store import parquet_bytes
from pipeline.people import actions
from pipeline.people.log import made_by
from pipeline.people.view import view
from tests.support.review_lakes import review_lake
from tests.support.reviewing import TOKEN, entered, faces, persons, rows, send


@pytest.fixture
def lake(tmp_path):
    """Three people of four photos each: taken 2003 to 2006, by two cameras, one without a date."""
    store = review_lake(tmp_path, people=3, each=4)
    where = {face[:32]: person for face, person in view(store).persons_of(
        store.lake.read("faces", ["face_id"])["face_id"].to_pylist()).items()}  # fmt: skip
    for name in store.lake.parts():
        table = store.lake.read_part("images", name).to_pylist()
        seen = {}
        for row in table:
            at = seen[where[row["image_id"]]] = seen.get(where[row["image_id"]], -1) + 1
            row["taken_at"] = None if at == 3 else datetime(2003 + at, 5, 1)
            row["camera"] = "Canon" if at % 2 else "Nikon"
        changed = pa.Table.from_pylist(table, store.lake.read_part("images", name).schema)
        store.lake.folder.child("images").publish(name, parquet_bytes(changed))
    return tmp_path, store


@pytest.fixture
def pages(lake):
    yield from entered(lake[0])


def shots(text):
    return re.findall(r'class="shot" href="/photos/([0-9a-f]{32})', text)


def test_photos_of_a_person_by_month_year_and_camera(pages):
    person = persons(pages)[0]
    text = pages.get(f"/people/{person}").text
    assert len(shots(text)) == 4
    months = re.findall(r'data-month="([^"]+)"', text)
    assert months == ["May 2005", "May 2004", "May 2003", "No date"]
    assert len(shots(pages.get(f"/people/{person}?year=2004").text)) == 1
    assert len(shots(pages.get(f"/people/{person}?camera=Canon").text)) == 2
    assert len(shots(pages.get(f"/people/{person}?camera=Canon&year=2003").text)) == 0
    assert "No photo fits" in pages.get(f"/people/{person}?camera=Leica").text
    assert len(faces(pages, f"{person}?view=faces")) == 4
    assert pages.get(f"/people/{person}?year=x").status_code == 404


def test_how_sure(pages):
    person = persons(pages)[0]
    assert faces(pages, f"{person}?view=faces&sure=confirmed") == []
    own = faces(pages, f"{person}?view=faces")
    send(pages, f"/people/{person}/faces", do="confirm", face=own[:2])
    assert sorted(faces(pages, f"{person}?view=faces&sure=confirmed")) == sorted(own[:2])
    assert set(faces(pages, f"{person}?view=faces&sure=doubtful")).isdisjoint(own[:2])


def test_photos_with_and_without(pages):
    one, two, _ = persons(pages)
    send(pages, f"/people/{one}/name", name="Ann")
    every = shots(pages.get("/photos").text)
    assert len(every) == 12
    assert len(shots(pages.get("/photos?with=Ann").text)) == 4
    assert shots(pages.get(f"/photos?with=Ann&with={two}").text) == []
    assert len(shots(pages.get("/photos?without=Ann").text)) == 8
    assert len(shots(pages.get("/photos?with=Ann&year=2003&least=1").text)) == 1
    assert shots(pages.get("/photos?least=2").text) == []
    answer = pages.get("/photos?with=Nobody")
    assert answer.status_code == 400
    assert "Nobody is called Nobody" in answer.text
    assert len(shots(answer.text)) == 12, "what can be shown is"
    assert "did you mean Ann?" in pages.get("/photos?with=Annn&without=Bo").text
    assert 'value="Annn"' in pages.get("/photos?with=Annn").text, "what was typed stays"
    assert pages.get("/photos?least=x").status_code == 404


def test_a_photo_leads_to_its_neighbours(pages):
    person = persons(pages)[0]
    ids = shots(pages.get(f"/people/{person}").text)
    text = pages.get(f"/photos/{ids[1]}?with={person}").text
    assert f'class="turn prev" rel="prev" href="/photos/{ids[0]}?with={person}"' in text
    assert f'class="turn next" rel="next" href="/photos/{ids[2]}?with={person}"' in text
    assert "2 of 4" in text
    assert f'href="/people/{person}?page=1#photo-{ids[1]}"' in text
    alone = pages.get(f"/photos/{ids[1]}?with={persons(pages)[1]}").text
    assert 'class="turn' not in alone, "it is not among the photos that are asked for"


def test_people_by_name_number_and_state(pages):
    one, two, three = persons(pages)
    send(pages, f"/people/{one}/name", name="Ann")
    send(pages, "/hide", person=[two, three], hidden="yes")
    assert rows(pages) == 3, "one for the name, and one file of two for what was hidden at once"
    assert persons(pages) == [one]
    shown = {what: re.findall(r'data-id="([0-9a-f]{16})"', pages.get(f"/?show={what}").text)
             for what in ("all", "named", "unnamed", "hidden")}  # fmt: skip
    assert (shown["all"], shown["named"], shown["unnamed"]) == ([one], [one], [])
    assert sorted(shown["hidden"]) == sorted([two, three])
    assert 'data-id="' not in pages.get("/?least=5").text
    send(pages, "/undo")
    assert len(persons(pages)) == 3, "one undo takes it all back"


def test_names_that_are_none_or_misspelled(pages):
    one, two, _ = persons(pages)
    answer = send(pages, f"/people/{one}/name", name="  ")
    assert (answer.status_code, rows(pages)) == (400, 0), "there is no name to take away"
    send(pages, f"/people/{one}/name", name="Bob Miller")
    own = faces(pages, f"{two}?view=faces")
    moved = send(pages, f"/people/{two}/name", name="bob miler")
    assert "not Bob Miller?" in pages.get(moved.headers["location"]).text
    undone = send(pages, "/undo", id=moved.headers["location"].partition("message=")[2])
    text = pages.get(undone.headers["location"]).text
    assert "Taken back: Called bob miler" in text
    assert "Redo" in text
    moved = send(pages, f"/people/{two}/faces", do="move", face=own[0], to=one, sure="yes")
    assert "that stay count as confirmed" in pages.get(moved.headers["location"]).text
    send(pages, f"/people/{one}/name", name="")
    assert "Name removed" in pages.get("/history").text
    assert "1 face moved to" in pages.get("/history").text


def test_several_are_made_one_and_named_at_once(pages):
    one, two, three = persons(pages)
    assert send(pages, "/merge", person=[one, two], into="Zoë").status_code == 303
    assert [row["name"] for row in pages.review.snapshot().named] == ["Zoë"]
    send(pages, "/merge", person=three, into="zoë")
    assert len(persons(pages)) == 1
    send(pages, "/undo")
    send(pages, "/undo")
    assert len(persons(pages)) == 3
    assert pages.review.snapshot().named == []


def test_rejected_faces_come_back(pages):
    person = persons(pages)[0]
    own = faces(pages, f"{person}?view=faces")
    send(pages, f"/people/{person}/faces", do="reject", face=own[:2])
    assert sorted(re.findall(r'data-id="([0-9a-f-]+)"', pages.get("/rejected").text)) == sorted(
        own[:2]
    )
    assert "It is a face" in pages.get(f"/faces/{own[0]}").text
    send(pages, f"/faces/{own[0]}", do="accept")
    send(pages, "/rejected", face=own[1])
    assert sorted(faces(pages, f"{person}?view=faces")) == sorted(own)
    assert send(pages, "/rejected", face=own[1]).status_code == 400, "it is none of them any more"


def test_faces_of_nobody_are_listed_and_given(tmp_path):
    review_lake(tmp_path, people=3, each=4, options=("--core-px", "2000", "--attach-px", "1000"))
    client = next(entered(tmp_path))
    listed = re.findall(r'data-id="([0-9a-f-]+)"', client.get("/nobody").text)
    assert len(listed) == 12
    assert persons(client) == []
    send(client, "/nobody", face=listed[:3], do="move", to="Ann")
    send(client, "/nobody", face=listed[3], do="move", to="ann")
    send(client, "/nobody", face=listed[4:6], do="reject")
    assert send(client, "/nobody", face=listed[6], do="move", to="").status_code == 400
    (ann,) = persons(client)
    assert sorted(faces(client, f"{ann}?view=faces")) == sorted(listed[:4])
    left = re.findall(r'data-id="([0-9a-f-]+)"', client.get("/nobody").text)
    assert left == listed[6:]
    for _ in range(3):
        send(client, "/undo")
    assert re.findall(r'data-id="([0-9a-f-]+)"', client.get("/nobody").text) == listed


def test_ticks_of_a_page_that_is_older_than_a_change(pages):
    one, two, _ = persons(pages)
    own = faces(pages, f"{one}?view=faces")
    send(pages, f"/people/{two}/name", name="Bob")
    send(pages, f"/people/{one}/faces", do="move", face=own[0], to="Bob", sure="yes")
    before = rows(pages)
    answer = send(pages, f"/people/{one}/faces", do="split", face=own[:2])
    assert answer.status_code == 400
    assert "1 of the 2 ticked faces were moved meanwhile (now: Bob)" in answer.text
    assert rows(pages) == before


def test_the_photos_of_a_person_as_a_zip_file(pages):
    person = persons(pages)[0]
    answer = pages.get(f"/people/{person}/photos.zip?year=2004")
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''photos.zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        assert packed.testzip() is None
        assert len(packed.namelist()) == 1
    assert pages.get(f"/people/{'0' * 16}/photos.zip").status_code == 404


def test_what_others_changed_is_told(pages, lake):
    store, person = lake[1], persons(pages)[0]
    version = re.search(r'data-version="([^"]+)"', pages.get("/").text)[1]
    assert pages.get("/changes", params={"since": version}).json()["said"] == []
    whose = made_by.set("maria <i>")
    actions.name(store, person, "Ann")
    made_by.reset(whose)
    told = pages.get("/changes", params={"since": version}).json()
    assert told["said"] == ["maria <i>: Named Ann"]
    assert pages.get("/changes", params={"since": told["version"]}).json()["said"] == []
    assert json.loads(pages.get("/changes").text)["said"] == []


@pytest.mark.parametrize("header", ["", "X-Remote-User"])
def test_who_did_what(lake, header):
    folder, store = lake
    client = next(entered(folder, user_header=header))
    person = persons(client)[0]
    assert send(client, "/me", me="x" * 300).status_code == 400
    assert send(client, "/me", me="Zoë", next="/").status_code == 303
    named = {"x-remote-user": "maria"}
    client.post(f"/people/{person}/name", {"csrf": client.csrf, "name": "Ann"}, headers=named)
    assert store.constraints()[-1].made_by == ("maria" if header else "Zoë")
    assert "Zoë" in client.get("/").text
    assert made_by.get() is None, "what a request says does not outlive it"
    assert TOKEN not in client.get("/history").text


def test_drawing_says_what_is_wrong(pages):
    person = persons(pages)[0]
    photo = faces(pages, person)[0][:32]
    for box, why in [("", "four numbers"), ("1,2,3", "four numbers"), ("1,2,3,x", "four numbers"),
                     ("0,0,4,4", "at least 10"), ("0,0,500,500", "does not lie"),
                     ("nan,0,50,50", "four numbers"), ("30,20,80,80", "the face")]:  # fmt: skip
        answer = send(pages, f"/photos/{photo}/faces", box=box)
        assert answer.status_code == 400, box
        assert why in answer.text, box
    assert rows(pages) == 0
