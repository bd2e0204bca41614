"""Who is on which face: by a file, folders, labels beside photos, or the people of the lake."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.evaluation.truth.labels import read_labels
from pipeline.lake.lookup import Which, chosen_faces
from pipeline.lake.store import LakeStore
from pipeline.people.person import CORE
from pipeline.people.store import People
from pipeline.people.view import view
from pipeline.sources.members import Report
from pipeline.sources.shards import open_shard
from pipeline.sources.tars import tar_texts
from pipeline.sources.units import Unit, archive_kind, archive_of

FOLDERS, WEBDATASET, NONE = "folders", "webdataset", "none"
# What WebDataset writes beside a photo, and the keys of a .json that hold a label.
ENDINGS, KEYS = (".cls", ".txt", ".json"), ("label", "class", "cls", "person", "name")


@dataclass(frozen=True)
class Class:
    """A person who is learnt.

    Attributes:
        label: the name, as the file or the lake has it.
        person_id: of the lake; None for other labels.
    """

    label: str
    person_id: str | None = None


@dataclass(frozen=True)
class LeftOut:
    """What is not learnt from, and why: so many faces or rows of a label."""

    label: str | None
    reason: str
    count: int


@dataclass
class Labels:
    """Labels by face.

    Attributes:
        of: who is on a face.
        source: where they are from, in words.
        left_out: what is not among them.
    """

    of: dict[str, Class]
    source: str
    left_out: list[LeftOut] = field(default_factory=list)


def labels_of(lake: LakeStore, where: str | None, which: Which) -> Labels:
    """Return the labels of a lake's faces.

    Args:
        lake: whose faces they are.
        where: a file, as `facelake evaluate` reads it; "folders": a photo's label is the folder
            that it lies in, also inside an archive; "webdataset": the .cls, .txt or .json beside it
            in its tar; None: the people who have a name in the lake, corrections included, by
            their core faces and those that somebody confirmed.
        which: face of an image that its label belongs to, unless it is a face's.

    Raises:
        ConfigError: no label matches a face, or nobody has a name.
    """
    match where:
        case None:
            return _of_lake(lake)
        case "folders":
            return _of_images(lake, _folders(lake), which, "folders of the photos")
        case "webdataset":
            return _of_images(lake, _beside(lake), which, "labels beside the photos")
        case _:
            return _of_file(lake, where, which)


def _of_images(
    lake: LakeStore, labels: Mapping[str, str | None], which: Which, source: str
) -> Labels:
    faces = chosen_faces(lake, which)
    out = Labels({faces[image]: Class(label) for image, label in labels.items()
                  if label and image in faces}, source)  # fmt: skip
    for reason, images in (
        ("the photo has no label", [image for image, label in labels.items() if not label]),
        ("no face was found on the photo", labels.keys() - faces.keys()),
    ):
        by_label: dict[str | None, int] = {}
        for image in images:
            by_label[labels[image]] = by_label.get(labels[image], 0) + 1
        out.left_out += [LeftOut(label, reason, count) for label, count in by_label.items()]
    if not out.of:
        raise ConfigError(f"No photo of {lake.folder.url} has a label by the {source}")
    several = lake.read("images", ["faces"])["faces"]
    count = pc.sum(pc.greater(several, 1)).as_py() or 0
    if count:
        out.left_out.append(
            LeftOut(None, f"further faces of photos; the {which} one counts", count)
        )
    return out


def _folders(lake: LakeStore) -> dict[str, str | None]:
    """Return the folder of each photo by image_id; None for one at the top of its archive."""
    labels: dict[str, str | None] = {}
    for row in lake.read("images", ["image_id", "uri", "shard"]).to_pylist():
        *folders, _ = _place(row)[1].split("/")
        labels[row["image_id"]] = folders[-1] if folders and folders[-1] else None
    return labels


def _beside(lake: LakeStore) -> dict[str, str | None]:
    """Return the label beside each photo in its tar, by image_id.

    Raises:
        ConfigError: the photos lie in no tars.
        StorageError: a tar cannot be read any more.
    """
    rows = lake.read("images", ["image_id", "uri", "shard"]).to_pylist()
    tars: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        archive, name = _place(row)
        if archive and archive_kind(archive) == "tar":
            tars.setdefault(archive, {}).setdefault(_sample(name), []).append(row["image_id"])
    if not tars:
        raise ConfigError(
            f"The photos of {lake.folder.url} lie in no tars, so they have no labels of "
            "WebDataset; give a file, or --labels folders"
        )
    labels: dict[str, str | None] = {row["image_id"]: None for row in rows}
    for archive, images in tars.items():
        options = lake.folder.options if "://" in archive else {}
        with open_shard(Unit("tar", archive, options=options)) as file:
            for name, data in tar_texts(file, ENDINGS, Report()):
                label = _label(name, data)
                for image in images.get(_sample(name), []):
                    labels[image] = labels[image] or label
    return labels


def _place(row: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return the archive of a photo, if it lies in one, and its name there, or its uri."""
    archive = archive_of(row["uri"], row["shard"] or "")
    return archive, row["uri"][len(archive) + 1 :] if archive else row["uri"]


def _sample(name: str) -> str:
    """Return what WebDataset calls a sample: the name up to the first dot of its last part."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition('.')[0]}"


def _label(name: str, data: bytes) -> str | None:
    text = data.decode(errors="replace").strip()
    if not name.endswith(".json"):
        return text or None
    try:
        values: Any = json.loads(text)
    except ValueError:
        return None
    if not isinstance(values, dict):
        return str(values) if isinstance(values, str | int) else None
    found = next((values[key] for key in KEYS if isinstance(values.get(key), str | int)), None)
    return None if found is None else str(found)


def _of_file(lake: LakeStore, file: str, which: Which) -> Labels:
    truth = read_labels(lake, file, which)
    out = Labels({face: Class(label) for face, label in truth.labels.items()}, "file of labels")
    for count, reason in (
        (truth.unmatched, "the label matches no face of the lake"),
        (truth.ambiguous, "the label matches several images of one name"),
    ):
        if count:
            out.left_out.append(LeftOut(None, reason, count))
    return out


def _of_lake(lake: LakeStore) -> Labels:
    store = People(lake)
    now = view(store)
    named = now.people.filter(pc.and_(pc.is_valid(now.people["name"]),
                                      pc.invert(now.people["hidden"])))  # fmt: skip
    columns = named.select(["person_id", "name"]).to_pydict()
    classes = {person: Class(name, person) for person, name in zip(*columns.values(), strict=True)}
    if not classes:
        raise ConfigError(
            f"Nobody in {lake.folder.url} has a name to be learnt; give names with `facelake "
            "people`, or labels with --labels"
        )
    rows = store.clusters(["face_id", "tier"]).to_pydict()
    persons = now.persons_of(rows["face_id"])
    out = Labels({}, "named people of the lake")
    weak: dict[str, int] = {}
    for face, tier in zip(rows["face_id"], rows["tier"], strict=True):
        person = persons.get(face)
        if person is None or person not in classes:
            continue
        if tier == CORE or face in now.confirmed.get(person, ()):
            out.of[face] = classes[person]
        else:
            weak[person] = weak.get(person, 0) + 1
    out.left_out = [
        LeftOut(classes[person].label, "a weak face that nobody confirmed", count)
        for person, count in sorted(weak.items())
    ]
    return out
