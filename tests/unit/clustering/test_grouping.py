"""Clustering of whole lakes, without Ray: results, corrections, additions, restarts."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.clustering import level, shards
from pipeline.clustering.algorithms.settings import ClusterConfig, TierConfig
from pipeline.clustering.run import Run
from pipeline.commands.main import main
from pipeline.dedupe.duplicates import TABLE, Duplicates
from pipeline.errors import ConfigError, StorageError
from pipeline.evaluation.measures.clustering import Contingency
from pipeline.lake import schema
from pipeline.lake.checkpoints import in_process
from pipeline.lake.store import LakeStore
from pipeline.people import actions
from pipeline.people.log import undo
from pipeline.people.store import People
from tests.support import lakes

COUNT = iter(range(10_000))


def cluster(people, **settings):
    return Run(people, ClusterConfig(**settings), in_process, f"run-{next(COUNT)}").cluster()


@pytest.fixture
def twelve(tmp_path):
    vectors, label = lakes.archive()
    return lakes.make(tmp_path / "lake", vectors), label


def test_planted_people_are_found(twelve):
    people, label = twelve
    about = cluster(people)
    persons = lakes.persons(people)
    clusters = [persons[lakes.face_id(f"f{i}")] for i in range(len(label))]
    assert Contingency.of(label.tolist(), clusters).rates()["bcubed_f"] == 1
    assert about["people"] == 12
    table = people.people()
    assert table["faces"].to_pylist() == [6] * 12
    assert all(len(set(e)) == 6 for e in table["exemplars"].to_pylist())
    assert set(table["cover_face_id"].to_pylist()) <= set(persons)
    rows = people.clusters()
    assert min(rows["confidence"].to_pylist()) > 0.5
    assert not people.lake.folder.exists("clusters/_work")


def test_cells_find_what_exact_search_finds(tmp_path, monkeypatch):
    vectors, _ = lakes.archive(150, 5)
    exact, cells = (lakes.make(tmp_path / name, vectors) for name in "ab")
    cluster(exact)
    monkeypatch.setattr(shards, "TASK_QUERIES", 100)
    monkeypatch.setattr(level, "TASK_NODES", 50)
    about = cluster(cells, exact_below=0)
    assert about["recall"] > 0.95
    assert lakes.partition(exact) == lakes.partition(cells)


def test_ids_survive_a_full_run(twelve):
    people, _ = twelve
    cluster(people)
    before = lakes.persons(people)
    about = cluster(people, full=True)
    assert lakes.persons(people) == before
    assert about["ids_changed"] == 0


def test_adding_photos_keeps_ids_and_equals_a_full_run(tmp_path):
    vectors, label = lakes.archive(15, 8)
    names = [f"f{i}" for i in range(len(label))]
    order = np.random.default_rng(0).permutation(len(label))
    first, rest = order[:96], order[96:]
    people = lakes.make(tmp_path / "a", vectors[first], [names[i] for i in first])
    cluster(people)
    before = lakes.persons(people)
    lakes.make(tmp_path / "a", vectors[rest], [names[i] for i in rest])
    about = cluster(people)
    assert about["incremental"]
    assert about["new_faces"] == len(rest)
    after = lakes.persons(people)
    assert {f: after[f] for f in before} == before
    whole = lakes.make(tmp_path / "b", vectors, names)
    cluster(whole)
    assert lakes.partition(people) == lakes.partition(whole)
    table = people.people()
    assert sum(table["faces"].to_pylist()) == len(label)


def test_corrections_survive_every_run(twelve):
    people, label = twelve
    cluster(people)
    persons = lakes.persons(people)
    faces = {k: [lakes.face_id(f"f{i}") for i in np.flatnonzero(label == k)] for k in range(12)}
    person = {k: persons[faces[k][0]] for k in range(12)}
    actions.name(people, person[0], "Ada")
    actions.merge(people, [person[1], person[2]])
    actions.split(people, person[3], faces[3][:2])
    actions.move(people, [faces[4][0]], person[5])
    actions.not_a_face(people, [faces[6][0]])
    actions.hide(people, [person[7]])
    for settings in ({}, {"full": True}):
        cluster(people, **settings)
        now = lakes.persons(people)
        rows = {row["person_id"]: row for row in people.people().to_pylist()}
        assert rows[now[faces[0][0]]]["name"] == "Ada"
        assert now[faces[0][0]] == person[0]
        assert len({now[f] for f in faces[1] + faces[2]}) == 1
        assert len({now[f] for f in faces[3][:2]}) == len({now[f] for f in faces[3][2:]}) == 1
        assert now[faces[3][0]] != now[faces[3][2]] == person[3]
        assert now[faces[4][0]] == now[faces[5][0]] == person[5]
        assert now[faces[6][0]] is None
        assert rows[now[faces[7][0]]]["hidden"]
    while any(row.kind != "undo" for row in people.constraints()):
        try:
            undo(people)
        except ConfigError:
            break
    cluster(people, full=True)
    assert {frozenset(f) for f in faces.values()} == lakes.partition(people)


def test_a_person_made_again_meets_all_others_at_their_threshold(tmp_path):
    """What is made again is few groups; that many more are there must count all the same."""
    vectors, _ = lakes.archive(200, 4, seed=3)
    people = lakes.make(tmp_path / "lake", vectors)
    about = cluster(people)
    before = lakes.partition(people)
    actions.name(people, lakes.persons(people)[lakes.face_id("f0")], "Ann")
    again = cluster(people)
    assert lakes.partition(people) == before
    thresholds = [run["threshold_of_groups"]["single_faces"] for run in (about, again)]
    assert thresholds[1] == pytest.approx(thresholds[0], abs=0.03)


@pytest.mark.parametrize("full", [False, True])
def test_people_who_look_different_are_merged_whole(tmp_path, full):
    vectors, _ = lakes.archive(12, 30)
    people = lakes.make(tmp_path / "lake", vectors)
    cluster(people)
    before = lakes.partition(people)
    where = lakes.persons(people)
    first, second = (where[lakes.face_id(f"f{i}")] for i in (0, 30))
    actions.merge(people, [first, second])
    cluster(people, full=full)
    persons = lakes.persons(people)
    assert {persons[lakes.face_id(f"f{i}")] for i in range(60)} == {first}
    assert len(lakes.partition(people)) == 11
    undo(people)
    cluster(people, full=full)
    assert lakes.partition(people) == before


def test_questions_about_people_who_are_kept_stay_open(tmp_path):
    """A run that makes one person again asks about that one; the other questions remain."""
    vectors, _ = lakes.archive(500, 3, seed=1)
    people = lakes.make(tmp_path / "lake", vectors)
    cluster(people)
    before = people.suggestions().to_pylist()
    one = lakes.persons(people)[lakes.face_id("f0")]
    actions.name(people, one, "Ann")
    cluster(people)
    after = people.suggestions().to_pylist()

    def pairs(rows):
        return {
            (row["kind"], row["person_a"], row["person_b"])
            for row in rows
            if one not in (row["person_a"], row["person_b"])
        }

    assert len(pairs(before)) > 2
    assert pairs(before) <= pairs(after)
    doubts = [row["doubt"] for row in after]
    assert doubts == sorted(doubts, reverse=True)
    person_ids = set(people.people(["person_id"])["person_id"].to_pylist())
    assert {row[k] for row in after for k in ("person_a", "person_b")} <= person_ids


def test_two_named_people_never_merge_by_themselves(tmp_path):
    vectors, _ = lakes.archive(1, 12)  # one person, as far as vectors say
    people = lakes.make(tmp_path / "lake", vectors)
    cluster(people)
    person = next(iter(lakes.persons(people).values()))
    ids = [lakes.face_id(f"f{i}") for i in range(12)]
    actions.split(people, person, ids[:6])
    cluster(people)
    now = lakes.persons(people)
    actions.name(people, now[ids[0]], "Ada")
    actions.name(people, now[ids[11]], "Eve")
    for _ in range(2):
        cluster(people, full=True)
        now = lakes.persons(people)
        assert len({now[i] for i in ids[:6]}) == 1
        assert now[ids[0]] != now[ids[11]]
    rows = {row["person_id"]: row["name"] for row in people.people().to_pylist()}
    assert (rows[now[ids[0]]], rows[now[ids[11]]]) == ("Ada", "Eve")


def test_a_killed_run_goes_on_from_its_finished_units(twelve, monkeypatch):
    people, _ = twelve
    monkeypatch.setattr(shards, "TASK_QUERIES", 20)
    done = []

    def dying(function, arguments):
        for each in arguments:
            yield function(*each)
            done.append(each[1])
            if each[1] == "faces-edges-00001":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Run(people, ClusterConfig(), dying, "dead").cluster()
    again = []

    def noting(function, arguments):
        for each in arguments:
            again.append(each[1])
            yield function(*each)

    about = Run(people, ClusterConfig(), noting, "alive").cluster()
    assert about["resumed_steps"] >= len(done)
    assert not set(again) & set(done)
    assert about["people"] == 12


def test_a_photo_of_two_people_keeps_them_apart_unless_it_is_a_mirror():
    from pipeline.clustering.algorithms.grid import to_grid
    from pipeline.clustering.evidence import photo_conflicts

    angle = np.radians([0, 70, 10, 72])
    grid = to_grid(np.stack([np.cos(angle), np.sin(angle)], axis=1))
    box = np.array([[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9], [20, 1, 29, 10]], np.float32)
    image = np.array([b"a", b"a", b"a", b"b"])
    # 0 and 2 are alike (a mirror); 0 and 1, 1 and 2 are two people
    assert photo_conflicts(image, box, lambda rows: grid[rows]).tolist() == [[0, 1], [1, 2]]
    image = np.array([b"a", b"a", b"b", b"a"])  # 1 and 3: one face found twice
    assert photo_conflicts(image, box, lambda rows: grid[rows]).tolist() == [[0, 1], [0, 3]]


def test_weak_faces_join_but_never_bridge(tmp_path):
    vectors, _ = lakes.archive(4, 6)
    between = vectors[:6].mean(axis=0) + vectors[6:12].mean(axis=0)
    stranger = lakes.archive(1, 1, seed=9)[0]
    weak = np.stack([between / np.linalg.norm(between), vectors[12], stranger[0]])
    names = [f"f{i}" for i in range(len(vectors) + 4)]
    scores = np.array([1.0] * len(vectors) + [0.8, 0.8, 0.8, 0.5])
    whole = np.concatenate([vectors, weak, vectors[:1]]).astype(np.float32)
    lakes.write_lake(tmp_path / "lake", whole, names, scores)
    people = lakes.People(LakeStore(str(tmp_path / "lake")))
    cluster(people)
    rows = {r["face_id"]: r for r in people.clusters().to_pylist()}
    row = [rows[lakes.face_id(n)] for n in names]
    person = [r["person_id"] for r in row]
    assert len(set(person[:24])) == 4
    assert row[24]["person_id"] is None  # likes two people alike
    assert person[25] == person[12]
    assert [r["tier"] for r in row[24:]] == ["attach", "attach", "attach", "rejected"]
    assert person[26] is person[27] is None
    assert "unlike every person" in row[26]["reason"]
    assert row[27]["reason"] == "score below 0.7"


def test_nobody_resembles_the_only_weak_face(tmp_path):
    vectors, _ = lakes.archive(2, 1)
    lakes.write_lake(tmp_path / "lake", vectors, ["a", "b"], np.array([1.0, 0.8]))
    assert cluster(lakes.People(LakeStore(str(tmp_path / "lake"))))["people"] == 1


def test_a_correction_made_while_a_run_is_at_work_is_obeyed_by_the_next(twelve):
    people, _ = twelve
    cluster(people)
    persons = lakes.persons(people)
    first, second = sorted(set(persons.values()))[:2]

    def slow(function, arguments):
        if not people.constraints():
            actions.merge(people, [first, second])
        yield from in_process(function, arguments)

    Run(people, ClusterConfig(full=True), slow, "during").cluster()
    assert len(people.people()) == 12
    cluster(people)
    assert len(people.people()) == 11


def test_a_run_with_nothing_new_changes_nothing(twelve):
    people, _ = twelve
    first = cluster(people)
    run_id = people.current()["run_id"]
    again = cluster(people)
    assert (again["new_faces"], again["people"]) == (0, first["people"])
    assert people.current()["run_id"] == run_id


@pytest.mark.parametrize("how", ["nan", "norm", "count"])
def test_a_broken_lake_is_refused(tmp_path, how):
    vectors, _ = lakes.archive(3, 3)
    if how != "count":
        vectors[4] = np.nan if how == "nan" else 2 * vectors[4]
    people = lakes.make(tmp_path / "lake", vectors)
    if how == "count":
        path = next((tmp_path / "lake" / "images").glob("*.parquet"))
        table = pq.read_table(path)
        at = table.schema.get_field_index("faces")
        counts = pa.array([2] + [1] * (len(table) - 1), pa.int32())
        pq.write_table(table.set_column(at, table.schema.field("faces"), counts), path)
    with pytest.raises(StorageError, match="facelake check"):
        cluster(people)


def test_no_lake_and_no_faces_have_messages(tmp_path):
    with pytest.raises(ConfigError, match="no lake"):
        cluster(People(LakeStore(str(tmp_path / "nothing"))))
    empty = lakes.make(tmp_path / "empty", np.zeros((0, 8), np.float32))
    with pytest.raises(ConfigError, match="no faces"):
        cluster(empty)


def test_one_face_is_one_person(tmp_path):
    vectors, _ = lakes.archive(1, 1)
    people = lakes.make(tmp_path / "lake", vectors)
    assert cluster(people)["people"] == 1


def test_faces_that_are_all_too_poor_are_of_nobody(tmp_path):
    people = lakes.make(tmp_path / "lake", lakes.archive(2, 3)[0])
    cluster(people, tiers=TierConfig(core_px=5000, attach_px=4000))
    assert set(lakes.persons(people).values()) == {None}
    assert len(people.people()) == 0
    cluster(people)
    assert len(people.people()) == 2, "and become people when more is allowed"


def duplicates_of(people, groups):
    """Write a table of duplicates: the first photo of each group is kept."""
    rows = [
        {
            "image_id": lakes.face_id(name).split("-")[0],
            "group_id": f"{i:016}",
            "kind": "near" if k else "kept",
            "distance": 3 if k else None,
            "keep": not k,
            "reason": "",
            "run_id": "copies",
        }
        for i, group in enumerate(groups)
        for k, name in enumerate(group)
    ]
    tables = {TABLE: pa.Table.from_pylist(rows, schema.DUPLICATES)}
    Duplicates(people.lake).publish("copies", tables, {})


def test_one_copy_of_a_picture_counts(tmp_path):
    vectors, label = lakes.archive(6, 5)
    copies = np.repeat(vectors[:1], 4, axis=0)
    copies[:2] = 0.8 * vectors[0] + 0.6 * vectors[29]  # a poor copy
    copies /= np.linalg.norm(copies, axis=1, keepdims=True)
    names = [f"f{i}" for i in range(len(label))] + [f"copy{i}" for i in range(4)]
    people = lakes.make(tmp_path, np.concatenate([vectors, copies.astype(np.float32)]), names)
    duplicates_of(people, [["f0", "copy0", "copy1", "copy2", "copy3"], ["f7", "gone"]])
    cluster(people)
    rows = {row["face_id"]: row for row in people.clusters().to_pylist()}
    person = rows[lakes.face_id("f0")]["person_id"]
    for i in range(4):
        one = rows[lakes.face_id(f"copy{i}")]
        assert (one["tier"], one["person_id"]) == ("attach", person)
        assert "copy of a picture" in one["reason"]
    assert {rows[lakes.face_id(f"f{i}")]["tier"] for i in range(30)} == {"core"}
    table = {row["person_id"]: row for row in people.people().to_pylist()}
    assert (table[person]["faces"], table[person]["images"]) == (9, 5)
    assert table[person]["core_faces"] == 5


def test_a_face_that_the_kept_picture_lacks_counts_as_it_is(tmp_path):
    vectors, _ = lakes.archive(2, 4)
    people = lakes.make(tmp_path, vectors)
    duplicates_of(people, [["f0", "f7"]])  # of two people: found on one of the copies alone
    cluster(people)
    rows = {row["face_id"]: row for row in people.clusters().to_pylist()}
    assert rows[lakes.face_id("f7")]["tier"] == "core"


def test_photos_without_any_face_are_a_lake_without_people(tmp_path, capsys):
    from tests.support.pictures import row

    vectors, _ = lakes.archive(3, 3)
    more = lakes.make(tmp_path / "more", vectors).lake
    lake = LakeStore(str(tmp_path / "lake"))
    lake.claim(more.existing_models())
    photos = pa.Table.from_pylist([row("/p/a.jpg"), row("/p/b.jpg")], schema.IMAGES)
    lake.publish_part(photos, schema.faces_schema(128).empty_table())
    url = lake.folder.url
    assert main(["cluster", url, "--ray", "never"]) == 0
    assert "no face was found on the photos" in capsys.readouterr().out
    assert main(["people", url, "list"]) == 0
    assert "0 persons" in capsys.readouterr().out
    assert main(["people", url, "show", "nobody"]) == 2
    assert "There is no person" in capsys.readouterr().err
    assert main(["report", url]) == 0
    (part,) = more.parts()
    lake.publish_part(more.read_part("images", part), more.read_part("faces", part))
    assert main(["cluster", url, "--ray", "never"]) == 0
    assert len(People(lake).people()) == 3


def test_what_was_answered_is_not_asked_again(tmp_path):
    from pipeline.people.answers import different

    vectors, _ = lakes.archive(500, 3, seed=1)
    people = lakes.make(tmp_path / "lake", vectors)
    asked = cluster(people)["suggestions"]
    apart = [row for row in people.suggestions().to_pylist() if row["kind"] == "apart"]
    pairs = list(dict.fromkeys((row["person_a"], row["person_b"]) for row in apart))
    first, second = pairs[0], next(pair for pair in pairs if not {*pair} & {*pairs[0]})
    different(people, *first)
    for person, name in zip(second, ("Ann", "Bob"), strict=True):
        actions.name(people, person, name)
    for full in (False, True):
        figures = cluster(people, full=full)
        rows = people.suggestions().to_pylist()
        assert figures["suggestions"] == len(rows)
        again = {frozenset((row["person_a"], row["person_b"])) for row in rows}
        assert not again & {frozenset(first), frozenset(second)}
        assert len(rows) >= asked - 6
