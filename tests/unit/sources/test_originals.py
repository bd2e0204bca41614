"""Photos by their rows: files, members of archives, and what must not be shown."""

import hashlib
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.config import ReadConfig
from pipeline.errors import StorageError
from pipeline.sources.originals import Originals


def jpeg(colour: tuple[int, int, int] = (200, 10, 10), size: tuple[int, int] = (640, 480)) -> bytes:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010F] = "Secret camera"
    Image.new("RGB", size, colour).save(out, "JPEG", exif=exif)
    return out.getvalue()


def row(uri: str, shard: str, data: bytes) -> dict[str, str]:
    return {"uri": uri, "shard": shard, "sha256": hashlib.sha256(data).hexdigest()}


def shard_of(folder: Path, kind: str, key: str, data: bytes) -> tuple[str, ReadConfig]:
    path = folder / f"photos.{kind}"
    if kind == "tar":
        with tarfile.open(path, "w") as tar:
            for name, body in (("other.jpg", jpeg((1, 2, 3))), (key, data)):
                info = tarfile.TarInfo(name)
                info.size = len(body)
                tar.addfile(info, io.BytesIO(body))
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("other.jpg", jpeg((1, 2, 3)))
            archive.writestr(key, data)
    else:
        pq.write_table(pa.table({"body": [jpeg((1, 2, 3)), data], "name": ["other", key]}), path)
    return str(path), ReadConfig(image_column="body", key_column="name")


@pytest.mark.parametrize("kind", ["tar", "zip", "parquet"])
def test_a_member_of_a_shard_is_found(tmp_path: Path, kind: str) -> None:
    data = jpeg()
    path, config = shard_of(tmp_path, kind, "a/b #1.jpg", data)
    with Originals(config=config) as originals:
        assert originals.read(row(f"{path}#a/b #1.jpg", path, data)) == data
        with pytest.raises(StorageError, match="does not hold it any more"):
            originals.read(row(f"{path}#gone.jpg", path, data))


def test_a_picture_is_upright_small_and_bare(tmp_path: Path) -> None:
    data = jpeg()
    (tmp_path / "a.jpg").write_bytes(data)
    with Originals() as originals:
        shown = originals.jpeg(row(str(tmp_path / "a.jpg"), str(tmp_path), data), 200)
    with Image.open(io.BytesIO(shown)) as picture:
        assert picture.size == (150, 200)
        assert not picture.getexif()
    assert b"Secret" not in shown


def test_what_was_put_in_a_photos_place_is_refused(tmp_path: Path) -> None:
    data = jpeg()
    photo, secret = tmp_path / "a.jpg", tmp_path / "secret"
    secret.write_text("password")
    photo.symlink_to(secret)
    with Originals() as originals:
        asked = row(str(photo), str(tmp_path), data)
        with pytest.raises(StorageError, match="changed since it was indexed"):
            originals.read(asked)
        picture, why = originals.try_jpeg(asked, 100)
        assert picture is None
        assert "password" not in why
        photo.unlink()
        with pytest.raises(StorageError, match="cannot be read"):
            originals.read(asked)
        os.mkfifo(photo)  # waited for by who opens it
        with pytest.raises(StorageError, match="not a file"):
            originals.read(asked)


def test_a_name_that_is_no_text_is_found_again(tmp_path: Path) -> None:
    data = jpeg()
    with open(os.fsencode(tmp_path) + b"/caf\xe9.jpg", "wb") as file:
        file.write(data)
    with Originals() as originals:
        assert originals.read(row(f"{tmp_path}/caf%E9.jpg", str(tmp_path), data)) == data


def test_many_photos_of_an_archive_are_read_in_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.sources import originals as module

    passes = []
    members = module.shard_members
    monkeypatch.setattr(
        module,
        "shard_members",
        lambda unit, *more: (passes.append(unit.base), members(unit, *more))[1],
    )
    data = jpeg()
    path, config = shard_of(tmp_path, "tar", "a.jpg", data)
    loose = tmp_path / "loose.jpg"
    loose.write_bytes(data)
    rows = [
        row(f"{path}#a.jpg", path, data),
        row(f"{path}#other.jpg", path, b"as it was"),
        row(f"{path}#gone.jpg", path, data),
        row(str(loose), str(tmp_path), data),
        row(str(tmp_path / "none.tar") + "#a.jpg", str(tmp_path / "none.tar"), data),
    ]
    with Originals(config=config) as photos:
        found = {given["uri"]: (made, why) for given, made, why in photos.try_jpegs(rows, 64)}
    assert passes.count(path) == 1
    assert len(found) == len(rows)
    made, why = zip(*(found[given["uri"]] for given in rows), strict=True)
    assert [picture is not None for picture in made] == [True, False, False, True, False]
    assert "has changed since" in why[1]
    assert "does not hold it any more" in why[2]
    assert "none.tar" in why[4]
    assert why[0] == why[3] == ""
