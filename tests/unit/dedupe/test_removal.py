import csv
import io
import json
import os
import subprocess

import pytest

from pipeline.commands.main import main
from pipeline.config import ReadConfig
from pipeline.dedupe import plans, removal
from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.dedupe.duplicates import Duplicates
from pipeline.dedupe.run import Run
from pipeline.dedupe.tables import COPIES
from pipeline.errors import ConfigError
from pipeline.lake.checkpoints import in_process
from pipeline.lake.lock import RunLock
from pipeline.lake.manifest import read_config
from pipeline.storage.folder import Folder
from tests.support import pictures
from tests.support.builders import parquet_bytes, tar_bytes
from tests.support.pictures import encoded, photo

HOSTILE = 'it\'s $(touch pwned) `x`; "q" & -rf.jpg'


@pytest.fixture
def archive(tmp_path):
    image = photo()
    first = encoded(image, quality=95)
    files = {
        "a.jpg": first,
        "sub/copy.jpg": first,
        "small.jpg": encoded(image.resize((200, 300))),
        HOSTILE: encoded(image, quality=50),
        "-dash.jpg": encoded(image, quality=60),
        "else.jpg": encoded(photo("obama-press-room.jpg")),
    }
    lake = pictures.indexed(tmp_path / "lake", files, tmp_path / "photos")
    return searched(lake)


def searched(lake, run_id="first"):
    duplicates = Duplicates(lake)
    Run(duplicates, DedupeConfig(), in_process, run_id).dedupe()
    return duplicates


def names(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_the_plan_names_what_may_go_and_why(archive):
    rows = list(csv.DictReader(io.StringIO(plans.as_csv(plans.copies(archive, COPIES)))))
    assert list(rows[0]) == list(plans.COLUMNS)
    assert sorted(os.path.basename(r["uri"]) for r in rows) == sorted(
        ["copy.jpg", "small.jpg", HOSTILE, "-dash.jpg"]
    )
    assert all(r["kept_uri"].endswith("/a.jpg") and r["reason"] for r in rows)
    assert [r["kind"] for r in rows if r["uri"].endswith("copy.jpg")] == ["exact"]
    some = plans.copies(archive, ["exact"])
    assert [c.place.uri.rsplit("/", 1)[-1] for c in some] == ["copy.jpg"]


def test_the_script_moves_what_the_plan_names(archive, tmp_path):
    photos = tmp_path / "photos"
    (photos / "small.jpg").write_bytes(b"changed since")
    script = tmp_path / "plan.sh"
    script.write_text(plans.as_script(plans.copies(archive, COPIES)))
    done = subprocess.run(
        ["sh", str(script), str(tmp_path / "aside")], capture_output=True, text=True, cwd=tmp_path,
        check=True,
    )  # fmt: skip
    assert names(photos) == ["a.jpg", "else.jpg", "small.jpg"]
    moved = tmp_path / "aside" / str(photos).lstrip("/")
    assert names(moved) == sorted(["-dash.jpg", HOSTILE, "sub/copy.jpg"])
    assert "left: " in done.stdout
    assert not (tmp_path / "pwned").exists()
    again = subprocess.run(
        ["sh", str(script), "aside"], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert again.stdout.count("left: ") == 4
    assert subprocess.run(["sh", str(script)], capture_output=True, check=False).returncode != 0


def test_moving_checks_everything_again_and_can_be_undone(archive, tmp_path):
    photos, aside = tmp_path / "photos", Folder(str(tmp_path / "aside"))
    before = {name: (photos / name).read_bytes() for name in names(photos)}
    (photos / "small.jpg").write_bytes(b"changed since")
    (photos / "-dash.jpg").unlink()
    result = removal.move(plans.copies(archive, COPIES), aside, "log.jsonl")
    assert result.moved == 2
    assert result.skipped == {"changed since it was indexed": 1, "gone already": 1}
    assert names(photos) == ["a.jpg", "else.jpg", "small.jpg"]
    assert result.bytes == len(before[HOSTILE]) + len(before["sub/copy.jpg"])
    back = removal.undo(result.log, {})
    assert back.moved == 2
    for name in (HOSTILE, "sub/copy.jpg"):
        assert (photos / name).read_bytes() == before[name]
    assert removal.undo(result.log, {}).moved == 0


def test_nothing_moves_when_the_kept_one_is_gone_or_changed(archive, tmp_path):
    (tmp_path / "photos" / "a.jpg").write_bytes(b"changed")
    result = removal.move(plans.copies(archive, COPIES), Folder(str(tmp_path / "aside")), "log")
    assert (result.moved, sum(result.skipped.values())) == (0, 4)
    assert set(result.skipped) == {"the picture to keep is missing or has changed"}


def test_a_file_of_that_name_is_not_replaced(archive, tmp_path):
    there = tmp_path / "aside" / str(tmp_path / "photos" / "sub" / "copy.jpg").lstrip("/")
    there.parent.mkdir(parents=True)
    there.write_bytes(b"mine")
    result = removal.move(plans.copies(archive, ["exact"]), Folder(str(tmp_path / "aside")), "l")
    assert result.skipped == {"there is a file of its name in the folder": 1}
    assert there.read_bytes() == b"mine"


def test_a_move_that_stops_in_between_can_be_undone_and_repeated(archive, tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    before = {name: (photos / name).read_bytes() for name in names(photos)}
    real, calls = removal.relocate, []

    def dies(*arguments):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(arguments)
        real(*arguments)

    monkeypatch.setattr(removal, "relocate", dies)
    aside = Folder(str(tmp_path / "aside"))
    with pytest.raises(KeyboardInterrupt):
        removal.move(plans.copies(archive, COPIES), aside, "log.jsonl")
    monkeypatch.setattr(removal, "relocate", real)
    assert removal.undo(f"{aside.url}/log.jsonl", {}).moved == 2
    assert {name: (photos / name).read_bytes() for name in names(photos)} == before
    assert removal.move(plans.copies(archive, COPIES), aside, "again.jsonl").moved == 4


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_another_name_of_the_kept_file_stays(tmp_path, link):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "the-file-itself.jpg").write_bytes(encoded(photo()))
    link(photos / "the-file-itself.jpg", photos / "a.jpg")  # the shorter name is kept
    rows = [pictures.read_row(path, tmp_path) for path in sorted(photos.iterdir())]
    copies = plans.copies(searched(pictures.lake_of(tmp_path / "lake", rows)), COPIES)
    assert [c.place.uri.rsplit("/", 1)[-1] for c in copies] == ["the-file-itself.jpg"]
    assert removal.move(copies, Folder(str(tmp_path / "aside")), "log").skipped == {
        "another name of the very file to keep": 1
    }
    script = tmp_path / "plan.sh"
    script.write_text(plans.as_script(copies))
    subprocess.run(["sh", str(script), str(tmp_path / "aside")], check=True, capture_output=True)
    assert names(photos) == ["a.jpg", "the-file-itself.jpg"]


def test_copies_in_archives_stay_and_kept_ones_there_are_read(tmp_path):
    image = photo()
    first = encoded(image, quality=95)
    shard = tmp_path / "photos" / "b.tar"
    shard.parent.mkdir()
    shard.write_bytes(tar_bytes([("large.jpg", first)]))
    (tmp_path / "photos" / "loose-copy-of-it.jpg").write_bytes(first)
    rows = [pictures.read_row(tmp_path / "photos" / "loose-copy-of-it.jpg", tmp_path)]
    rows.append(rows[0] | pictures.row(f"{shard}#large.jpg") | {
        key: rows[0][key] for key in ("sha256", "pixels_sha256", "bytes", "width", "height",
                                      "phash", "sharpness")
    })  # fmt: skip
    duplicates = searched(pictures.lake_of(tmp_path / "lake", rows))
    copies = plans.copies(duplicates, COPIES)
    assert [(c.place.archive, c.kept.archive) for c in copies] == [(None, str(shard))]
    assert "the kept one is not a plain local file" in plans.as_script(copies)
    assert removal.move(copies, Folder(str(tmp_path / "aside")), "log").moved == 1
    swapped = [plans.Copy(copies[0].kept, copies[0].place, copies[0].row)]
    assert removal.move(swapped, Folder(str(tmp_path / "aside")), "log2").skipped == {
        "inside an archive": 1
    }


def test_a_log_that_is_none_is_refused(tmp_path):
    (tmp_path / "log").write_text('{"from": 1}\n')
    with pytest.raises(ConfigError, match="no log of moved copies"):
        removal.undo(str(tmp_path / "log"), {})


@pytest.mark.parametrize("inside", ["photos/aside", "photos/sub/deeper", "lake/aside", "photos"])
def test_copies_do_not_go_where_photos_are_read_from(archive, tmp_path, inside):
    with pytest.raises(ConfigError, match="lies inside"):
        removal.refuse_target(archive, Folder(str(tmp_path / inside)))
    removal.refuse_target(archive, Folder(str(tmp_path / "photos-aside")))


def test_the_command(archive, tmp_path, capsys, monkeypatch):
    lake = archive.lake.folder.url
    monkeypatch.chdir(tmp_path)
    assert main(["dedupe", lake, "--plan", "copies.csv", "--ray", "never"]) == 0
    out = capsys.readouterr().out
    assert "4 copies planned in copies.csv" in out
    assert len((tmp_path / "copies.csv").read_text().splitlines()) == 5
    aside = str(tmp_path / "aside")
    assert main(["dedupe", lake, "--apply", "move", aside, "--kinds", "exact"]) == 0
    out = capsys.readouterr().out
    assert "1 files moved" in out
    log = out.split("--undo ")[1].split()[0]
    assert main(["dedupe", lake, "--undo", log]) == 0
    assert "1 files moved back" in capsys.readouterr().out
    assert main(["dedupe", lake, "--image", "photos/a.jpg", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 5
    assert main(["dedupe", lake, "--image", "photos/else.jpg"]) == 0
    assert "exact" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--apply", "delete", "x"], "the only thing to do is move FOLDER"),
        (["--plan", "plan.txt"], "ends in .csv or .sh"),
        (["--kinds", "burst"], "bursts are no copies"),
        (["--radius", "99"], "must lie between 0 and 63"),
        (["--prefer", "beauty"], "choose from whole, more"),
        (["--image", "missing.jpg"], "missing.jpg"),
        (["--undo", "missing.jsonl"], "missing.jsonl"),
        (["--apply", "move", "photos/sub"], "choose a folder beside it"),
    ],
)
def test_what_cannot_be_done_is_told(archive, tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    assert main(["dedupe", archive.lake.folder.url, *options]) in (2, 5)
    assert message in capsys.readouterr().err


def test_what_storage_refuses_is_told_and_the_rest_moves(archive, tmp_path, monkeypatch):
    real = os.unlink

    def refuses(path, *more, **options):
        if str(path) == str(tmp_path / "photos" / "small.jpg"):
            raise PermissionError(13, "Permission denied", path)
        real(path, *more, **options)

    monkeypatch.setattr(os, "unlink", refuses)
    aside = Folder(str(tmp_path / "aside"))
    result = removal.move(plans.copies(archive, COPIES), aside, "log.jsonl")
    assert (result.moved, result.failed) == (3, 1)
    assert "permission" in " ".join(result.skipped).lower()
    assert "small.jpg" not in [name.rsplit("/", 1)[-1] for name in names(tmp_path / "aside")]
    monkeypatch.setattr(os, "unlink", real)
    assert removal.move(plans.copies(archive, COPIES), aside, "again.jsonl").moved == 1
    # a log tells of its own run alone
    assert removal.undo(f"{aside.url}/again.jsonl", {}).moved == 1
    assert removal.undo(f"{aside.url}/log.jsonl", {}).moved == 3


def test_kept_pictures_in_tables_are_read_by_the_columns_of_the_last_run(archive, tmp_path):
    lake = archive.lake
    assert read_config(lake) == ReadConfig()
    config = {
        "inputs": ["/p"],
        "read": {"image_column": "jpeg", "key_column": "id", "max_bytes": 5},
    }
    lake.publish_json("runs/20260101T000000-a.json", {"config": {"inputs": ["/q"]}})
    lake.publish_json("runs/20260102T000000-b.json", {"config": config})
    lake.publish_json("runs/cluster-1.json", {"config": {"neighbours": 3}})
    assert read_config(lake) == ReadConfig(image_column="jpeg", key_column="id")
    table = tmp_path / "t.parquet"
    table.write_bytes(parquet_bytes(jpeg=[b"\xff\xd8 a", b"\xff\xd8 b"], id=["a.jpg", "b.jpg"]))
    hashes = dict(removal.members(str(table), Folder("/x"), read_config(lake)))
    assert sorted(hashes) == [f"{table}#a.jpg", f"{table}#b.jpg"]


def test_nothing_to_move_leaves_no_log(archive, tmp_path):
    result = removal.move([], Folder(str(tmp_path / "aside")), "log.jsonl")
    assert (result.log, (tmp_path / "aside").exists()) == ("", False)


def test_links_to_places_where_photos_are_read_are_seen_through(archive, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    with pytest.raises(ConfigError, match="lies inside"):
        removal.refuse_target(archive, Folder(str(tmp_path / "link" / "aside")))
    archive.lake.folder.publish("runs/broken.json", b"{")
    removal.refuse_target(archive, Folder(str(tmp_path / "aside")))


def test_another_run_keeps_copies_from_being_moved(archive, tmp_path, capsys):
    with RunLock(archive.lake.folder, "other"):
        command = ["dedupe", archive.lake.folder.url, "--apply", "move", str(tmp_path / "aside")]
        assert main(command) == 9
    assert not (tmp_path / "aside").exists()


def test_telling_and_doing_do_not_mix(archive, capsys):
    assert main(["dedupe", archive.lake.folder.url, "--image", "a.jpg", "--plan", "p.csv"]) == 2
    assert "--image only tells" in capsys.readouterr().err


def test_what_was_reviewed_is_what_is_moved(archive, tmp_path, capsys, monkeypatch):
    lake, photos = archive.lake.folder.url, str(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    before = names(tmp_path / "photos")
    assert main(["dedupe", lake, "--reference", photos, "--ray", "never"]) == 0
    assert main(["dedupe", lake, "--plan", "copies.csv"]) == 0
    out = capsys.readouterr().out
    assert f"--reference {photos}" in out
    assert "0 copies planned" in out
    assert main(["dedupe", lake, "--apply", "move", "aside"]) == 0
    assert "0 files moved" in capsys.readouterr().out
    assert names(tmp_path / "photos") == before


def test_a_move_with_other_options_than_the_reviewed_ones_is_refused(archive, tmp_path, capsys):
    lake = archive.lake.folder.url
    assert main(["dedupe", lake, "--mirrored", "--ray", "never"]) == 0
    command = ["dedupe", lake, "--apply", "move", str(tmp_path / "aside")]
    assert main([*command, "--radius", "40"]) == 2
    assert "not those of the decision of" in capsys.readouterr().err
    assert main([*command, "--mirrored"]) == 0
    assert "--mirrored" in capsys.readouterr().out


def test_a_lake_that_changed_since_is_refused(archive, tmp_path, capsys):
    lake = archive.lake
    assert main(["dedupe", lake.folder.url, "--ray", "never"]) == 0
    pictures.lake_of(lake.folder.url, [pictures.row("/new/later.jpg")])
    for action in (["--plan", str(tmp_path / "p.csv")], ["--apply", "move", str(tmp_path / "a")]):
        assert main(["dedupe", lake.folder.url, *action]) == 2
        assert "has changed since the decision of" in capsys.readouterr().err
    assert (
        main(["dedupe", lake.folder.url, "--radius", "20", "--plan", str(tmp_path / "p.csv")]) == 0
    )
    assert main(["dedupe", lake.folder.url, "--apply", "move", str(tmp_path / "a")]) == 0
    assert "--radius 20" in capsys.readouterr().out


@pytest.fixture
def together(tmp_path):
    """Copies with all that may belong to a photo, and photos that share a stem."""
    image = photo("obama-blue-room.jpg", 200)
    files = {
        "keep/IMG_1.jpg": encoded(image, quality=95),
        "old/IMG_1.JPG": encoded(image, quality=60),
        "old/IMG_2.jpg": encoded(image, quality=59),
        "old/IMG_2.png": encoded(photo("cat-no-face.png", 200), "PNG"),
    }
    lake = pictures.indexed(tmp_path / "lake", files, tmp_path / "photos")
    for name in ("IMG_1.JPG.xmp", "IMG_1.XMP", "IMG_1.mov", "IMG_1.AAE", "IMG_1.cr2", "IMG_1.txt",
                 "IMG_2.jpg.json", "IMG_2.xmp", "IMG_10.xmp"):  # fmt: skip
        (tmp_path / "photos" / "old" / name).write_text(name)
    searched(lake)
    return Duplicates(lake)


def test_what_belongs_together_goes_together_and_comes_back(together, tmp_path, capsys):
    copies = plans.copies(together, COPIES)
    assert len(copies) == 2
    before = names(tmp_path / "photos")
    listed = next(csv.DictReader(io.StringIO(plans.as_csv(copies))))["companions"].split(" | ")
    assert len(listed) in (1, 5)
    result = removal.move(copies, Folder(str(tmp_path / "aside")), "log.jsonl")
    assert (result.moved, result.companions, result.skipped) == (2, 6, {})
    gone = {name.rsplit("/", 1)[-1] for name in set(before) - set(names(tmp_path / "photos"))}
    assert gone == {
        "IMG_1.JPG", "IMG_1.JPG.xmp", "IMG_1.XMP", "IMG_1.mov", "IMG_1.AAE", "IMG_1.cr2",
        "IMG_2.jpg", "IMG_2.jpg.json",
    }  # fmt: skip
    back = removal.undo(result.log, {})
    assert (back.moved, back.companions) == (2, 6)
    assert names(tmp_path / "photos") == before


def test_a_photo_stays_where_its_sidecar_cannot_go(together, tmp_path, monkeypatch):
    copies = plans.copies(together, COPIES)
    before = names(tmp_path / "photos")
    taken = tmp_path / "aside" / str(tmp_path / "photos" / "old" / "IMG_1.mov").lstrip("/")
    taken.parent.mkdir(parents=True)
    taken.write_text("another")
    result = removal.move(copies, Folder(str(tmp_path / "aside")), "log.jsonl")
    assert (result.moved, result.companions) == (1, 1)
    assert result.skipped == {"there is a file of its name in the folder": 1}
    removal.undo(result.log, {})
    real = os.unlink

    def refuses(path, *more, **options):
        if str(path).endswith("photos/old/IMG_1.JPG"):
            raise PermissionError(13, "Permission denied", path)
        real(path, *more, **options)

    taken.unlink()
    monkeypatch.setattr(os, "unlink", refuses)
    result = removal.move(copies, Folder(str(tmp_path / "aside")), "again.jsonl")
    assert (result.moved, result.failed) == (1, 1)
    monkeypatch.setattr(os, "unlink", real)
    assert removal.undo(result.log, {}).moved == 1
    assert names(tmp_path / "photos") == before


def test_the_script_moves_what_belongs_together(together, tmp_path):
    script = tmp_path / "move.sh"
    script.write_text(plans.as_script(plans.copies(together, COPIES)))
    subprocess.run(["sh", script, tmp_path / "aside"], check=True)
    left = {name.rsplit("/", 1)[-1] for name in names(tmp_path / "photos")}
    assert left == {"IMG_1.jpg", "IMG_2.png", "IMG_1.txt", "IMG_2.xmp", "IMG_10.xmp"}
