"""The tables of people without what is forgotten: a new generation, everybody else as they were."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.clustering.algorithms.grid import from_grid, to_grid
from pipeline.errors import StorageError
from pipeline.lake.generations import pieces
from pipeline.lake.lookup import vectors_by_face
from pipeline.lake.moves import replaced
from pipeline.lake.store import LakeStore
from pipeline.lake.tombstones import Forgotten
from pipeline.maintenance.forget.parts import is_gone, strings
from pipeline.people.person import CORE, EXEMPLARS, Person, core_first, people_table
from pipeline.people.store import People
from pipeline.people.view import view


def clean_people(
    people: People, forgotten: Forgotten, sizes: Mapping[str, int | None], run_id: str
) -> int:
    """Publish the tables without what is forgotten, and return how many faces went.

    Persons who lose a face are counted anew, their mean included: it held a share of that face.

    Args:
        people: of the lake, whose parts are clean already.
        forgotten: what goes.
        sizes: of the faces of the parts that were rewritten, None for those that are gone.
        run_id: of the new generation.
    """
    current = people.current_or_none()
    try:
        if current is None:
            raise StorageError("there is no generation, or its pointer is damaged")
        clusters, table, suggestions = people.clusters(), people.people(), people.suggestions()
    except StorageError:
        # Nobody can tell what a damaged table holds; clustering makes it again from the faces.
        people.generations.discard()
        return 0
    gone = is_gone(forgotten, forgotten.faces, clusters["face_id"])
    gone |= is_gone(forgotten, forgotten.images, clusters["image_id"])
    lost = is_gone(forgotten, forgotten.persons, table["person_id"])
    parts = current.get("parts", {})
    if not (gone.any() or lost.any() or parts.keys() & sizes.keys()):
        people.generations.tidy()
        return 0
    dropped = set(table["person_id"].filter(pa.array(lost)).to_pylist())
    fewer = set(clusters["person_id"].filter(pa.array(gone)).drop_null().to_pylist())
    before = clusters.filter(pa.array(~gone))
    rows = _reassigned(people, before, dropped)
    moved = pc.filter(rows["person_id"], _differ(before["person_id"], rows["person_id"]))
    left = set(pc.unique(rows["person_id"]).drop_null().to_pylist())
    # Those to whom faces were moved are counted anew as well; some are new.
    anew = ((fewer | set(moved.drop_null().to_pylist())) & left) - dropped
    named = strings(anew | dropped | (set(table["person_id"].to_pylist()) - left))
    untouched = table.filter(pc.invert(pc.is_in(table["person_id"], named)))
    recounted, whole = _recounted(people.lake, table, rows, anew, run_id)
    table = pa.concat_tables([untouched, recounted]).sort_by("person_id")
    suggestions = _left_of(suggestions, table, rows)
    about = {k: v for k, v in current.items() if k not in ("run_id", "tables")}
    about |= {"faces": len(rows), "people": len(table)}
    if whole:  # else the next run clusters everything anew: sizes that differ tell it to
        about["parts"] = {
            name: size for name, was in parts.items() if (size := sizes.get(name, was)) is not None
        }
    people.publish(run_id, pieces(rows), pieces(table), suggestions, about)
    return int(gone.sum())


def _differ(first: pa.ChunkedArray, second: pa.ChunkedArray) -> pa.Array:
    pairs = zip(first.to_pylist(), second.to_pylist(), strict=True)
    return pa.array([a != b for a, b in pairs], pa.bool_())


def _reassigned(people: People, clusters: pa.Table, dropped: set[str]) -> pa.Table:
    """Return the rows; faces that were moved away from a person who goes are where they are now."""
    stranded = pc.is_in(clusters["person_id"], strings(dropped))
    if not pc.any(stranded).as_py():
        return clusters
    now = view(people).persons_of(clusters.filter(stranded)["face_id"].to_pylist())
    persons = [
        (other if (other := now.get(face)) not in dropped else None) if moved else person
        for face, person, moved in zip(
            clusters["face_id"].to_pylist(), clusters["person_id"].to_pylist(),
            stranded.to_pylist(), strict=True,
        )
    ]  # fmt: skip
    return replaced(clusters, "person_id", persons)


def _left_of(suggestions: pa.Table, people: pa.Table, clusters: pa.Table) -> pa.Table:
    """Return the suggestions about persons and faces that are still there."""
    keep = np.ones(len(suggestions), bool)
    for names, known in (
        (("person_a", "person_b"), people["person_id"]),
        (("face_a", "face_b"), clusters["face_id"]),
    ):
        for name in names:
            keep &= np.asarray(pc.is_in(suggestions[name], known.combine_chunks()))
    return suggestions.filter(pa.array(keep))


def _recounted(
    lake: LakeStore, table: pa.Table, clusters: pa.Table, persons: set[str], run_id: str
) -> tuple[pa.Table, bool]:
    """Return the persons' rows counted anew, and whether each still has a core face."""
    # Who was split off since the last clustering has no row yet; corrections have the name.
    former = {person: Person(person, run_id=run_id) for person in persons}
    columns = [name for name in table.column_names if name != "mean"]
    rows_of = table.select(columns).filter(pc.is_in(table["person_id"], strings(persons)))
    former |= {row["person_id"]: Person(**row) for row in rows_of.to_pylist()}
    members: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in clusters.filter(pc.is_in(clusters["person_id"], strings(persons))).to_pylist():
        members[row["person_id"]].append(row)
    faces = [row for rows in members.values() for row in rows]
    vectors = vectors_by_face(lake, {row["face_id"] for row in faces})
    dates = _dates(lake, {row["image_id"] for row in faces})
    recounted, means, whole = [], [], True
    for person, rows in sorted(members.items()):
        core = [row for row in rows if row["tier"] == CORE]
        whole &= bool(core)
        grid = to_grid(np.stack([vectors[row["face_id"]] for row in core or rows]))
        means.append(from_grid(np.rint(grid.mean(axis=0, keepdims=True)).astype(np.int16))[0])
        recounted.append(_without(former[person], rows, dates))
    return people_table(recounted, np.array(means, np.float32), table.schema), whole


def _dates(lake: LakeStore, images: set[str]) -> dict[str, Any]:
    where = pc.field("image_id").isin(strings(images))
    found = lake.read("images", ["image_id", "taken_at"], where).to_pydict()
    return dict(zip(found["image_id"], found["taken_at"], strict=True))


def _without(former: Person, members: list[dict[str, Any]], dates: Mapping[str, Any]) -> Person:
    """Return a person with the faces that are left."""
    face_ids = {row["face_id"] for row in members}
    exemplars = [face for face in former.exemplars if face in face_ids]
    if not exemplars:
        exemplars = [row["face_id"] for row in sorted(members, key=core_first)[:EXEMPLARS]]
    cover = former.cover_face_id if former.cover_face_id in face_ids else exemplars[0]
    taken = [date for row in members if (date := dates.get(row["image_id"])) is not None]
    person = replace(former, cover_face_id=cover, exemplars=exemplars)
    return person.recounted(members, taken)
