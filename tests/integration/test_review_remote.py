"""The review pages of a lake and photos on an S3-compatible server, and of a read-only folder."""

import io
import os
import re
import shutil
import time
from collections import Counter

import httpx
import pytest
import s3fs
from PIL import Image

from pipeline.lake.store import LakeStore
from pipeline.people import actions, kept
from pipeline.people.log import made_by
from pipeline.people.store import People
from pipeline.people.view import view
from tests.support.review_lakes import review_lake
from tests.support.served import TOKEN, served

PERSON = re.compile(r'href="/people/([0-9a-f]{16})"')


@pytest.fixture(scope="module")
def remote(s3, tmp_path_factory):
    """A lake with its photos in the bucket; give its address, which no test changes for others."""
    folder = tmp_path_factory.mktemp("remote")
    review_lake(folder, people=4, each=3, address="s3://photos/review/photos")
    s3.filesystem().put(str(folder / "photos"), "photos/review/photos", recursive=True)
    return folder / "lake"


@pytest.fixture
def lake(remote, s3, request):
    name = re.sub(r"\W", "-", request.node.name)
    s3.filesystem().put(str(remote), f"photos/{name}", recursive=True)
    return f"s3://photos/{name}"


@pytest.fixture
def visit():
    """Open the pages at an address; what goes wrong there is an error."""
    clients = []

    def visit(base):
        client = httpx.Client(base_url=base, follow_redirects=True, timeout=60)
        clients.append(client)
        assert client.get(f"/?token={TOKEN}").status_code == 200
        return client

    yield visit
    for client in clients:
        client.close()


def send(client, path, **fields):
    csrf = re.search(r'name="csrf" value="([0-9a-f]+)"', client.get("/").text)
    return client.post(path, data={"csrf": csrf[1] if csrf else "", "next": "/", **fields})


def people(client):
    return list(dict.fromkeys(PERSON.findall(client.get("/").text)))


@pytest.mark.s3
def test_names_merges_and_undoes(lake, s3, visit):
    with served(lake, options=s3.settings) as base:
        client = visit(base)
        first, second, third, fourth = people(client)
        assert "Called Ann" in send(client, f"/people/{first}/name", name="Ann").text
        assert "Ann" in client.get("/").text
        merged = send(client, "/merge", person=[second, third])
        assert "2 persons are one" in merged.text
        assert people(client) == [second, first, fourth]
        undo = re.search(r'name="id" value="(\w+)"', merged.text)[1]
        assert "Taken back" in send(client, "/undo", id=undo).text
        assert len(people(client)) == 4
        question = client.get("/questions?kind=who").text
        wanted = re.search(r'name="id" value="(\w+)"', question)[1]
        answered = send(client, "/questions", id=wanted, name="Bob")
        assert "Called Bob" in answered.text
    now = view(People(LakeStore(lake, s3.settings)))
    assert sorted(now.people["name"].drop_null().to_pylist()) == ["Ann", "Bob"]


@pytest.mark.s3
def test_pictures_are_read_and_asked_for_once(lake, s3, visit, monkeypatch):
    asked = Counter()
    call = s3fs.S3FileSystem._call_s3

    async def counted(self, method, *args, **options):
        asked[method] += 1
        return await call(self, method, *args, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counted)
    monkeypatch.setattr(kept, "PAUSE_S", 600)
    with served(lake, options=s3.settings) as base:
        client = visit(base)
        person = people(client)[0]
        page = client.get(f"/people/{person}").text
        faces = client.get(f"/people/{person}?view=faces").text
        pictures = re.findall(
            r'(?:src|href)="(/(?:thumbs|photos)/[^"?]+(?:/small)?)"', page + faces
        )
        pictures = [one for one in pictures if one.endswith("/small") or "thumbs" in one]
        assert len(pictures) > 6
        for picture in dict.fromkeys(pictures):
            data = client.get(picture).content
            assert Image.open(io.BytesIO(data)).format == "JPEG", picture
        photo = re.search(r'"(/photos/[0-9a-f]{32})/small"', page)[1]
        assert Image.open(io.BytesIO(client.get(f"{photo}/picture").content)).size == (120, 100)
        for path in ("/", "/photos", photo, "/questions", "/history"):
            client.get(path)
        asked.clear()
        for path in ("/", f"/people/{person}", "/photos", photo, "/questions", "/history"):
            assert client.get(path).status_code == 200
        client.get(pictures[0])
        assert sum(asked.values()) <= 4, asked  # the parts may be listed again
        asked.clear()
        send(client, f"/people/{person}/name", name="Ann")
        assert sum(asked.values()) <= 20, asked


@pytest.mark.s3
def test_what_others_do_shows_within_seconds(lake, s3, visit, monkeypatch):
    monkeypatch.setattr(kept, "PAUSE_S", 0.5)
    with served(lake, options=s3.settings) as base:
        client = visit(base)
        first, second, *_ = people(client)
        version = re.search(r'data-version="([^"]*)"', client.get("/").text)[1]
        whose = made_by.set("maria")
        actions.name(People(LakeStore(lake, s3.settings)), first, "Zoe")
        made_by.reset(whose)
        # What is done here comes after it, however short the time.
        assert (
            "is it the same person"
            in send(client, f"/people/{second}/name", name="Zoe").text.lower()
        )
        until = time.monotonic() + 20
        while "Zoe" not in client.get("/").text and time.monotonic() < until:
            time.sleep(0.1)
        said = client.get("/changes", params={"since": version}).json()["said"]
        assert said == ["maria: Named Zoe"]


@pytest.mark.s3
def test_read_only_shows_and_writes_nothing(lake, s3, visit):
    files = s3.filesystem().find(lake.removeprefix("s3://"))
    with served(lake, read_only=True, options=s3.settings) as base:
        only_looks(visit(base))
    assert s3.filesystem().find(lake.removeprefix("s3://")) == files


def only_looks(client):
    person = people(client)[0]
    for path in (f"/people/{person}", f"/people/{person}?view=faces", "/photos", "/questions",
                 "/questions?kind=who", "/duplicates", "/search", "/rejected", "/history",
                 "/changes?since=a@b"):  # fmt: skip
        page = client.get(path)
        assert page.status_code == 200, path
        assert 'method="post"' not in page.text or path == "/search", path
    photo = re.search(r'"(/photos/[0-9a-f]{32})/small"', client.get(f"/people/{person}").text)[1]
    assert client.get(photo).status_code == 200
    assert client.get(f"{photo}/small").headers["content-type"] == "image/jpeg"
    for path in (f"/people/{person}/name", "/merge", "/hide", "/undo", f"{photo}/faces"):
        assert client.post(path, data={"next": "/", "name": "Eve"}).status_code == 403


@pytest.mark.parametrize("read_only", [True, False])
def test_a_folder_that_may_only_be_read(tmp_path, visit, read_only, monkeypatch):
    review_lake(tmp_path, people=2, each=3)
    shutil.rmtree(tmp_path / "lake" / "constraints", ignore_errors=True)
    refused = without_writing(monkeypatch, tmp_path / "lake")
    with served(tmp_path / "lake", read_only=read_only) as base:
        client = visit(base)
        if read_only:
            only_looks(client)
            assert refused == []
            return
        page = send(client, f"/people/{people(client)[0]}/name", name="Ann")
        assert page.status_code == 503
        assert "read-only" in page.text
        assert "Ann" not in client.get("/").text
        assert client.get("/history").status_code == 200


def without_writing(monkeypatch, folder):
    """Let nothing be written below a folder, as on a read-only mount, which root cannot make."""
    refused = []

    def refuse(name, ask, writes=lambda *_: True):
        def asked(path, *rest, **options):
            if str(path).startswith(str(folder)) and writes(*rest, options.get("mode")):
                refused.append((name, path))
                raise OSError(30, "Read-only file system", str(path))
            return ask(path, *rest, **options)

        return asked

    for name in ("mkdir", "unlink", "rename", "replace", "link"):
        monkeypatch.setattr(os, name, refuse(name, getattr(os, name)))

    def writes(*modes):
        return any(set(mode) & set("wxa+") for mode in modes if isinstance(mode, str))

    monkeypatch.setattr("builtins.open", refuse("open", open, writes))
    return refused
