"""Names inside the photos: read from every format, as exiftool writes them, and taken over once."""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image

from pipeline.commands.main import main
from pipeline.config import DecodeConfig
from pipeline.errors import ConfigError
from pipeline.imaging.decode import decode
from pipeline.imaging.packets import packets
from pipeline.lake import schema
from pipeline.library import Lake
from pipeline.maintenance.check import check
from pipeline.people import actions
from pipeline.people.marks.marker import Marker
from pipeline.people.view import view
from pipeline.people.xmp.embedded import embedded_in, import_embedded
from pipeline.people.xmp.packet import packet
from pipeline.people.xmp.regions import Frame, Region
from pipeline.people.xmp.sidecars import import_sidecars
from pipeline.people.xmp.taking import KEPT, Taking
from pipeline.sources.originals import Originals
from pipeline.storage.folder import Folder
from tests.support import packets as files
from tests.support.marking import (
    DETECTED,
    ELSEWHERE,
    FRAME,
    FakeModels,
    Killed,
    dying,
    embed,
    forget,
    region,
    xmp,
)
from tests.support.review_lakes import jpeg, review_lake

needs_exiftool = pytest.mark.skipif(not shutil.which("exiftool"), reason="exiftool is not here")


@pytest.fixture
def photos(people):
    return people.lake.read("images", ["image_id", "uri"]).sort_by("uri").to_pylist()


def taken(people, marker, **options):
    return import_embedded(people, marker, Taking(marker, **options))


def name_of(people, face):
    now = view(people)
    person = now.persons_of([face])[face]
    return None if person is None else now.person(person)["name"]


def face_at(people, photo, box):
    rows = people.lake.read("faces", ["face_id", "box"], pc.field("image_id") == photo["image_id"])
    return next((row["face_id"] for row in rows.to_pylist()
                 if np.allclose(row["box"], box, atol=0.1)), None)  # fmt: skip


def test_faces_are_named_and_marked(people, marker, photos):
    embed(people, photos[0], region("Ann", DETECTED), region("Bea", ELSEWHERE))
    embed(people, photos[5], region("Bea", ELSEWHERE))
    result = taken(people, marker)
    assert (result.sidecars, result.marked, result.made) == (2, 2, 2)
    assert (result.imported.names, result.imported.faces) == (2, 3)
    assert name_of(people, f"{photos[0]['image_id']}-0") == "Ann"
    beas = [face_at(people, photos[at], ELSEWHERE) for at in (0, 5)]
    assert all(schema.is_marked(face) for face in beas)
    assert [name_of(people, face) for face in beas] == ["Bea", "Bea"]
    assert len(view(people).called("Bea")) == 1
    marks = [row for row in people.constraints() if row.kind == "mark"]
    assert {json.loads(row.value)["source"] for row in marks} == {"region"}
    assert check(people.lake).findings == []


def test_a_second_time_changes_nothing(people, marker, photos):
    embed(people, photos[0], region("Ann", DETECTED), region("Bea", ELSEWHERE))
    taken(people, marker)
    before = people.constraints()
    again = taken(people, marker)
    assert people.constraints() == before
    assert (again.imported, again.marked, again.known) == (None, 0, 2)
    actions.undo(people, before[-1].constraint_id)  # one action
    marker.restore_now()
    assert view(people).called("Ann") == view(people).called("Bea") == []
    after = taken(people, marker)
    assert after.skipped["regions whose mark was taken back"] == 1
    assert face_at(people, photos[0], ELSEWHERE) is None


def test_names_in_the_lake_stay_and_are_counted(people, marker, photos):
    face = f"{photos[0]['image_id']}-0"
    who = view(people).persons_of([face])[face]
    actions.name(people, who, "Zoe")
    embed(people, photos[0], region("Ann", DETECTED))
    before = people.constraints()
    assert taken(people, marker).skipped[KEPT] == 1
    assert people.constraints() == before
    assert +taken(people, marker, replace=True).skipped == {}
    assert name_of(people, face) == "Ann"


def test_a_marked_region_is_of_the_one_who_has_the_name(people, marker, photos):
    who = view(people).people["person_id"].to_pylist()[0]
    actions.name(people, who, "Ann")
    embed(people, photos[0], region("ANN", ELSEWHERE))
    taken(people, marker)
    face = face_at(people, photos[0], ELSEWHERE)
    assert view(people).persons_of([face]) == {face: who}
    assert view(people).person(who)["name"] in ("Ann", "ANN")


def test_rejected_forgotten_and_unfit_regions(people, marker, photos):
    rejected = f"{photos[0]['image_id']}-0"
    actions.not_a_face(people, [rejected])
    forgotten = marker.mark(photos[0]["image_id"], ELSEWHERE).faces[0]
    embed(people, photos[0], region("Ann", DETECTED), region("Bea", ELSEWHERE),
          region("Cas", (1, 1, 6, 6)), region("a\u202eb", (0, 60, 20, 95)),
          region("Dan", (0, 0, 25, 30)), region("Eve", (1, 1, 25, 30)))  # fmt: skip
    forget(people, "--face", forgotten)
    result = taken(people, marker)
    assert +result.skipped == {
        "faces that were rejected as no face": 1,
        "regions of faces that were forgotten": 1,
        "regions where the lake has no face, of less than 10 pixels": 1,
        "regions whose name cannot be one": 1,
        "regions that lie on another one's face": 1,
    }
    assert result.marked == 1
    assert name_of(people, face_at(people, photos[0], (0, 0, 25, 30))) == "Dan"


def test_regions_without_a_name_are_counted(people, marker, photos):
    text = xmp(region("Ann", DETECTED), region("Bea", ELSEWHERE))
    text = text.replace(b'mwg-rs:Name="Bea"', b'mwg-rs:Name=""')
    before = Path(photos[0]["uri"]).read_bytes()
    data = before[:2] + files.segment(0xE1, files.XMP_NAME + text) + before[2:]
    embed(people, photos[0], data=data)
    result = taken(people, marker)
    assert result.skipped["regions without a name"] == 1
    assert result.marked == 0
    assert result.imported.faces == 1


def test_photos_that_changed_or_hold_no_xmp_are_counted(people, marker, photos):
    Path(photos[0]["uri"]).write_bytes(jpeg(77))
    Path(photos[1]["uri"]).unlink()
    before = Path(photos[2]["uri"]).read_bytes()
    bomb = b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'
    data = before[:2] + files.segment(0xE1, files.XMP_NAME + bomb) + before[2:]
    embed(people, photos[2], data=data)
    result = taken(people, marker)
    assert +result.skipped == {
        "photos that are not there any more, or have changed": 2,
        "photos whose metadata is no XMP": 1,
    }


@pytest.mark.parametrize("text", [
    b"", b"<", b"\xff\xfe\0", b"<a><b>", b"<a/>" * 9, b"<a>" * 5000, b"\0" * 99,
    b'<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>',
    b'<?xml version="1.0" encoding="nonsense"?><a/>',
])  # fmt: skip
def test_packets_that_are_none(text):
    found = embedded_in(files.png(text))
    assert found.regions == ()


def test_sidecars_mark_as_well(people, marker, photos, tmp_path):
    place = tmp_path / "000-photo.jpg.xmp"
    place.write_bytes(xmp(region("Ann", DETECTED), region("Bea", ELSEWHERE)))
    result = import_sidecars(people, str(place), Taking(marker))
    assert (result.marked, result.imported.faces) == (1, 2)
    assert name_of(people, face_at(people, photos[0], ELSEWHERE)) == "Bea"
    again = import_sidecars(people, str(place), Taking(marker))
    assert (again.marked, again.known, again.imported) == (0, 2, None)


def test_from_the_command_line_and_the_library(people, photos, capsys):
    embed(people, photos[0], region("Ann", DETECTED), region("Bea", ELSEWHERE))
    url = people.lake.folder.url
    assert main(["people", url, "import", "--embedded"]) == 0
    said = capsys.readouterr().out
    assert "2 names given to 2 faces, from 1 photos" in said
    assert "1 of these faces are new" in said
    result = Lake(url).people.import_embedded()
    assert result.known == 2
    assert main(["people", url, "import"]) == 2
    assert main(["people", url, "import", "x.csv", "--embedded"]) == 2
    assert len(view(people).called("Bea")) == 1


def test_a_lake_without_people(tmp_path):
    people = review_lake(tmp_path, people=3, each=4, cluster=False)
    with Originals() as originals, Marker(people, originals, FakeModels()) as marker:
        with pytest.raises(ConfigError, match="no people yet"):
            taken(people, marker)
        photo = people.lake.read("images", ["image_id"])["image_id"][0].as_py()
        assert schema.is_marked(marker.mark(photo, ELSEWHERE).faces[0])


def test_photos_in_archives(people, marker, tmp_path):
    before = jpeg(500)
    data = before[:2] + files.segment(0xE1, files.XMP_NAME + xmp(region("Ann", ELSEWHERE)))
    data += before[2:]
    shard = tmp_path / "more.tar"
    with tarfile.open(shard, "w") as archive:
        for name in ("a.jpg", "b.jpg"):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    add(people, [(f"{shard}#{name}", data) for name in ("a.jpg", "b.jpg")], shard=str(shard))
    result = taken(people, marker)
    assert (result.sidecars, result.marked, result.made) == (2, 2, 2)


def add(people, photos, shard=""):
    """Add photos, (uri, bytes), to a lake; no face was found on them."""
    rows = []
    for uri, data in photos:
        image = decode(data, DecodeConfig().max_pixels, None)
        height, width = image.pixels.shape[:2]
        rows.append({"image_id": hashlib.blake2b(uri.encode(), digest_size=16).hexdigest(),
                     "uri": uri, "shard": shard, "sha256": hashlib.sha256(data).hexdigest(),
                     "bytes": len(data), "width": width, "height": height, "faces": 0,
                     "format": image.format, "orientation": image.orientation,
                     "run_id": "r"})  # fmt: skip
    people.lake.publish_part(pa.Table.from_pylist(rows, schema.IMAGES),
                             schema.faces_schema(128).empty_table())  # fmt: skip
    return rows


def exiftool(path, *arguments):
    done = subprocess.run(["exiftool", "-q", "-overwrite_original", *arguments, str(path)],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr


def regions_for(*named, size=(160, 120)):
    """Return exiftool's argument for MWG regions: (name, x, y, w, h)."""
    area = "{{Area={{X={1},Y={2},W={3},H={4},Unit=normalized}},Name={0},Type=Face}}"
    each = ",".join(area.format(*one) for one in named)
    return (f"-RegionInfo={{AppliedToDimensions={{W={size[0]},H={size[1]},Unit=pixel}},"
            f"RegionList=[{each}]}}")  # fmt: skip


def written(path, orientation=None):
    """Write a photo of 160 x 120 in the format of its ending."""
    small = np.random.default_rng(1).integers(40, 220, (12, 16, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize((160, 120), Image.Resampling.BICUBIC)
    if path.suffix == ".heic":
        pytest.importorskip("pillow_heif").from_pillow(picture).save(path, quality=90)
    else:
        exif = Image.Exif()
        if orientation:
            exif[0x0112] = orientation
        picture.save(path, **({"exif": exif} if orientation else {}))


@needs_exiftool
@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "heic", "avif", "webp", "jp2"])
def test_what_exiftool_writes_is_taken_over(people, marker, tmp_path, ending):
    path = tmp_path / f"photo.{ending}"
    written(path)
    exiftool(path, regions_for(("Zoe", 0.5, 0.25, 0.25, 0.3)))
    row = add(people, [(str(path), path.read_bytes())])[0]
    result = taken(people, marker)
    assert (result.sidecars, result.marked, result.made) == (1, 1, 1)
    face = face_at(people, row, (60, 12, 100, 48))
    assert name_of(people, face) == "Zoe"


@needs_exiftool
@pytest.mark.parametrize("orientation", range(1, 9))
def test_regions_of_turned_photos(people, marker, tmp_path, orientation):
    path = tmp_path / "photo.jpg"
    written(path, orientation)
    exiftool(path, regions_for(("Zoe", 0.5, 0.25, 0.25, 0.3)))
    row = add(people, [(str(path), path.read_bytes())])[0]
    taken(people, marker)
    frame = Frame(row["width"], row["height"], orientation)
    face = face_at(people, row, frame.box(Region("Zoe", 0.5, 0.25, 0.25, 0.3)))
    assert name_of(people, face) == "Zoe"


@needs_exiftool
def test_microsofts_regions(people, marker, tmp_path):
    path = tmp_path / "photo.jpg"
    written(path)
    exiftool(path, "-RegionInfoMP={Regions=[{Rectangle=0.1|, 0.2|, 0.3|, 0.4,"
             "PersonDisplayName=Cas}]}")  # fmt: skip
    row = add(people, [(str(path), path.read_bytes())])[0]
    taken(people, marker)
    assert name_of(people, face_at(people, row, (16, 24, 64, 72))) == "Cas"


@needs_exiftool
def test_a_packet_that_exiftool_splits(tmp_path):
    path = tmp_path / "photo.jpg"
    written(path)
    (tmp_path / "long.txt").write_text("history " * 20_000)
    named = regions_for(*((f"P{k}", 0.5, 0.5, 0.2, 0.2) for k in range(700)))
    exiftool(path, f"-XMP-dc:Description<={tmp_path / 'long.txt'}", named)
    data = path.read_bytes()
    assert len(packets(data)) == 2
    assert len(embedded_in(data).regions) == 700


@needs_exiftool
def test_camera_raw(tmp_path):
    path = tmp_path / "photo.dng"
    written(tmp_path / "photo.tif")
    (tmp_path / "photo.tif").rename(path)
    exiftool(path, "-DNGVersion=1.4.0.0", regions_for(("Zoe", 0.5, 0.25, 0.25, 0.3)))
    assert [one.name for one in embedded_in(path.read_bytes()).regions] == ["Zoe"]


def test_a_photo_of_more_faces_than_there_can_be(people, marker, photos, tmp_path):
    many = [Region(f"P{k}", 0.5, 0.5, 0.2, 0.2) for k in range(1001)]
    assert embedded_in(files.tiff(packet(many, FRAME))).damaged
    assert len(embedded_in(files.tiff(packet(many[:1000], FRAME))).regions) == 1000
    big = Frame(4000, 4000)
    grid = [Region(f"P{x}-{y}", x / 30, y / 30, 0.01, 0.01)
            for x in range(1, 29) for y in range(1, 29)]  # fmt: skip
    data = files.png(packet(grid, big))
    place = tmp_path / "grid.png"
    place.write_bytes(data)
    lake = people.lake
    row = {"image_id": "a" * 32, "uri": str(place), "shard": "", "bytes": len(data), "width": 4000,
           "height": 4000, "faces": 0, "format": "PNG", "run_id": "r",
           "sha256": hashlib.sha256(data).hexdigest()}  # fmt: skip
    lake.publish_part(pa.Table.from_pylist([row], schema.IMAGES),
                      schema.faces_schema(128).empty_table())  # fmt: skip
    result = taken(people, marker)
    assert (result.marked, result.made) == (500, 0)  # it is no picture: 1 x 1 pixels without data
    assert result.skipped["regions on photos that have 500 marks"] == len(grid) - 500
    assert check(lake).findings == []


@pytest.mark.parametrize("number", range(1, 6))
def test_an_import_that_is_killed_is_finished_by_the_next_run(people, marker, photos, number):
    embed(people, photos[0], region("Ann", DETECTED), region("Bea", ELSEWHERE))
    embed(people, photos[5], region("Bea", ELSEWHERE))
    with pytest.MonkeyPatch.context() as patch:
        writes = {"left": number}
        for name in ("publish", "create", "remove"):
            patch.setattr(Folder, name, dying(getattr(Folder, name), writes, before=False))
        with pytest.raises(Killed):
            taken(people, marker)
    if people.lake.folder.exists("run.lock"):
        people.lake.folder.remove("run.lock")
    said = people.constraints()
    marker.restore()
    assert check(people.lake).findings == []
    again = taken(people, marker)
    assert (again.marked == 0) == bool(said)
    assert len(view(people).called("Bea")) == len(view(people).called("Ann")) == 1
    assert all(face_at(people, photos[at], ELSEWHERE) for at in (0, 5))
    assert check(people.lake).findings == []


def test_photos_at_urls(people, marker):
    before = jpeg(600)
    data = before[:2] + files.segment(0xE1, files.XMP_NAME + xmp(region("Ann", ELSEWHERE)))
    data += before[2:]
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/photos/a.jpg", data)
    add(people, [("memory://photos/a.jpg", data)])
    result = taken(people, marker)
    assert (result.sidecars, result.marked, result.made) == (1, 1, 1)
