"""Verifies a lake part by part, and repairs what can be repaired without guessing.

A part that cannot be trusted goes to `quarantine/` whole: its images count as new then, and the
next run does them again. Nothing is deleted but leftovers of crashes and rows that are there twice.
"""

import io
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.arrays import Ints
from pipeline.errors import ErrorCode, StorageError
from pipeline.lake import lock, schema
from pipeline.lake.columns import is_unit, matrix
from pipeline.lake.ledger import halves
from pipeline.lake.lock import RunLock
from pipeline.lake.moves import mend
from pipeline.lake.store import LakeStore, Models, parquet_bytes
from pipeline.maintenance.check_tables import findings_in_derived, is_as_written
from pipeline.maintenance.finding import QUARANTINED, Finding
from pipeline.maintenance.hold import finish_forgetting, new_run_id
from pipeline.people.marks.rows import settle
from pipeline.people.store import People, corrected_faces

logger = logging.getLogger(__name__)

THREADS = 8
CODES = pa.array([code.value for code in ErrorCode])


@dataclass(slots=True)
class Result:
    """What `check` saw.

    Attributes:
        parts, images, faces: how much was verified.
        findings: empty for a sound lake.
    """

    parts: int = 0
    images: int = 0
    faces: int = 0
    findings: list[Finding] = field(default_factory=list)


def check(lake: LakeStore) -> Result:
    """Verify every part of a lake.

    Memory is bounded by some parts and 20 bytes an image.

    Raises:
        ConfigError: there is no lake.
        StorageError: its storage cannot be reached.
    """
    models = lake.existing_models()
    result = Result()
    ids: list[list[str]] = []
    names = lake.parts()
    with ThreadPoolExecutor(THREADS) as pool:
        for part in pool.map(lambda name: check_part(lake, name, models), names):
            result.parts += 1
            result.images += len(part.image_ids)
            result.faces += part.faces
            result.findings.extend(part.findings)
            ids.append(part.image_ids)
    result.findings.extend(doubled(names, ids))
    for table, orphans in lake.orphans().items():
        leftovers = [*orphans, *lake.folder.child(table).temporary_files()]
        result.findings.extend(Finding("leftover", n, f"{table}/{n}") for n in leftovers)
    result.findings.extend(_of_gone(lake, models))
    result.findings.extend(findings_in_derived(lake, models))
    result.findings.extend(_left_behind(lake, {finding.detail for finding in result.findings}))
    return result


def _of_gone(lake: LakeStore, models: Models) -> Iterator[Finding]:
    """Yield what is wrong with the rows of images that are gone."""
    for gone in lake.with_gone()[1:]:
        for name in gone.parts():
            for finding in check_part(gone, name, models).findings:
                text = f"{finding.kind}: {finding.detail}"
                yield Finding("gone", f"gone/{name}", text, finding.rows)


def _left_behind(lake: LakeStore, named: set[str]) -> Iterator[Finding]:
    """Yield what a killed command left in any folder, its lock included."""
    for path in lake.folder.abandoned_files():
        if path not in named:
            yield Finding("leftover", path.rpartition("/")[2], path)
    state = lock.read(lake.folder)
    if state and lock.is_dead(state):
        yield Finding("leftover", lock.NAME, f"{lock.NAME} of {state.get('run_id')}")


@dataclass(slots=True)
class Part:
    """One part: its image ids, its number of faces, and what is wrong with it."""

    image_ids: list[str] = field(default_factory=list)
    faces: int = 0
    findings: list[Finding] = field(default_factory=list)


def check_part(lake: LakeStore, name: str, models: Models) -> Part:
    """Verify one part."""
    part = Part()
    try:
        images, faces = (_table(lake, f"{table}/{name}") for table in ("images", "faces"))
    except (StorageError, pa.ArrowException, OSError) as error:
        part.findings.append(Finding("damaged", name, f"{type(error).__name__}: {error}"))
        return part
    fitting = {
        "images": schema.is_of_images(images.schema),
        "faces": faces.schema.equals(schema.faces_schema(models.dimension)),
    }
    for table, rows in (("images", images), ("faces", faces)):
        if not fitting[table]:
            part.findings.append(Finding("schema", name, f"{table}/{name}", len(rows)))
    if part.findings:
        return part
    part.image_ids, part.faces = images["image_id"].to_pylist(), len(faces)
    for finding in (*_images(name, images), *_faces(name, images, faces, models)):
        part.findings.append(finding)
    return part


def _table(lake: LakeStore, path: str) -> pa.Table:
    table = pq.read_table(io.BytesIO(lake.folder.read(path)))
    if not is_as_written(table):
        raise StorageError(f"{path} does not hold what was written: its checksum differs")
    return table


def _images(name: str, images: pa.Table) -> Iterator[Finding]:
    good, counted = pc.is_null(images["error"]), pc.is_valid(images["faces"])
    has_known_code = pc.or_(good, pc.is_in(images["error"], CODES))
    wrong = pc.invert(pc.and_(pc.equal(good, counted), has_known_code))
    count = pc.sum(wrong).as_py() or 0
    if count:
        first = images.filter(wrong)["uri"][0].as_py()
        yield Finding("inconsistent", name, f"for example {first}", count)


def _faces(name: str, images: pa.Table, faces: pa.Table, models: Models) -> Iterator[Finding]:
    owners = pc.is_in(faces["image_id"], images["image_id"].combine_chunks())
    stray = faces.filter(pc.invert(owners))
    if len(stray):
        ids = tuple(stray["face_id"].to_pylist())
        yield Finding("stray", name, f"for example {ids[0]}", len(ids), ids)
    counts = faces.filter(owners).group_by("image_id").aggregate([([], "count_all")])
    face_counts = dict(
        zip(counts["image_id"].to_pylist(), counts["count_all"].to_pylist(), strict=True)
    )
    rows = zip(images["image_id"].to_pylist(), images["faces"].to_pylist(), strict=True)
    wrong = [i for i, promised in rows if (promised or 0) != face_counts.get(i, 0)]
    if wrong:
        yield Finding("count", name, f"for example image {wrong[0]}", len(wrong))
    bad = ~is_unit(matrix(faces["embedding"]))
    if bad.any():
        first = faces["face_id"][int(np.flatnonzero(bad)[0])].as_py()
        yield Finding("vector", name, f"for example face {first}", int(bad.sum()))
    for column, wanted in (("detector", models.detector), ("embedder", models.embedder)):
        others = pc.sum(pc.not_equal(faces[column], wanted)).as_py() or 0
        if others:
            yield Finding("models", name, f"{column} is not {wanted}", others)


def doubled(names: list[str], ids: list[list[str]]) -> Iterator[Finding]:
    """Yield the parts that hold images which an earlier part, or row, has too."""
    if not any(ids):
        return
    high, low = halves([i for part in ids for i in part])
    owner = np.repeat(np.arange(len(ids)), [len(part) for part in ids])
    order = np.lexsort((owner, low, high))
    again = np.zeros(len(order), dtype=bool)
    again[1:] = (np.diff(high[order]) == 0) & (np.diff(low[order]) == 0)
    rows = order[again]
    starts = np.cumsum([0, *(len(part) for part in ids)])
    for part in np.unique(owner[rows]):
        places: Ints = np.sort(rows[owner[rows] == part]) - starts[part]
        images = tuple(ids[part][place] for place in places)
        yield Finding("doubled", names[part], f"for example {images[0]}", len(images), images)


def check_and_repair(lake: LakeStore, wait: bool = False) -> Result:
    """Mend what is wrong, holding the lake, and return what is wrong afterwards."""
    with RunLock(lake.folder, new_run_id("check"), wait):
        try:
            finish_forgetting(lake)
        except StorageError as error:  # what is mended now may be what it fails for
            logger.warning("%s", error)
        findings = check(lake).findings
        if any(finding.kind == "count" for finding in findings):
            _count_marked(lake)
            findings = check(lake).findings
        _quarantine(lake, findings)
        if any(finding.kind == "doubled" for finding in findings):
            mend(lake, lake.ledger(), lambda: corrected_faces(lake))
            findings = check(lake).findings
        repair(lake, findings)
        return check(lake)


def _count_marked(lake: LakeStore) -> None:
    """Count faces anew where a person marked some: a kill may have come between two files."""
    try:
        settle(People(lake))
    except StorageError as error:  # another finding, and mended below where it can be
        logger.warning("%s", error)


def repair(lake: LakeStore, findings: list[Finding]) -> None:
    """Mend what `check` found; the caller holds the lake's lock.

    Untrustworthy parts move to `quarantine/`, so that the next run does their images again; second
    rows, stray faces and leftovers are removed. Each step leaves a lake that can be read.
    """
    bad = _quarantine(lake, findings)
    for finding in findings:
        if finding.part in bad:
            continue
        if finding.kind == "doubled":
            _drop_second_rows(lake, finding.part, set(finding.ids))
        elif finding.kind == "stray":
            faces = _table(lake, f"faces/{finding.part}")
            keep = pc.invert(pc.is_in(faces["face_id"], pa.array(finding.ids)))
            lake.folder.publish(f"faces/{finding.part}", parquet_bytes(faces.filter(keep)))
    lake.sweep()


def _quarantine(lake: LakeStore, findings: list[Finding]) -> set[str]:
    """Move the parts that cannot be trusted away, and return their names."""
    bad = {finding.part for finding in findings if finding.kind in QUARANTINED}
    for name in sorted(bad.intersection(lake.parts())):
        for table in ("images", "faces"):  # images first: from then on the rows count as missing
            data = lake.folder.read(f"{table}/{name}")
            lake.folder.publish(f"quarantine/{table}-{name}", data)
            lake.folder.remove(f"{table}/{name}")
    return bad


def _drop_second_rows(lake: LakeStore, name: str, doubled: set[str]) -> None:
    """Drop images that another part has, or all rows but the first where it is this part."""
    images, faces = _table(lake, f"images/{name}"), _table(lake, f"faces/{name}")
    ids = images["image_id"].to_pylist()
    others = [n for n in lake.parts() if n != name]
    elsewhere = set()
    for other in others:
        rows = pq.read_table(io.BytesIO(lake.folder.read(f"images/{other}")), columns=["image_id"])
        elsewhere |= doubled.intersection(rows["image_id"].to_pylist())
    first = _first_rows(ids)
    keep = [one and i not in elsewhere for i, one in zip(ids, first, strict=True)]
    images = images.filter(pa.array(keep))
    kept = pc.is_in(faces["image_id"], images["image_id"].combine_chunks())
    first = _first_rows(faces["face_id"].to_pylist())
    faces = faces.filter(pc.and_(kept, pa.array(first)))
    lake.folder.publish(f"images/{name}", parquet_bytes(images))
    lake.folder.publish(f"faces/{name}", parquet_bytes(faces))


def _first_rows(ids: list[str]) -> list[bool]:
    """Return for each id whether it stands there for the first time."""
    seen: set[str] = set()
    return [not (i in seen or seen.add(i)) for i in ids]  # type: ignore[func-returns-value]
