"""Names in XMP sidecars: written for other programs and read back."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError, StorageError
from pipeline.people.store import People
from pipeline.people.view import view
from pipeline.people.xmp.packet import objection, packet
from pipeline.people.xmp.places import (
    Naming,
    NoFileError,
    Places,
    common_root,
    content,
    files,
    target,
)
from pipeline.people.xmp.reader import LARGEST_BYTES, parse
from pipeline.people.xmp.regions import Frame, Region
from pipeline.people.xmp.taking import (
    BATCH,
    PHOTO,
    Found,
    ImportResult,
    Taking,
    frame_of,
    take_over,
)
from pipeline.storage.folder import split_file


@dataclass
class ExportResult:
    """What became of an export.

    Attributes:
        sidecars, faces: how many were written.
        skipped: why sidecars were not written, with how many.
    """

    sidecars: int = 0
    faces: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


def export_sidecars(
    people: People, folder: str | None, naming: Naming = "full", replace: bool = False,
    options: Mapping[str, Any] | None = None,
) -> ExportResult:  # fmt: skip
    """Write a sidecar for each photo that shows somebody with a name.

    Photos are never changed. A sidecar of another program is left as it is, unless `replace`.
    Whatever Facelake did not write itself stays in a sidecar, except faces that are among ours
    and that `replace` allows to replace.

    Args:
        people: whose names.
        folder: where to write, a path or URL, paths below their common root; None: beside the
            photos.
        naming: full: `photo.jpg.xmp`, as digiKam and darktable have it; stem: `photo.xmp`, as
            Lightroom has it.
        replace: whether faces that are among ours are replaced where others wrote them.
        options: storage options of places at URLs; None: those of the lake.
    """
    options = people.lake.folder.options if options is None else options
    names = _named_faces(people)
    images = list(dict.fromkeys(face[:32] for face in names))
    rows = {
        row["image_id"]: row
        for row in _rows(people, "images", "image_id", images, [*PHOTO, "shard"])
    }
    root = common_root(row["uri"] for row in rows.values())
    result, taken = ExportResult(), set[str]()
    for start in range(0, len(images), BATCH):
        block = images[start : start + BATCH]
        by_image: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for face in _rows(people, "faces", "image_id", block, ["face_id", "image_id", "box"]):
            if face["face_id"] in names:
                by_image[face["image_id"]].append(face)
        for image, faces in by_image.items():
            row = rows.get(image)
            if row is None or not row["width"]:
                result.skipped["photos whose size is not known"] += 1
                continue
            path = target(row["uri"], folder, root, naming, row["shard"] or "")
            if path is None:
                result.skipped["photos inside archives or on web servers: give a folder"] += 1
            elif path in taken:
                result.skipped[
                    "photos whose sidecar has the name of another's: use --naming full"
                ] += 1
            else:
                taken.add(path)
                frame = frame_of(row)
                all_regions = (frame.region(names[f["face_id"]], f["box"]) for f in faces)
                regions = [region for region in all_regions if region is not None]
                _write(result, path, frame, regions, replace, options)
    return result


def _write(
    result: ExportResult, path: str, frame: Frame, regions: list[Region], replace: bool,
    options: Mapping[str, Any],
) -> None:  # fmt: skip
    if not regions:
        result.skipped["photos whose faces lie outside"] += 1
        return
    try:
        data = content(path, LARGEST_BYTES, options)
        existing = None if data is None else parse(data)
        reason = None if existing is None else objection(existing, regions, frame, replace)
        if reason is not None:
            result.skipped[reason] += 1
            return
        new = packet(regions, frame, existing)
        place, name = split_file(path, options)
        place.publish(name, new)
    except NoFileError:
        result.skipped["sidecars that are no regular files, left as they are"] += 1
    except ConfigError:
        result.skipped["sidecars that are no XMP, left as they are"] += 1
    except (StorageError, OSError):
        result.skipped["sidecars that cannot be written"] += 1
    else:
        result.sidecars += 1
        result.faces += len(regions)


def import_sidecars(people: People, path: str, taking: Taking | None = None) -> ImportResult:
    """Name the faces that lie in named regions of sidecars.

    Args:
        people: who gets the names.
        path: a sidecar, or a folder of them to any depth, laid out as `export_sidecars` does,
            or beside the photos.
        taking: how; where its marker marks faces, regions where the lake has none become faces.
    """
    result = ImportResult()
    table = people.lake.read("images", PHOTO)
    found = Found({row["image_id"]: row for row in table.to_pylist() if row["width"]})
    places = Places(found.photos)
    for file, inside in files(path):
        try:
            data = content(file, LARGEST_BYTES)
            if data is None:  # it went since the folder was listed
                continue
            sidecar = parse(data)
        except NoFileError:
            result.skipped["sidecars that are no regular files"] += 1
            continue
        except (ConfigError, OSError):
            result.skipped["files that are no XMP"] += 1
            continue
        result.skipped["regions without a name"] += sidecar.unnamed
        if not sidecar.regions:
            continue
        result.sidecars += 1
        image = places.image_of(file, inside)
        if image is None:
            result.skipped["sidecars of photos that are not in the lake"] += 1
        elif not found.add(image, sidecar.regions, sidecar.applied):
            result.skipped["sidecars of a photo of another shape"] += 1
    take_over(people, found, result, taking or Taking())
    return result


def _named_faces(people: People) -> dict[str, str]:
    """Return the name of each face that has one."""
    now = view(people)
    table = now.people.filter(pc.is_valid(now.people["name"])).select(["person_id", "name"])
    return {
        face["face_id"]: str(person["name"])
        for person in table.to_pylist()
        for face in now.faces(person["person_id"])
    }


def _rows(
    people: People, table: str, key: str, values: list[str], columns: list[str]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = people.lake.read(
        table, columns, pc.field(key).isin(pa.array(values, pa.string()))
    ).to_pylist()
    return rows
