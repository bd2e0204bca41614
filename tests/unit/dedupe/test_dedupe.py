import io
import os
import resource
from datetime import timedelta
from functools import partialmethod

import numpy as np
import pyarrow.compute as pc
import pytest
from PIL import Image, ImageOps

from pipeline.dedupe import gather
from pipeline.dedupe.algorithms import hamming
from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.dedupe.duplicates import Duplicates
from pipeline.dedupe.lookup import look_up, read_probe
from pipeline.dedupe.run import Run
from pipeline.errors import ConfigError, StorageError
from pipeline.lake import checkpoints
from pipeline.lake.checkpoints import in_process
from pipeline.lake.moves import Place, relocate
from pipeline.lake.store import LakeStore, parquet_bytes
from tests.support import pictures
from tests.support.pictures import encoded, exif, flipped, lake_of, noon, photo, random_hash, row


def search(lake, run_id="first", mapper=in_process, confirm=False, **options):
    """Search, and return the groups as {name of the file: (kind, kept name, distance)}.

    Most rows here are made up: there are no originals to look at again.
    """
    config = DedupeConfig(confirm=confirm, **options)
    about = Run(Duplicates(lake), config, mapper, run_id).dedupe()
    return found(lake), about


def found(lake):
    images = lake.read("images", ["image_id", "uri"]).to_pylist()
    names = {one["image_id"]: one["uri"].rsplit("/", 1)[-1] for one in images}
    rows = Duplicates(lake).table().to_pylist()
    kept = {one["group_id"]: names[one["image_id"]] for one in rows if one["kind"] == "kept"}
    return {
        names[one["image_id"]]: (one["kind"], kept.get(one["group_id"]), one["distance"])
        for one in rows
    }


def reasons(lake):
    images = lake.read("images", ["image_id", "uri"]).to_pylist()
    names = {one["image_id"]: one["uri"].rsplit("/", 1)[-1] for one in images}
    return {names[r["image_id"]]: r["reason"] for r in Duplicates(lake).table().to_pylist()}


@pytest.fixture(scope="module")
def variants():
    image = photo(side=640)
    first = encoded(image, quality=95)
    wide = Image.new("RGB", (image.width + 240, image.height))
    wide.paste(image, (120, 0))
    return {
        "original.jpg": first,
        "copy.jpg": first,
        "pixels.png": encoded(Image.open(io.BytesIO(first)), "PNG"),
        "small.jpg": encoded(image.resize((image.width // 2, image.height // 2))),
        "poor.jpg": encoded(image, quality=30),
        "grey.jpg": encoded(ImageOps.grayscale(image)),
        "bars.jpg": encoded(wide),
        "mirror.jpg": encoded(ImageOps.mirror(image)),
        "turned.jpg": encoded(image.transpose(Image.Transpose.ROTATE_90)),
        "other.jpg": encoded(photo("obama-press-room.jpg")),
        "flat.jpg": encoded(Image.new("RGB", (300, 200), "white")),
        "flat-too.jpg": encoded(Image.new("RGB", (320, 240), "grey")),
        "broken.jpg": first[:300],
        "broken-too.jpg": first[:300],
    }


@pytest.fixture(scope="module")
def archive(tmp_path_factory, variants):
    root = tmp_path_factory.mktemp("archive")
    return pictures.indexed(root / "lake", variants, root / "photos")


def test_kinds_of_copies(archive):
    groups, about = search(archive, "kinds")
    kinds = {name: kind for name, (kind, _, _) in groups.items()}
    assert kinds == {
        "original.jpg": "exact",
        "copy.jpg": "kept",  # the shorter name of two equal files
        "pixels.png": "pixels",
        "small.jpg": "near",
        "poor.jpg": "near",
        "grey.jpg": "near",
        "bars.jpg": "near",
        "broken.jpg": "kept",
        "broken-too.jpg": "exact",
    }
    assert {kept for name, (_, kept, _) in groups.items() if "broken" not in name} == {"copy.jpg"}
    assert about["kinds"]["near"] == 4
    assert not about["incremental"]


def test_mirrored_and_turned_copies_are_an_option(archive):
    groups, _ = search(archive, "mirrored", mirrored=True)
    assert groups["mirror.jpg"][0] == "mirrored"
    assert "turned.jpg" not in groups
    groups, _ = search(archive, "both", mirrored=True, rotated=True)
    assert groups["mirror.jpg"][0] == "mirrored"
    assert groups["turned.jpg"][0] == "rotated"
    groups, _ = search(archive, "rotated", rotated=True)
    assert "mirror.jpg" not in groups


def test_reasons_name_what_decided(archive):
    search(archive, "reasons")
    reason_of = reasons(archive)
    assert reason_of["original.jpg"] == "the same file; the kept one has the shorter path"
    assert "has more pixels (" in reason_of["small.jpg"]
    assert "is less compressed (" in reason_of["poor.jpg"]
    assert "has no bars around it" in reason_of["bars.jpg"]
    assert reason_of["pixels.png"].startswith(
        "the same pixels in another file; the kept one is the sm"
    )


def test_a_copy_is_no_chain(tmp_path):
    first = random_hash("a")
    second, third = flipped(first, 20, 1), flipped(flipped(first, 20, 1), 20, 2)
    rows = [row("/p/a.jpg", phash=first, width=300), row("/p/b.jpg", phash=second, width=200),
            row("/p/c.jpg", phash=third)]  # fmt: skip
    groups, _ = search(lake_of(tmp_path, rows))
    assert groups == {"a.jpg": ("kept", "a.jpg", None), "b.jpg": ("near", "a.jpg", 20)}
    rows[1]["width"] = 400  # now the one in the middle is the best: both ends are its copies
    groups, _ = search(lake_of(tmp_path / "other", rows))
    assert {name: kept for name, (_, kept, _) in groups.items()} == dict.fromkeys(
        ["a.jpg", "b.jpg", "c.jpg"], "b.jpg"
    )


@pytest.mark.parametrize("bits", [30, 31, 32])
def test_the_radius_is_kept_to_the_bit(tmp_path, bits):
    first = random_hash("a")
    rows = [row("/p/a.jpg", phash=first), row("/p/b.jpg", phash=flipped(first, bits))]
    groups, _ = search(lake_of(tmp_path, rows))
    assert bool(groups) == (bits <= 31)


def test_a_hash_that_says_little_matches_nothing(tmp_path):
    rows = [row(f"/p/{i}.jpg", phash=random_hash("flat"), phash_quality=49) for i in range(3)]
    assert search(lake_of(tmp_path, rows))[0] == {}


def test_groups_have_a_largest_size(tmp_path):
    middle = random_hash("m")
    rows = [row("/p/best.jpg", phash=middle, width=500)]
    rows += [row(f"/p/{i}.jpg", phash=flipped(middle, i + 1, i)) for i in range(5)]
    groups, _ = search(lake_of(tmp_path, rows), max_group=3)
    of_best = {name for name, (_, kept, _) in groups.items() if kept == "best.jpg"}
    assert of_best == {"best.jpg", "0.jpg", "1.jpg"}  # the nearest


def test_too_many_pairs_are_told_before_memory_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(hamming, "MOST_PAIRS", 100)
    middle = random_hash("m")
    rows = [row(f"/p/{i}.jpg", phash=flipped(middle, 8, i)) for i in range(30)]
    with pytest.raises(ConfigError, match="smaller --radius"):
        search(lake_of(tmp_path, rows))


def test_reference_folders_stay(tmp_path):
    same = random_hash("x")
    rows = [row("/scans/a.jpg", phash=same), row("/scans/b.jpg", phash=flipped(same, 3)),
            row("/phone/c.jpg", phash=same, width=150)]  # fmt: skip
    lake = lake_of(tmp_path, rows)
    groups, _ = search(lake, reference=("/scans",))
    assert groups["c.jpg"][0] == "near"
    rows = Duplicates(lake).table().to_pylist()
    assert sorted(r["keep"] for r in rows) == [False, True, True]
    assert "in a reference folder" in " ".join(r["reason"] for r in rows)
    with pytest.raises(ConfigError):  # a folder, not the start of a name
        search(lake, "again", reference=("/sca",))


def shots(**changes):
    base = {"camera": "Canon EOS R5", "width": 600, "height": 400}
    first = random_hash("scene")
    rows = [
        row("/p/IMG_1.jpg", phash=first, taken_at=noon(0), sharpness=5.0, **base),
        row("/p/IMG_2.jpg", phash=flipped(first, 6), taken_at=noon(1), sharpness=9.0, **base),
        row("/p/IMG_3.jpg", phash=flipped(first, 60), taken_at=noon(2), sharpness=4.0, **base),
        row("/p/IMG_4.jpg", phash=flipped(first, 6, 7), taken_at=noon(40), **base),
        row("/p/IMG_5.jpg", phash=random_hash("else"), taken_at=noon(3), **base),
    ]
    return [one | changes for one in rows]


def test_shots_of_a_burst_are_no_copies(tmp_path):
    lake = lake_of(tmp_path, shots())
    groups, about = search(lake)
    assert "IMG_4.jpg" not in groups  # the same view 40 s later
    assert {n for n, (kind, _, _) in groups.items() if kind == "burst"} == {
        "IMG_1.jpg", "IMG_2.jpg", "IMG_3.jpg",
    }  # fmt: skip
    rows = Duplicates(lake).table(where=pc.field("kind") == "burst").to_pylist()
    assert all(one["keep"] for one in rows)
    assert reasons(lake)["IMG_2.jpg"] == "the sharpest of a burst"
    assert about["kinds"]["burst"] == 3


def test_a_clock_set_to_another_zone_makes_no_other_shot(tmp_path):
    first = random_hash("s")
    same = {"phash": first, "camera": "Canon"}
    rows = [row("/p/a.jpg", taken_at=noon(), **same),
            row("/p/b.jpg", taken_at=noon() + timedelta(hours=2), **same)]  # fmt: skip
    assert len(search(lake_of(tmp_path, rows))[0]) == 2


def test_without_a_camera_or_with_no_bursts_wanted_they_are_copies(tmp_path):
    groups, _ = search(lake_of(tmp_path / "a", shots(camera=None)))
    assert groups["IMG_2.jpg"][0] in ("near", "kept")
    groups, _ = search(lake_of(tmp_path / "b", shots()), burst_s=0)
    assert groups["IMG_2.jpg"][0] in ("near", "kept")


def test_one_second_without_fractions_is_told_by_names_and_sizes(tmp_path):
    first = random_hash("s")
    base = {"camera": "Phone", "taken_at": noon(5), "width": 600, "height": 400}
    rows = [row("/p/IMG_1.jpg", phash=first, **base),
            row("/p/IMG_2.jpg", phash=flipped(first, 4), **base),
            row("/q/IMG_1 (1).jpg", phash=flipped(first, 2), **base),
            row("/q/small.jpg", phash=flipped(first, 2, 5), **(base | {"width": 60}))]  # fmt: skip
    groups, _ = search(lake_of(tmp_path, rows))
    assert groups["IMG_2.jpg"][0] == "burst"
    assert {groups["IMG_1 (1).jpg"][0], groups["IMG_1.jpg"][0]} >= {"near"}
    assert groups["small.jpg"][0] == "near"


def test_original_exif_is_kept_and_the_order_can_be_chosen(tmp_path):
    image = photo()
    files = {
        "large.png": encoded(image.resize((image.width * 5 // 4, image.height * 5 // 4)), "PNG"),
        "camera.jpg": encoded(image, exif=exif()),
    }
    lake = pictures.indexed(tmp_path / "lake", files, tmp_path / "photos")
    assert search(lake)[0]["large.png"][1] == "camera.jpg"
    assert search(lake, "by size", prefer=("pixels",))[0]["camera.jpg"][1] == "large.png"


def test_a_thumbnail_does_not_stand_for_the_whole_picture(tmp_path):
    same = random_hash("x")
    rows = [row("/p/whole.jpg", phash=same, width=1000, height=800),
            row("/p/thumbnail.jpg", phash=same, camera="Canon", taken_at=noon())]  # fmt: skip
    assert search(lake_of(tmp_path, rows))[0] == {}
    rows[0]["width"] = 190
    rows[0]["height"] = 80
    assert search(lake_of(tmp_path / "b", rows))[0]["whole.jpg"] == ("near", "thumbnail.jpg", 0)


def test_a_file_with_more_than_its_first_picture_stays(tmp_path):
    image = photo("coffee-no-face.png", 300)
    pages = [image, photo("cat-no-face.png", 300)]
    deep = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    files = {
        "one.png": encoded(image, "PNG"),
        "pages.tif": encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]),
        "frames.gif": encoded(pages[0], "GIF", save_all=True, append_images=pages[1:]),
        "frame.gif": encoded(image, "GIF"),
        "deep.png": encoded(deep, "PNG"),
        "grey.png": encoded(image.convert("L"), "PNG"),
    }
    lake = pictures.indexed(tmp_path / "lake", files, tmp_path / "photos")
    holds_more = {row["uri"].rsplit("/", 1)[-1]: row["holds_more"] for row in
            lake.read("images", ["uri", "holds_more"]).to_pylist()}  # fmt: skip
    rich = {"pages.tif", "frames.gif", "deep.png"}
    assert {name for name, more in holds_more.items() if more} == rich
    search(lake)
    rows = Duplicates(lake).table().to_pylist()
    names = {one["image_id"]: one["uri"].rsplit("/", 1)[-1]
             for one in lake.read("images", ["image_id", "uri"]).to_pylist()}  # fmt: skip
    gone = {names[one["image_id"]] for one in rows if not one["keep"]}
    assert gone == set(files) - rich


@pytest.mark.parametrize("prefer", [DedupeConfig().prefer, ("path",)])
def test_a_whole_picture_is_never_dropped_for_one_that_lost_rows(tmp_path, prefer):
    whole = encoded(photo(), quality=95)
    files = {"a.jpg": whole[: len(whole) * 96 // 100], "other.jpg": encoded(photo(), quality=30)}
    lake = pictures.indexed(tmp_path / "lake", files, tmp_path / "photos")
    lost = {r["uri"].rsplit("/", 1)[-1]: r["damaged_rows"] for r in
            lake.read("images", ["uri", "damaged_rows"]).to_pylist()}  # fmt: skip
    assert lost["a.jpg"] > 0 == lost["other.jpg"]
    Run(Duplicates(lake), DedupeConfig(prefer=prefer), in_process, "one").dedupe()
    rows = Duplicates(lake).table(["image_id", "keep", "reason"]).to_pylist()
    uris = {r["image_id"]: r["uri"] for r in lake.read("images", ["image_id", "uri"]).to_pylist()}
    gone = {uris[r["image_id"]].rsplit("/", 1)[-1]: r["reason"] for r in rows if not r["keep"]}
    if prefer == ("path",):
        assert gone == {}
    else:
        assert list(gone) == ["a.jpg"]
        assert "rows" in gone["a.jpg"]


def test_a_file_that_was_indexed_twice_is_no_copy(tmp_path):
    first = row("/p/sub/a.jpg")
    lake = lake_of(tmp_path, [first, first | {"image_id": "f" * 32}])
    assert [kind for kind, _, _ in search(lake)[0].values()] in (["kept"], ["exact"])
    rows = Duplicates(lake).table().to_pylist()
    assert [one["keep"] for one in rows] == [True, True]
    assert "indexed twice" in " ".join(one["reason"] for one in rows)


def test_a_reference_that_names_nothing_is_told(tmp_path):
    with pytest.raises(ConfigError, match="lies below /nowhere"):
        search(lake_of(tmp_path, [row("/p/a.jpg")]), reference=("/nowhere",))


def test_new_photos_are_searched_alone_and_the_result_is_that_of_all(tmp_path):
    base = [row(f"/p/{i}.jpg") for i in range(30)]
    base += [row("/p/x.jpg", phash=flipped(base[3]["phash"], 9), width=50)]
    more = [row("/p/y.jpg", phash=flipped(base[5]["phash"], 12), width=50),
            row("/p/z.jpg", phash=flipped(base[3]["phash"], 4), width=50),
            row("/p/new-a.jpg"), row("/p/new-b.jpg")]  # fmt: skip
    more.append(row("/p/new-c.jpg", phash=flipped(more[2]["phash"], 7), width=50))
    grown = lake_of(tmp_path / "grown", base, part=8)
    search(grown, "one")
    lake_of(tmp_path / "grown", more)
    groups, about = search(grown, "two")
    assert about["incremental"]
    assert (about["new_images"], about["new_hashes"]) == (5, 5)
    whole, about = search(lake_of(tmp_path / "whole", [*base, *more]), "all")
    assert not about["incremental"]
    assert groups == whole
    assert len(groups) == 7
    assert search(grown, "three")[0] == whole  # nothing new
    assert search(grown, "four", full=True)[0] == whole


@pytest.mark.parametrize("damage", ["gone", "bit", "short", "other"])
def test_what_was_gathered_is_no_truth(tmp_path, damage):
    rows = [row(f"/p/{i}.jpg") for i in range(60)]
    rows.append(row("/p/near.jpg", phash=flipped(rows[0]["phash"], 9)))
    lake = lake_of(tmp_path, rows, part=20)
    search(lake, "one")
    folder = tmp_path / "duplicates" / "_pictures"
    assert len(list(folder.iterdir())) == 4
    for path in folder.iterdir():
        if damage == "gone":
            path.unlink()
        else:
            whole = path.read_bytes()
            flipped_bit = whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:]
            path.write_bytes({"short": whole[:500], "bit": flipped_bit}.get(damage, b"else"))
    lake_of(tmp_path, [row("/q/new.jpg", phash=flipped(rows[0]["phash"], 5))])
    groups, about = search(lake, "two")
    assert about["new_images"] == 1
    assert search(lake, "three", full=True)[0] == groups
    assert set(groups) == {"0.jpg", "near.jpg", "new.jpg"}
    for path in (tmp_path / "duplicates").glob("part-*"):
        path.write_bytes(b"damaged")
    assert search(lake, "anew")[0] == groups
    lake.folder.child("images").remove(lake.parts()[0])
    search(lake, "four")
    assert len(list(folder.iterdir())) == 4  # that of the part that went is removed


def test_a_part_that_was_replaced_is_read_again_whatever_its_size(tmp_path):
    same = {name: row("/w/a")[name] for name in ("sha256", "pixels_sha256", "phash")}
    places = ["/w/junk/one.jpg", "/w/safe/two.jpg"]
    lake = lake_of(tmp_path, [row(place, **same) for place in places], part=1)
    safe = {"reference": ("/w/safe",)}
    assert search(lake, "one", **safe)[0]["one.jpg"][1] == "two.jpg"
    sizes = lake.folder.child("images").files()
    ids = {r["uri"]: r["image_id"] for r in lake.read("images", ["uri", "image_id"]).to_pylist()}
    now = ["/w/safe/one.jpg", "/w/junk/two.jpg"]
    relocate(lake, {ids[was]: Place(to, to[:7], None)
                    for was, to in zip(places, now, strict=True)})  # fmt: skip
    assert lake.folder.child("images").files() == sizes
    for run_id in ("two", "three"):
        groups, _ = search(lake, run_id, full=run_id == "three", **safe)
        assert groups["two.jpg"][1] == "one.jpg"


def test_there_are_more_parts_than_a_process_may_open(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "allow_many_files", lambda: None)
    monkeypatch.setattr(
        gather.Shelf, "__init__", partialmethod(gather.Shelf.__init__, held_rows=50)
    )
    rows = [row(f"/p/{i}.jpg") for i in range(120)]
    rows.append(row("/p/near.jpg", phash=flipped(rows[0]["phash"], 9)))
    lake = lake_of(tmp_path, rows, part=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 60, hard))
    try:
        assert set(search(lake)[0]) == {"0.jpg", "near.jpg"}
        lake_of(tmp_path, [row("/q/new.jpg", phash=flipped(rows[1]["phash"], 5))])
        assert set(search(lake, "two")[0]) == {"0.jpg", "1.jpg", "near.jpg", "new.jpg"}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_changed_setting_or_part_searches_again(tmp_path):
    rows = [row("/p/a.jpg"), row("/p/b.jpg")]
    rows.append(row("/p/c.jpg", phash=flipped(rows[0]["phash"], 40)))
    lake = lake_of(tmp_path, rows)
    assert search(lake)[0] == {}
    groups, about = search(lake, "wider", radius=45)
    assert (not about["incremental"], len(groups)) == (True, 2)


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    rows = [row(f"/p/{i}.jpg") for i in range(20)]
    rows.append(row("/p/c.jpg", phash=flipped(rows[0]["phash"], 4)))
    lake = lake_of(tmp_path, rows, part=5)
    calls = []

    def dying(function, arguments):
        for each in arguments:
            calls.append(function.__name__)
            if function.__name__ == "search_band":
                raise KeyboardInterrupt
            yield function(*each)

    def noting(function, arguments):
        calls.extend([function.__name__] * len(arguments))
        return in_process(function, arguments)

    with pytest.raises(KeyboardInterrupt):
        search(lake, "dies", dying)
    assert calls == ["gather", "search_band"]
    _, about = search(lake, "goes on", noting)
    assert "gather" not in calls[2:]
    assert about["resumed_steps"] >= 1
    assert about["kinds"] == {"kept": 1, "near": 1}
    assert not (tmp_path / "duplicates" / "_work").exists()


def test_a_part_of_an_earlier_version_is_told(tmp_path):
    lake = lake_of(tmp_path, [row("/p/a.jpg")])
    (name,) = lake.parts()
    table = lake.read_part("images", name).drop_columns(["phash_inner"])
    lake.folder.publish(f"images/{name}", parquet_bytes(table))
    with pytest.raises(StorageError, match="by an earlier version"):
        search(lake)


def test_no_lake_and_no_images(tmp_path):
    with pytest.raises(ConfigError, match="There is no lake at"):
        search(LakeStore(str(tmp_path / "none")))
    with pytest.raises(ConfigError, match="index photos first"):
        search(lake_of(tmp_path / "empty", []))
    with pytest.raises(ConfigError, match="run facelake dedupe"):
        Duplicates(lake_of(tmp_path / "new", [row("/p/a.jpg")])).table()


@pytest.mark.parametrize(
    "wrong",
    [{"radius": 64}, {"radius": -1}, {"prefer": ("size",)}, {"prefer": ("pixels", "pixels")},
     {"prefer": ()}, {"burst_s": -1}, {"max_group": 1}, {"reference": ("",)}],
)  # fmt: skip
def test_settings_are_checked(wrong):
    with pytest.raises(ConfigError):
        DedupeConfig(**wrong)


def test_one_picture_is_looked_up(archive, tmp_path, variants):
    path = tmp_path / "asked.jpg"
    path.write_bytes(variants["mirror.jpg"])
    probe = read_probe(str(path), {})
    both = look_up(archive, probe, DedupeConfig(mirrored=True, rotated=True))
    kinds = {r["uri"].rsplit("/", 1)[-1]: r["kind"] for r in both}
    assert kinds["mirror.jpg"] == "exact"
    assert kinds["original.jpg"] == "mirrored"
    assert kinds["turned.jpg"] == "mirrored"
    plain = look_up(archive, probe, DedupeConfig())
    assert [r["uri"].rsplit("/", 1)[-1] for r in plain] == ["mirror.jpg"]
    path.write_bytes(variants["pixels.png"])
    rows = look_up(archive, read_probe(str(path), {}), DedupeConfig())
    assert [r["kind"] for r in rows[:3]] == ["exact", "pixels", "pixels"]
    path.write_bytes(b"no image")
    with pytest.raises(ConfigError, match="cannot be used"):
        read_probe(str(path), {})
