"""Near pairs are looked at again before they are called copies."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from benchmarks.edits import caption, watermark
from pipeline.dedupe.algorithms import looks
from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.dedupe.confirm import WHOLE, Confirmation, there
from pipeline.dedupe.decision import last_decision
from pipeline.dedupe.duplicates import CURRENT, LOOKS, Duplicates
from pipeline.dedupe.run import Run
from pipeline.imaging.phash import distance, pdq
from pipeline.imaging.record import Decoded
from pipeline.lake.checkpoints import in_process
from pipeline.lake.store import LakeStore
from tests.support import templates
from tests.support.builders import tar_bytes
from tests.support.decoding import decode
from tests.support.pictures import encoded, indexed, lake_of, photo, read_row

FACES = (
    "obama-2012-closeup.jpg", "biden-official-portrait.jpg", "collins-nasa-portrait.png",
    "obama-blue-room.jpg", "biden-2011-office.jpg", "obama-2009-speech.jpg",
)  # fmt: skip
EACH = 6


@pytest.fixture(scope="module")
def faces():
    return [photo(name, 200) for name in FACES]


def pixels_of(picture, quality=90):
    return decode(encoded(picture, quality=quality)).pixels


def search(lake, run_id="first", **options):
    about = Run(Duplicates(lake), DedupeConfig(**options), in_process, run_id).dedupe()
    images = lake.read("images", ["image_id", "uri"]).to_pylist()
    names = {one["image_id"]: one["uri"].rsplit("/", 1)[-1] for one in images}
    return {names[r["image_id"]]: r["kind"] for r in Duplicates(lake).table().to_pylist()}, about


@pytest.mark.parametrize("kind", templates.KINDS)
def test_other_pictures_on_a_template_are_no_copies(kind, faces):
    pictures = templates.series(kind, EACH, faces)
    seen_twice = [looks.look(pixels_of(p, 80 + 3 * i)) for i, p in enumerate(pictures)]
    hashes = [pdq(np.asarray(picture))[0] for picture in pictures]
    near = 0
    for i in range(EACH):
        for j in range(i):
            near += distance(hashes[i], hashes[j]) <= 31
            assert not looks.are_one_picture([seen_twice[i]], [seen_twice[j]]), (i, j)
    assert near or kind in ("staff cards", "fixed camera"), "the hashes tell them apart already"


COPIES = {
    "poor": lambda p: p,
    "small": lambda p: p.resize((p.width // 3, p.height // 3)),
    "grey": ImageOps.grayscale,
    "stretched": lambda p: p.resize((p.width, p.height * 5 // 4)),
    "lighter": lambda p: ImageEnhance.Brightness(p).enhance(1.3),
    "harder": lambda p: ImageEnhance.Contrast(p).enhance(1.4),
    "blurred": lambda p: p.filter(ImageFilter.GaussianBlur(0.008 * p.width)),
    "cut": lambda p: p.crop((3, 2, p.width - 2, p.height - 3)),
}


@pytest.mark.parametrize("edit", COPIES)
@pytest.mark.parametrize("name", [FACES[0], FACES[3]])
def test_copies_are_confirmed(edit, name):
    picture = photo(name)
    first = looks.look(pixels_of(picture))
    second = looks.look(pixels_of(COPIES[edit](picture), 40))
    assert looks.are_one_picture([first], [second])
    assert looks.are_one_picture([second], [first])


@pytest.mark.parametrize("kind", templates.KINDS)
def test_copies_of_a_picture_on_a_template_are_confirmed(kind, faces):
    picture = templates.series(kind, 1, faces)[0]
    first, second = (looks.look(pixels_of(picture, quality)) for quality in (90, 50))
    assert looks.are_one_picture([first], [second])


def looked_alike(one, other):
    first, second = (looks.look(pixels_of(p)) for p in (one, other))
    both_ways = looks.are_one_picture([first], [second]), looks.are_one_picture([second], [first])
    assert both_ways[0] == both_ways[1]
    return both_ways[0]


def test_certificates_that_differ_in_one_initial_are_no_copies():
    first, second = (
        templates.certificate(*(np.random.default_rng(seed) for seed in (0, number)), number, None)
        for number in (0, 168)
    )
    assert templates.name(0).replace("A.", "B.") == templates.name(168)
    assert not looked_alike(first, second)


def test_enlarging_a_small_photo_makes_a_copy():
    picture = photo(FACES[3], 250)
    assert looked_alike(picture, picture.resize((picture.width * 5 // 4, picture.height * 5 // 4)))


def test_a_watermark_is_on_a_copy():
    picture = photo(FACES[3])
    assert looked_alike(picture, watermark(picture, 0.6, np.random.default_rng(0)))


@pytest.mark.parametrize("upside_down", [False, True])
def test_a_caption_is_on_a_copy_but_two_captions_differ(upside_down):
    turn = ImageOps.flip if upside_down else lambda p: p
    picture = photo(FACES[0], 480)
    captioned = turn(caption(turn(picture), 0.1))
    assert looked_alike(picture, captioned)
    other = captioned.copy()
    row = 0.05 if upside_down else 0.95
    draw = ImageDraw.Draw(other)
    box = [0, (row - 0.045) * other.height, other.width, (row + 0.045) * other.height]
    draw.rectangle(box, (250, 250, 250))
    words = {"font": templates.font(0.06 * other.height), "anchor": "mm"}
    draw.text((other.width / 2, row * other.height), "another matter", (10, 10, 10), **words)
    assert not looked_alike(captioned, other)


@pytest.mark.parametrize("level", [0, 255])
def test_a_thing_of_one_colour_is_no_watermark(level):
    picture = photo(FACES[3])
    other = picture.copy()
    x, y, side = other.width // 10, other.height // 10, other.width // 8
    ImageDraw.Draw(other).rounded_rectangle((x, y, x + side, y + 2 * side), 9, (level,) * 3)
    assert not looked_alike(picture, other)


def test_plain_looks_and_noise():
    plain = np.full((looks.SIDE, looks.SIDE), 90, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (2, looks.SIDE, looks.SIDE)).astype(np.uint8)
    assert looks.are_one_picture([plain], [plain + np.uint8(40)])
    assert not looks.are_one_picture([noise[0]], [noise[1]])


@pytest.fixture
def certificates(tmp_path, faces):
    """Four certificates, and a small copy of the first."""
    pages = templates.series("certificates", 4, faces)
    files = {f"{i}.jpg": encoded(page, quality=85 + i) for i, page in enumerate(pages)}
    files["copy.jpg"] = encoded(pages[0], quality=60)
    return indexed(tmp_path / "lake", files, tmp_path / "photos")


def test_of_near_pictures_only_copies_are_grouped(certificates):
    kinds, _ = search(certificates, confirm=False)
    assert len(kinds) == 5
    kinds, about = search(certificates, "confirmed")
    assert kinds == {"0.jpg": "kept", "copy.jpg": "near"}
    assert about["unconfirmed_pairs"] >= 6
    assert about["unread_pictures"] == 0
    assert "--no-confirm" not in str(last_decision(Duplicates(certificates)))


def test_what_was_said_of_a_pair_is_not_asked_again(certificates, tmp_path, monkeypatch):
    before, _ = search(certificates)
    said = Duplicates(certificates).looks()
    assert said["copy"].to_pylist().count(True) == 1
    pages = templates.series("certificates", 5, [])
    (tmp_path / "photos" / "new.jpg").write_bytes(encoded(pages[4]))
    lake_of(tmp_path / "lake", [read_row(tmp_path / "photos" / "new.jpg", tmp_path)])
    lake = LakeStore(str(tmp_path / "lake"))
    asked = []
    compare = Confirmation._compare
    monkeypatch.setattr(
        Confirmation, "_compare", lambda self, *pair: asked.append(pair) or compare(self, *pair)
    )
    after, about = search(lake, "second")
    assert about["incremental"]
    assert after == before
    assert 0 < len(asked) <= 5
    assert len(Duplicates(lake).looks()) == len(said) + len(asked)


def test_a_picture_that_cannot_be_read_again_is_no_copy(certificates, tmp_path):
    (tmp_path / "photos" / "copy.jpg").unlink()
    kinds, about = search(certificates)
    assert kinds == {}
    assert about["unread_pictures"] == 1
    # nor is one that is another file by now
    (tmp_path / "photos" / "copy.jpg").write_bytes((tmp_path / "photos" / "0.jpg").read_bytes())
    assert search(certificates, "second", full=True)[0] == {}
    assert search(certificates, "third", confirm=False)[0]["copy.jpg"] == "near"
    assert "--no-confirm" in str(last_decision(Duplicates(certificates)))


def test_turned_and_framed_copies_are_confirmed(tmp_path):
    picture = photo()
    files = {
        "original.jpg": encoded(picture),
        "mirrored.jpg": encoded(ImageOps.mirror(picture), quality=70),
        "left.jpg": encoded(picture.transpose(Image.Transpose.ROTATE_90), quality=70),
        "right.jpg": encoded(picture.transpose(Image.Transpose.ROTATE_270), quality=70),
        "framed.jpg": encoded(ImageOps.expand(picture, (60, 0), "black")),
    }
    lake = indexed(tmp_path / "lake", files, tmp_path / "photos")
    kinds, about = search(lake, mirrored=True, rotated=True)
    assert kinds == {
        "original.jpg": "kept", "mirrored.jpg": "mirrored", "left.jpg": "rotated",
        "right.jpg": "rotated", "framed.jpg": "near",
    }  # fmt: skip
    assert about["unread_pictures"] == 0


def test_after_many_refusals_no_more_are_asked(monkeypatch):
    monkeypatch.setattr("pipeline.dedupe.confirm.MOST_REFUSALS", 3)
    asked = []

    class Asked(Confirmation):
        def _is_copy(self, pair):
            asked.append(pair)
            return False

    confirmation = Asked(None, None, [], None, None, ())
    others = np.arange(1, 10)
    assert not confirmation(0, others, others[::-1], np.zeros(9, np.int64)).any()
    assert asked == [(0, 9, 0), (0, 8, 0), (0, 7, 0)]  # the nearest by hash first
    kinds = np.array([1, 1])  # another evidence than hashes is not asked about
    assert confirmation(0, others[:2], others[:2], kinds).all()


def test_people_that_differ_are_no_copies():
    confirmation = Confirmation(None, None, [], None, None, ())
    look = looks.look(pixels_of(photo()))
    confirmation._looks |= {0: [look], 1: [look], 2: [look]}
    confirmation._there |= dict.fromkeys(range(3), WHOLE)
    ann, bob = np.eye(8, dtype=np.float32)[:2, np.newaxis]
    confirmation._faces |= {0: ann, 1: bob, 2: np.concatenate([bob, ann])}
    zero = np.zeros(2, np.int64)
    assert confirmation(0, np.array([1, 2]), zero, zero).tolist() == [False, True]


@pytest.mark.parametrize(
    ("orientation", "box"),
    [(1, [0, 0, 1, 0.9]), (3, [0, 0.1, 1, 1]), (6, [0.1, 0, 1, 1]), (8, [0, 0, 0.9, 1])],
)
def test_which_part_of_a_cut_picture_is_there(orientation, box):
    shape = (100, 50, 3) if orientation < 5 else (50, 100, 3)
    stored = np.zeros((100, 50, 3), np.uint8)
    stored[:90] = 255
    block = Image.Exif()
    block[0x0112] = orientation
    upright = ImageOps.exif_transpose(
        Image.open(io.BytesIO(encoded(Image.fromarray(stored), "PNG", exif=block.tobytes())))
    )
    image = Decoded(np.asarray(upright), "PNG", orientation, None, damaged_rows=10)
    assert image.pixels.shape == shape
    x1, y1, x2, y2 = np.multiply(there(image), [shape[1], shape[0]] * 2).round().astype(int)
    assert (image.pixels[y1:y2, x1:x2] == 255).all()
    assert image.pixels[y1:y2, x1:x2].sum() == image.pixels.sum()
    assert there(image).tolist() == box


def test_a_decision_of_before_there_was_a_second_look_is_none(certificates):
    search(certificates)
    duplicates = Duplicates(certificates)
    about = duplicates.current()
    assert last_decision(duplicates) is not None
    del about["config"]["confirm"], about["settings"]["confirm"], about["tables"][LOOKS]
    certificates.publish_json(CURRENT, about)
    assert last_decision(duplicates) is None
    assert len(duplicates.table()) == 2  # an older table is still read
    assert len(duplicates.looks()) == 0
    assert search(certificates, "again")[1]["incremental"] is False


def test_an_archive_that_is_gone_or_cut_leaves_its_pictures_unread(tmp_path):
    page = photo()
    members = [("a.jpg", encoded(page)), ("b.jpg", encoded(page, quality=60))]
    shard = tmp_path / "photos.tar"
    shard.write_bytes(tar_bytes(members))
    rows = []
    for name, data in members:
        (tmp_path / name).write_bytes(data)
        own = read_row(tmp_path / name, tmp_path)
        rows.append(own | {"uri": f"{shard}#{name}", "shard": str(shard), "run_id": "test"})
    lake = lake_of(tmp_path / "lake", rows)
    assert len(search(lake)[0]) == 2
    shard.unlink()
    kinds, about = search(lake, "second", full=True)
    assert kinds == {}
    assert about["unread_pictures"] == 2
    shard.write_bytes(tar_bytes(members)[:700])
    assert search(lake, "third", full=True)[1]["unread_pictures"] == 2
