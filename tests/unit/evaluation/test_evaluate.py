import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.commands.main import main
from pipeline.errors import ConfigError
from pipeline.evaluation.truth.labels import read_labels
from pipeline.lake.columns import fixed_lists
from pipeline.lake.store import LakeStore
from pipeline.people import People
from tests.unit.lake.test_lake import MODELS, rows
from tests.unit.people.test_people import PERSONS, REJECTED, face, publish

NUMBERS = [n for of in PERSONS.values() for n in of]


@pytest.fixture
def lake(tmp_path):
    made = LakeStore(str(tmp_path / "lake"))
    made.claim(MODELS)
    made.publish_part(*rows(*NUMBERS, REJECTED, faces_each=1))
    publish(People(made))
    return made


@pytest.fixture
def facelake(lake, tmp_path, capsys):
    def run(text, *words, code=0):
        path = tmp_path / "labels.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        words = ("clustering", lake.folder.url, "--labels", str(path), *words)
        assert main(["evaluate", *words]) == code
        out, err = capsys.readouterr()
        return err if code else out

    return run


def truth():
    """Labels of all faces as clustered, but that the last person is the one before."""
    names = ["Ann", "Bob", "Cem", "Cem"]
    return "face_id,label,region\n" + "\n".join(
        f"{face(n)},{name},{'north' if name == 'Ann' else 'south'}"
        for name, numbers in zip(names, PERSONS.values(), strict=True)
        for n in numbers
    )


def test_measures_of_a_lake(facelake):
    document = json.loads(facelake(truth(), "--json", "--bootstrap", "50", "--groups", "region"))
    assert document["pairwise_precision"] == 1
    pairs = 66 + 6 + 3
    assert document["pairwise_recall"] == pytest.approx((pairs - 2) / pairs)
    assert (document["faces"], document["identities"], document["clusters"]) == (19, 3, 4)
    assert (document["labels_unmatched"], document["faces_unlabelled"]) == (0, 1)
    assert document["groups"]["north"]["pairwise_recall"] == 1
    assert document["groups"]["south"]["identities"] == 2
    low, high = document["intervals"]["pairwise_recall"]
    assert low <= document["pairwise_recall"] <= high
    assert "intervals" not in json.loads(facelake(truth(), "--json", "--bootstrap", "0"))


def test_the_table(facelake):
    text = facelake(truth() + "\nnobody,Dan,\n", "--groups", "region", "--bootstrap", "9")
    for part in ("pairwise precision", "bcubed f", "nmi", "purity", "north", "south",
                 "1 labels matched no face", "1 faces have no label", "19 faces"):  # fmt: skip
        assert part in text
    assert " to " not in facelake(truth(), "--bootstrap", "0").split("purity")[0]


def test_a_rejected_face_is_alone(facelake):
    text = f"face_id,label\n{face(REJECTED)},Ann\n{face(1)},Ann\n{face(2)},Ann"
    document = json.loads(facelake(text, "--json", "--bootstrap", "0"))
    assert (document["unclustered"], document["clusters"]) == (1, 2)


@pytest.mark.parametrize(
    ("text", "words", "problem"),
    [
        ("a,b\n1,2", (), "no column face_id or image; its columns are a, b"),
        ("face_id,name\n1,2", (), "no column label"),
        (truth(), ("--groups", "age"), "no column age"),
        ("face_id,label\nx,y", (), "None of the 1 labels"),
        ("face_id,label\n", (), "no rows"),
        ("", (), "no rows"),
        (f"face_id,label\n{face(1)},a\n{face(1)},b", (), "twice, as a and as b"),
        ("face_id,label\n1,Zoë".encode("latin-1"), (), "UTF-8"),
        (b"PAR1 and nothing more", (), "damaged"),
        ('face_id,label\n"' + "x" * 200_000, (), "no CSV"),
        (truth(), ("--bootstrap", "-1"), "0 or more"),
    ],
)
def test_labels_that_cannot_be_used(facelake, text, words, problem):
    assert problem in facelake(text, *words, code=ConfigError.exit_code)


def test_faces_that_are_not_clustered_yet(facelake, lake):
    lake.publish_part(*rows(99, faces_each=1))
    text = f"face_id,label\n{face(99)},Ann"
    assert "not clustered yet" in facelake(text, code=2)
    document = json.loads(facelake(f"{text}\n{face(1)},Ann", "--json"))
    assert document["labels_not_clustered"] == 1


def test_no_people_yet(tmp_path, capsys):
    lake = LakeStore(str(tmp_path / "lake"))
    lake.claim(MODELS)
    words = ["evaluate", "clustering", lake.folder.url, "--labels", "x.csv"]
    assert main(words) == ConfigError.exit_code
    assert "run facelake cluster" in capsys.readouterr().err


# --- labels of images


@pytest.fixture
def photos(tmp_path):
    """Photos by several kinds of address, two faces each: the larger one first, off the centre."""
    made = LakeStore(str(tmp_path / "photos"))
    made.claim(MODELS)
    uris = ["/p/one.jpg", "s3://b/tars/a.tar#dir/two.jpg", "/p/x/same.jpg", "/p/y/same.png",
            "/p/.hidden", "/p/three.v2.jpg", "/p/none.jpg"]  # fmt: skip
    images, faces = rows(*range(len(uris)))
    images = images.set_column(1, images.schema.field("uri"), pa.array(uris))
    for name in ("width", "height"):
        at = images.column_names.index(name)
        sizes = pa.array([100] * len(uris), pa.int32())
        images = images.set_column(at, images.schema.field(name), sizes)
    boxes = np.array([[0, 0, 40, 40], [45, 45, 55, 55]] * len(uris), np.float32)
    for name, values in (
        ("box", fixed_lists(boxes, faces.schema.field("box").type)),
        ("size_px", pa.array([40.0, 10.0] * len(uris), pa.float32())),
    ):
        at = faces.column_names.index(name)
        faces = faces.set_column(at, faces.schema.field(name), values)
    made.publish_part(images, faces.slice(0, len(faces) - 2))  # nobody on the last photo
    return made


def labels_of(lake, tmp_path, *images, **options):
    path = tmp_path / "images.csv"
    path.write_text(
        "\n".join(["image,label", *(f"{image},L{k}" for k, image in enumerate(images))])
    )
    return read_labels(lake, str(path), **options)


@pytest.mark.parametrize(
    ("image", "number"),
    [
        (f"{1:032x}", 1), ("/p/one.jpg", 0), ("one.jpg", 0), ("one", 0),
        ("s3://b/tars/a.tar#dir/two.jpg", 1), ("dir/two.jpg", 1), ("two.jpg", 1), ("two", 1),
        ("same.jpg", 2), ("same.png", 3), (".hidden", 4), ("three.v2", 5),
    ],
)  # fmt: skip
def test_an_image_is_found_by_any_of_its_names(photos, tmp_path, image, number):
    labels = labels_of(photos, tmp_path, image)
    assert labels.labels == {f"{number:032x}-0": "L0"}
    labels = labels_of(photos, tmp_path, image, which="central")
    assert labels.labels == {f"{number:032x}-1": "L0"}


def test_images_that_are_ambiguous_unknown_or_without_a_face(photos, tmp_path):
    labels = labels_of(photos, tmp_path, "one", "same", "four", "none.jpg", "")
    assert list(labels.labels.values()) == ["L0"]
    assert (labels.ambiguous, labels.unmatched) == (1, 2)


def test_labels_in_parquet(photos, tmp_path):
    table = pa.table({"image": ["one", "two"], "label": [7, None], "group": ["g", None]})
    pq.write_table(table, tmp_path / "labels.parquet")
    labels = read_labels(photos, str(tmp_path / "labels.parquet"), groups="group")
    assert list(labels.labels.values()) == ["7"]
    assert list(labels.groups.values()) == ["g"]
