"""Wrong names with pictures: the tested faces, and learnt ones of both people."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import FacelakeError
from pipeline.lake.schema import image_of
from pipeline.lake.store import LakeStore
from pipeline.training.train import TEST, TRAIN
from pipeline.web.pages import is_picture

MOST_PAIRS, MOST_STRANGERS = 12, 6
TESTED, LEARNT = 4, 2
# Thumbnails of a lake have some kilobytes; larger ones would make the page endless.
LARGEST = 1 << 16
BATCH = 4_096
READERS = 16  # parts that are asked at once what they hold

# Face ids, and how probable the name was said to be; None where the face was learnt.
Faces = Sequence[tuple[str, float | None]]


@dataclass(frozen=True)
class Pair:
    """Somebody who was given somebody else's name.

    Attributes:
        label, named: who it is, and who the model says.
        faces, accepted: how many, and how many of them above the threshold.
        tested: some of them, the most probable first.
        own, others: learnt faces of the two people; strangers have none.
    """

    label: str
    named: str
    faces: int
    accepted: int
    tested: Faces
    own: Faces
    others: Faces


def wrong_pairs(told: pa.Table, samples: pa.Table) -> tuple[list[Pair], list[Pair]]:
    """Return the most frequent wrong pairs of known people, and strangers who were accepted."""
    wrong: dict[tuple[bool, str, str], list[dict[str, Any]]] = {}
    for row in told.filter(pc.invert(told["right"])).to_pylist():
        if row["part"] == TEST or row["accepted"]:
            wrong.setdefault((row["part"] == TEST, row["label"], row["named"]), []).append(row)
    order = sorted(wrong.items(), key=lambda one: (-len(one[1]), -_likely(one[1]), one[0]))
    known = [one for one in order if one[0][0]][:MOST_PAIRS]
    strangers = [one for one in order if not one[0][0]][:MOST_STRANGERS]
    shown = {name for (of_known, *pair), _ in (*known, *strangers)
             for name in pair[0 if of_known else 1 :]}  # fmt: skip
    learnt = _learnt(samples, shown)

    def pair(key: tuple[bool, str, str], rows: list[dict[str, Any]]) -> Pair:
        of_known, label, named = key
        rows = sorted(rows, key=lambda row: (-row["probability"], row["face_id"]))
        return Pair(
            label, named, len(rows), sum(row["accepted"] for row in rows),
            [(row["face_id"], row["probability"]) for row in rows[:TESTED]],
            learnt.get(label, ()) if of_known else (), learnt.get(named, ()),
        )  # fmt: skip

    return [pair(*one) for one in known], [pair(*one) for one in strangers]


def _likely(rows: Iterable[Mapping[str, Any]]) -> float:
    return max(float(row["probability"]) for row in rows)


def _learnt(samples: pa.Table, names: Iterable[str]) -> dict[str, list[tuple[str, None]]]:
    wanted = pc.and_(
        pc.equal(samples["part"], TRAIN), pc.is_in(samples["label"], pa.array(names, pa.string()))
    )
    faces: dict[str, list[tuple[str, None]]] = {}
    for row in samples.filter(wanted).to_pylist():
        own = faces.setdefault(row["label"], [])
        if len(own) < LEARNT:
            own.append((row["face_id"], None))
    return faces


def pictures(lake: LakeStore, pairs: Iterable[Pair]) -> tuple[dict[str, bytes], str]:
    """Return the thumbnails of the faces of pairs, by face, and why some could not be read.

    Only parts that hold one of them are read.
    """
    left = {face for one in pairs for face, _ in (*one.tested, *one.own, *one.others)}
    faces = pa.array(sorted(left), pa.string())
    images = pa.array(sorted({image_of(face) for face in left}), pa.string())

    def holds(part: str) -> bool:
        here = lake.read_part("images", part, ["image_id"])["image_id"]
        return bool(pc.any(pc.is_in(here, images)).as_py())

    found: dict[str, bytes] = {}
    try:
        parts = lake.parts() if left else []
        with ThreadPoolExecutor(READERS) as pool:
            held = [part for part, one in zip(parts, pool.map(holds, parts), strict=True) if one]
        for part in held:
            for batch in lake.face_batches(part, ["face_id", "thumbnail"], BATCH):
                rows = batch.filter(pc.is_in(batch["face_id"], faces)).to_pylist()
                found |= {row["face_id"]: row["thumbnail"] for row in rows
                          if is_picture(row["thumbnail"], LARGEST)}  # fmt: skip
    except FacelakeError as error:  # the model is not lost for want of a picture
        return found, str(error)
    return found, ""
