import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.clustering.run import Run
from pipeline.commands.main import main
from pipeline.errors import EXIT_UNSOUND, ConfigError
from pipeline.lake.checkpoints import in_process
from pipeline.lake.columns import fixed_lists, matrix
from pipeline.lake.store import LakeStore, parquet_bytes
from pipeline.maintenance.check import check, repair
from pipeline.maintenance.check_tables import findings_in_derived
from pipeline.people import actions
from pipeline.people.view import view
from tests.support import lakes
from tests.unit.lake.test_lake import MODELS, rows


@pytest.fixture
def lake(tmp_path):
    one = LakeStore(str(tmp_path / "lake"))
    one.claim(MODELS)
    for numbers in ((1, 2, 3), (4, 5), (6,)):
        images, faces = rows(*numbers)
        vectors = matrix(faces["embedding"]).copy()
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        one.publish_part(images, replaced(faces, "embedding", fixed_vectors(faces, vectors)))
    return one


def fixed_vectors(faces, vectors):
    return fixed_lists(vectors, faces.schema.field("embedding").type)


def replaced(table, column, values):
    at = table.column_names.index(column)
    return table.set_column(at, table.schema.field(column), values)


def kinds(lake):
    return sorted({finding.kind for finding in check(lake).findings})


def write(lake, table, name, rows):
    lake.folder.publish(f"{table}/{name}", parquet_bytes(rows))


def part(lake, number=0):
    name = lake.parts()[number]
    tables = (
        pq.read_table(pa.BufferReader(lake.folder.read(f"{table}/{name}")))
        for table in ("images", "faces")
    )
    return name, *tables


def test_a_sound_lake(lake):
    result = check(lake)
    assert (result.parts, result.images, result.faces) == (3, 6, 12)
    assert result.findings == []


def test_no_lake(tmp_path):
    with pytest.raises(ConfigError, match="no lake"):
        check(LakeStore(str(tmp_path / "nothing")))


def flip_a_byte(lake):
    name = lake.parts()[0]
    data = bytearray(lake.folder.read(f"faces/{name}"))
    at = data.index(b"mtcnn@1")  # a value, not a page's header
    data[at] ^= 0x10
    lake.folder.publish(f"faces/{name}", bytes(data))


def cut(lake):
    name = lake.parts()[0]
    lake.folder.publish(f"images/{name}", lake.folder.read(f"images/{name}")[:100])


def drop_a_column(lake):
    name, _, faces = part(lake)
    write(lake, "faces", name, faces.drop_columns(["yaw"]))


def lose_a_face(lake):
    name, _, faces = part(lake)
    write(lake, "faces", name, faces.slice(1))


def error_with_faces(lake):
    name, images, _ = part(lake)
    codes = pa.array(["corrupt"] * len(images), pa.string())
    write(lake, "images", name, replaced(images, "error", codes))


def unknown_code(lake):
    name, images, _ = part(lake)
    codes = pa.array(["bored"] + [None] * (len(images) - 1), pa.string())
    write(lake, "images", name, replaced(images, "error", codes))


def not_a_number(lake):
    name, _, faces = part(lake)
    vectors = matrix(faces["embedding"]).copy()
    vectors[1, 2] = np.nan
    write(lake, "faces", name, replaced(faces, "embedding", fixed_vectors(faces, vectors)))


def not_unit(lake):
    name, _, faces = part(lake)
    vectors = matrix(faces["embedding"]) * np.float32(1.1)
    write(lake, "faces", name, replaced(faces, "embedding", fixed_vectors(faces, vectors)))


def other_model(lake):
    name, _, faces = part(lake)
    write(lake, "faces", name, replaced(faces, "embedder", pa.array(["x@1"] * len(faces))))


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        (flip_a_byte, "damaged"),
        (cut, "damaged"),
        (drop_a_column, "schema"),
        (lose_a_face, "count"),
        (error_with_faces, "inconsistent"),
        (unknown_code, "inconsistent"),
        (not_a_number, "vector"),
        (not_unit, "vector"),
        (other_model, "models"),
    ],
)
def test_a_part_that_cannot_be_trusted_is_found_and_quarantined(lake, harm, kind):
    name = lake.parts()[0]
    lost = len(part(lake)[1])
    harm(lake)
    assert kind in kinds(lake)
    repair(lake, check(lake).findings)
    assert kinds(lake) == []
    assert name not in lake.parts()
    assert check(lake).images == 6 - lost
    assert len(lake.ledger()) == 6 - lost  # so that the next run does them again
    assert set(lake.folder.child("quarantine").files()) == {f"images-{name}", f"faces-{name}"}


def test_rows_that_are_there_twice_lose_their_second(lake):
    before = check(lake)
    images, faces = (
        pa.concat_tables(t) for t in zip(part(lake, 0)[1:], part(lake, 1)[1:], strict=True)
    )
    lake.publish_part(images, faces)
    assert kinds(lake) == ["doubled"]
    repair(lake, check(lake).findings)
    after = check(lake)
    assert after.findings == []
    assert (after.images, after.faces) == (before.images, before.faces)


def test_a_row_that_is_twice_in_one_part(lake):
    name, images, faces = part(lake)
    write(lake, "images", name, pa.concat_tables([images, images.slice(0, 1)]))
    assert "doubled" in kinds(lake)
    repair(lake, check(lake).findings)
    assert kinds(lake) == []
    assert check(lake).images == 6
    assert part(lake)[2].equals(faces)


def test_stray_faces_go(lake):
    name, _, faces = part(lake)
    write(lake, "faces", name, pa.concat_tables([faces, rows(9, faces_each=1)[1]]))
    assert "stray" in kinds(lake)
    repair(lake, check(lake).findings)
    assert check(lake).faces == 12


def test_leftovers_go(lake):
    lake.folder.publish("faces/part-0.parquet", b"left by a crash")
    lake.folder.publish("images/part-1.parquet", b"without its faces")
    assert kinds(lake) == ["leftover"]
    assert len(check(lake).findings) == 2
    repair(lake, check(lake).findings)
    assert kinds(lake) == []


def test_the_command(lake, capsys):
    assert main(["check", lake.folder.url]) == 0
    assert "sound" in capsys.readouterr().out
    flip_a_byte(lake)
    lake.folder.publish("faces/part-0.parquet", b"left by a crash")
    assert main(["check", lake.folder.url]) == EXIT_UNSOUND
    out = capsys.readouterr().out
    assert "damaged" in out
    assert "leftover" in out
    assert main(["check", lake.folder.url, "--repair"]) == 0
    assert main(["check", lake.folder.url]) == 0
    assert main(["check", lake.folder.url + "-nowhere"]) == ConfigError.exit_code


def clustered(folder):
    vectors, _ = lakes.archive(3, 3)
    people = lakes.make(folder, vectors)
    Run(people, ClusterConfig(), in_process, "one").cluster()
    actions.name(people, view(people).people["person_id"][0].as_py(), "Ann")
    return people.lake


def first_part(folder):
    return sorted(folder.glob("*.parquet"))[0]


@pytest.mark.parametrize("table", ["clusters", "people", "constraints"])
@pytest.mark.parametrize("how", ["cut", "swapped", "gone"])
def test_tables_that_were_made_from_others(tmp_path, table, how):
    lake = clustered(tmp_path)
    # made-up photos lack what real ones have, so only these tables are looked at
    assert list(findings_in_derived(lake, lake.models())) == []
    path = first_part(tmp_path / table)
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-50])
    elif how == "swapped":
        path.write_bytes(first_part(tmp_path / "clusters" if table == "people" else
                                    tmp_path / "people").read_bytes())  # fmt: skip
    else:
        path.unlink()
    findings = [
        (finding.kind, finding.part.split("/")[0])
        for finding in findings_in_derived(lake, lake.models())
    ]
    if table == "constraints":
        assert findings == ([] if how == "gone" else [("corrections", table)])
    else:
        assert findings == [("derived", table)]


def test_parts_that_nothing_names_and_a_damaged_pointer(tmp_path):
    lake = clustered(tmp_path)
    path = first_part(tmp_path / "people")
    path.with_name("part-older.parquet").write_bytes(path.read_bytes())
    assert [finding.kind for finding in findings_in_derived(lake, lake.models())] == ["left behind"]
    (tmp_path / "clusters" / "_current.json").write_text("{")
    assert [finding.kind for finding in findings_in_derived(lake, lake.models())] == ["derived"]
