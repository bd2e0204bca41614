"""Names in XMP sidecars: what is written, what is read, and that others read it the same."""

import json
import os
import shutil
import subprocess

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageOps

from pipeline.commands.main import main
from pipeline.errors import ConfigError
from pipeline.lake import schema
from pipeline.lake.store import LakeStore, Models
from pipeline.people import People, actions
from pipeline.people.view import view
from pipeline.people.xmp.packet import packet
from pipeline.people.xmp.places import common_root
from pipeline.people.xmp.reader import SPACES, parse
from pipeline.people.xmp.regions import Frame, Region, matched
from pipeline.people.xmp.sidecars import export_sidecars, import_sidecars
from pipeline.storage.folder import split_file
from tests.support.photo_lakes import face, image_id

HOSTILE = [
    "<script>alert(1)</script>", "Ann \"the\" 'Ace' & Co", "שרה לוי", "👩‍👧 Zoë",
    "]]>", "../../etc/passwd", "x" * 200,
]  # fmt: skip
needs_exiftool = pytest.mark.skipif(not shutil.which("exiftool"), reason="exiftool is not here")
BOX = (20.0, 10.0, 60.0, 50.0)


def named_lake(folder, photos, orientation=1, size=(100, 80)):
    """Write a lake of photos with one named face each: name of the person by path."""
    lake = LakeStore(str(folder))
    lake.claim(Models("mtcnn@1", "sface@1", 4))
    images, faces, clusters, people = [], [], [], []
    for at, path in enumerate(photos):
        image, person = image_id(path), f"{at:016x}"
        common = {"image_id": image, "run_id": "r"}
        images.append({**common, "uri": path, "shard": "", "bytes": 5, "width": size[0],
                       "height": size[1], "orientation": orientation, "faces": 1})  # fmt: skip
        faces.append({**common, **face(box=BOX), "face_id": f"{image}-0", "uri": path,
                      "landmarks": [0.0] * 10, "size_px": 40.0, "detector": "mtcnn@1",
                      "embedder": "sface@1"})  # fmt: skip
        clusters.append({**common, "face_id": f"{image}-0", "person_id": person, "tier": "core",
                         "confirmed": False})  # fmt: skip
        people.append({"person_id": person, "hidden": False, "faces": 1, "core_faces": 1,
                       "images": 1, "cover_face_id": f"{image}-0", "exemplars": [f"{image}-0"],
                       "confidence": 1.0, "mean": [1.0, 0, 0, 0], "run_id": "r"})  # fmt: skip
    lake.publish_part(pa.Table.from_pylist(images, schema.IMAGES),
                      pa.Table.from_pylist(faces, schema.faces_schema(4)))  # fmt: skip
    store = People(lake)
    store.publish("r", [pa.Table.from_pylist(clusters, schema.CLUSTERS)],
                  [pa.Table.from_pylist(people, schema.people_schema(4))],
                  schema.SUGGESTIONS.empty_table(), {})  # fmt: skip
    return store


def name_all(store, names):
    for at, name in enumerate(names):
        actions.name(store, f"{at:016x}", name)


def names_of(store):
    table = view(store).people.sort_by("person_id")
    return table["name"].to_pylist()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("naming", ["full", "stem"])
def test_names_come_back(tmp_path, orientation, naming):
    photos = [f"/archive/{k}/IMG {k}.jpg" for k in range(len(HOSTILE))]
    store = named_lake(tmp_path / "lake", photos, orientation)
    name_all(store, HOSTILE)
    done = export_sidecars(store, str(tmp_path / "out"), naming)
    assert (done.sidecars, done.faces, done.skipped) == (len(HOSTILE), len(HOSTILE), {})
    again = named_lake(tmp_path / "again", photos, orientation)
    read = import_sidecars(again, str(tmp_path / "out"))
    assert read.imported is not None
    assert (read.imported.names, read.imported.faces, +read.skipped) == (
        len(HOSTILE),
        len(HOSTILE),
        {},
    )
    assert names_of(again) == HOSTILE


def test_sidecars_lie_beside_photos_in_an_object_store(tmp_path):
    photos = [f"memory://bucket-xmp/{k}/IMG {k}.jpg" for k in range(3)]
    store = named_lake(tmp_path / "lake", photos, 1)
    name_all(store, ["Ann", "Bob", "Zoë"])
    done = export_sidecars(store, None)
    assert (done.sidecars, done.faces, done.skipped) == (3, 3, {})
    place, name = split_file("memory://bucket-xmp/2/IMG 2.jpg.xmp")
    written = place.read(name)
    assert "Zoë".encode() in written
    actions.name(store, f"{2:016x}", "Zora")
    assert export_sidecars(store, None).sidecars == 3, "what Facelake wrote itself is renewed"
    assert b"Zora" in place.read(name)
    place.publish(name, written.replace("Zoë".encode(), b"Theirs"))
    assert export_sidecars(store, None).sidecars == 2, "what others wrote stays"
    assert b"Theirs" in place.read(name)
    place.publish(name, b"no XMP")
    assert export_sidecars(store, None).skipped == {"sidecars that are no XMP, left as they are": 1}
    assert export_sidecars(store, "memory://bucket-xmp/aside").sidecars == 3
    assert split_file("memory://bucket-xmp/aside/2/IMG 2.jpg.xmp")[0].exists("IMG 2.jpg.xmp")


@needs_exiftool
@pytest.mark.parametrize(
    ("orientation", "area", "applied"),
    [(1, (0.4, 0.375, 0.4, 0.5), (100, 80)), (3, (0.6, 0.625, 0.4, 0.5), (100, 80)),
     (6, (0.375, 0.6, 0.5, 0.4), (80, 100)), (8, (0.625, 0.4, 0.5, 0.4), (80, 100))],
)  # fmt: skip
def test_exiftool_reads_what_was_meant(tmp_path, orientation, area, applied):
    photos = [f"/archive/{k}.jpg" for k in range(len(HOSTILE))]
    store = named_lake(tmp_path / "lake", photos, orientation)
    name_all(store, HOSTILE)
    export_sidecars(store, str(tmp_path / "out"))
    answer = subprocess.run(
        ["exiftool", "-charset", "utf8", "-struct", "-j", "-RegionInfo", "-PersonInImage",
         "-validate", str(tmp_path / "out")],
        capture_output=True, check=True,
    )  # fmt: skip
    row_of = {row["SourceFile"].rsplit("/", 1)[1]: row for row in json.loads(answer.stdout)}
    for at, name in enumerate(HOSTILE):
        row = row_of[f"{at}.jpg.xmp"]
        info = row["RegionInfo"]
        assert info["AppliedToDimensions"] == {"W": applied[0], "H": applied[1], "Unit": "pixel"}
        (region,) = info["RegionList"]
        assert (region["Name"], region["Type"]) == (name, "Face")
        assert region["Area"]["Unit"] == "normalized"
        assert [region["Area"][side] for side in "XYWH"] == pytest.approx(area, abs=1e-5)
        assert row["PersonInImage"] == [name]
        assert row["Validate"] == "OK"


@needs_exiftool
def test_what_exiftool_writes_is_read(tmp_path):
    photos = ["/archive/a.jpg"]
    store = named_lake(tmp_path / "lake", photos, 6)
    sidecar = tmp_path / "a.jpg.xmp"
    info = ("{AppliedToDimensions={W=80,H=100,Unit=pixel},RegionList=[{Name=Zoë,Type=Face,"
            "Area={X=0.375,Y=0.6,W=0.5,H=0.4,Unit=normalized}}]}")  # fmt: skip
    subprocess.run(["exiftool", "-charset", "utf8", f"-RegionInfo={info}", str(sidecar)],
                   check=True, capture_output=True)  # fmt: skip
    read = import_sidecars(store, str(sidecar))
    assert read.imported is not None
    assert names_of(store) == ["Zoë"]


DIGIKAM = """<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:digiKam="http://www.digikam.org/ns/1.0/" digiKam:PickLabel="0"
    xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
    xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#"
    xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#">
   <dc:subject><rdf:Bag><rdf:li>holiday</rdf:li></rdf:Bag></dc:subject>
   <mwg-rs:Regions rdf:parseType="Resource">
    <mwg-rs:AppliedToDimensions stDim:w="100" stDim:h="80" stDim:unit="pixel"/>
    <mwg-rs:RegionList><rdf:Bag>
     <rdf:li><rdf:Description mwg-rs:Name="Ann" mwg-rs:Type="Face">
      <mwg-rs:Area stArea:x="0.42" stArea:y="0.38" stArea:w="0.4" stArea:h="0.5"
       stArea:unit="normalized"/></rdf:Description></rdf:li>
     <rdf:li><rdf:Description mwg-rs:Name="Bob" mwg-rs:Type="Face">
      <mwg-rs:Area stArea:x="0.9" stArea:y="0.9" stArea:w="0.1" stArea:h="0.1"
       stArea:unit="normalized"/></rdf:Description></rdf:li>
     <rdf:li><rdf:Description mwg-rs:Name="Rex" mwg-rs:Type="Pet">
      <mwg-rs:Area stArea:x="0.4" stArea:y="0.4" stArea:w="0.4" stArea:h="0.5"
       stArea:unit="normalized"/></rdf:Description></rdf:li>
    </rdf:Bag></mwg-rs:RegionList>
   </mwg-rs:Regions>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>"""


def test_regions_of_other_programs_name_faces(tmp_path):
    store = named_lake(tmp_path / "lake", ["/archive/a.jpg"])
    (tmp_path / "a.jpg.xmp").write_text(DIGIKAM)
    read = import_sidecars(store, str(tmp_path / "a.jpg.xmp"))
    assert names_of(store) == ["Ann"]
    assert +read.skipped == {"regions where the lake has no face": 1}


def test_sidecars_of_others_stay_unless_replaced(tmp_path):
    store = named_lake(tmp_path / "lake", ["/archive/a.jpg"])
    name_all(store, ["Anna"])
    path = tmp_path / "out" / "a.jpg.xmp"
    path.parent.mkdir()
    path.write_text(DIGIKAM)
    done = export_sidecars(store, str(path.parent))
    assert done.sidecars == 0
    assert sum(done.skipped.values()) == 1
    assert path.read_text() == DIGIKAM
    assert export_sidecars(store, str(path.parent), replace=True).sidecars == 1
    text = path.read_text()
    assert [r.name for r in parse(path.read_bytes()).regions] == ["Bob", "Anna"]
    for kept in ("holiday", 'digiKam:PickLabel="0"', "Rex", "Exiv2"):
        assert kept in text


def test_our_own_sidecars_are_renewed(tmp_path):
    store = named_lake(tmp_path / "lake", ["/archive/a.jpg"])
    for name in ("Ann", "Anna"):
        actions.name(store, f"{0:016x}", name)
        assert export_sidecars(store, str(tmp_path / "out")).sidecars == 1
    (region,) = parse((tmp_path / "out" / "a.jpg.xmp").read_bytes()).regions
    assert region.name == "Anna"


def test_beside_the_photos(tmp_path):
    photo = tmp_path / "photos" / "a.jpg"
    photo.parent.mkdir()
    photo.write_bytes(b"a photo")
    store = named_lake(tmp_path / "lake", [str(photo), "/archive/b.tar#c.jpg"])
    name_all(store, ["Ann", "Bob"])
    assert main(["people", str(tmp_path / "lake"), "export", "--beside"]) == 0
    assert sorted(p.name for p in photo.parent.iterdir()) == ["a.jpg", "a.jpg.xmp"]
    assert photo.read_bytes() == b"a photo"
    again = named_lake(tmp_path / "again", [str(photo)])
    assert main(["people", str(tmp_path / "again"), "import", str(photo.parent)]) == 0
    assert names_of(again) == ["Ann"]


def test_nothing_is_written_outside_the_folder(tmp_path):
    photos = ["../../etc/passwd", "/x/../../../evil.jpg", "/x/" + "n" * 4000 + ".jpg",
              "/x/..", "s3://b/../c.jpg", "/x/<script>\u202e👩.jpg", "/x/a\0b.jpg"]  # fmt: skip
    store = named_lake(tmp_path / "deep" / "lake", photos)
    name_all(store, [f"P{k}" for k in range(len(photos))])
    out = tmp_path / "deep" / "er" / "out"
    done = export_sidecars(store, str(out))
    assert done.sidecars == len(photos)
    written = list(tmp_path.rglob("*.xmp"))
    assert len(written) == len(photos)
    assert all(out in p.parents for p in written)


@pytest.mark.parametrize(
    "text",
    ["", "no xml", "<a/>", "<x:xmpmeta xmlns:x='adobe:ns:meta/'/>",
     '<!DOCTYPE a [<!ENTITY b "c">]><x:xmpmeta xmlns:x="adobe:ns:meta/">&b;</x:xmpmeta>'],
)  # fmt: skip
def test_what_is_no_xmp_is_passed_over_and_kept(tmp_path, text):
    with pytest.raises(ConfigError):
        parse(text.encode())
    with pytest.raises(ConfigError):
        parse(text.encode("utf-16"))
    store = named_lake(tmp_path / "lake", ["/archive/a.jpg"])
    name_all(store, ["Ann"])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.jpg.xmp").write_text(text)
    assert export_sidecars(store, str(tmp_path / "out"), replace=True).sidecars == 0
    assert (tmp_path / "out" / "a.jpg.xmp").read_text() == text
    assert import_sidecars(store, str(tmp_path / "out")).skipped == {"files that are no XMP": 1}


def test_a_photo_cropped_since_gets_no_names():
    frame = Frame(100, 80, 6)
    assert frame.seen_by((80, 100)) == frame
    assert frame.seen_by((1000, 800)) == Frame(100, 80), "upright regions of a turned photo"
    assert frame.seen_by((100, 100)) is None
    assert frame.seen_by(None) == frame


@pytest.mark.parametrize("orientation", range(1, 9))
def test_regions_turn_as_pictures_do(orientation):
    """What lies in the region of the stored picture lies in the box of the upright one."""
    upright = np.zeros((80, 100), np.uint8)
    upright[10:50, 20:60] = 255
    back = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
    exif = Image.Exif()
    exif[0x0112] = back
    turned = Image.fromarray(upright)
    turned.info["exif"] = exif.tobytes()
    stored = np.asarray(ImageOps.exif_transpose(turned))
    frame = Frame(100, 80, orientation)
    assert frame.stored == stored.shape[::-1]
    region = frame.region("Ann", BOX)
    x1, x2 = ((region.x + side * region.w / 2) * stored.shape[1] for side in (-1, 1))
    y1, y2 = ((region.y + side * region.h / 2) * stored.shape[0] for side in (-1, 1))
    inside = stored[round(y1) : round(y2), round(x1) : round(x2)]
    assert inside.size == 1600
    assert inside.all()


def test_the_best_pair_counts_and_none_twice():
    boxes = [(0.0, 0, 10, 10), (1.0, 0, 11, 10), (50.0, 50, 60, 60)]
    assert matched(boxes, [[0, 0, 10, 10], [2, 0, 12, 10]]) == {0: 0, 1: 1}
    assert matched(boxes, []) == {}


def test_a_packet_holds_strange_names():
    frame = Frame(10, 10)
    regions = [Region(name, 0.5, 0.5, 0.2, 0.2) for name in HOSTILE]
    assert parse(packet(regions, frame)).regions == tuple(regions)


def test_the_common_root():
    assert common_root(["/a/b/c.jpg", "/a/b/d/e.jpg"]) == ["a", "b"]
    assert common_root(["/a/b/c.jpg", "/f/g.jpg"]) == []
    assert common_root([]) == []


@pytest.mark.parametrize(
    "words",
    [["export"], ["export", "--xmp"], ["export", "x", "--beside"], ["export", "x", "--replace"],
     ["import", "/nowhere/x.xmp"]],
)  # fmt: skip
def test_options_that_make_no_sense(tmp_path, words, capsys):
    named_lake(tmp_path / "lake", ["/archive/a.jpg"])
    assert main(["people", str(tmp_path / "lake"), *words]) == 2
    assert "facelake:" in capsys.readouterr().err


def exported_once(tmp_path, size=(100, 80), name="Anna"):
    """Return a store with one face that has a name, and the place of its sidecar."""
    store = named_lake(tmp_path / "lake", ["/archive/a.jpg"], size=size)
    name_all(store, [name])
    path = tmp_path / "out" / "a.jpg.xmp"
    path.parent.mkdir()
    return store, path


@pytest.mark.parametrize("ours", [True, False])
def test_regions_of_another_shape_are_left_as_they_are(tmp_path, ours):
    store, path = exported_once(tmp_path, size=(200, 100))
    text = DIGIKAM.replace('stDim:h="80"', 'stDim:h="100"')
    path.write_text(text.replace("XMP Core 4.4.0-Exiv2", "Facelake") if ours else text)
    before = path.read_bytes()
    done = export_sidecars(store, str(path.parent), replace=True)
    assert (done.sidecars, sum(done.skipped.values())) == (0, 1)
    assert "another shape" in next(iter(done.skipped))
    assert path.read_bytes() == before
    with pytest.raises(ConfigError, match="another shape"):
        packet([], Frame(200, 100), parse(before))


def test_our_own_regions_follow_the_photo_into_another_shape(tmp_path):
    store, path = exported_once(tmp_path)
    export_sidecars(store, str(path.parent))
    other = named_lake(tmp_path / "other", ["/archive/a.jpg"], size=(200, 100))
    name_all(other, ["Anna"])
    assert export_sidecars(other, str(path.parent)).sidecars == 1
    assert parse(path.read_bytes()).applied == (200, 100)


@pytest.mark.parametrize("inside", [True, False])
def test_one_deep_sidecar_is_passed_over_alone(tmp_path, inside):
    photos = ["/archive/a.jpg", "/archive/b.jpg"]
    store = named_lake(tmp_path / "lake", photos)
    name_all(store, ["Ann", "Bob"])
    export_sidecars(store, str(tmp_path / "out"))
    deep = "<rdf:Description>" * 5000 + "</rdf:Description>" * 5000
    text = (DIGIKAM.replace("<rdf:Bag>\n", f"<rdf:Bag><rdf:li>{deep}</rdf:li>") if inside
            else DIGIKAM.replace("</dc:subject>", f"</dc:subject>{deep}"))  # fmt: skip
    assert deep in text
    (tmp_path / "out" / "a.jpg.xmp").write_text(text)
    done = export_sidecars(store, str(tmp_path / "out"), replace=True)
    assert (done.sidecars, sum(done.skipped.values())) == (1, 1)
    assert (tmp_path / "out" / "a.jpg.xmp").read_text() == text
    again = named_lake(tmp_path / "again", photos)
    assert +import_sidecars(again, str(tmp_path / "out")).skipped == {"files that are no XMP": 1}
    assert names_of(again) == [None, "Bob"]


def test_what_others_add_to_our_sidecars_stays(tmp_path):
    """The note of who made a file says nothing: programs and hands that add to it keep it."""
    store, path = exported_once(tmp_path, name="Ann")
    export_sidecars(store, str(path.parent))
    text = path.read_text()
    added = DIGIKAM[DIGIKAM.index("<dc:subject>") : DIGIKAM.index("<mwg-rs:Regions")]
    bob = DIGIKAM[DIGIKAM.index('<rdf:li><rdf:Description mwg-rs:Name="Bob"') :]
    bob = bob[: bob.index("</rdf:Bag>")]  # and Rex
    text = text.replace("</rdf:li>", f"</rdf:li>{bob}", 1)
    text = text.replace("<mwg-rs:Regions", f"{added}<mwg-rs:Regions", 1)
    text = text.replace("<rdf:li>Ann</rdf:li>", "<rdf:li>Ann</rdf:li><rdf:li>Bob</rdf:li>")
    text = text.replace("<rdf:RDF>", f'<rdf:RDF xmlns:dc="{SPACES["dc"]}">')
    path.write_text(text)
    assert parse(path.read_bytes()).made_by_facelake
    actions.name(store, f"{0:016x}", "Anna")
    sizes = set()
    for _ in range(2):
        assert export_sidecars(store, str(path.parent)).sidecars == 1
        text = path.read_text()
        assert [r.name for r in parse(path.read_bytes()).regions] == ["Bob", "Anna"]
        assert "holiday" in text
        assert text.count("Rex") == 1
        assert "<rdf:li>Ann<" not in text
        assert text.count("<rdf:li>Bob<") == text.count("<rdf:li>Anna<") == 1
        sizes.add(len(text))
    assert len(sizes) == 1, "it grows each time"


def test_a_name_that_somebody_changed_in_our_sidecar_stays_unless_replaced(tmp_path):
    store, path = exported_once(tmp_path, name="Ann")
    export_sidecars(store, str(path.parent))
    changed = path.read_text().replace('mwg-rs:Name="Ann"', 'mwg-rs:Name="Zoe"')
    path.write_text(changed)
    done = export_sidecars(store, str(path.parent))
    assert (done.sidecars, sum(done.skipped.values())) == (0, 1)
    assert "another name" in next(iter(done.skipped))
    assert path.read_text() == changed
    assert export_sidecars(store, str(path.parent), replace=True).sidecars == 1
    assert [r.name for r in parse(path.read_bytes()).regions] == ["Ann"]


def test_regions_that_are_no_faces_move_with_the_size(tmp_path):
    """A region in pixels would be elsewhere once the size that it applies to is ours."""
    store, path = exported_once(tmp_path)
    place = 'stArea:x="{}" stArea:y="{}" stArea:w="{}" stArea:h="{}"\n       stArea:unit="{}"'
    pixels, old = (
        place.format(400, 320, 400, 400, "pixel"),
        place.format(0.4, 0.4, 0.4, 0.5, "normalized"),
    )
    text = DIGIKAM.replace('stDim:w="100" stDim:h="80"', 'stDim:w="1000" stDim:h="800"')
    path.write_text(text.replace(old, pixels))
    assert pixels in path.read_text()
    export_sidecars(store, str(path.parent), replace=True)
    text = path.read_text()
    assert 'stArea:x="0.400000" stArea:y="0.400000" stArea:w="0.400000" stArea:h="0.500000"' in text
    assert "pixel" not in text.replace('stDim:unit="pixel"', "")


@pytest.mark.parametrize("kind", ["pipe", "folder", "link"])
def test_what_is_no_file_is_left(tmp_path, kind):
    photos = ["/archive/a.jpg", "/archive/b.jpg"]
    store = named_lake(tmp_path / "lake", photos)
    name_all(store, ["Ann", "Bob"])
    path = tmp_path / "out" / "a.jpg.xmp"
    path.parent.mkdir()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "nowhere")
    done = export_sidecars(store, str(path.parent), replace=True)
    assert done.sidecars == 1
    assert done.skipped == {"sidecars that are no regular files, left as they are": 1}
    assert path.is_fifo() or path.is_dir() or path.is_symlink()
    again = named_lake(tmp_path / "again", photos)
    read = import_sidecars(again, str(path.parent))
    assert names_of(again) == [None, "Bob"]
    # a folder is looked into, whatever it is called
    assert read.skipped["sidecars that are no regular files"] == (kind != "folder")


@pytest.mark.parametrize(
    "bad", ["\ufffe", "\uffff", "\ufdd0", "\ufdef", "\U0001fffe", "\U0010ffff"]
)
def test_names_that_xml_cannot_hold_are_refused(tmp_path, bad):
    store = named_lake(tmp_path / "lake", ["/archive/a.jpg"])
    with pytest.raises(ConfigError, match="no characters"):
        actions.name(store, f"{0:016x}", f"Ann{bad}")


def test_sidecars_are_found_by_names_in_capitals_and_decomposed_letters(tmp_path):
    photos = ["/archive/one/José.jpg", "/archive/two/IMG_2.JPG", "/archive/two/IMG_3.jpg"]
    store = named_lake(tmp_path / "lake", photos)
    name_all(store, ["Ann", "Bob", "Carl"])
    export_sidecars(store, str(tmp_path / "xmp"))
    folder = tmp_path / "xmp"
    (folder / "one" / "José.jpg.xmp").rename(folder / "one" / "Jose\u0301.jpg.XMP")
    (folder / "two" / "IMG_2.JPG.xmp").rename(folder / "two" / "IMG_2.XMP")
    (folder / "two" / "IMG_3.jpg.xmp").rename(folder / "two" / "IMG_3.jpg.Xmp")
    again = named_lake(tmp_path / "again", photos)
    result = import_sidecars(again, str(folder))
    assert (result.sidecars, result.imported.names) == (3, 3)
    assert names_of(again) == ["Ann", "Bob", "Carl"]


MICROSOFT = """<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:MP="http://ns.microsoft.com/photo/1.2/"
 xmlns:MPRI="http://ns.microsoft.com/photo/1.2/t/RegionInfo#"
 xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#">{}</rdf:Description>
</rdf:RDF></x:xmpmeta>"""
ATTRIBUTES = """<MP:RegionInfo rdf:parseType="Resource"><MPRI:Regions><rdf:Bag>
<rdf:li MPReg:Rectangle="0.2, 0.125, 0.4, 0.5" MPReg:PersonDisplayName="Ann"/>
<rdf:li MPReg:PersonDisplayName="Bob"/></rdf:Bag></MPRI:Regions></MP:RegionInfo>"""
ELEMENTS = """<MP:RegionInfo><rdf:Description><MPRI:Regions><rdf:Bag><rdf:li><rdf:Description>
<MPReg:Rectangle>0.2,0.125,0.4,0.5</MPReg:Rectangle>
<MPReg:PersonDisplayName>Ann</MPReg:PersonDisplayName></rdf:Description></rdf:li>
</rdf:Bag></MPRI:Regions></rdf:Description></MP:RegionInfo>"""


@pytest.mark.parametrize("written", [ATTRIBUTES, ELEMENTS])
def test_regions_of_microsoft_name_faces(tmp_path, written):
    data = MICROSOFT.format(written).encode()
    assert parse(data).regions == (Region("Ann", 0.4, 0.375, 0.4, 0.5),)
    store = named_lake(tmp_path / "lake", ["/archive/a.jpg"])
    (tmp_path / "a.jpg.xmp").write_bytes(data)
    assert import_sidecars(store, str(tmp_path / "a.jpg.xmp")).imported.names == 1
    assert names_of(store) == ["Ann"]


@needs_exiftool
def test_regions_of_microsoft_that_exiftool_writes_are_read_once(tmp_path):
    file = tmp_path / "a.xmp"
    region = "{PersonDisplayName=Ann,Rectangle=0.2|, 0.125|, 0.4|, 0.5}"
    area = "{Area={X=0.4,Y=0.375,W=0.4,H=0.5,Unit=normalized},Name=Ann,Type=Face}"
    ours = f"{{AppliedToDimensions={{W=100,H=80,Unit=pixel}},RegionList=[{area}]}}"
    tags = [f"-RegionInfoMP={{Regions=[{region}]}}", f"-RegionInfo={ours}"]
    subprocess.run(["exiftool", "-q", *tags, file], check=True)
    assert [one.name for one in parse(file.read_bytes()).regions] == ["Ann"]
