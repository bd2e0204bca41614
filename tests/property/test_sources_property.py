import io
import os
import tempfile
import zipfile
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from pipeline.errors import NoImagesError
from pipeline.sources.identity import Keys, image_id
from tests.support.builders import Archive, planned, put, read_all, tar_bytes

FAST = settings(max_examples=60, deadline=None)
stem = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=6
).filter(lambda s: s not in (".", ".."))
raw = (
    st.binary(min_size=1, max_size=4)
    .map(os.fsdecode)
    .filter(lambda s: "/" not in s and "\0" not in s and s not in (".", ".."))
)
ending = st.sampled_from(["", ".jpg", ".PNG", ".txt", ".json", ".mp4", ".heic", ".nef"])
file_name = st.builds(lambda a, b: a + b, stem | raw, ending)
folder = st.sampled_from(["", "a/", "a/b/", "@eaDir/", ".h/", "[x]/", "a/quiet/"])
trees = st.lists(st.tuples(folder, file_name), max_size=12)


def build(root, names):
    """Write the names that the file system takes; each file has bytes of its own."""
    root.mkdir(parents=True, exist_ok=True)
    made = set()
    for i, (above, name) in enumerate(names):
        path = root / (above + name)
        if len(os.fsencode(name)) > 200 or path.exists():
            continue
        try:
            put(root, {above + name: b"\xff\xd8\xff" + str(i).encode()})
        except (FileExistsError, NotADirectoryError):
            continue
        made.add(os.path.relpath(path, root))
    return made


@FAST
@given(trees)
def test_every_file_is_read_once_or_counted(names):
    with tempfile.TemporaryDirectory() as scratch:
        made = build(Path(scratch) / "p", names)
        try:
            to_read = planned(Path(scratch) / "p")
        except NoImagesError:
            to_read = None
        if to_read is None:
            return
        rows, report = read_all(to_read)
        assert len(set(rows["image_id"].to_pylist())) == len(rows)
        assert len(set(rows["uri"].to_pylist())) == len(rows)
        listed = [n for unit in to_read.units for n in unit.names]
        assert len(set(listed)) == len(listed)
        assert set(listed) <= made
        hidden = [n for n in made if any(p in ("@eaDir", ".h") for p in Path(n).parts[:-1])]
        left = made - set(listed) - set(hidden)
        counted = sum(n for why, n in to_read.skipped.items() if "folder" not in why)
        assert counted == len(left)
        assert len(rows) == len(listed) - report.skipped["not an image"]
        assert all(Path(n).suffix.lower() not in (".jpg", ".heic", ".png", ".nef")
                   or Path(n).name.startswith(".") for n in left)  # fmt: skip


@FAST
@given(trees, trees)
def test_a_second_run_adds_what_is_new_and_nothing_else(first, more):
    with tempfile.TemporaryDirectory() as scratch:
        root, archive = Path(scratch) / "p", Archive()
        put(root, {"always.jpg": b"\xff\xd8\xff first"})
        build(root, first)
        archive.run(root)
        assert len(archive.run(root)[0]) == 0
        before = {os.path.relpath(p, root) for p in root.rglob("*")}
        build(root, [(a, "new-" + n) for a, n in more])
        added = archive.run(root)[0]
        assert not {os.path.relpath(u, root) for u in added["uri"].to_pylist()} & before
        assert len(set(archive.rows["image_id"].to_pylist())) == len(archive.rows)
        root.rename(Path(scratch) / "moved")
        assert len(archive.run(Path(scratch) / "moved")[0]) == 0


def zip_of(names):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for i, name in enumerate(names):
            archive.writestr(name, str(i))
    return out.getvalue()


@FAST
@pytest.mark.filterwarnings("ignore:Duplicate name")
@given(
    st.lists(
        st.sampled_from(["a.jpg", "a.jpg@2", "b/a.png", "../x.jpg", "n.txt", "", "c.JPG"])
        .filter(bool),
        max_size=10,
    ),
    st.booleans(),
)  # fmt: skip
def test_every_member_is_a_row_or_counted(names, as_zip):
    with tempfile.TemporaryDirectory() as scratch:
        pairs = [(n, str(i).encode()) for i, n in enumerate(names)]
        put(scratch, {"s.zip": zip_of(names)} if as_zip else {"s.tar": tar_bytes(pairs)})
        archive = Archive()
        rows, report = archive.run(scratch)
        assert len(rows) + sum(report.skipped.values()) == len(names)
        assert len(set(archive.rows["image_id"].to_pylist())) == len(rows)
        assert report.damage == []
        again, report = archive.run(scratch)
        assert len(again) == 0
        assert report.already_in_lake == len(rows)


@FAST
@given(st.lists(st.sampled_from(["a", "a@2", "a@2@2", "a@3", "b"]), max_size=20))
def test_keys_are_unique_and_first_ones_plain(names):
    keys = Keys()
    given_keys = [keys.key(n) for n in names]
    assert len(set(given_keys)) == len(names)
    assert [n for n in given_keys if n in names[:1]] == names[:1]


@FAST
@given(st.sets(st.text(max_size=8), max_size=20))
def test_ids_are_32_hex_digits_and_differ(places):
    text = [p for p in places if not any(0xD800 <= ord(c) <= 0xDFFF for c in p)]
    ids = {image_id(p) for p in text} | {image_id(p, "salt") for p in text}
    assert len(ids) == 2 * len(text)
    assert all(len(i) == 32 and int(i, 16) >= 0 for i in ids)
