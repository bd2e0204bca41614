"""`facelake search`, `identify`, `search-index` and `export-vectors`, and the page of pictures."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipeline.commands.main import main
from pipeline.errors import ConfigError, LakeMismatchError, NoFaceError
from pipeline.lake import schema
from pipeline.lake.store import LakeStore, Models
from pipeline.models import face_crops, load_detector, load_embedder
from pipeline.people import actions
from pipeline.people.store import People
from pipeline.search import Searcher, identify, search
from pipeline.search.probe import Probe
from pipeline.search.results import Match, SearchResult
from pipeline.search.searcher import Searched
from pipeline.web.search_page import page
from tests.support.builders import PHOTOS
from tests.support.pictures import encoded

ROOT = Path(__file__).parents[3]
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
HOSTILE = "/p/<script>alert('x')</script>\"onerror=\"x\u202e\x1b[31m&amp;.jpg"


def run(capsys, *arguments):
    code = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def models():
    return load_detector(), load_embedder("sface")


@pytest.fixture(autouse=True)
def loaded(models, monkeypatch):
    """Load the models once for all commands."""
    monkeypatch.setattr("pipeline.search.models.load_detector", lambda *_, **__: models[0])
    monkeypatch.setattr("pipeline.search.models.load_embedder", lambda *_, **__: models[1])


@pytest.fixture(scope="module")
def lake(tmp_path_factory, models):
    """A lake of the example photos, indexed in this process, and two people in it."""
    folder = tmp_path_factory.mktemp("examples")
    detector, embedder = models
    lake = LakeStore(str(folder))
    lake.claim(Models(detector.revision, embedder.revision, 128))
    images, faces = [], []
    for number, path in enumerate(sorted(PHOTOS.glob("*.*g"))):
        picture = Image.open(path).convert("RGB")
        detected = detector.detect(picture)
        crops = face_crops(picture, detected, embedder.card)
        vectors, norms = embedder.embed(crops) if len(detected) else (np.zeros((0, 128)), [])
        image_id = f"{number:032x}"
        images.append(
            {"image_id": image_id, "uri": str(path), "faces": len(detected), "run_id": "r"}
        )
        faces += [
            {"face_id": f"{image_id}-{i}", "image_id": image_id, "uri": str(path),
             "box": detected.boxes[i].tolist(),
             "landmarks": detected.landmarks[i].reshape(-1).tolist(),
             "score": float(detected.scores[i]), "size_px": 100.0, "quality": 1.0,
             "embedding": vectors[i].tolist(), "embedding_norm": float(norms[i]),
             "thumbnail": encoded(Image.fromarray(crops[i])), "detector": detector.revision,
             "embedder": embedder.revision, "run_id": "r"}
            for i in range(len(detected))
        ]  # fmt: skip
    lake.publish_part(
        pa.Table.from_pylist(images, schema.IMAGES),
        pa.Table.from_pylist(faces, schema.faces_schema(128)),
    )
    persons(lake, {"biden": "Joe", "obama-20": "Barack", "collins": None})
    return lake


def persons(lake, named):
    """Make people of the photos whose names start alike, and name them."""
    rows = lake.read("faces", ["face_id", "image_id", "uri", "embedding"]).to_pylist()
    clusters, people = [], []
    for number, start in enumerate(named):
        own_rows = [row for row in rows if Path(row["uri"]).name.startswith(start)]
        person = f"{number + 1:016x}"
        mean = np.mean([row["embedding"] for row in own_rows], axis=0)
        clusters += [
            {"face_id": row["face_id"], "image_id": row["image_id"], "person_id": person,
             "tier": "core", "similarity": 0.9, "confidence": 0.9, "confirmed": False,
             "run_id": "c"} for row in own_rows
        ]  # fmt: skip
        people.append(
            {"person_id": person, "hidden": False, "faces": len(own_rows),
             "core_faces": len(own_rows), "images": len(own_rows),
             "cover_face_id": own_rows[0]["face_id"],
             "exemplars": [row["face_id"] for row in own_rows][:8], "confidence": 0.9,
             "mean": mean.tolist(), "run_id": "c"}
        )  # fmt: skip
    store = People(lake)
    store.publish(
        "c", [pa.Table.from_pylist(clusters, schema.CLUSTERS)],
        [pa.Table.from_pylist(people, schema.people_schema(128))],
        schema.SUGGESTIONS.empty_table(), {"threshold": {"single_faces": 0.35}},
    )  # fmt: skip
    for number, called in enumerate(named.values()):
        if called:
            actions.name(store, f"{number + 1:016x}", called)


def test_people_of_real_photos_are_learnt_and_told(lake, models, tmp_path, capsys, monkeypatch):
    pytest.importorskip("sklearn")
    for name, model in zip(("detector", "embedder"), models, strict=True):
        monkeypatch.setattr(
            f"pipeline.training.classify.load_{name}", lambda *_, model=model, **__: model
        )
    faces = lake.read("faces", ["face_id", "uri", "box"]).to_pylist()
    apart = "obama-2009-speech.jpg"
    lines = ["face_id,label"]
    for row in faces:
        photo = Path(row["uri"]).name
        who = photo.split("-")[0]
        if "composite" in photo:
            who = "obama" if row["box"][0] < 500 else "biden"
        if who in ("obama", "biden") and not photo.startswith(apart[:17]):
            lines.append(f"{row['face_id']},{who}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    folder = tmp_path / "model"
    code, _, err = run(capsys, "train", lake.folder.url, "--labels", tmp_path / "labels.csv",
                       "--output", folder, "--min-images", 3, "--head", "centroid")  # fmt: skip
    assert code == 0, err
    stranger = next(PHOTOS.glob("collins*"))
    code, out, _ = run(capsys, "classify", PHOTOS / apart, stranger, "--model", folder, "--json")
    assert code == 0
    known, unknown = json.loads(out)
    assert [face["person"] for face in known["faces"]] == ["obama"]
    assert [face["person"] for face in unknown["faces"]] == [None]
    assert known["faces"][0]["probability"] > unknown["faces"][0]["probability"]


def test_search_by_photo_and_by_face(lake, capsys):
    photo = PHOTOS / "obama-2009-speech.jpg"
    url = lake.folder.url
    code, out, _ = run(capsys, "search", url, "--image", photo, "--top", 3, "--json")
    answer = json.loads(out)
    assert code == 0
    assert len(answer["matches"]) == 3
    best = answer["matches"][0]
    assert best["similarity"] > 0.99
    assert best["uri"].endswith(("obama-2009-speech.jpg", "obama-2009-speech-rgba.png"))
    assert best["name"] == "Barack"
    assert len(best["box"]) == 4
    assert answer["searched"]["kind"] == "exact"
    code, out, _ = run(capsys, "search", url, "--face-id", best["face_id"], "--json")
    again = json.loads(out)
    assert again["query"]["face_id"] == best["face_id"]
    assert best["face_id"] not in [match["face_id"] for match in again["matches"]]
    code, out, _ = run(capsys, "search", url, "--image", photo, "--threshold", 0.9)
    assert "Barack" in out
    assert "searched: all faces" in out
    alone = lake.read("faces", ["face_id", "uri"]).to_pylist()
    alone = next(row["face_id"] for row in alone if "collins" in row["uri"])
    code, out, _ = run(capsys, "search", url, "--face-id", alone, "--threshold", 0.9)
    assert "no face is similar enough" in out


def test_a_photo_with_several_faces_says_which_was_taken(lake, capsys):
    photo = PHOTOS / "obama-and-biden-composite.jpg"
    code, out, _ = run(capsys, "search", lake.folder.url, "--image", photo)
    assert code == 0
    assert re.search(r"has \d faces; taken was the largest, box \d+", out)
    boxes = set()
    for choice in ("largest", "most-probable", "central"):
        _, out, _ = run(
            capsys, "search", lake.folder.url, "--image", photo, "--select", choice, "--json"
        )
        answer = json.loads(out)
        assert answer["query"]["faces"] > 1
        boxes.add(tuple(answer["query"]["box"]))
    assert boxes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image", PHOTOS / "cat-no-face.png"], r"No face was found in .*cat-no-face.png; give"),
        (["--image", PHOTOS / "none.jpg"], "none.jpg"),
        (["--image", PHOTOS / "CREDITS.md"], "cannot be used"),
        (["--face-id", "nobody-0"], "has no face nobody-0"),
        (["--face-id", "nobody-0", "--top", "0"], "top is 0"),
        (["--face-id", "nobody-0", "--threshold", "2"], "threshold is 2"),
    ],
)
def test_errors_are_one_line(lake, capsys, arguments, message):
    code, out, err = run(capsys, "search", lake.folder.url, *arguments)
    assert code in (2, 5)
    assert out == ""
    assert err.count("\n") == 1
    assert re.search(message, err)


def test_identify(lake, capsys):
    url = lake.folder.url
    code, out, _ = run(capsys, "identify", url, "--image", PHOTOS / "obama-blue-room.jpg", "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["person"]["name"] == "Barack"
    assert answer["reason"] is None
    assert answer["margin"] > 0.05
    assert answer["threshold"] == 0.35
    assert [one["name"] for one in answer["candidates"]] == ["Barack", "Joe"]
    _, out, _ = run(capsys, "identify", url, "--image", PHOTOS / "obama-blue-room.jpg")
    assert out.startswith("Barack: similarity 0.")


@pytest.mark.parametrize(
    ("photo", "settings", "reason"),
    [
        ("collins-nasa-portrait.png", {}, "nobody is similar enough"),
        ("obama-blue-room.jpg", {"margin": 0.9}, "two persons are too close"),
        ("obama-blue-room.jpg", {"min_face_px": 5000}, "the face is too small"),
    ],
)
def test_identify_says_why_not(lake, photo, settings, reason):
    result = identify(lake, image=PHOTOS / photo, **settings)
    assert result.person is None
    assert reason in result.reason
    assert result.candidates


def test_identify_among_all(lake, capsys):
    result = identify(lake, image=PHOTOS / "collins-nasa-portrait.png", among="all")
    assert (result.person.name, result.person.person_id) == (None, f"{3:016x}")
    _, out, _ = run(capsys, "identify", lake.folder.url, "--among", "all", "--image",
                    PHOTOS / "collins-nasa-portrait.png")  # fmt: skip
    assert out.startswith(f"{3:016x}: similarity")


def copied(lake, folder, *without):
    shutil.copytree(lake.folder.url, folder)
    for name in without:
        shutil.rmtree(folder / name, ignore_errors=True)
    return LakeStore(str(folder))


def test_identify_without_people_or_names(lake, tmp_path, capsys):
    bare = copied(lake, tmp_path / "bare", "clusters", "people", "constraints")
    result = identify(bare, image=PHOTOS / "obama-blue-room.jpg")
    assert "run facelake cluster" in result.reason
    nameless = copied(lake, tmp_path / "nameless", "constraints")
    code, out, _ = run(capsys, "identify", nameless.folder.url, "--image",
                       PHOTOS / "obama-blue-room.jpg")  # fmt: skip
    assert code == 0
    assert "nobody: the lake has no people with a name yet" in out


def test_hidden_people_and_split_faces_are_not_templates(lake, tmp_path):
    other = copied(lake, tmp_path / "other")
    store = People(other)
    actions.hide(store, [f"{1:016x}"])
    result = identify(other, image=PHOTOS / "biden-official-portrait.jpg")
    assert [one.name for one in result.candidates] == ["Barack"]
    assert result.margin is None


def test_index_by_command_and_stale_answers(lake, tmp_path, capsys):
    pytest.importorskip("faiss")
    other = copied(lake, tmp_path / "other")
    code, out, err = run(capsys, "search-index", other.folder.url)
    assert (code, err) == (0, "")
    assert "in 1 shards" in out
    assert "flat" in out
    photo = PHOTOS / "obama-2012-portrait.jpg"
    _, out, _ = run(capsys, "search", other.folder.url, "--image", photo, "--json")
    answer = json.loads(out)
    assert answer["searched"] == {"kind": "flat", "indexed": 1, "compared": 0}
    _, out, _ = run(capsys, "search", other.folder.url, "--image", photo, "--json", "--exact")
    exact = json.loads(out)
    assert [m["face_id"] for m in exact["matches"]] == [m["face_id"] for m in answer["matches"]]
    runs = list((tmp_path / "other/runs").glob("search-index-*.json"))
    assert json.loads(runs[0].read_text())["status"] == "finished"
    assert not (tmp_path / "other/run.lock").exists()
    assert main(["check", other.folder.url]) == 0


def test_missing_faiss_is_told(lake, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    code, _, err = run(capsys, "search-index", lake.folder.url)
    assert code == 2
    assert "pip install 'facelake[search]'" in err


def test_python_interface(lake, models):
    searcher = Searcher(lake)
    result = search(searcher, image=Image.open(PHOTOS / "obama-2012-closeup.jpg"), top=2)
    assert len(result.matches) == 2
    assert result.probe.name == "the image"
    assert result.query_face is None
    with pytest.raises(ConfigError, match="either a photo or a face_id"):
        search(searcher)
    with pytest.raises(NoFaceError):
        search(searcher, image=np.zeros((200, 200, 3), np.uint8))


class Seen(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def hostile():
    picture = encoded(Image.new("RGB", (112, 112), "navy"))
    match = Match(0.87, "f" * 32 + "-0", HOSTILE, (1, 2, 3, 4), "p", "<b>Eve</b>", picture)
    bare = replace(match, name=None, thumbnail=None)
    probe = Probe(HOSTILE, np.ones(4, np.float32), (1, 2, 3, 4), 2, 2, np.zeros((9, 9, 3), "u1"))
    return SearchResult([match, bare], probe, None, Searched("exact", 0, 1))


def test_page_is_plain_and_escaped(hostile):
    seen = Seen()
    text = page(hostile, HOSTILE)
    seen.feed(text)
    tags = [tag for tag, _ in seen.tags]
    assert not {"script", "b onerror", "a", "link", "iframe"} & set(tags)
    assert tags.count("img") == 2  # the query, and one of two matches
    for tag, attributes in seen.tags:
        assert not [name for name in attributes if name.startswith("on")]
        if tag == "img":
            assert attributes["src"].startswith("data:image/jpeg;base64,")
            assert attributes["alt"]
    shown = "".join(seen.text)
    assert "<script>alert('x')</script>" in shown
    assert "<b>Eve</b>" in shown
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "http" not in text.replace("http-equiv", "")
    assert "prefers-color-scheme: dark" in text
    assert "width=device-width" in text


def test_page_by_command(lake, tmp_path, capsys):
    code, out, _ = run(
        capsys, "search", lake.folder.url, "--image", PHOTOS / "obama-2012-portrait.jpg",
        "--html", tmp_path / "found",
    )  # fmt: skip
    assert code == 0
    assert "index.html" in out
    text = (tmp_path / "found/index.html").read_text()
    assert text.count("data:image/jpeg;base64,") > 10
    assert "Barack" in text


@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Chromium is not installed")
def test_page_in_a_browser(hostile, tmp_path):
    file = tmp_path / "index.html"
    file.write_text(page(hostile, HOSTILE))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
               f"--user-data-dir={tmp_path / 'profile'}", "--window-size=360,800",
               f"--screenshot={tmp_path / 'page.png'}", "--dump-dom", file.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "<script" not in done.stdout
    assert "&lt;script&gt;alert" in done.stdout
    assert done.stdout.count("<li>") == 2


def readme_block(language, containing):
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return next(block for block in blocks if containing in block)


def test_the_query_of_the_readme_runs(lake):
    query = readme_block("sql", "array_cosine_similarity").replace("demo-lake", lake.folder.url)
    rows = duckdb.sql(query).fetchall()
    assert len(rows) == 10
    assert rows[0][0] > 0.9


def test_export_to_lance(lake, tmp_path, capsys):
    lance = pytest.importorskip("lance", reason="pylance is not installed (facelake[lance])")
    target = tmp_path / "faces.lance"
    code, out, _ = run(capsys, "export-vectors", lake.folder.url, target, "--to", "lance")
    count = len(lake.read("faces", ["face_id"]))
    assert code == 0
    assert out.startswith(f"{count} faces written to")
    data = lance.dataset(str(target))
    assert data.count_rows() == count
    query_face = lake.read("faces", ["face_id", "embedding"]).to_pylist()[0]
    query = np.array(query_face["embedding"], np.float32)
    result = data.to_table(
        columns=["face_id", "_distance"],
        nearest={"column": "embedding", "q": query, "k": 3, "metric": "cosine"},
    )
    assert result["face_id"][0].as_py() == query_face["face_id"]
    code, _, err = run(capsys, "export-vectors", lake.folder.url, target)
    assert code == 2
    assert "is there already" in err


def test_missing_lance_is_told(lake, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "lance", None)
    code, _, err = run(capsys, "export-vectors", lake.folder.url, tmp_path / "x")
    assert code == 2
    assert "pip install 'facelake[lance]'" in err


def test_another_model_is_told(lake, models, tmp_path, monkeypatch):
    other = copied(lake, tmp_path / "other")
    about = tmp_path / "other/lake.json"
    about.write_text(about.read_text().replace(models[1].revision, "sface@000000000000"))
    with pytest.raises(LakeMismatchError, match=r"vectors of sface@0+, the model here is sface@"):
        search(other, image=PHOTOS / "obama-2012-closeup.jpg")
    about.write_text(about.read_text().replace("sface@000000000000", "own_rows@000000000000"))
    with pytest.raises(ConfigError, match=r"own_rows@0+, which is not known here.*--embedder"):
        search(other, image=PHOTOS / "obama-2012-closeup.jpg")
