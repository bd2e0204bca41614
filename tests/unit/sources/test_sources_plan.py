import os

import pytest

from pipeline.errors import ConfigError, NoImagesError, StorageError
from tests.support.builders import Archive, jpeg, planned, put, read_all, tar_bytes, zip_bytes

A, B, C, D = (jpeg(seed) for seed in range(4))


def names(to_read):
    return [unit.base + name for unit in to_read.units for name in unit.names or [""]]


def under(root, to_read):
    return sorted(os.path.relpath(name, root) for name in names(to_read))


def test_a_folder_is_searched_to_any_depth_in_the_order_of_names(tmp_path):
    put(
        tmp_path, {"b.jpg": B, "a/y.PNG": A, "a/b/c/x.jpeg": A, "t.tar": tar_bytes([]), "z/e": None}
    )
    to_read = planned(tmp_path)
    assert under(tmp_path, to_read) == ["a/b/c/x.jpeg", "a/y.PNG", "b.jpg", "t.tar"]
    assert (to_read.images, to_read.shards) == (3, 1)
    assert to_read.bytes == len(A) * 2 + len(B) + len(tar_bytes([]))
    assert [unit.place for unit in to_read.units if unit.kind == "tar"] == ["t.tar"]


def test_what_is_no_photo_is_counted(tmp_path):
    put(
        tmp_path,
        {
            "a.jpg": A,
            ".hidden.jpg": A,
            "._a.jpg": A,
            "notes.txt": "x",
            "more.txt": "x",
            "film.mp4": "x",
            ".cache/b.jpg": A,
            "@eaDir/a.jpg/thumb.jpg": A,
            "sub/__MACOSX/b.jpg": A,
            "quiet/.nomedia": "",
            "quiet/c.jpg": A,
            "quiet/deep/d.jpg": A,
            ".hidden.tar": "x",
            "raw.CR2": "x",
            "bare": A,
        },
    )
    to_read = planned(tmp_path)
    assert under(tmp_path, to_read) == ["a.jpg", "bare", "raw.CR2"]
    assert to_read.skipped == {
        "hidden file": 2,
        "AppleDouble file": 1,
        "not an image (.txt)": 2,
        "not an image (.mp4)": 1,
        "hidden folder": 1,
        "@eaDir folder": 1,
        "__MACOSX folder": 1,
        "file in a .nomedia folder": 1,
        "folder below a .nomedia folder": 1,
    }


def test_a_name_without_an_ending_is_judged_by_its_bytes(tmp_path):
    put(tmp_path, {"bare": A, "README": "text", "empty": b""})
    rows, report = read_all(planned(tmp_path))
    assert [os.path.basename(u) for u in rows["uri"].to_pylist()] == ["bare"]
    assert report.skipped == {"not an image": 2}


def test_one_file_of_each_kind(tmp_path):
    put(tmp_path, {"a.jpg": A, "b.tar": tar_bytes([("x.jpg", A)]), "c.zip": b"", "d.parquet": b""})
    for name, kind in [("a.jpg", "files"), ("b.tar", "tar"), ("c.zip", "zip")]:
        assert [u.kind for u in planned(tmp_path / name).units] == [kind]
    assert planned(tmp_path / "d.parquet").shards == 1


def test_a_mix_of_inputs(tmp_path):
    put(tmp_path, {"p/a.jpg": A, "q/b.jpg": B, "q/c.png": C, "d.jpg": D, "s.tar": tar_bytes([])})
    put(tmp_path, {"list.txt": "d.jpg\n"})
    inputs = [tmp_path / "p", f"{tmp_path}/q/*.png", tmp_path / "list.txt", tmp_path / "s.tar"]
    assert under(tmp_path, planned(*inputs)) == ["d.jpg", "p/a.jpg", "q/c.png", "s.tar"]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_lists(tmp_path, bom, end):
    put(
        tmp_path,
        {"l/in/a.jpg": A, "l/b.jpg": B, "c.jpg": C, "l/d.jpg": D, "l/s.tar": tar_bytes([])},
    )
    lines = [
        b"in/a.jpg",
        b"",
        b"  ./b.jpg  ",
        f"{tmp_path}/c.jpg".encode(),
        b"../l/d.jpg",
        b"s.tar",
    ]
    (tmp_path / "l" / "list.TXT").write_bytes(bom + end.join(lines))
    to_read = planned(tmp_path / "l" / "list.TXT")
    assert under(tmp_path, to_read) == ["c.jpg", "l/b.jpg", "l/d.jpg", "l/in/a.jpg", "l/s.tar"]
    rows, _ = read_all(to_read)
    assert sorted(rows["sha256"].to_pylist()) == sorted(set(rows["sha256"].to_pylist()))
    assert rows["error"].null_count == len(rows) == 4


def test_a_list_of_powershell(tmp_path):
    put(tmp_path, {"ä.jpg": A})
    (tmp_path / "l.txt").write_bytes("ä.jpg\r\n".encode("utf-16"))
    assert under(tmp_path, planned(tmp_path / "l.txt")) == ["ä.jpg"]


def test_a_list_names_missing_files_folders_and_repeats(tmp_path):
    put(tmp_path, {"a.jpg": A, "in/b.jpg": B, "in/.c.jpg": B})
    put(tmp_path, {"l.txt": "a.jpg\n./a.jpg\nno.jpg\nin\nin//b.jpg\nin/../a.jpg\n"})
    to_read = planned(tmp_path / "l.txt")
    assert under(tmp_path, to_read) == ["a.jpg", "in/b.jpg", "no.jpg"]
    assert to_read.skipped == {"named twice": 3, "hidden file": 1}
    rows, _ = read_all(to_read)
    assert rows["error"].to_pylist().count("unreadable") == 1


def test_the_limit_of_bytes_holds_for_files_of_a_list(tmp_path):
    from pipeline.config import ReadConfig

    put(tmp_path, {"a.jpg": A, "l.txt": "a.jpg\n"})
    for source in (tmp_path / "l.txt", tmp_path / "a.jpg"):
        rows, _ = read_all(planned(source), config=ReadConfig(max_bytes=len(A) - 1))
        assert rows["error"].to_pylist() == ["too_large"]
        rows, _ = read_all(planned(source), config=ReadConfig(max_bytes=len(A)))
        assert rows["error"].to_pylist() == [None]


def test_a_pipe_in_a_list_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    put(tmp_path, {"l.txt": "a.jpg\n"})
    rows, _ = read_all(planned(tmp_path / "l.txt"))
    assert rows["error"].to_pylist() == ["unreadable"]


@pytest.mark.parametrize("pattern", ["**", "**/*", "*", "**/*.jpg"])
def test_a_glob_names_every_file_once_and_skips_as_a_walk_does(tmp_path, pattern):
    put(
        tmp_path / "p",
        {
            "a.jpg": A,
            "sub/b.jpg": B,
            "sub-x/c.jpg": C,
            "sub/deep/d.jpg": D,
            "@eaDir/a.jpg": A,
            "sub/@eaDir/a.jpg": A,
            ".hidden/a.jpg": A,
            "quiet/.nomedia": "",
            "quiet/a.jpg": A,
            "quiet/deep/a.jpg": A,
            "sub/._b.jpg": A,
        },
    )
    wanted = ["p/a.jpg", "p/sub-x/c.jpg", "p/sub/b.jpg", "p/sub/deep/d.jpg"]
    to_read = planned(f"{tmp_path}/p/{pattern}")
    assert under(tmp_path, to_read) == wanted
    assert to_read.skipped
    # the place starts at the part without wildcards: the folder itself gives the same ids
    ids = read_all(to_read)[0]["image_id"].to_pylist()
    assert sorted(ids) == sorted(read_all(planned(tmp_path / "p"))[0]["image_id"].to_pylist())


def test_a_glob_below_a_folder_with_brackets(tmp_path):
    put(tmp_path, {"2020 [best]/a.jpg": A, "2020 [best]/b.png": B, "2020 b/a.jpg": C})
    to_read = planned(f"{tmp_path}/2020 [best]/*.jpg")
    assert under(tmp_path, to_read) == ["2020 [best]/a.jpg"]
    put(tmp_path, {"x[1].jpg": A})
    assert under(tmp_path, planned(tmp_path / "x[1].jpg")) == ["x[1].jpg"]


def test_globs_of_the_memory_back_end():
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.pipe({"/plan/p/a.jpg": A, "/plan/p/sub/b.jpg": B, "/plan/p/n.txt": b""})
    try:
        for text in ("memory://plan/p", "memory://plan/p/**", "memory://plan/p/*"):
            to_read = planned(text)
            assert names(to_read) == ["memory://plan/p/a.jpg", "memory://plan/p/sub/b.jpg"]
            rows, _ = read_all(to_read)
            assert rows["error"].null_count == 2
        assert names(planned("memory://plan/p/a.jpg")) == ["memory://plan/p/a.jpg"]
        with pytest.raises(StorageError, match="does not exist"):
            planned("memory://plan/q")
    finally:
        fs.rm("/plan", recursive=True)


@pytest.mark.parametrize("text", ["{p}", "{p}/", "{p}/.", "{link}", "{p}/*", "{p}/**", "{top}/*"])
def test_an_output_inside_the_input_is_refused(tmp_path, text):
    put(tmp_path, {"p/a.jpg": A})
    (tmp_path / "link").symlink_to(tmp_path / "p")
    text = text.format(p=tmp_path / "p", link=tmp_path / "link", top=tmp_path)
    for output in (tmp_path / "p" / "lake", tmp_path / "link" / "lake"):
        with pytest.raises(ConfigError, match=r"lies inside the input .*choose an output beside"):
            planned(text, output=output)
    with pytest.raises(ConfigError, match="lies inside"):
        planned(tmp_path / "p", output=tmp_path / "p")


def test_an_output_beside_the_input_is_not_refused(tmp_path):
    put(tmp_path, {"p/a.jpg": A})
    for output in ("p-lake", "lake", "p/lake"):
        assert planned(f"{tmp_path}/p/*.jpg", output=tmp_path / output).images == 1
    assert planned(tmp_path / "p", output=tmp_path / "p-lake").images == 1
    assert planned(tmp_path / "p", output="s3://bucket/lake").images == 1


def test_nothing_to_read(tmp_path):
    put(tmp_path, {"p/n.txt": "", "p/.h.jpg": A, "l.txt": "\n"})
    with pytest.raises(NoImagesError, match=r"No images under .*p; check .*1 hidden file"):
        planned(tmp_path / "p")
    for text in (tmp_path / "l.txt", f"{tmp_path}/*.jpg"):
        with pytest.raises(NoImagesError):
            planned(text)
    for text in (tmp_path / "no", "memory://nothing/here"):
        with pytest.raises(StorageError, match="does not exist; check the path"):
            planned(text)
    with pytest.raises(ConfigError, match=r"not an image, a \.tar"):
        planned(put(tmp_path, {"a.mp3": "x"}) / "a.mp3")


def test_two_roots_with_the_same_names_keep_both(tmp_path, archive):
    put(tmp_path, {"p/x.jpg": A, "q/x.jpg": B, "p/s.tar": tar_bytes([("y.jpg", C)])})
    put(tmp_path, {"q/s.tar": tar_bytes([("y.jpg", D)])})
    rows, _ = archive.run(tmp_path / "p", tmp_path / "q")
    assert len(set(rows["image_id"].to_pylist())) == len(rows) == 4
    # again in any order, and each alone: nothing new
    for inputs in (["p", "q"], ["q", "p"], ["q"], ["p"]):
        rows, report = archive.run(*(tmp_path / i for i in inputs))
        assert len(rows) == 0, inputs
        assert report.already_in_lake == 2 * len(inputs)


def test_two_roots_of_which_one_was_known(tmp_path, archive):
    put(tmp_path, {"p/x.jpg": A, "q/x.jpg": B})
    assert len(archive.run(tmp_path / "p")[0]) == 1
    rows, _ = archive.run(tmp_path / "q", tmp_path / "p")
    assert [u.rsplit("/", 2)[-2] for u in rows["uri"].to_pylist()] == ["q"]
    assert len(archive.run(tmp_path / "q", tmp_path / "p")[0]) == 0


def test_overlapping_inputs_name_a_file_once(tmp_path):
    put(tmp_path, {"p/x.jpg": A, "p/in/y.jpg": B, "p/in/s.zip": zip_bytes([("a.jpg", C)])})
    (tmp_path / "link").symlink_to(tmp_path / "p")
    inputs = ["p", "p/in", "p/in/y.jpg", "p/../p", "link"]
    to_read = planned(*(tmp_path / i for i in inputs))
    assert under(tmp_path, to_read) == ["p/in/s.zip", "p/in/y.jpg", "p/x.jpg"]
    assert to_read.skipped["named twice"] == 9


def test_a_moved_archive_adds_nothing(tmp_path, archive):
    put(tmp_path, {"p/x.jpg": A, "p/in/y.jpg": B, "p/s.tar": tar_bytes([("a.jpg", C)])})
    assert len(archive.run(tmp_path / "p")[0]) == 3
    (tmp_path / "p").rename(tmp_path / "moved")
    rows, report = archive.run(tmp_path / "moved")
    assert len(rows) == 0
    assert report.already_in_lake == 3


def test_a_moved_archive_with_other_bytes_under_an_old_name_adds_them(tmp_path, archive):
    put(tmp_path, {"p/x.jpg": A, "p/y.jpg": B})
    archive.run(tmp_path / "p")
    (tmp_path / "p").rename(tmp_path / "q")
    put(tmp_path, {"q/x.jpg": C})
    rows, report = archive.run(tmp_path / "q")
    assert len(rows) == report.already_in_lake == archive.change.moved == 1
    assert len(set(archive.rows["image_id"].to_pylist())) == 2
    assert len(archive.change.gone) == 1


def test_an_archive_with_the_same_names_elsewhere_adds_rows(tmp_path, archive):
    put(tmp_path, {"p/x.jpg": A, "q/x.jpg": B, "r/x.jpg": A, "p/s.zip": zip_bytes([("a.jpg", C)])})
    put(tmp_path, {"q/s.zip": zip_bytes([("a.jpg", C)])})
    archive.run(tmp_path / "p")
    for root, added in (("q", 2), ("r", 1)):
        assert len(archive.run(tmp_path / root)[0]) == added
        assert len(archive.run(tmp_path / root)[0]) == 0
    assert len(set(archive.rows["image_id"].to_pylist())) == len(archive.rows) == 5


def test_the_same_archive_through_a_link_adds_nothing(tmp_path, archive):
    put(tmp_path, {"p/in/x.jpg": A, "p/s.tar": tar_bytes([("a.jpg", C)])})
    (tmp_path / "link").symlink_to(tmp_path / "p")
    assert len(archive.run(tmp_path / "p")[0]) == 2
    assert len(archive.run(tmp_path / "link")[0]) == 0


def test_new_photos_add_only_themselves(tmp_path, archive):
    put(tmp_path, {"p/x.jpg": A})
    archive.run(tmp_path / "p")
    put(tmp_path, {"p/y.jpg": B})
    rows, _ = archive.run(tmp_path / "p")
    assert [u.rsplit("/", 1)[-1] for u in rows["uri"].to_pylist()] == ["y.jpg"]


STRANGE = [
    "a#b.jpg",
    "new\nline.jpg",
    "🎉.jpg",
    "[1].jpg",
    "a::b.jpg",
    "a b .jpg",
    "per%20cent.jpg",
    "q?x=1.jpg",
    "*.jpg",
    "quo'te\".jpg",
    "-dash.jpg",
    "~.jpg",
    "back\\slash.jpg",
    "\x1b[31mred.jpg",
    os.fsdecode(b"caf\xe9.jpg"),
    os.fsdecode(b"\xff\xfe/in.jpg"),
]


def test_strange_names_are_read_once_each_and_found_again(tmp_path, archive):
    put(tmp_path / "p", {name: jpeg(i) for i, name in enumerate(STRANGE)})
    rows, _ = archive.run(tmp_path / "p")
    assert rows["error"].null_count == len(rows) == len(STRANGE)
    assert all(len(set(rows[c].to_pylist())) == len(rows) for c in ("image_id", "sha256"))
    assert len(set(rows["uri"].to_pylist())) == len(rows)
    assert "\n".join(rows["uri"].to_pylist()).encode()
    assert f"{tmp_path}/p/caf%E9.jpg" in rows["uri"].to_pylist()
    assert len(archive.run(tmp_path / "p")[0]) == 0


def test_ids_do_not_depend_on_where_the_root_is(tmp_path):
    put(tmp_path, {"p/in/x.jpg": A, "q/r/in/x.jpg": A})
    ids = [Archive().run(tmp_path / root)[0]["image_id"][0].as_py() for root in ("p", "q/r")]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 32


def test_links(tmp_path):
    put(tmp_path, {"other/z.jpg": C, "p/a.jpg": A})
    (tmp_path / "p" / "broken.jpg").symlink_to(tmp_path / "no.jpg")
    (tmp_path / "p" / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "p" / "file.jpg").symlink_to(tmp_path / "other" / "z.jpg")
    (tmp_path / "p" / "folder").symlink_to(tmp_path / "other")
    (tmp_path / "p" / "self").symlink_to(tmp_path / "p")
    os.mkfifo(tmp_path / "p" / "pipe.jpg")
    to_read = planned(tmp_path / "p")
    rows, _ = read_all(to_read)
    members = {os.path.basename(r["uri"]): r["error"] for r in rows.to_pylist()}
    assert members == {
        "a.jpg": None, "broken.jpg": "unreadable", "file.jpg": None, "loop.jpg": "unreadable"
    }  # fmt: skip
    assert to_read.skipped == {"link to a folder": 2, "device, socket or pipe": 1}


def test_a_file_that_goes_away_after_planning_is_a_row(tmp_path):
    put(tmp_path, {"a.jpg": A, "b.jpg": B, "s.tar": tar_bytes([("x.jpg", A)])})
    to_read = planned(tmp_path)
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "s.tar").unlink()
    rows, report = read_all(to_read)
    assert rows["error"].to_pylist() == ["unreadable", None]
    assert "FileNotFoundError" in rows["error_detail"][0].as_py()
    assert len(report.damage) == 1
    assert "does not exist" in report.damage[0]


def test_a_folder_that_goes_away_while_it_is_walked_is_counted(tmp_path):
    from fsspec.implementations.local import LocalFileSystem

    from pipeline.sources.units import Plan
    from pipeline.sources.walk import walk

    put(tmp_path, {"a/x.jpg": A, "b/y.jpg": B})
    result = Plan()
    members = walk(LocalFileSystem(), str(tmp_path), result)
    assert next(members).path.endswith("a/x.jpg")
    (tmp_path / "b" / "y.jpg").unlink()
    (tmp_path / "b").rmdir()
    assert list(members) == []
    assert result.skipped.total() == 1


def test_files_are_grouped_for_the_workers_there_are(tmp_path):
    put(tmp_path, {f"{i:03}.jpg": A for i in range(40)})
    assert len(planned(tmp_path, parallelism=1).units) == 4
    units = planned(tmp_path, parallelism=5).units
    assert len(units) == 20
    assert [n for u in units for n in u.names] == [f"{i:03}.jpg" for i in range(40)]
    assert all(len(u.sizes) == len(u.names) for u in units)
