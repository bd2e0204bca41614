"""Forgetting: nothing is left in any file, nothing comes back, whatever stops it in between."""

import base64
import io
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.clustering.run import Run as ClusterRun
from pipeline.commands.main import main
from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.dedupe.duplicates import CROPS, LOOKS, PAIRS, TABLE, Duplicates
from pipeline.dedupe.run import Run as DedupeRun
from pipeline.errors import ConfigError, StorageError
from pipeline.imaging.geometry import iou
from pipeline.lake import schema, tombstones
from pipeline.lake.checkpoints import Workspace, in_process
from pipeline.lake.ledger import Ledger
from pipeline.lake.store import LakeStore, parquet_bytes
from pipeline.maintenance.check import check
from pipeline.maintenance.forget import derived, job, run
from pipeline.maintenance.forget.prove import Cleartext, prove
from pipeline.maintenance.forget.target import find
from pipeline.people import People, actions
from pipeline.people.log import Statement, append
from pipeline.people.view import view
from pipeline.search import search
from pipeline.search.build import Build
from pipeline.search.settings import VectorIndexConfig
from pipeline.search.store import IndexStore
from pipeline.storage import scratch
from pipeline.training.predictions import predictions_of
from tests.support import photo_lakes
from tests.support.builders import jpeg, planned, put, read_all, tar_bytes
from tests.support.lakes import archive, persons
from tests.support.photo_lakes import image_id, photo_lake, thumbnail

PEOPLE, EACH = 6, 5


def box_of(place):
    return (10 + 40 * (place % 2), 20, 45 + 40 * (place % 2), 60)


def columns_of(name):
    """What a photo lake does not fill, and tombstones are made of."""
    seed = image_id(name)
    return {"sha256": seed * 2, "pixels_sha256": seed[::-1] * 2, "phash": bytes.fromhex(seed) * 2,
            "phash_quality": 100}  # fmt: skip


@pytest.fixture(autouse=True)
def places_of_runs(tmp_path, monkeypatch):
    """Where killed runs may have left something: not where other tests do."""
    folder = tmp_path / "places"
    folder.mkdir()
    monkeypatch.setattr(scratch, "places", lambda: [str(folder)])
    return folder


@pytest.fixture
def lake(made, tmp_path):
    """A copy of `made` for one test."""
    shutil.copytree(made, tmp_path / "lake")
    return LakeStore(str(tmp_path / "lake"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Photos of two people each, in several parts, clustered and searched for copies."""
    folder = tmp_path_factory.mktemp("made") / "lake"
    vectors, label = archive(PEOPLE, EACH)
    photos = {}
    for k in range(EACH):
        for p in range(0, PEOPLE, 2):
            photos[f"p{p}-{k}.jpg"] = [
                photo_lakes.face(vectors[label == q][k], box_of(q), thumbnail=thumbnail(q * 10 + k))
                for q in (p, p + 1)
            ]
    lake = parts_lake(folder, photos)
    cluster(lake)
    duplicates(lake)
    return folder


def parts_lake(folder, photos):
    """Write a part for every four photos."""
    names = list(photos)
    for start in range(0, len(names), 4):
        lake = photo_lake(folder, {n: photos[n] for n in names[start : start + 4]})
    for part in lake.parts():
        images = lake.read_part("images", part)
        rows = [row | columns_of(row["uri"].rsplit("/", 1)[-1]) for row in images.to_pylist()]
        (folder / "images" / part).unlink()
        (folder / "faces" / f"x-{part}").write_bytes((folder / "faces" / part).read_bytes())
        (folder / "faces" / part).unlink()
        faces = pq.read_table(folder / "faces" / f"x-{part}")
        (folder / "faces" / f"x-{part}").unlink()
        lake.publish_part(pa.Table.from_pylist(rows, schema.IMAGES), faces)
    return lake


def cluster(lake, run_id="c1"):
    return ClusterRun(People(lake), ClusterConfig(threshold=0.45), in_process, run_id).cluster()


def duplicates(lake):
    """A group of copies, and one pair of hashes, as `dedupe` leaves them."""
    rows = [
        {"image_id": image_id(name), "group_id": group, "kind": kind, "distance": 0, "keep": True,
         "reason": "because", "run_id": "d1"}
        for name, group, kind in (
            ("p0-0.jpg", "g1", "kept"), ("p0-1.jpg", "g1", "near"),
            ("p2-0.jpg", "g2", "kept"), ("p2-1.jpg", "g2", "near"),
        )
    ]  # fmt: skip
    one, two, three = (columns_of(f"p0-{k}.jpg")["phash"] for k in range(3))
    pairs = [{"first": one, "second": two, "bits": 0, "turn": None},
             {"first": two, "second": three, "bits": 0, "turn": None}]  # fmt: skip
    crops = [{"first": image_id("p0-0.jpg"), "second": image_id("p2-0.jpg")}]
    looks = [
        {"first": image_id(f"p{n}-0.jpg"), "second": image_id(f"p{n}-1.jpg"), "copy": True}
        for n in (0, 2)
    ]
    tables = {
        TABLE: pa.Table.from_pylist(rows, schema.DUPLICATES),
        PAIRS: pa.Table.from_pylist(pairs, schema.HASH_PAIRS),
        CROPS: pa.Table.from_pylist(crops, schema.CROP_PAIRS),
        LOOKS: pa.Table.from_pylist(looks, schema.LOOKS),
    }
    Duplicates(lake).publish("d1", tables, {"parts": {}, "settings": {}})


def predict(lake, persons_by_face):
    """Predictions as a model of the lake's people leaves them."""
    rows = [
        {"face_id": face, "image_id": face.rpartition("-")[0], "person": person,
         "person_id": person, "probability": 0.9, "run_id": "p1"}
        for face, person in persons_by_face.items()
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema.PREDICTIONS)
    predictions_of(lake).publish("p1", {"predictions": [table]}, {})


def furnish(lake, tmp_path):
    """Leave traces wherever a lake keeps any."""
    store = People(lake)
    now = persons(store)
    ann = now[f"{image_id('p0-0.jpg')}-0"]
    bob = now[f"{image_id('p2-0.jpg')}-0"]
    actions.name(store, ann, "Ann of the north", "name Ann")
    actions.name(store, bob, "Bob")
    actions.move(store, [f"{image_id('p0-4.jpg')}-0"], bob, f"move {image_id('p0-4.jpg')}-0")
    actions.undo(store)
    actions.cover(store, ann, f"{image_id('p0-1.jpg')}-0")
    Build(lake, VectorIndexConfig(kind="flat")).run()
    predict(lake, now)
    for name in ("clusters/_work/abc", "duplicates/_work/abc"):
        to_read = Workspace(lake.folder.child(name))
        to_read.save("gather-00000", {"face_id": np.array([f"{image_id('p0-0.jpg')}-0".encode()])})
    ids = np.array([list(bytes.fromhex(image_id(f"p0-{k}.jpg"))) for k in range(3)], np.uint8)
    Workspace(lake.folder.child("duplicates/_vectors/m")).save(
        "part", {"image_id": ids, "vectors": np.eye(3, 8, dtype=np.float16)}
    )
    Workspace(lake.folder.child("duplicates/_pictures")).save_large("gathered", ids)
    face = lake.read("faces", ["face_id", "thumbnail"]).to_pylist()[0]
    page = f'<img src="data:image/jpeg;base64,{base64.b64encode(face["thumbnail"]).decode()}">'
    lake.folder.publish("report/people/a.html", page.encode())
    lake.publish_json("runs/r.json", {
        "config": {"inputs": ["/archive", "/archive/p0-0.jpg"]},
        "notices": ["/archive/p0-0.jpg is odd", "/archive/p2-2.jpg is odd"],
    })  # fmt: skip
    part = lake.parts()[0]
    lake.folder.publish(f"quarantine/images-{part}", lake.folder.read(f"images/{part}"))
    lake.folder.publish(f"quarantine/faces-{part}", b"damaged")
    (tmp_path / "lake" / "faces" / ".part.abc.tmp").write_bytes(lake.folder.read(f"faces/{part}"))
    return ann, bob


def files(lake):
    root = lake.folder.path()
    return {name: lake.folder.fs.cat_file(name) for name in lake.folder.fs.find(root)}


def values(data):
    """Yield every value of a Parquet file, lists taken apart."""
    for column in pq.read_table(io.BytesIO(data)).columns:
        kind = column.type
        if pa.types.is_fixed_size_list(kind):
            rows = np.asarray(column.combine_chunks().flatten(), np.float32)
            yield from (row.tobytes() for row in rows.reshape(-1, kind.list_size))
        elif pa.types.is_list(kind):
            yield from (one for row in column.to_pylist() for one in row or ())
        else:
            yield from column.to_pylist()


def assert_nowhere(lake, texts, blobs):
    """No file holds a text or blob, in its bytes or, for tables, in a value."""
    for name, data in files(lake).items():
        for needle in [text.encode() for text in texts] + list(blobs):
            assert needle not in data, (name, needle[:40])
            assert base64.b64encode(needle) not in data, name
        if name.endswith(".parquet"):
            for value in values(data):
                if isinstance(value, str):
                    assert not any(text in value for text in texts), (name, value)
                elif isinstance(value, bytes):
                    assert value not in blobs, name


def forget(lake, run_id="f1", **what):
    target = find(lake, what.get("persons", ()), what.get("images", ()), what.get("faces", ()))
    return target, run.forget(lake, target, run_id)


def proof(lake, target=None):
    clear = (
        Cleartext(sorted(target.texts()), sorted(target.names), target.blobs()) if target else None
    )
    return prove(lake, lake.forgotten(), clear).findings


def test_a_person_is_in_no_file_afterwards(lake, tmp_path):
    ann, bob = furnish(lake, tmp_path)
    before = view(People(lake))
    target, done = forget(lake, persons=["Ann of the north"])
    assert len(target.faces) == EACH
    assert done.index
    assert done.report
    assert_nowhere(lake, target.texts() | target.names, target.blobs())
    assert proof(lake, target) == []
    now = view(People(lake))
    assert now.person(ann) is None
    assert {k: v for k, v in now.person(bob).items() if k != "run_id"} == {
        k: v for k, v in before.person(bob).items() if k != "run_id"
    }
    assert len(lake.read("images")) == EACH * PEOPLE // 2  # the photos stay
    assert set(lake.read("images")["faces"].to_pylist()) == {1, 2}
    assert check(lake).findings == []
    cluster(lake, "c2")
    assert view(People(lake)).person(bob)["name"] == "Bob"
    assert ann not in persons(People(lake)).values()
    assert proof(lake, target) == []


def test_a_photo_is_in_no_file_afterwards(lake, tmp_path):
    furnish(lake, tmp_path)
    target, done = forget(lake, images=["p0-0.jpg"])
    assert len(target.faces) == 2
    assert (done.duplicates, done.predictions) == (2, 2)
    assert_nowhere(lake, target.texts(), target.blobs())
    assert proof(lake, target) == []
    assert len(lake.read("images")) == EACH * PEOPLE // 2 - 1
    assert check(lake).findings == []
    assert Duplicates(lake).table()["group_id"].to_pylist() == ["g2", "g2"]
    assert len(Duplicates(lake).pairs()) == 1
    assert len(Duplicates(lake).crops()) == 0
    about = json.loads(lake.folder.read("runs/r.json"))
    assert about["config"]["inputs"] == ["/archive", derived.REDACTED]
    assert about["notices"] == [derived.REDACTED, "/archive/p2-2.jpg is odd"]
    left = Workspace(lake.folder.child("duplicates/_vectors/m")).load("part")
    np.testing.assert_array_equal(left["vectors"], np.eye(3, 8)[1:])


def test_a_face_goes_and_its_person_is_counted_anew(lake):
    store = People(lake)
    gone = f"{image_id('p0-0.jpg')}-0"
    ann = persons(store)[gone]
    actions.name(store, ann, "Ann")
    cluster(lake, "c2")
    target, _ = forget(lake, faces=[gone])
    row = store.people(where=pa.compute.field("person_id") == ann).to_pylist()[0]
    assert (row["faces"], row["images"]) == (EACH - 1, EACH - 1)
    assert gone not in row["exemplars"]
    left = [f"{image_id(f'p0-{k}.jpg')}-0" for k in range(1, EACH)]
    vectors = np.stack(
        lake.read("faces", ["embedding"], pa.compute.field("face_id").isin(left))["embedding"]
        .to_pylist()
    )  # fmt: skip
    np.testing.assert_allclose(row["mean"], vectors.mean(axis=0), atol=3e-4)
    assert view(store).person(ann)["name"] == "Ann"
    assert proof(lake, target) == []
    # the rest of the generation counts as done: the next run has nothing new
    assert cluster(lake, "c3")["new_faces"] == 0


class Stop(Exception):  # noqa: N818  # no error
    """A process that ends here."""


STEPS = ("publish", "remove", "publish_json")


@pytest.mark.parametrize("what", ["person", "image"])
def test_what_is_stopped_anywhere_is_done_by_the_next(tmp_path, lake, monkeypatch, what):
    furnish(lake, tmp_path)
    wanted = {"persons": ["Ann of the north"]} if what == "person" else {"images": ["p0-0.jpg"]}
    target = find(lake, wanted.get("persons", ()), wanted.get("images", ()), ())
    folder = type(lake.folder)
    stopped = total = 0
    allowed = 1
    while True:
        written = 0

        def counted(self, *arguments, real, allowed=allowed):
            nonlocal written
            written += 1
            if written > allowed:
                raise Stop
            return real(self, *arguments)

        with monkeypatch.context() as patch:
            for name in ("publish", "remove"):
                real = getattr(folder, name)
                patch.setattr(
                    folder, name,
                    lambda self, *a, real=real, counted=counted: counted(self, *a, real=real),
                )  # fmt: skip
            try:
                if run.pending(lake) is None:
                    run.forget(lake, target, f"f{allowed}")
                else:
                    run.finish(lake, f"f{allowed}")
                break
            except Stop:
                stopped += 1
        assert proof(lake)  # the note of what is not done yet is found at least
        allowed += 1
        total += written
    assert stopped > 3
    assert run.pending(lake) is None
    assert_nowhere(lake, target.texts() | target.names, target.blobs())
    assert proof(lake, target) == []
    assert check(lake).findings == []


def test_a_backup_that_was_put_back_is_found_and_cleaned_again(lake, tmp_path):
    furnish(lake, tmp_path)
    backup = files(lake)
    target, _ = forget(lake, persons=["Ann of the north"])
    for name, data in backup.items():
        if "/_work/" not in name:
            lake.folder.fs.makedirs(name.rsplit("/", 1)[0], exist_ok=True)
            lake.folder.fs.pipe_file(name, data)
    lake.folder.remove("quarantine/x")
    assert {where.split("/")[0] for where, _ in proof(lake)} >= {
        "faces", "clusters", "people", "constraints", "index", "report", "quarantine",
    }  # fmt: skip
    run.sweep(lake, "f2")
    assert_nowhere(lake, target.texts() | target.names, target.blobs())
    assert proof(lake, target) == []


def test_a_lake_on_object_storage_forgets_too(lake, tmp_path):
    furnish(lake, tmp_path)
    root = lake.folder.path()
    remote = LakeStore(f"memory://forget-{tmp_path.name}")
    for name, data in files(lake).items():
        remote.folder.publish(name.removeprefix(f"{root}/"), data)
    target, done = forget(remote, persons=["Ann of the north"], images=["p2-0.jpg"])
    assert done.report
    assert_nowhere(remote, target.texts() | target.names, target.blobs())
    assert proof(remote, target) == []
    assert check(remote).findings == []


def test_each_hiding_place_is_found_by_its_tombstone(lake, tmp_path):
    """The proof can fail: whatever is put back is told of, by hashes alone."""
    target, _ = forget(lake, persons=[persons(People(lake))[f"{image_id('p0-0.jpg')}-0"]])
    face = next(iter(target.faces.values()))
    vector = np.frombuffer(face["vector"], np.float32)
    hidden = {
        "x/vector.npy": npy(vector[np.newaxis]),
        "x/rows.npy": npy(np.array([face["face_id"].encode()])),
        "x/photo.npy": npy(np.array([list(bytes.fromhex(image_id("p0-0.jpg")))], np.uint8)),
        "x/page.html": b"data:image/jpeg;base64," + base64.b64encode(face["thumbnail"]),
        "x/note.json": json.dumps({"a": f"see {face['face_id']}!"}).encode(),
        "x/.hidden": face["face_id"].encode(),
        "x/t.parquet": table(thumbnail=[face["thumbnail"]]),
        "x/v.parquet": vector_table(vector),
        "x/damaged.parquet": b"no table",
    }
    for name, data in hidden.items():
        lake.folder.publish(name, data)
    reported = {where for where, _ in proof(lake)}
    # the photos of a person stay, and with them their ids
    assert reported == set(hidden) - {"x/photo.npy"}


def npy(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def table(**columns):
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def vector_table(vector):
    kind = pa.list_(pa.float32(), len(vector))
    return table(any=pa.FixedSizeListArray.from_arrays(pa.array(vector), type=kind))


def test_what_was_said_of_others_holds_when_their_anchors_go(lake):
    """A name, a hidden person and two who were told apart, each said by one photo's faces alone."""
    store = People(lake)
    now = persons(store)
    zero = f"{image_id('p0-0.jpg')}-0"
    ann, bob, eve = (now[f"{image_id(n)}-0"] for n in ("p0-0.jpg", "p2-0.jpg", "p4-0.jpg"))
    bobs, eves = f"{image_id('p2-0.jpg')}-0", f"{image_id('p4-0.jpg')}-0"
    append(store, [Statement("name", [bobs], (), bob, "Bob")], None)
    append(store, [Statement("hide", [eves], (), eve, None)], None)
    append(store, [Statement("different", [bobs], [eves], None, None)], None)
    forget(lake, images=["p2-0.jpg", "p4-0.jpg"])
    for run_id in (None, "c2"):
        if run_id:
            cluster(lake, run_id)
        view_now = view(store)
        assert view_now.person(bob)["name"] == "Bob"
        assert view_now.person(eve)["hidden"]
        assert view_now.person(ann)["faces"] == EACH
        assert zero in persons(store)
    (apart,) = (row for row in store.constraints() if row.kind == "different")
    assert {now[face] for face in apart.faces} == {bob}
    assert {now[face] for face in apart.others} == {eve}
    assert bobs not in apart.faces


def test_an_old_name_does_not_pass_on(lake):
    """Ann was merged, clustered, and lost an anchor to a rejection; her first name row goes too."""
    store = People(lake)
    now = persons(store)
    ann, other = (now[f"{image_id(n)}-0"] for n in ("p0-0.jpg", "p2-0.jpg"))
    actions.name(store, ann, "Ann")
    actions.merge(store, [other, ann])
    cluster(lake, "c2")
    actions.not_a_face(store, [f"{image_id('p0-0.jpg')}-0"])
    target, _ = forget(lake, persons=["Ann"])
    assert target.persons == {ann, other}
    assert "Ann" not in {row.value for row in store.constraints()}
    assert proof(lake, target) == []


def test_who_was_split_off_or_got_a_face_is_counted(lake):
    store = People(lake)
    now = persons(store)
    ann, bob = (now[f"{image_id(n)}-0"] for n in ("p0-0.jpg", "p2-0.jpg"))
    actions.name(store, ann, "Ann")
    new = actions.split(store, ann, [f"{image_id(f'p0-{k}.jpg')}-0" for k in (0, 1)]).person_id
    actions.name(store, new, "Newbie")
    actions.move(store, [f"{image_id('p0-2.jpg')}-0"], bob)
    forget(lake, persons=[ann])
    shown = view(store)
    assert shown.person(new)["name"] == "Newbie"
    assert (shown.person(new)["faces"], shown.person(bob)["faces"]) == (2, EACH + 1)
    assert shown.person(ann) is None
    assert {row["person_id"]: row["faces"] for row in store.people().to_pylist()}[new] == 2


def test_faces_named_in_two_copies_go_from_both(tmp_path):
    faces = [photo_lakes.face((1, 0, 0, 0), box_of(0)), photo_lakes.face((0, 1, 0, 0), box_of(1))]
    lake = same_photos(tmp_path, {"a.jpg": faces, "b.jpg": faces})
    target, _ = forget(lake, faces=[f"{image_id('a.jpg')}-1", f"{image_id('b.jpg')}-0"])
    assert len(target.faces) == 4
    assert proof(lake, target) == []


def same_photos(tmp_path, photos):
    """A lake whose photos have the same bytes."""
    lake = photo_lake(tmp_path / "same", photos)
    part = lake.parts()[0]
    rows = [row | {"sha256": "1" * 64} for row in lake.read_part("images", part).to_pylist()]
    stored = lake.read_part("faces", part)
    for table in ("images", "faces"):
        lake.folder.remove(f"{table}/{part}")
    lake.publish_part(pa.Table.from_pylist(rows, schema.IMAGES), stored)
    return lake


def test_damaged_tables_do_not_lock_the_lake(lake, capsys):
    """What nobody can read goes; it is made again from faces and corrections."""
    for table in ("clusters", "duplicates"):
        name = next(n for n in lake.folder.child(table).files() if n.startswith("part-"))
        lake.folder.publish(f"{table}/{name}", b"damaged")
    lake.folder.publish("duplicates/_vectors/m/part.npz", b"")
    lake.folder.publish("duplicates/_vectors/m/other.npz", b"PK\x03\x04 cut")
    target, _ = forget(lake, images=["p0-0.jpg"])
    assert proof(lake, target) == []
    assert main(["cluster", lake.folder.url, "--ray", "never"]) == 0
    name = next(iter(lake.folder.child("constraints").files()), "x.parquet")
    lake.folder.publish(f"constraints/{name}", b"damaged")
    with pytest.raises(StorageError, match="restore it from a backup"):
        forget(lake, images=["p0-1.jpg"], run_id="f2")
    assert run.pending(lake) is None  # nothing was begun


def test_a_lost_salt_is_told_of_and_never_replaced(lake):
    forget(lake, faces=[f"{image_id('p0-0.jpg')}-0"])
    lake.folder.remove("forgotten/_salt")
    for to_read in (lake.forgotten, lambda: forget(lake, faces=[f"{image_id('p0-1.jpg')}-0"])):
        with pytest.raises(StorageError, match="_salt is missing; restore it"):
            to_read()


def test_numbers_that_differ_for_another_reason_are_left_to_check(lake):
    """Only images that lost a face are counted anew."""
    part = next(p for p in lake.parts() if image_id("p0-0.jpg") in ids_of(lake, p))
    images = lake.read_part("images", part).to_pylist()
    wrong = next(row for row in images if row["uri"] != "/archive/p0-0.jpg")
    wrong["faces"] = 7
    lake.folder.publish(f"images/{part}", parquet_bytes(
        pa.Table.from_pylist(images, schema.IMAGES)))  # fmt: skip
    forget(lake, faces=[f"{image_id('p0-0.jpg')}-0"])
    run.sweep(lake, "f2")
    assert [finding.kind for finding in check(lake).findings] == ["count"]


def ids_of(lake, part):
    return set(lake.read_part("images", part, ["image_id"])["image_id"].to_pylist())


def test_copies_go_together_and_others_stay(tmp_path):
    faces = [photo_lakes.face((1, 0, 0, 0), box_of(0)), photo_lakes.face((0, 1, 0, 0), box_of(1))]
    lake = photo_lake(tmp_path / "lake", {"a.jpg": faces, "b.jpg": faces, "c.jpg": faces})
    part = lake.parts()[0]
    rows = lake.read_part("images", part).to_pylist()
    for row, sha in zip(rows, ("1" * 64, "1" * 64, "2" * 64), strict=True):
        row["sha256"] = sha
    lake.folder.remove(f"images/{part}")
    stored = lake.read_part("faces", part)
    lake.folder.remove(f"faces/{part}")
    lake.publish_part(pa.Table.from_pylist(rows, schema.IMAGES), stored)
    target, _ = forget(lake, faces=[f"{image_id('a.jpg')}-1"])
    assert sorted(target.faces) == sorted(f"{image_id(n)}-1" for n in ("a.jpg", "b.jpg"))
    target, _ = forget(lake, images=["b.jpg"], run_id="f2")
    assert target.images == {image_id("a.jpg"), image_id("b.jpg")}
    assert lake.read("images", ["image_id"])["image_id"].to_pylist() == [image_id("c.jpg")]
    assert len(lake.read("faces")) == 2


def test_a_lake_whose_last_photo_goes_is_empty(tmp_path):
    lake = photo_lake(tmp_path / "lake", {"a.jpg": [photo_lakes.face()]})
    forget(lake, images=["a.jpg"])
    assert lake.parts() == []
    assert lake.orphans() == {"faces": [], "images": []}


def test_search_finds_the_others_after_its_index_lost_a_shard(lake, tmp_path):
    Build(lake, VectorIndexConfig(kind="flat")).run()
    gone, other = (f"{image_id(n)}-0" for n in ("p0-0.jpg", "p0-1.jpg"))
    forget(lake, faces=[gone])
    assert IndexStore(lake).manifest() is None
    names = [m.face_id for m in search(lake, face_id=other, top=PEOPLE * EACH).matches]
    assert gone not in names
    assert len(names) == PEOPLE * EACH - 2


def test_an_index_with_cells_goes_whole_and_is_built_again(lake):
    Build(lake, VectorIndexConfig(kind="ivf", cells=4)).run()
    target, done = forget(lake, faces=[f"{image_id('p0-0.jpg')}-0"])
    assert done.index == "removed"
    assert IndexStore(lake).folder.files() == {}
    Build(lake, VectorIndexConfig(kind="ivf", cells=4)).run()
    assert proof(lake, target) == []


def test_dedupe_goes_on_after_a_photo_went(lake):
    config = DedupeConfig()
    DedupeRun(Duplicates(lake), config, in_process, "d2").dedupe()
    target, _ = forget(lake, images=["p0-0.jpg"])
    about = DedupeRun(Duplicates(lake), config, in_process, "d3").dedupe()
    assert about["images"] == EACH * PEOPLE // 2 - 1
    assert proof(lake, target) == []


def test_damaged_pointers_and_tombstones_are_told_of(lake):
    lake.folder.publish("clusters/_current.json", b"{")
    lake.folder.publish("duplicates/_current.json", b"{")
    lake.folder.publish("index/_current.json", b"{")
    target, _ = forget(lake, faces=[f"{image_id('p0-0.jpg')}-0"])
    assert proof(lake, target) == []  # nobody could tell what they held: they went
    name = next(iter(lake.folder.child("forgotten").files()))
    lake.folder.publish(f"forgotten/{name}", b"x")
    with pytest.raises(StorageError, match="restore it from a backup"):
        lake.ledger()
    lake.folder.publish(run.PENDING, b"{}")
    with pytest.raises(StorageError, match="is damaged; remove it"):
        run.finish(lake, "f3")


def test_what_there_is_not_is_refused(lake):
    for wanted in ({"images": ["nope.jpg"]}, {"faces": ["nope"]}, {"persons": ["Nobody"]}):
        with pytest.raises(ConfigError):
            forget(lake, **wanted)
    assert lake.forgotten() == tombstones.NOTHING


def test_tombstones_hold_nothing_in_the_clear(lake, tmp_path):
    furnish(lake, tmp_path)
    target, _ = forget(lake, persons=["Ann of the north"], images=["p2-0.jpg"])
    rows = [
        row
        for name in lake.folder.child("forgotten").files()
        for row in pq.read_table(io.BytesIO(lake.folder.read(f"forgotten/{name}"))).to_pylist()
    ]
    forgotten_ids = {bytes.fromhex(i.partition("-")[0]) for i in target.texts() if "/" not in i}
    held = {value for row in rows for value in row.values() if isinstance(value, bytes)}
    assert held
    assert not held & forgotten_ids
    salt = lake.folder.read("forgotten/_salt")
    assert len(salt) == tombstones.SALT_BYTES


def test_what_a_killed_run_left_is_found_and_removed(lake, places_of_runs):
    left = places_of_runs / "facelake-left"
    left.mkdir(mode=0o700)
    (left / "lock").touch()
    assert [where for where, _ in prove(lake, lake.forgotten()).findings] == [str(left)]
    face = lake.read("faces", ["face_id"])["face_id"][0].as_py()
    job.run(lake, job.Wanted(faces=(face,)))
    assert not left.exists()


def test_the_command_asks_tells_and_proves(lake, capsys, monkeypatch):
    url, face = lake.folder.url, f"{image_id('p0-0.jpg')}-0"
    lake.folder.publish("report/index.html", b"here")
    assert main(["forget", url]) == 0
    assert "nothing was ever forgotten" in capsys.readouterr().out
    assert lake.folder.exists("report/index.html")
    assert main(["forget", url, "--face", face, "--dry-run"]) == 0
    assert "faces 1" in capsys.readouterr().out
    assert main(["forget", url, "--face", face]) == 2
    assert "give --yes" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda: "no")
    assert main(["forget", url, "--face", face]) == 2
    assert len(lake.read("faces")) == PEOPLE * EACH
    capsys.readouterr()
    assert main(["forget", url, "--face", face, "--yes", "--prove", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output["forgotten"]["faces"] == 1
    assert output["proof"]["left"] == []
    lake.folder.publish("note.txt", face.encode())
    assert main(["forget", url, "--prove"]) == 10
    assert "note.txt" in capsys.readouterr().out


def test_a_stopped_one_is_finished_before_anything_else(lake, caplog):
    target = find(lake, (), ["p0-0.jpg"], ())
    real = derived.clean_index
    try:
        derived.clean_index = lambda *_: (_ for _ in ()).throw(Stop)
        with pytest.raises(Stop):
            run.forget(lake, target, "f1")
    finally:
        derived.clean_index = real
    assert main(["cluster", lake.folder.url, "--ray", "never"]) == 0
    assert "forgetting that was stopped" in caplog.text
    assert run.pending(lake) is None
    assert proof(lake, target) == []


def test_reading_passes_over_forgotten_photos_wherever_they_lie(tmp_path):
    """By their place, and by their bytes in another one; others of the same name stay."""
    root = put(tmp_path / "in", {"a/one.jpg": jpeg(1), "a/two.jpg": jpeg(2)})
    rows, _ = read_all(planned(root))
    salt = b"s" * 32
    one = next(row for row in rows.to_pylist() if row["uri"].endswith("one.jpg"))
    tombstone = {
        "kind": tombstones.IMAGE, "key": tombstones.salted(salt, one["image_id"]), "box": None,
        "address": tombstones.salted(salt, one["uri"]), "pixels": None, "vector": None,
        "content": tombstones.salted(salt, one["sha256"]), "thumbnail": None, "hashes": None,
    }  # fmt: skip
    ledger = Ledger.from_tables([], forgotten=tombstones.from_rows(salt, [tombstone]))
    put(root, {"b/copy.jpg": jpeg(1)})
    other = put(tmp_path / "other", {"a/one.jpg": jpeg(3)})
    to_read = planned(root, other, ledger=ledger)
    left, report = read_all(to_read, ledger)
    names = sorted(uri.removeprefix(str(tmp_path)) for uri in left["uri"].to_pylist())
    assert names == ["/in/a/two.jpg", "/other/a/one.jpg"]
    assert report.skipped[tombstones.REFUSED] == 2
    tar = put(tmp_path, {"x.tar": tar_bytes([("in.jpg", jpeg(1)), ("new.jpg", jpeg(4))])}) / "x.tar"
    left, _ = read_all(planned(tar, ledger=ledger), ledger)
    assert [uri.rpartition("#")[2] for uri in left["uri"].to_pylist()] == ["new.jpg"]


def test_another_photo_in_a_forgotten_ones_place_is_not_lost(tmp_path):
    """Neither where it stood nor under its name elsewhere; and it gets an id of its own."""
    root = put(tmp_path / "in", {"a/one.jpg": jpeg(1)})
    (one,) = read_all(planned(root))[0].to_pylist()
    salt = b"s" * 32
    tombstone = dict.fromkeys(schema.FORGOTTEN.names) | {
        "kind": tombstones.IMAGE, "key": tombstones.salted(salt, one["image_id"]),
        "address": tombstones.salted(salt, one["uri"]),
        "content": tombstones.salted(salt, one["sha256"]),
    }  # fmt: skip
    forgotten_rows = tombstones.from_rows(salt, [tombstone])
    ledger = Ledger.from_tables([], forgotten=forgotten_rows)
    put(root, {"a/one.jpg": jpeg(2)})
    other = put(tmp_path / "other", {"a/one.jpg": jpeg(3)})
    rows = [read_all(planned(place, ledger=ledger), ledger)[0] for place in (root, other)]
    ids = [row["image_id"] for table in rows for row in table.to_pylist()]
    assert len(set(ids)) == 2
    assert one["image_id"] not in ids
    # and is known from then on, even if the first of them is forgotten as well
    again = Ledger.from_tables(rows, forgotten=forgotten_rows)
    assert planned(root, other, ledger=again).already_in_lake == 2
    second = tombstone | {"key": tombstones.salted(salt, ids[0]), "content": bytes(16)}
    both = Ledger.from_tables(rows[1:], forgotten=tombstones.from_rows(salt, [tombstone, second]))
    (third,) = read_all(planned(root, ledger=both), both)[0].to_pylist()
    assert third["image_id"] not in {one["image_id"], *ids}


def test_a_forgotten_photo_that_cannot_be_read_leaves_no_row(tmp_path):
    root = put(tmp_path / "in", {"one.jpg": jpeg(1)})
    (one,) = read_all(planned(root))[0].to_pylist()
    salt = b"s" * 32
    forgotten_rows = tombstones.from_rows(salt, [dict.fromkeys(schema.FORGOTTEN.names) | {
        "kind": tombstones.IMAGE, "key": tombstones.salted(salt, one["image_id"]),
        "address": tombstones.salted(salt, one["uri"]),
        "content": tombstones.salted(salt, one["sha256"]),
    }])  # fmt: skip
    ledger = Ledger.from_tables([], forgotten=forgotten_rows)
    to_read = planned(root, ledger=ledger)
    (root / "one.jpg").unlink()
    assert len(read_all(to_read, ledger)[0]) == 0


@given(
    boxes=st.lists(st.tuples(*[st.integers(0, 900)] * 2, *[st.integers(20, 100)] * 2), max_size=6),
    gone=st.sets(st.integers(0, 5)),
    scale=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_faces_that_were_forgotten_and_no_others_are_hidden(boxes, gone, scale):
    """Whatever the size at which the photo comes back."""
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in boxes], np.float32).reshape(-1, 4)
    apart = iou(boxes, boxes) - np.eye(len(boxes)) <= tombstones.SAME_FACE - 0.01
    gone = {one for one in gone if one < len(boxes) and apart[one].all()}
    salt = b"s" * 32
    key = tombstones.salted(salt, "content")
    forgotten_rows = tombstones.from_rows(salt, [
        {"kind": tombstones.FACE, "key": bytes(16), "vector": None, "thumbnail": None,
         "hashes": None, "address": None, "content": key, "pixels": None,
         "box": (boxes[one] / 1000).tolist()}
        for one in gone
    ])  # fmt: skip
    size = int(1000 * scale)
    hidden = forgotten_rows.hidden_faces(boxes * np.float32(scale), size, size, None, "content")
    assert set(np.flatnonzero(hidden).tolist()) == gone
    assert not forgotten_rows.hidden_faces(boxes, 1000, 1000, "another").any()
