import csv
import io
import json
from datetime import UTC, datetime, timedelta

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.commands.main import main
from pipeline.errors import ConfigError, LakeBusyError, StorageError
from pipeline.lake import schema
from pipeline.lake.store import LakeStore, Models
from pipeline.lake.tombstones import PENDING
from pipeline.people import People, actions
from pipeline.people.corrections import Constraint, resolve
from pipeline.people.names import exported, import_names
from pipeline.people.view import view
from tests.unit.lake.test_lake import rows

# Persons of the made-up lake, and the numbers of their photos, one face each.
PERSONS = {"aaaa1111aaaa1111": range(1, 13), "bbbb2222bbbb2222": range(21, 25),
           "bbbb3333bbbb3333": range(31, 33), "cccc4444cccc4444": range(41, 42)}  # fmt: skip
A, B, C, D = PERSONS
REJECTED = 51


def face(number):
    return f"{number:032x}-0"


def faces(*numbers):
    return [face(number) for number in numbers]


def generation(run_id="run1"):
    """Tables clusters, people and suggestions of `PERSONS`, the first face most central."""
    common = {"run_id": run_id, "confidence": 0.75}
    members = [
        {"face_id": face(n), "image_id": f"{n:032x}", "person_id": person, "tier": "core",
         "similarity": 0.9 - 0.01 * k, "confirmed": False, **common}
        for person, numbers in PERSONS.items() for k, n in enumerate(numbers)
    ]  # fmt: skip
    members.append(
        {"face_id": face(REJECTED), "image_id": f"{REJECTED:032x}", "tier": "rejected",
         "confirmed": False, "run_id": run_id}
    )  # fmt: skip
    people = [
        {"person_id": person, "hidden": False, "faces": len(numbers), "images": len(numbers),
         "core_faces": len(numbers), "cover_face_id": face(numbers[0]), "mean": [0.0] * 4,
         "exemplars": faces(*numbers)[:8], **common,
         "first_taken_at": datetime(2000 + numbers[0], 1, 1),
         "last_taken_at": datetime(2001 + numbers[0], 1, 1)}
        for person, numbers in PERSONS.items()
    ]  # fmt: skip
    return (
        pa.Table.from_pylist(members, schema.CLUSTERS),
        pa.Table.from_pylist(people, schema.people_schema(4)),
        schema.SUGGESTIONS.empty_table(),
    )


def publish(store, run_id="run1"):
    clusters, people, suggestions = generation(run_id)
    pieces = [clusters.slice(0, 5), clusters.slice(5)]
    store.publish(run_id, pieces, [people], suggestions, {"faces": len(clusters)})


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    url = str(tmp_path / "lake")
    if request.param == "memory":
        fs = fsspec.filesystem("memory")
        fs.store.clear()
        fs.pseudo_dirs[:] = [""]
        url = "memory://b/lake"
    lake = LakeStore(url)
    lake.claim(Models("mtcnn@1", "sface@2", 4))
    numbers = [n for of in PERSONS.values() for n in of]
    lake.publish_part(*rows(*numbers, REJECTED, faces_each=1))
    made = People(lake)
    publish(made)
    return made


def shown(store):
    """Name and faces of every person in the view; checks that the counts are those of faces."""
    now = view(store)
    found = {}
    for row in now.people.to_pylist():
        members = [member["face_id"] for member in now.faces(row["person_id"])]
        assert row["faces"] == row["images"] == row["core_faces"] == len(members)
        assert row["cover_face_id"] in members
        assert row["exemplars"][0] == row["cover_face_id"]
        assert set(row["exemplars"]) <= set(members)
        assert len(row["exemplars"]) <= 8
        assert now.persons_of(members) == dict.fromkeys(members, row["person_id"])
        found[row["person_id"]] = (row["name"], sorted(int(m[:32], 16) for m in members))
    return found


BEFORE = {person: (None, list(numbers)) for person, numbers in PERSONS.items()}


# --- generations


def test_a_generation_is_read_as_it_was_written(store):
    clusters, people, suggestions = generation()
    assert store.clusters().equals(clusters)
    assert store.people().equals(people)
    assert store.suggestions().equals(suggestions)
    assert store.people(["person_id"]).column_names == ["person_id"]
    assert len(store.clusters(["face_id"], pc.field("person_id") == A)) == 12
    about = store.current()
    assert about["run_id"] == "run1"
    assert about["faces"] == len(clusters)
    assert about["tables"]["clusters"] == ["part-run1-00000.parquet", "part-run1-00001.parquet"]
    assert about["tables"]["suggestions"] == []


def test_no_people_yet(tmp_path):
    lake = LakeStore(str(tmp_path / "lake"))
    assert People(lake).current() is None
    assert People(lake).constraints() == []
    for read in (People(lake).people, People(lake).clusters, People(lake).suggestions):
        with pytest.raises(ConfigError, match="run facelake cluster"):
            read()


def test_a_new_generation_replaces_the_old_and_what_a_crash_left(store):
    folder = store.lake.folder
    folder.publish("clusters/part-crashed-00000.parquet", b"half a generation")
    folder.publish("people/part-crashed-00000.parquet", b"half a generation")
    assert len(store.clusters()) == len(generation()[0])
    publish(store, "run2")
    assert set(store.clusters()["run_id"].to_pylist()) == {"run2"}
    assert all(name.startswith("part-run2-") for name in folder.child("clusters").files())
    assert all(name.startswith("part-run2-") for name in folder.child("people").files())


def test_a_generation_is_written_once(store):
    with pytest.raises(ConfigError, match="another id"):
        publish(store, "run1")


def test_a_crash_before_the_pointer_leaves_the_old_generation(store, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(LakeStore, "publish_json", die)
    with pytest.raises(KeyboardInterrupt):
        publish(store, "run2")
    assert set(store.clusters()["run_id"].to_pylist()) == {"run1"}
    monkeypatch.undo()
    publish(store, "run2")  # the same run id again: nothing of it had counted
    assert set(store.clusters()["run_id"].to_pylist()) == {"run2"}


def test_a_reader_whose_parts_go_starts_over(store, monkeypatch):
    stale = store.current()
    publish(store, "run2")
    answers = [stale]
    current = People.current
    monkeypatch.setattr(People, "current", lambda s: answers.pop() if answers else current(s))
    assert set(store.clusters()["run_id"].to_pylist()) == {"run2"}


def test_a_part_that_is_gone_is_an_error(store):
    store.lake.folder.remove("people/part-run1-00000.parquet")
    with pytest.raises(StorageError, match="people"):
        store.people()


@pytest.mark.parametrize("text", [b"{", b"[]", b"{}", b'{"run_id": "x", "tables": {}}'])
def test_a_damaged_pointer_is_an_error_until_the_next_run(store, text):
    store.lake.folder.publish("clusters/_current.json", text)
    with pytest.raises(StorageError, match="run `facelake cluster` again"):
        store.people()
    publish(store, "run2")
    assert len(store.people()) == 4


# --- the log


def test_corrections_come_back_in_order_one_file_each(store):
    start = datetime(2024, 1, 2, 3, 4, 5, 6789, UTC)
    made = [
        Constraint(
            f"{9 - k:032x}", start + timedelta(seconds=k), "name", ("x", "ü"), ("y",),
            "P", "Ann", "me", "name P Ann",
        )
        for k in range(3)
    ]  # fmt: skip
    store.append(made[2:])
    store.append(made[:2])
    assert store.constraints() == made
    names = sorted(store.lake.folder.child("constraints").files())
    assert names == [
        f"20240102T030405006789-{9:032x}.parquet",
        f"20240102T030407006789-{7:032x}.parquet",
    ]
    store.append(made[:2])  # sent twice
    store.append([])
    assert store.constraints() == made


def test_nothing_is_said_while_something_is_forgotten(store, tmp_path):
    actions.name(store, A, "Ann")
    store.lake.folder.publish(PENDING, b"{}")
    for act in (
        lambda: actions.name(store, B, "Bob"),
        lambda: actions.undo(store),
        lambda: import_names(store, f"face_id,name\n{face(21)},Bob"),
    ):
        with pytest.raises(LakeBusyError, match="is being forgotten in"):
            act()
    assert len(store.constraints()) == 1
    store.lake.folder.remove(PENDING)
    actions.name(store, B, "Bob")
    assert len(store.constraints()) == 2


@pytest.mark.parametrize("data", [b"", b"PAR1 no", "other"])
def test_a_damaged_correction_is_named(store, data):
    actions.name(store, A, "Ann")
    (name,) = store.lake.folder.child("constraints").files()
    if data == "other":
        data = store.lake.folder.read("people/part-run1-00000.parquet")
    store.lake.folder.publish(f"constraints/{name}", data)
    with pytest.raises(StorageError, match=rf"{name} is damaged.*move it out"):
        store.constraints()


def test_other_files_beside_corrections_are_left_alone(store):
    store.lake.folder.publish("constraints/README.txt", b"mine")
    assert store.constraints() == []


# --- actions, and what the view shows of them


def test_nothing_said(store):
    assert shown(store) == BEFORE


def test_name(store):
    made = actions.name(store, A, "  Ann ")
    assert made.value == "Ann"
    assert made.faces == tuple(faces(*range(1, 9)))
    assert shown(store) == BEFORE | {A: ("Ann", BEFORE[A][1])}
    actions.name(store, A, "Anna")
    assert shown(store)[A][0] == "Anna"
    actions.unname(store, A)
    assert shown(store) == BEFORE


def test_a_name_needs_no_id_to_survive(store):
    """As after a clustering that gave everybody another id."""
    actions.name(store, A, "Ann")
    clusters, people, suggestions = generation("run2")
    for old, new in ((A, "f" * 16), (B, A)):  # A is somebody else now
        for table in ("clusters", "people"):
            rows = clusters if table == "clusters" else people
            at = rows.column_names.index("person_id")
            ids = pa.array(
                [new if p == old else p for p in rows["person_id"].to_pylist()], pa.string()
            )
            rows = rows.set_column(at, rows.schema.field(at), ids)
            clusters, people = (rows, people) if table == "clusters" else (clusters, rows)
    store.publish("run2", [clusters], [people], suggestions, {})
    now = view(store)
    # Clustering keeps ids of confirmed sets; should it not, the faces still tell who Ann is.
    named = now.people.filter(pc.is_valid(now.people["name"])).to_pylist()
    assert [row["name"] for row in named] == ["Ann"]
    assert set(faces(*range(1, 9))) <= {m["face_id"] for m in now.faces(named[0]["person_id"])}


@pytest.mark.parametrize(
    ("text", "problem"),
    [("", "empty"), (" \n", "empty"), ("x" * 201, "201 characters"), ("a\x1b[31mb", "control"),
     ("a\nb", "control"), ("a\u202eb", "control"), ("a\u2028b", "control"), ("\ud800", "control")],
)  # fmt: skip
def test_names_that_cannot_be(store, text, problem):
    with pytest.raises(ConfigError, match=problem):
        actions.name(store, A, text)
    assert store.constraints() == []


@pytest.mark.parametrize("text", ["Zoë", "李", "می‌خواهم", "O'Neil [bold]", "x" * 200])
def test_names_that_can(store, text):
    actions.name(store, A, text)
    assert shown(store)[A][0] == text


def test_merge(store):
    actions.name(store, B, "Bob")
    actions.merge(store, [A, C, B])
    expected = dict(BEFORE)
    del expected[B], expected[C]
    expected[A] = ("Bob", sorted([*PERSONS[A], *PERSONS[B], *PERSONS[C]]))
    assert shown(store) == expected
    assert view(store).person(A)["last_taken_at"] == datetime(2032, 1, 1)
    actions.undo(store)
    assert shown(store) == BEFORE | {B: ("Bob", BEFORE[B][1])}


def test_split_and_name_the_new_person(store):
    actions.name(store, A, "Ann")
    actions.split(store, A, faces(2, 3, 12))
    after = shown(store)
    (new,) = after.keys() - BEFORE.keys()
    rest = [n for n in PERSONS[A] if n not in (2, 3, 12)]
    assert after == BEFORE | {A: ("Ann", rest), new: (None, [2, 3, 12])}
    actions.name(store, new, "Nina")
    assert shown(store) == after | {new: ("Nina", [2, 3, 12])}
    corrections = resolve(store.constraints())
    (ann,) = [k for k, one in enumerate(corrections.sets) if one.name == "Ann"]
    (nina,) = [k for k, one in enumerate(corrections.sets) if one.name == "Nina"]
    assert corrections.sets[nina].faces == set(faces(2, 3, 12))
    assert corrections.sets[nina].person_id == new
    assert corrections.must_differ(ann, nina)


def test_split_keeps_the_old_id_whoever_is_more(store):
    most = [n for n in PERSONS[A] if n not in (4, 11)]
    actions.split(store, A, faces(*most))
    after = shown(store)
    (new,) = after.keys() - BEFORE.keys()
    assert after == BEFORE | {A: (None, [4, 11]), new: (None, most)}
    actions.undo(store)
    assert shown(store) == BEFORE


def test_split_of_all_confirmed_faces_leaves_the_name(store):
    actions.name(store, A, "Ann")
    actions.split(store, A, faces(*range(1, 9)))
    after = shown(store)
    (new,) = after.keys() - BEFORE.keys()
    assert after[A] == ("Ann", [9, 10, 11, 12])
    assert after[new] == (None, list(range(1, 9)))


def test_split_of_a_merge_gives_the_merged_person_back(store):
    actions.merge(store, [A, B])
    actions.split(store, A, faces(*PERSONS[B]))
    after = shown(store)
    assert sorted(numbers for _, numbers in after.values()) == sorted(
        numbers for _, numbers in BEFORE.values()
    )
    assert after[A] == BEFORE[A]


def test_move(store):
    actions.name(store, A, "Ann")
    actions.name(store, B, "Bob")
    actions.move(store, faces(1, 12, 31), B)
    assert shown(store) == BEFORE | {
        A: ("Ann", list(range(2, 12))),
        B: ("Bob", [1, 12, 21, 22, 23, 24, 31]),
        C: (None, [32]),
    }
    corrections = resolve(store.constraints())
    assert {one.name for one in corrections.sets if one.person_id} == {"Ann", "Bob"}
    assert corrections.left == {(face(1), A), (face(12), A), (face(31), C)}
    actions.undo(store)
    assert shown(store)[B] == ("Bob", BEFORE[B][1])


def test_move_back_and_forth(store):
    actions.move(store, faces(1), B)
    actions.move(store, faces(1), A)
    assert shown(store) == BEFORE


def test_move_of_all_faces_is_a_merge(store):
    actions.move(store, faces(31, 32), A)
    after = shown(store)
    assert C not in after
    assert after[A][1] == [*PERSONS[A], 31, 32]


def test_move_of_a_face_that_clustering_rejected(store):
    actions.move(store, faces(REJECTED), D)
    now = view(store)
    assert now.person(D)["faces"] == 2
    assert {m["face_id"] for m in now.faces(D)} == set(faces(41, REJECTED))


def test_not_a_face(store):
    actions.not_a_face(store, faces(1, 41))
    expected = BEFORE | {A: (None, list(range(2, 13)))}
    del expected[D]
    assert shown(store) == expected
    assert view(store).persons_of(faces(1, 2)) == {face(1): None, face(2): A}
    with pytest.raises(ConfigError, match="undo that first"):
        actions.move(store, faces(1), A)
    actions.undo(store)
    assert shown(store) == BEFORE


def test_hide_and_cover(store):
    actions.hide(store, [A])
    actions.cover(store, A, face(11))
    row = view(store).person(A)
    assert row["hidden"]
    assert row["cover_face_id"] == face(11)
    assert row["exemplars"] == faces(11, 1, 2, 3, 4, 5, 6, 7)
    actions.unhide(store, [A])
    assert not view(store).person(A)["hidden"]
    with pytest.raises(ConfigError, match="move it there first"):
        actions.cover(store, A, face(21))


def test_undo_takes_back_one_action_after_the_other(store):
    actions.name(store, A, "Ann")
    actions.name(store, B, "Bob")
    actions.split(store, A, faces(1, 2))
    for left in ({"Ann", "Bob"}, {"Ann"}, set()):
        last = actions.undo(store)
        assert {name for name, _ in shown(store).values() if name} == left
    with pytest.raises(ConfigError, match="nothing to undo"):
        actions.undo(store)
    actions.undo(store, last.constraint_id)  # brings Ann back
    assert shown(store)[A][0] == "Ann"


def test_undo_by_id(store):
    ann = actions.name(store, A, "Ann")
    split = actions.split(store, B, faces(21))
    actions.undo(store, ann.constraint_id[:12])
    assert shown(store)[A][0] is None
    assert len(shown(store)) == 5
    actions.undo(store, split.constraint_id)
    assert shown(store) == BEFORE
    with pytest.raises(ConfigError, match="taken back already"):
        actions.undo(store, split.constraint_id)
    with pytest.raises(ConfigError, match="No correction begins"):
        actions.undo(store, "xyz")
    with pytest.raises(ConfigError, match="corrections begin"):
        actions.undo(store, "")


def test_an_action_comes_after_what_was_said_by_a_clock_that_is_ahead(store):
    ahead = Constraint("e" * 32, datetime.now(UTC) + timedelta(days=1), "name",
                       tuple(faces(1)), (), A, "Ann")  # fmt: skip
    store.append([ahead])
    actions.undo(store)
    assert shown(store) == BEFORE


@pytest.mark.parametrize(
    ("work", "problem"),
    [
        (lambda s: actions.name(s, "f" * 16, "Ann"), "no person"),
        (lambda s: actions.merge(s, [A, A]), "two different"),
        (lambda s: actions.merge(s, [A, "f" * 16]), "no person"),
        (lambda s: actions.split(s, A, faces(1, 21)), "Face .* not of"),
        (lambda s: actions.split(s, A, faces(*PERSONS[A])), "nobody would be left"),
        (lambda s: actions.split(s, A, ["nobody-0"]), "not known here"),
        (lambda s: actions.split(s, A, []), "No face"),
        (lambda s: actions.move(s, faces(1), A), "already"),
        (lambda s: actions.move(s, ["x", "y", "z", "q"], A), "x, y, z and 1 more"),
        (lambda s: actions.not_a_face(s, ["x"]), "not known"),
        (lambda s: actions.hide(s, ["f" * 16]), "no person"),
    ],
)
def test_what_cannot_be_done_says_why_and_changes_nothing(store, work, problem):
    with pytest.raises(ConfigError, match=problem):
        work(store)
    assert store.constraints() == []


def test_lookup(store):
    actions.name(store, A, "Ann")
    actions.name(store, D, "Ann")
    actions.name(store, B, "bbbb3333bbbb3333")  # a name that is somebody's id
    now = view(store)
    assert now.lookup(A) == A
    assert now.lookup("cccc") == D
    assert now.lookup(C) == C
    for text in ("Ann", "ann", "bbbb"):
        with pytest.raises(ConfigError, match="2 persons"):
            now.lookup(text)
    for text in ("aaa", "zzzzzz", ""):
        with pytest.raises(ConfigError, match="no person"):
            now.lookup(text)


# --- names in files


def test_names_leave_and_come_back(store):
    actions.name(store, A, 'Ann "=1", Jr.')
    actions.name(store, C, "Çelik")
    text = exported(store)
    table = list(csv.DictReader(io.StringIO(text)))
    assert len(table) == 14
    assert table[0] == {"person_id": A, "name": 'Ann "=1", Jr.', "face_id": face(1),
                        "uri": f"/p/{1:032x}.jpg"}  # fmt: skip
    before = shown(store)
    for _ in range(2):
        actions.undo(store)
    result = import_names(store, "\ufeff" + text)
    assert (result.names, result.faces, result.unknown) == (2, 14, 0)
    assert shown(store) == before


def test_an_import_divides_a_person_by_names(store):
    lines = [f"{f},Ann" for f in faces(1, 2, 3)] + [f"{f},Bea" for f in faces(4, 5)]
    lines += [f"{face(21)},Bea", "unknown,Bea", f"{face(22)},"]
    result = import_names(store, "\n".join(["face_id,name", *lines]))
    assert (result.names, result.faces, result.unknown) == (2, 6, 1)
    after = shown(store)
    assert after[A] == ("Ann", [1, 2, 3, *range(6, 13)])
    assert after[B] == ("Bea", [4, 5, *PERSONS[B]])
    actions.undo(store)
    assert shown(store) == BEFORE


@pytest.mark.parametrize(
    ("text", "problem"),
    [("", "no column face_id and name"), ("face,name\n1,2", "no column face_id"),
     (f"face_id,name\n{face(1)},a\n{face(1)},b", "Line 3"), ("face_id,name\nx,y", "No face"),
     (f"face_id,name\n{face(1)},a\x07", "control")],
)  # fmt: skip
def test_files_that_cannot_be_imported(store, text, problem):
    with pytest.raises(ConfigError, match=problem):
        import_names(store, text)
    assert store.constraints() == []


# --- the command


@pytest.fixture
def facelake(store, capsys):
    def run(*words, code=0):
        assert main(["people", store.lake.folder.url, *words]) == code
        out, err = capsys.readouterr()
        return err if code else out

    return run


def test_list(facelake):
    facelake("name", "aaaa", "Ann")
    facelake("name", "bbbb2", "Bo\u200cb")
    facelake("hide", "Ann")
    document = json.loads(facelake("list", "--json"))
    assert [row["person_id"] for row in document] == [B, C, D]
    document = json.loads(facelake("list", "--json", "--all", "--sort", "name", "--limit", "2"))
    assert [row["name"] for row in document] == ["Ann", "Bo\u200cb"]
    document = json.loads(facelake("list", "--json", "--all", "--sort", "recent"))
    assert [row["person_id"] for row in document] == [D, C, B, A]
    text = facelake("list", "--all", "--limit", "3")
    assert "Bo\\x200cb" in text
    assert "4 persons, 1 hidden, 3 shown" in text
    facelake("unhide", "Ann")
    assert "Ann" in facelake("list")
    assert "--limit" in facelake("list", "--limit", "0", code=2)


def test_show_and_correct(facelake):
    facelake("name", A, "[red]Ann")
    assert "[red]Ann" in facelake("list")
    text = facelake("show", "[red]Ann")
    assert face(12) in text
    assert f"/p/{12:032x}.jpg" in text
    new = facelake("split", A, *faces(1, 2)).split(";")[0].split()[-1]
    assert json.loads(facelake("show", new, "--json"))["faces"] == 2
    facelake("merge", A, new)
    facelake("move", face(1), "--to", "cccc")
    facelake("not-a-face", face(3))
    facelake("cover", A, face(7))
    document = json.loads(facelake("show", A, "--json"))
    assert document["cover_face_id"] == face(7)
    assert len(document["members"]) == document["faces"] == 10
    facelake("name", A, "--remove")
    assert json.loads(facelake("show", A, "--json"))["name"] is None
    for words in (("name", A), ("name", A, "x", "--remove")):
        assert "either" in facelake(*words, code=2)
    assert "no person" in facelake("show", "nobody", code=2)


def test_history(facelake):
    assert facelake("undo", code=2)
    facelake("name", A, "Ann\u202f")
    facelake("split", A, face(1))
    facelake("undo")
    lines = json.loads(facelake("history", "--json"))
    assert [line["kinds"] for line in lines] == [["name"], ["different", "same"], ["undo"]]
    assert [line["undone"] for line in lines] == [False, True, False]
    assert facelake("history").count("undone") == 1
    facelake("undo", lines[2]["id"])
    lines = json.loads(facelake("history", "--json"))
    assert [line["undone"] for line in lines] == [False, False, True, False]
    assert lines[0]["made_by"] is None or lines[0]["made_by"]


def test_export_and_import(facelake, tmp_path):
    path = str(tmp_path / "names.csv")
    facelake("name", A, "Ann")
    assert "12 faces" in facelake("export", path)
    facelake("undo")
    assert "1 names given to 12 faces" in facelake("import", path)
    assert "Ann" in facelake("list")
    (tmp_path / "latin.csv").write_bytes("face_id,name\n1,Zo\xeb".encode("latin-1"))
    assert "UTF-8" in facelake("import", str(tmp_path / "latin.csv"), code=2)
    assert facelake("import", str(tmp_path / "none.csv"), code=5)


def test_where_there_is_no_lake(tmp_path, capsys):
    assert main(["people", str(tmp_path / "none"), "list"]) == ConfigError.exit_code
    assert "no lake" in capsys.readouterr().err


def test_the_user_may_have_no_name(store, monkeypatch):
    def fail():
        raise KeyError("uid")

    monkeypatch.setattr("getpass.getuser", fail)
    assert actions.name(store, A, "Ann").made_by is None


COMPOSED, DECOMPOSED = "José Álvarez", "Jose\u0301 A\u0301lvarez"


@pytest.mark.parametrize(
    "spelling", [DECOMPOSED, "josé álvarez", "José\u00a0Álvarez", "  José   Álvarez "]
)
def test_spellings_of_a_name_are_one_name_shown_as_it_was_typed(store, spelling):
    actions.name(store, A, COMPOSED)
    now = view(store)
    assert now.lookup(spelling) == A
    assert now.person(A)["name"] == COMPOSED
    assert now.called(spelling) == [A]
    actions.name(store, B, spelling)
    assert view(store).person(B)["name"] == spelling.strip()
    with pytest.raises(ConfigError, match="2 persons go by"):
        view(store).lookup(COMPOSED)
    corrections = resolve(store.constraints())
    assert not corrections.must_differ(0, 1)


def test_an_import_takes_spellings_for_one_name(store):
    actions.name(store, A, COMPOSED)
    text = f"face_id,name\n{face(1)},{DECOMPOSED}\n{face(21)},JOSÉ ÁLVAREZ\n"
    done = import_names(store, text)
    assert (done.names, done.faces) == (1, 2)
    now = view(store)
    assert now.persons_of([face(1), face(21)]) == {face(1): A, face(21): A}


def test_the_command_says_who_else_has_the_name(store, capsys):
    if "://" in store.lake.folder.url:
        pytest.skip("the command runs on a folder")
    actions.name(store, A, COMPOSED)
    assert main(["people", store.lake.folder.url, "name", B, DECOMPOSED]) == 0
    assert f"so is {A}; if they are one: merge {A} {B}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["=HYPERLINK(1)", "+1", "-2", "@SUM(A1)", "'=quoted", "'Abd al-Malik", "Ann-Marie"]
)
def test_no_name_starts_a_formula_and_all_come_back(store, name):
    actions.name(store, A, name)
    text = exported(store)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert all(row["name"][0] not in "=+-@" for row in rows)
    actions.unname(store, A)
    assert import_names(store, text).names == 1
    assert view(store).person(A)["name"] == name
