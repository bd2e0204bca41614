import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigError
from pipeline.evaluation.truth.boxes import parse_boxes, read_boxes
from pipeline.evaluation.truth.groups import read_groups
from pipeline.evaluation.truth.pairs import parse_pairs, read_pairs
from tests.support.photo_lakes import face, image_id, photo_lake

OFFICIAL = """2\t1
Ann\t1\t2
Ann\t1\tBob\t1
Bob\t1\t2
Ann\t2\tBob\t2
"""


@pytest.fixture
def lake(tmp_path):
    return photo_lake(
        tmp_path / "lake",
        {
            "Ann_0001.jpg": [face(box=(0, 0, 60, 60)), face(box=(45, 45, 55, 55))],
            "Ann_0002.jpg": [face()],
            "Bob_0001.jpg": [face()],
            "Bob_0002.jpg": [],
            "x/same.jpg": [face()],
            "y/same.jpg": [face()],
            "bad.jpg": None,
        },
    )


@pytest.fixture
def write(tmp_path):
    def make(text, name="file"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return make


def test_the_official_format(lake, write):
    pairs = read_pairs(lake, write(OFFICIAL))
    ann = [f"{image_id('Ann_0001.jpg')}-1", f"{image_id('Ann_0002.jpg')}-0"]  # the central one
    bob = f"{image_id('Bob_0001.jpg')}-0"
    assert pairs.first == [ann[0], ann[0], bob, ann[1]]
    assert pairs.second == [ann[1], bob, None, None]
    assert pairs.same == [True, False, True, False]
    assert pairs.fold == [0, 0, 1, 1]
    assert list(zip(pairs.person_first, pairs.person_second, strict=True)) == [
        (0, 0), (0, 1), (1, 1), (0, 1)
    ]  # fmt: skip
    assert (pairs.missing, pairs.ambiguous, pairs.contradictions) == (0, 0, 0)
    assert read_pairs(lake, write(OFFICIAL), "largest").first[0].endswith("-0")


def test_one_number_in_the_header_is_one_fold(lake, write):
    pairs = read_pairs(lake, write("1\nAnn\t1\t2\nAnn\t1\tBob\t1\n"))
    assert pairs.fold is None


def test_pairs_as_a_table(lake, write):
    text = f"""a,b,same,fold,group
Ann_0001,Ann_0002.jpg,1,x,north
{image_id("Ann_0001.jpg")}-1,/archive/Bob_0001.jpg,no,y,
same,Bob_0001,0,x,
Cem_0001,Bob_0001,0,x,
Ann_0001,Ann_0002,0,y,
Bob_0002,bad,0,y,
"""
    pairs = read_pairs(lake, write(text))
    assert pairs.first[0] == f"{image_id('Ann_0001.jpg')}-0"  # the largest
    assert pairs.first[1] == f"{image_id('Ann_0001.jpg')}-1"
    assert pairs.same == [True, False, False, False]
    assert pairs.fold == [0, 1, 1, 1]
    assert pairs.group == ["north", None, None, None]
    assert (pairs.ambiguous, pairs.missing) == (1, 1)
    assert pairs.contradictions == 1  # called one person, and called two
    assert pairs.person_first[0] == pairs.person_second[0]
    assert (pairs.first[3], pairs.second[3]) == (None, None)


def test_pairs_in_parquet(tmp_path, lake):
    path = tmp_path / "pairs.parquet"
    pq.write_table(pa.table({"a": ["Ann_0001"], "b": ["Bob_0001"], "same": [0]}), path)
    assert read_pairs(lake, str(path)).same == [False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2", "no column same; its columns are a, b"),
        ("a,b,same\n1,2,maybe", "row 2: two photos or faces, and 1 or 0"),
        ("a,b,same\n1,,1", "row 2"),
        ("a,b,same\n", "no pairs"),
        ("", "no pairs"),
        (
            "2\t1\nAnn\t1\t2\n",
            "says 2 folds of 1 pairs of one person and as many of two, but has 1",
        ),
        ("1\nAnn\t1\t2\nAnn\t1\tBob\n", "line 3: needed are a name and two numbers"),
        ("1\nAnn\t1\tx\nAnn\t1\tBob\t1\n", "line 2"),
        ("a,b,same\nDan,Eve,1", "None of the 1 pairs"),
        (b"a,b,same\n\xff,x,1", "UTF-8"),
        ('a,b,same\n"' + "x" * 200_000, "no CSV"),
    ],
)
def test_pairs_that_cannot_be_used(lake, write, text, message):
    with pytest.raises(ConfigError, match=message):
        read_pairs(lake, write(text))


def test_groups(lake, write):
    read = read_groups(lake, write("image,region,age\nAnn_0001,north,30\nBob_0001,,40\nq,s,1"),
                        "central")  # fmt: skip
    assert read["region"] == {f"{image_id('Ann_0001.jpg')}-1": "north"}
    assert len(read["age"]) == 2
    one = f"{image_id('Ann_0002.jpg')}-0"
    assert read_groups(lake, write(f"face_id,region\n{one},n"), "central") == {"region": {one: "n"}}
    for text, message in (
        ("image\nAnn", "needed are face_id or image, and one or more"),
        ("who,region\nAnn,n", "needed are face_id or image"),
        ("image,region\nDan,n", "None of the 1 rows"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_groups(lake, write(text), "central")


# --- boxes

WIDER = """0--Parade/Ann_0001.jpg
2
0 0 60 60 0 0 0 0 0 0
45 45 10 10 2 0 0 1 0 0
Bob_0002.jpg
0
0 0 0 0 0 0 0 0 0 0
bad.jpg
1
1 1 0 5 0 0 0 0 0 0
"""
CSV = """image,x1,y1,x2,y2,ignore
0--Parade/Ann_0001.jpg,0,0,60,60,0
0--Parade/Ann_0001.jpg,45,45,55,55,1
Bob_0002.jpg,,,,,
bad.jpg,1,1,1,6,0
"""
COCO = json.dumps(
    {
        "images": [{"id": 1, "file_name": "0--Parade/Ann_0001.jpg"},
                   {"id": 2, "file_name": "Bob_0002.jpg"}, {"id": 3, "file_name": "bad.jpg"}],
        "annotations": [{"image_id": 1, "bbox": [0, 0, 60, 60]},
                        {"image_id": 1, "bbox": [45, 45, 10, 10], "iscrowd": 1},
                        {"image_id": 3, "bbox": [1, 1, 0, 5]}],
    }
)  # fmt: skip


@pytest.mark.parametrize("text", [WIDER, CSV, COCO], ids=["wider", "csv", "coco"])
def test_boxes_in_every_format(lake, write, text):
    drawn = parse_boxes(write(text))
    ann = drawn["0--Parade/Ann_0001.jpg"]
    assert ann.boxes == [(0, 0, 60, 60), (45, 45, 55, 55)]
    assert ann.ignored == [False, True]
    assert drawn["Bob_0002.jpg"].boxes == drawn["bad.jpg"].boxes == []
    boxes = read_boxes(lake, write(text))
    assert [len(p.scores) for p in boxes.pictures] == [2, 0, 0]
    assert boxes.missing_images == []
    assert (boxes.failed, boxes.other_images) == (1, 4)


def test_boxes_of_images_that_the_lake_lacks(lake, write):
    text = "image,x1,y1,x2,y2\nnobody.jpg,0,0,5,5\nsame.jpg,0,0,5,5\nAnn_0002,0,0,5,5"
    boxes = read_boxes(lake, write(text))
    # two photos are called same.jpg
    assert (boxes.missing_images, boxes.missing_boxes) == (["nobody.jpg", "same.jpg"], 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,x1,y1,x2\na,1,2,3", "no column y2"),
        ("image,x1,y1,x2,y2\na,1,2,3,z", "row 2: a box is four numbers, not 1, 2, 3, z"),
        ("image,x1,y1,x2,y2\n", "no rows"),
        ("image,x1,y1,x2,y2\na,1,2,3,4", "None of the 1 images"),
        ("a.jpg\n3\n1 1 1 1\n", "after a.jpg come a count and so many lines"),
        ("a.jpg\n1\n1 1 1\n", "a box is four numbers"),
        ("a.jpg\n0\n0 0 0 0\nb.jpg", "after b.jpg"),
        ('{"images": []}', "no COCO JSON"),
        ("{", "no COCO JSON"),
        ('{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 2, "bbox": '
         "[1, 1, 1, 1]}]}", "no COCO JSON"),
        ('{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1, "bbox": [1]}]}',
         "annotation 0: a box is four numbers"),
    ],
)  # fmt: skip
def test_boxes_that_cannot_be_used(lake, write, text, message):
    with pytest.raises(ConfigError, match=message):
        read_boxes(lake, write(text))


def test_parquet_of_boxes_and_a_wrong_one(tmp_path, write):
    path = tmp_path / "boxes.parquet"
    columns = {name: [1.0] for name in ("x1", "y1")} | {name: [9.0] for name in ("x2", "y2")}
    pq.write_table(pa.table({"image": ["a"], **columns}), path)
    assert parse_boxes(str(path))["a"].boxes == [(1, 1, 9, 9)]
    with pytest.raises(ConfigError, match="damaged"):
        parse_pairs(write(b"PAR1 and nothing more"))
