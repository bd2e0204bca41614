"""The review page: who is let in, what can be changed by whom, and what is shown of what."""

import io
import os
import re
import time
from html import unescape
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipeline.clustering.questions import answering
from pipeline.commands.main import main
from pipeline.errors import ConfigError
from pipeline.lake.store import parquet_bytes
from pipeline.lake.tombstones import PENDING
from pipeline.library import Lake
from pipeline.maintenance.forget.run import forget
from pipeline.maintenance.forget.target import find
from pipeline.people import actions
from pipeline.people.answers import different, open_suggestions, together
from pipeline.people.corrections import undone
from pipeline.people.view import view
from pipeline.web.http.access import RefusedError, host_name
from pipeline.web.http.forms import parse
from pipeline.web.pages import shown
from pipeline.web.review.app import application
from pipeline.web.review.lookup import Lookup
from pipeline.web.review.settings import ReviewConfig
from tests.support import lakes, pictures
from tests.support.review_lakes import HOSTILE, again, review_lake
from tests.support.reviewing import TOKEN, entered, faces, opened, persons, rows, send
from tests.support.web import Client

PAGES = ["/", "/photos", "/rejected", "/nobody", "/me", "/questions",
         "/questions?kind=who", "/duplicates", "/search", "/history"]  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A lake that no test changes."""
    folder = tmp_path_factory.mktemp("shared")
    review_lake(folder, names=HOSTILE)
    return folder


@pytest.fixture
def folder(tmp_path):
    review_lake(tmp_path)
    return tmp_path


@pytest.fixture
def pages(folder):
    yield from entered(folder)


@pytest.fixture
def shared_pages(shared):
    yield from entered(shared)


def forgotten_in(client, images=(), faces=()):
    """Forget in the lake of a running server, and wait until it lists the parts again."""
    lake = client.review.lake
    forget(lake, find(lake, (), images, faces), f"f{time.monotonic_ns()}")
    time.sleep(max(0.0, client.review.lookup._next_refresh - time.monotonic()))


# who is let in


def test_nobody_gets_in_without_the_token(shared):
    review = opened(shared)
    client = Client(application(review))
    for path in [*PAGES, "/static/review.js", "/?token=", "/?token=wrong", "/thumbs/x", "/nothing"]:
        answer = client.get(path)
        assert answer.status_code == 403, path
        assert "set-cookie" not in answer.headers
        assert TOKEN not in answer.text
        assert str(shared) not in answer.text
    assert client.post("/undo", {"csrf": review.config.csrf}).status_code == 403
    review.close()


def test_the_token_becomes_a_cookie_and_leaves_the_address(shared_pages):
    answer = shared_pages.get(f"/history?page=2&token={TOKEN}")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/history?page=2"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert cookie.startswith("facelake_4444=")
    assert TOKEN not in cookie


@pytest.mark.parametrize("path", ["//evil.example/x", "/\\evil.example", "/%0d%0aSet-Cookie: a=b"])
def test_the_way_in_leads_nowhere_else(shared_pages, path):
    where = shared_pages.request("GET", f"http://127.0.0.1{path}", params={"token": TOKEN}).headers[
        "location"
    ]
    assert re.fullmatch(r"/(?![/\\])[^\r\n]*", where)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "evil.example:4444", "", "[::2]", "127.0.0.2"],
)
def test_a_rebound_name_gets_nothing(shared_pages, host):
    answer = shared_pages.get("/", headers={"host": host})
    assert answer.status_code == 421
    assert "People" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:4444", "[::1]:9", "LOCALHOST"])
def test_names_of_this_machine_do(shared_pages, host):
    assert shared_pages.get("/", headers={"host": host}).status_code == 200


def test_a_reverse_proxy_is_let_in_by_name(shared):
    client = next(entered(shared, allowed=("faces.example",)))
    assert client.get("/", headers={"host": "faces.example"}).status_code == 200
    assert client.get("/", headers={"host": "www.faces.example"}).status_code == 421


def test_pages_come_with_a_strict_policy(shared_pages):
    for path in [*PAGES, "/static/review.js", "/nothing"]:
        headers = shared_pages.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["referrer-policy"] == "same-origin"
        assert "server" not in headers


def test_no_inline_script_or_style_is_made(shared_pages):
    for path in PAGES:
        text = shared_pages.get(path).text
        assert not re.search(r"<script(?! type=\"module\" src=\"/static/)", text)
        tags = re.findall(r"<[^>]*>", re.sub(r'"[^"]*"', '""', text))
        assert not [tag for tag in tags if re.search(r"\s(style|on\w+)=", tag)]


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_there_is_no_description_of_the_routes(shared_pages, path):
    assert shared_pages.get(path).status_code == 404


# what can be changed


@pytest.mark.parametrize(
    ("fields", "headers"),
    [({}, {}), ({"csrf": "wrong"}, {}), ({"csrf": ""}, {}),
     ({"csrf": None}, {"origin": "http://evil.example"}),
     ({"csrf": None}, {"origin": "null"}), ({"csrf": None}, {"sec-fetch-site": "cross-site"}),
     ({"csrf": None}, {"sec-fetch-site": "same-site"}),
     ({"csrf": None}, {"origin": "http://127.0.0.1:81"})],
)  # fmt: skip
def test_forms_of_others_change_nothing(shared_pages, fields, headers):
    person = persons(shared_pages)[0]
    if "csrf" in fields and fields["csrf"] is None:
        fields = {"csrf": shared_pages.csrf}
    data = {**fields, "name": "Mallory", "next": "/"}
    answer = shared_pages.post(f"/people/{person}/name", data, headers=headers)
    assert answer.status_code == 403
    assert rows(shared_pages) == 0


def test_our_own_forms_do(pages):
    person = persons(pages)[0]
    data = {"csrf": pages.csrf, "name": "Ann", "next": "/"}
    own = {"origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}
    assert pages.post(f"/people/{person}/name", data, headers=own).status_code == 303
    assert rows(pages) == 1


def test_nothing_is_changed_by_looking(shared_pages):
    person = persons(shared_pages)[0]
    for path in (f"/people/{person}/name?name=x", "/merge", "/undo", f"/people/{person}/faces",
                 f"/people/{person}/flag", f"/people/{person}", *PAGES):  # fmt: skip
        shared_pages.get(f"{path}{'&' if '?' in path else '?'}csrf={shared_pages.csrf}")
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert shared_pages.request(method, "/undo").status_code == 405
    assert rows(shared_pages) == 0


def test_read_only_pages_have_no_forms_and_take_none(shared):
    client = next(entered(shared, read_only=True))
    person = persons(client)[0]
    for path in [*PAGES, f"/people/{person}"]:
        text = client.get(path).text
        assert 'method="post"' not in text
        assert client.csrf not in text
    assert send(client, f"/people/{person}/name", name="Ann").status_code == 403
    assert rows(client) == 0


def test_bodies_have_a_limit(shared_pages):
    answer = send(shared_pages, "/undo", id="x" * (1 << 21))
    assert answer.status_code == 413
    kind = {"content-type": "application/json"}
    assert shared_pages.request("POST", "/undo", content=b"{}", headers=kind).status_code == 415


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example",
                                    "/x\r\nSet-Cookie: a=b", ""])  # fmt: skip
def test_the_way_back_is_ours(pages, target):
    person = persons(pages)[0]
    answer = send(pages, "/hide", person=person, next=target)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/?message=")


# what can be seen


@pytest.mark.parametrize(
    "path",
    ["/people/../../etc/passwd", "/photos/..%2f..%2fetc%2fpasswd/picture", "/thumbs/%2e%2e",
     "/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/people/zz",
     "/people/" + "0" * 16, "/faces/" + "0" * 32 + "-0", "/photos/" + "0" * 32,
     "/photos/" + "0" * 32 + "/picture", "/thumbs/" + "0" * 32 + "-0", "/thumbs/" + "0" * 32,
     "/thumbs/" + "0" * 32 + "-0%0a", "/search?face=../../etc/passwd", "/?page=0", "/?page=x",
     "/?sort=password", "/questions?at=-1", "/?q=" + "x" * 300],
)  # fmt: skip
def test_what_is_no_page_is_not_found(shared_pages, path):
    answer = shared_pages.get(path)
    assert answer.status_code == 404
    assert "root:" not in answer.text


def test_hostile_names_are_shown_as_text(tmp_path):
    store = review_lake(tmp_path, people=len(HOSTILE), names=[*HOSTILE, "m" * 4000])
    ids = view(store).people["person_id"].to_pylist()
    for person, name in zip(ids, HOSTILE, strict=False):
        actions.name(store, person, name, note=name)
    client = next(entered(tmp_path))
    seen = ""
    some = persons(client)
    for person in some:
        page = client.get(f"/people/{person}").text
        face = re.findall(r'name="face" value="([0-9a-f-]+)"', page)[0]
        seen += page + client.get(f"/faces/{face}").text + client.get(f"/photos/{face[:32]}").text
        seen += send(client, f"/people/{some[0]}/name", name="<b>" + "y" * 300).text
    seen += "".join(client.get(path).text for path in [*PAGES, "/?q=" + quote(HOSTILE[0])])
    for name in HOSTILE:
        assert name in unescape(seen)
    for bad in ("<script>document", "<img src=x", "<b>", 'onerror="document'):
        assert bad not in seen
    assert "m" * 401 not in seen
    assert "60481729" not in seen


def test_photos_are_shown_without_what_their_file_says(shared_pages):
    face = faces(shared_pages, persons(shared_pages)[0])[0]
    answer = shared_pages.get(f"/photos/{face[:32]}/picture")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert b"Secret" not in answer.content
    assert b"Exif" not in answer.content
    assert shared_pages.get(f"/thumbs/{face}").content[:2] == b"\xff\xd8"


@pytest.mark.parametrize("how", ["link", "other", "gone", "pipe"])
def test_what_took_a_photos_place_is_not_served(pages, tmp_path, how):
    face = faces(pages, persons(pages)[0])[0]
    path = pages.review.lookup.photo(face[:32])["uri"]
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret of this machine")
    os.unlink(path)
    if how == "link":
        os.symlink(secret, path)
    elif how == "other":
        os.link(secret, path)
    elif how == "pipe":
        os.mkfifo(path)
    answer = pages.get(f"/photos/{face[:32]}/picture")
    assert answer.status_code == 404
    assert b"secret" not in answer.content


def test_faces_without_thumbnails_are_cut_from_photos(tmp_path):
    review_lake(tmp_path, thumbnails=False)
    client = next(entered(tmp_path))
    face = faces(client, persons(client)[0])[0]
    answer = client.get(f"/thumbs/{face}")
    assert answer.headers["content-type"] == "image/jpeg"
    assert client.get(f"/thumbs/{face}").content == answer.content


def test_faces_cut_from_turned_photos_are_upright(tmp_path, monkeypatch):
    review_lake(tmp_path, thumbnails=False)
    client = next(entered(tmp_path))
    pictures = client.review.pictures
    face = faces(client, persons(client)[0])[0]
    row = pictures.lookup.photo(face[:32])
    assert not row["turn"]
    as_stored = Image.open(io.BytesIO(pictures._crop(face)))
    monkeypatch.setattr(pictures.lookup, "photo", lambda _: row | {"turn": 90})
    turned = Image.open(io.BytesIO(pictures._crop(face)))
    wanted = np.rot90(np.asarray(as_stored).astype(int), -1)
    assert np.abs(np.asarray(turned) - wanted).mean() < 3


@pytest.mark.parametrize("thumbnails", [True, False])
def test_what_is_forgotten_is_not_shown_by_a_running_server(tmp_path, thumbnails):
    """Of two faces one goes: its part is rewritten, and the other is still shown."""
    review_lake(tmp_path, thumbnails=thumbnails)
    client = next(entered(tmp_path))
    gone, stays = faces(client, persons(client)[0])[:2]
    for face in (gone, stays):
        assert client.get(f"/thumbs/{face}").status_code == 200
    forgotten_in(client, faces=[gone])
    assert client.get(f"/thumbs/{gone}").status_code == 404
    assert client.get(f"/faces/{gone}").status_code == 404
    assert client.get(f"/thumbs/{stays}").status_code == 200
    kept = client.review.pictures
    assert not any(gone in part for part in kept._parts.values())
    assert not any(face == gone for _, face in kept._faces._pictures)
    # a photo that goes takes its pages along
    assert client.get(f"/photos/{stays[:32]}/picture").status_code == 200
    forgotten_in(client, images=[stays[:32]])
    for path in ("", "/picture", "/small"):
        assert client.get(f"/photos/{stays[:32]}{path}").status_code == 404
    assert client.get(f"/thumbs/{stays}").status_code == 404
    assert all(client.get(path).status_code == 200 for path in PAGES)


def test_parts_that_go_leave_nothing_in_memory(tmp_path):
    review_lake(tmp_path)
    client = next(entered(tmp_path))
    lake = client.review.lake
    images = lake.read("images", ["image_id"])["image_id"].to_pylist()
    assert client.get(f"/thumbs/{images[0]}-0").status_code == 200
    forgotten_in(client, images=images)
    assert lake.parts() == []
    assert client.get(f"/photos/{images[0]}").status_code == 404
    assert client.get(f"/thumbs/{images[0]}-0").status_code == 404
    assert len(client.review.lookup) == 0


def test_the_lookup_reads_only_parts_that_changed(tmp_path):
    lake = review_lake(tmp_path, cluster=False).lake
    first = lake.read("images", ["image_id"])["image_id"].to_pylist()
    (part,) = lake.parts()
    lookup = Lookup(lake)
    images, rows = lake.read_part("images", part), lake.read_part("faces", part)
    more = [f"{n:032x}" for n in range(3)]
    ids = pa.array(more)
    images = images[:3].set_column(0, images.schema.field(0), ids)
    assert images.schema.field(0).name == "image_id"
    lake.publish_part(images, rows[:0])
    new = next(name for name in lake.parts() if name != part)
    assert lookup.refresh()
    assert not lookup.refresh()
    assert lookup.parts_of([*first, *more]) == dict.fromkeys(first, part) | dict.fromkeys(more, new)
    # one is rewritten, the other stays
    lake.folder.publish(f"images/{part}", parquet_bytes(lake.read_part("images", part)[1:]))
    assert lookup.refresh()
    assert set(lookup.parts_of(first)) == set(first[1:])
    assert set(lookup.parts_of(more)) == set(more)
    lake.folder.remove(f"images/{new}")
    assert lookup.refresh()
    assert lookup.parts_of([*more, first[1]]) == {first[1]: part}


def test_nothing_is_changed_while_something_is_forgotten(pages):
    person = persons(pages)[0]
    pages.review.lake.folder.publish(PENDING, b"{}")
    answer = send(pages, f"/people/{person}/name", name="Ann")
    assert answer.status_code == 400
    assert "is being forgotten in" in answer.text
    assert rows(pages) == 0
    pages.review.lake.folder.remove(PENDING)
    assert send(pages, f"/people/{person}/name", name="Ann").status_code == 303


def test_errors_inside_are_not_told(shared_pages, monkeypatch):
    def broken(*_):
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(shared_pages.review, "snapshot", broken)
    answer = shared_pages.get("/")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "content-security-policy" in answer.headers


# what happens


def test_every_action_shows_at_once_and_can_be_undone(pages):
    a, b, c = persons(pages)[:3]
    own_faces = faces(pages, a)
    steps = [
        (f"/people/{a}/name", {"name": "Ann"}, "Ann"),
        (f"/people/{a}/faces", {"do": "split", "face": own_faces[:2], "sure": "yes"},
         "new person"),
        (f"/people/{a}/faces", {"do": "reject", "face": own_faces[2]}, "no face"),
        (f"/people/{a}/faces", {"do": "cover", "face": own_faces[4]}, "cover"),
        (f"/people/{a}/faces", {"do": "move", "face": own_faces[5], "to": b, "sure": "yes"},
         "moved"),
        ("/merge", {"person": [a, b]}, "one"),
        ("/hide", {"hidden": "yes", "person": c}, "Hidden"),
        ("/hide", {"hidden": "no", "person": c}, "Shown"),
    ]  # fmt: skip
    before = {p: sorted(faces(pages, p)) for p in persons(pages)}
    for path, fields, words in steps:
        answer = send(pages, path, **fields)
        assert answer.status_code == 303, answer.text
        assert words in pages.get(answer.headers["location"]).text
    assert b not in persons(pages)
    assert pages.get(f"/people/{b}").status_code == 200, "links of before a merge lead on"
    assert len(faces(pages, a)) == 6 + 6 - 3
    for _ in steps:
        assert send(pages, "/undo").status_code == 303
    assert {p: sorted(faces(pages, p)) for p in persons(pages)} == before
    assert send(pages, "/undo").status_code == 400, "nothing is left"


def test_a_copy_that_is_none(tmp_path):
    image = pictures.photo()
    small = pictures.encoded(image.resize((200, 300)))
    files = {"a.jpg": pictures.encoded(image), "small.jpg": small}
    pictures.indexed(tmp_path / "lake", files, tmp_path / "photos")
    lake = Lake(str(tmp_path / "lake"))
    lake.cluster(ray="never")
    lake.dedupe(ray="never")
    for client in entered(tmp_path):
        text = client.get("/duplicates").text
        (image_id,) = re.findall(r'name="image" value="([0-9a-f]{32})"', text)
        answer = send(client, "/duplicates", image=image_id)
        assert "not a copy" in client.get(answer.headers["location"]).text
        text = client.get("/duplicates").text
        assert 'name="image"' not in text
        assert "not a copy, from the next" in text
        assert "Not a copy" in client.get("/history").text
        lake.dedupe(ray="never")
        assert "0 groups" in client.get("/duplicates").text
        assert send(client, "/duplicates", image=image_id).status_code == 400, "it is alone"
        send(client, "/undo")
        lake.dedupe(ray="never")
        assert image_id in client.get("/duplicates").text


def test_any_action_of_the_history_can_be_undone(pages):
    a, b = persons(pages)[:2]
    for person, name in ((a, "Ann"), (b, "Bob")):
        send(pages, f"/people/{person}/name", name=name)
    ids = re.findall(r'name="id" value="([0-9a-f]{32})"', pages.get("/history").text)
    send(pages, "/undo", id=ids[1])
    names = {row["name"] for row in pages.review.snapshot().named}
    assert names == {"Bob"}
    text = pages.get("/history").text
    assert "taken back" in text
    assert "Bring back" in text


def test_a_name_that_somebody_has_asks_first(pages):
    a, b = persons(pages)[:2]
    send(pages, f"/people/{a}/name", name="Ann")
    answer = send(pages, f"/people/{b}/name", name=" Ann ")
    assert answer.status_code == 200
    assert "same" in answer.text
    assert rows(pages) == 1
    send(pages, f"/people/{b}/name", name="Ann", same="no")
    assert [row["name"] for row in pages.review.snapshot().named] == ["Ann", "Ann"]
    send(pages, "/undo")
    send(pages, f"/people/{b}/name", name="Ann", same="yes")
    assert len(faces(pages, a)) == 12


def test_two_names_ask_which_is_right(pages):
    a, b = persons(pages)[:2]
    send(pages, f"/people/{a}/name", name="Ann")
    send(pages, f"/people/{b}/name", name="Bob")
    assert "Which name" in send(pages, "/merge", person=[a, b]).text
    assert rows(pages) == 2
    send(pages, "/merge", person=[a, b], keep=b)
    assert [row["name"] for row in pages.review.snapshot().named] == ["Bob"]


def asked(pages, kind="", at=0):
    """Return the id of the question of a page, and its text."""
    text = pages.get(f"/questions?kind={kind}&at={at}" if kind else f"/questions?at={at}").text
    found = re.search(r'action="/questions">.*?name="id" value="([0-9a-f]{16})"', text, re.S)
    return (found[1] if found else None), text


def test_who_is_this(pages):
    a = re.search(r'/people/([0-9a-f]{16})"><span', asked(pages, "who")[1])[1]
    send(pages, "/questions", id=asked(pages, "who")[0], name="Ann")
    assert a not in asked(pages, "who")[1].split("<h2>")[1].split("</h2>")[0]
    send(pages, "/questions", id=asked(pages, "who")[0], name="ann ")
    assert len(faces(pages, a)) == 12, "an existing name means this person"
    assert send(pages, "/questions", id=asked(pages, "who")[0], name="  ").status_code == 400
    assert "2 answered" in asked(pages, "who")[1]
    assert "12 faces got a name" in asked(pages, "who")[1]
    for old in ("/suggestions", "/unknown"):
        assert pages.get(old).headers["location"].startswith("/questions")


def test_one_face(pages):
    a, b = persons(pages)[:2]
    own_faces = faces(pages, a)
    for fields in ({"do": "cover"}, {"do": "split"}, {"do": "move", "to": b}, {"do": "reject"}):
        assert send(pages, f"/faces/{own_faces[0]}", **fields).status_code == 303
    assert "no face" in pages.get(f"/faces/{own_faces[0]}").text
    assert send(pages, f"/faces/{own_faces[1]}", do="nonsense").status_code == 400
    assert send(pages, f"/people/{a}/faces", do="split").status_code == 400
    assert send(pages, f"/people/{a}/faces", do="split", face="../x").status_code == 400


@pytest.fixture
def sisters(tmp_path):
    """Pages of a lake in which two sisters are one person: the person, her faces, her sister's."""
    vectors = np.concatenate([lakes.two_people(10), lakes.archive(2, 6, seed=5)[0]])
    joined = ("--threshold", "0.3")
    store = review_lake(tmp_path, vectors=vectors, options=joined)
    uris = store.lake.read("faces", ["face_id", "uri"]).to_pylist()
    ids = [row["face_id"] for row in sorted(uris, key=lambda row: row["uri"])]
    for client in entered(tmp_path):
        client.again = lambda: again(tmp_path, "--full", *joined)
        (one,) = set(view(store).persons_of(ids[:20]).values())
        yield client, one, ids[:10], ids[10:20]


def offered(text):
    return re.findall(r'name="offered" value="([0-9a-f]{32}-\d+)"', text)


@pytest.mark.parametrize("ticked", [2, 3, 5])
def test_who_follows_is_shown_before_it_is_done(sisters, ticked):
    pages, one, own, hers = sisters
    answer = send(pages, f"/people/{one}/faces", do="split", face=hers[:ticked], seen=own + hers)
    assert answer.status_code == 200
    assert "Who goes along?" in answer.text
    assert rows(pages) == 0
    assert sorted(offered(answer.text)) == sorted(hers[ticked:])
    assert answer.text.count(" checked>") == 10
    # one is unticked: it stays, and is told apart as somebody said so
    fields = {"do": "split", "sure": "yes", "to": "", "offered": hers[ticked:], "seen": own[:5]}
    done = send(pages, f"/people/{one}/faces", face=hers[:-1], **fields)
    assert done.status_code == 303
    assert "9 faces taken out: a new person" in pages.get(done.headers["location"]).text
    (different,) = [r for r in pages.review.people.constraints() if r.kind == "different"]
    assert set(different.faces) == set(hers[:-1])
    assert hers[-1] in different.others
    assert set(different.others) <= {*own[:5], hers[-1]}
    new = next(p for p in persons(pages) if hers[0] in faces(pages, p))
    pages.again()
    assert sorted(faces(pages, new)) == sorted(hers[:-1])
    assert set(own[:5]) <= set(faces(pages, one))
    send(pages, "/undo")
    pages.again()
    assert sorted(faces(pages, one)) == sorted(own + hers)


@pytest.mark.parametrize("to", ["Zoë", "known"])
def test_who_follows_a_name_or_a_person_is_shown_too(sisters, to):
    pages, one, own, hers = sisters
    other = next(p for p in persons(pages) if p != one)
    target = other if to == "known" else to
    asked = send(pages, f"/people/{one}/faces", do="move", face=hers[:2], to=target)
    assert f'name="to" value="{target}"' in asked.text
    send(pages, f"/people/{one}/faces", do="move", face=hers, to=target, sure="yes",
         offered=hers[2:], seen=own)  # fmt: skip
    pages.again()
    person = view(pages.review.people).persons_of(hers)
    assert len(set(person.values())) == 1
    assert sorted(faces(pages, one)) == sorted(own)
    assert (person[hers[0]] == other) == (to == "known")
    if to != "known":
        assert [row["name"] for row in pages.review.snapshot().named] == ["Zoë"]
    send(pages, "/undo")
    assert rows(pages) == len(undone(pages.review.people.constraints())) * 2


def test_from_the_page_of_a_face_too(sisters):
    pages, *_, hers = sisters
    answer = send(pages, f"/faces/{hers[0]}", do="split")
    assert sorted(offered(answer.text)) == sorted(hers[1:])


def test_no_to_two_halves_parts_them(sisters):
    pages, one, own, hers = sisters
    suggested(pages.review.people, "merged", (one, one), (own[0], hers[0]))
    question, text = asked(pages, "half")
    assert "should they be" in text
    assert send(pages, "/questions", id=question, answer="no").status_code == 303
    assert sorted(faces(pages, one)) == sorted(own)
    pages.again()
    assert sorted(faces(pages, one)) == sorted(own)


def test_faces_become_a_new_person_by_their_name(pages, folder):
    a, b = persons(pages)[:2]
    own_faces = faces(pages, a)
    send(pages, f"/people/{a}/faces", do="move", sure="yes", face=own_faces[:1], to="Zoë")
    send(pages, f"/faces/{own_faces[2]}", do="move", sure="yes", to="Yan")
    assert sorted(row["name"] for row in pages.review.snapshot().named) == ["Yan", "Zoë"]
    assert (
        send(
            pages, f"/people/{a}/faces", do="move", sure="yes", face=own_faces[3], to=""
        ).status_code
        == 400
    )
    short = send(pages, f"/people/{a}/faces", do="move", sure="yes", face=own_faces[3], to="Zo")
    assert "Zo" in pages.get(short.headers["location"]).text
    send(pages, "/undo")
    send(pages, f"/people/{a}/faces", do="move", sure="yes", face=own_faces[3], to=b[:6])
    assert sorted(faces(pages, a)) == sorted([own_faces[1], *own_faces[4:]])
    assert main(["cluster", str(folder / "lake"), "--ray", "never"]) == 0
    assert sorted(row["name"] for row in pages.review.snapshot().named) == ["Yan", "Zoë"]
    assert sorted(faces(pages, a)) == sorted([own_faces[1], *own_faces[4:]])
    ids = re.findall(r'name="id" value="([0-9a-f]{32})"', pages.get("/history").text)
    assert len(ids) == 4, "each is one action, and the undo is one"
    for one in ids[:1] + ids[2:]:
        where = send(pages, "/undo", id=one).headers["location"]
        assert "by the next facelake cluster" in pages.get(where).text
    assert main(["cluster", str(folder / "lake"), "--ray", "never"]) == 0
    assert sorted(faces(pages, a)) == sorted(own_faces)


def test_clustering_meanwhile_is_noticed(pages, folder):
    a = persons(pages)[0]
    send(pages, f"/people/{a}/name", name="Ann")
    before = pages.review.snapshot().key[0]
    assert main(["cluster", str(folder / "lake"), "--ray", "never"]) == 0
    text = pages.get("/").text
    assert "Ann" in text
    assert pages.review.snapshot().key[0] != before


def suggested(store, kind, persons, faces):
    """Publish the same people again, with one suggestion."""
    import pyarrow as pa

    from pipeline.lake import schema

    row = {"person_a": persons[0], "person_b": persons[1], "face_a": faces[0],
           "face_b": faces[1], "kind": kind, "similarity": 0.4, "threshold": 0.4, "doubt": 0.9,
           "run_id": "s"}  # fmt: skip
    about = {k: v for k, v in store.current().items() if k not in ("run_id", "tables")}
    store.publish("s", [store.clusters()], [store.people()],
                  pa.Table.from_pylist([row], schema.SUGGESTIONS), about)  # fmt: skip


def test_undo_goes_one_answer_further_back_each_time(pages):
    def offered():
        text = pages.get("/questions?kind=who").text
        return re.search(r'name="id" value="([0-9a-f]*)">\s*<button data-key="u"', text)[1]

    assert offered() == ""
    for name in ("Ann", "Bob"):
        send(pages, "/questions", id=asked(pages, "who")[0], name=name)
    last = offered()
    send(pages, "/undo", id=last)
    assert offered() not in ("", last), "not the undo, which would bring it back"
    send(pages, "/undo", id=offered())
    assert offered() == ""
    assert pages.review.snapshot().named == []


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_answers_do_not_come_back(pages, folder, answer):
    store = pages.review.people
    a, b = persons(pages)[:2]
    suggested(store, "apart", (a, b), (faces(pages, a)[0], faces(pages, b)[0]))
    question, page = asked(pages, "same")
    assert "0 answered" in page
    assert page.count('class="thumb"') == 12
    assert send(pages, "/questions", id=question, answer=answer).status_code == 303
    assert asked(pages, "same")[0] != question
    assert (b in persons(pages)) == (answer == "no")
    assert main(["cluster", str(folder / "lake"), "--ray", "never", "--full"]) == 0
    assert (b in persons(pages)) == (answer == "no")
    send(pages, "/undo")
    assert len(open_suggestions(store, view(store))) <= 1


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_a_doubtful_join(pages, answer):
    store = pages.review.people
    a = persons(pages)[0]
    own_faces = faces(pages, a)
    suggested(store, "merged", (a, a), (own_faces[0], own_faces[3]))
    question, page = asked(pages, "half")
    assert "should they be" in page
    sent = send(pages, "/questions", id=question, answer=answer)
    assert sent.status_code == 303
    assert "No open questions" in asked(pages, "half")[1]
    assert (own_faces[3] in faces(pages, a)) == (answer == "yes")
    send(pages, "/undo")
    assert asked(pages, "half")[0] == question


@pytest.fixture
def torn(tmp_path):
    """Pages of a lake whose people are in pieces."""
    review_lake(tmp_path, people=3, each=8, options=("--threshold", "0.7"))
    yield from entered(tmp_path)


def test_many_at_once(torn):
    question, page = asked(torn, "batch")
    boxes = re.findall(r'name="(person|face)" value="([0-9a-f-]+)"', page)
    assert len(boxes) >= 2
    assert 'data-key="y"' in page
    before = len(persons(torn))
    chosen = [one for _, one in boxes[:2]]
    sent = send(torn, "/questions", id=question, answer="yes", person=chosen)
    assert "confirmed" in torn.get(sent.headers["location"]).text
    assert len(persons(torn)) <= before - 2
    again = send(torn, "/questions", id=question, answer="yes", person=chosen)
    assert again.status_code == 400, "the persons of the question are not there any more"
    send(torn, "/undo")
    assert len(persons(torn)) == before
    question, _ = asked(torn, "batch")
    assert send(torn, "/questions", id=question, answer="no").status_code == 303
    assert asked(torn, "batch")[0] != question


def test_keys_choose_among_candidates(torn):
    for at in range(40):
        question, page = asked(torn, "who", at)
        if 'data-key="1"' in page:
            break
    into = re.search(r'name="into" value="([0-9a-f]{16})"', page)[1]
    before = len(persons(torn))
    sent = send(torn, "/questions", id=question, into=into)
    assert "Added to" in torn.get(sent.headers["location"]).text
    assert len(persons(torn)) < before
    none, _ = asked(torn, "who")
    assert send(torn, "/questions", id=none, into="0" * 16).status_code == 400
    assert send(torn, "/questions", id="f" * 16, answer="yes").status_code == 400


def test_what_followed_can_be_taken_back(torn):
    question, _ = asked(torn, "same")
    review = torn.review
    third = persons(torn)[-1]

    def how(queue, asked_question):
        from dataclasses import replace

        done = answering.answer(queue, asked_question, "yes")
        return replace(done, followed={done.correction.constraint_id: third})

    message = review.answer(question, how, "Yes: one person")
    page = torn.get(f"/questions?message={message}").text
    assert "Yes: one person, and 1 other followed" in page
    assert "Take back" in page
    before = len(persons(torn))
    sent = send(torn, "/questions/back", id=message)
    assert sent.status_code == 303
    assert len(persons(torn)) == before + 1
    assert send(torn, "/questions/back", id=message).status_code == 400


def test_answers_that_make_no_sense(pages):
    store = pages.review.people
    a, b = persons(pages)[:2]
    with pytest.raises(ConfigError, match="two different"):
        different(store, a, a)
    with pytest.raises(ConfigError, match="no person"):
        different(store, a, "0" * 16)
    with pytest.raises(ConfigError, match="not of"):
        together(store, a, [faces(pages, b)[0]])


# small things


def test_joiners_inside_words_stay_and_what_reorders_text_is_shown():
    assert shown("נ\u200cע 👩\u200d👧") == "נ\u200cע 👩\u200d👧"
    assert shown("a\u202eb\n\0") == "a\\x202eb\\x0a\\x00"
    assert shown("x" * 5000) == "x" * 400 + "…"


def test_addresses_that_would_be_open_are_refused():
    with pytest.raises(ConfigError, match="reverse proxy"):
        ReviewConfig("t", host="0.0.0.0")
    with pytest.raises(ConfigError, match="no name"):
        ReviewConfig("t", allowed=("a b",))
    with pytest.raises(ConfigError, match="port is 70000"):
        ReviewConfig("t", port=70_000)
    assert ReviewConfig("t", host="0.0.0.0", allowed=("faces.example",)).cookie_name == "facelake_0"


@pytest.mark.parametrize(
    ("host", "name"), [("a.b:1", "a.b"), ("[::1]:80", "::1"), ("A", "a"), ("a:b:c", "a")]
)
def test_the_name_in_a_host(host, name):
    assert host_name(host) == name


def test_a_form_with_a_file():
    body = (b"--b\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\nabc\r\n--b\r\n"
            b"Content-Disposition: form-data; name=\"picture\"; filename=\"../x.jpg\"\r\n"
            b"Content-Type: image/jpeg\r\n\r\n\xff\xd8\r\n\n\x00\xff\r\n--b--\r\n")  # fmt: skip
    form = parse("multipart/form-data; boundary=b", body)
    assert form.one("csrf") == "abc"
    assert form.file == b"\xff\xd8\r\n\n\x00\xff"
    many, urlencoded = "multipart/form-data; boundary=b", "application/x-www-form-urlencoded"
    for kind, bad in (
        (many, b"--b\r\n\r\nx\r\n--b--"), (many, b"--b\r\n"), (many, b""), (many, body[:-9]),
        ("multipart/form-data", body), (urlencoded, b"\xff"), ("text/plain", b""),
    ):  # fmt: skip
        with pytest.raises(RefusedError):
            parse(kind, bad)


def test_a_large_file_is_read_quickly():
    body = (b'--b\r\nContent-Disposition: form-data; name="p"; filename="x"\r\n\r\n'
            + os.urandom(1 << 20) * 60 + b"\r\n--b--\r\n")  # fmt: skip
    start = time.perf_counter()
    assert len(parse("multipart/form-data; boundary=b", body).file) == 60 << 20
    assert time.perf_counter() - start < 5


def test_searching_by_a_picture_keeps_nothing(shared_pages, shared):
    before = sorted(p for p in shared.rglob("*"))
    answer = shared_pages.request(
        "POST", "/search", data={"csrf": shared_pages.csrf}, files={"picture": ("x", b"no picture")}
    )
    assert answer.status_code == 400
    assert "cannot be used" in answer.text
    assert sorted(p for p in shared.rglob("*")) == before


def test_searching_by_a_picture(shared_pages, photos):
    path = next(p for p in sorted(photos.iterdir()) if p.suffix == ".jpg")
    form = {"csrf": shared_pages.csrf}
    answer = shared_pages.request(
        "POST", "/search", data=form, files={"picture": (path.name, path.read_bytes())}
    )
    assert answer.status_code == 200, answer.text
    assert len(re.findall(r'href="/faces/', answer.text)) == 36


def test_searching_by_a_face(shared_pages):
    person = persons(shared_pages)[0]
    own_faces = faces(shared_pages, person)
    text = shared_pages.get(f"/search?face={own_faces[0]}").text
    links = re.findall(r'href="/faces/([0-9a-f-]+)"', text)
    assert set(links[1:6]) == set(own_faces[1:])


def test_a_lake_without_people_says_so(tmp_path, capsys):
    review_lake(tmp_path, cluster=False)
    assert main(["review", str(tmp_path / "lake"), "--no-browser"]) == 2
    assert "facelake cluster" in capsys.readouterr().err


def test_the_extra_is_named_when_it_is_missing(shared, capsys, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "pipeline.web.http.server", raising=False)
    assert main(["review", str(shared / "lake"), "--no-browser"]) == 2
    assert "facelake[review]" in capsys.readouterr().err
