"""Photos for the pages: who is on them, when and with which camera they were taken."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from fastapi import Query

from pipeline.people.photos import Chosen, chosen_photos
from pipeline.web.review.snapshot import Snapshot
from pipeline.web.review.state import Review

Sure = Literal["all", "doubtful", "confirmed"]
# Below this, a face is shown as doubtful.
DOUBTFUL = 0.9
COMPANIONS = 24
MOST_CAMERA = 200


@dataclass(frozen=True)
class Wanted:
    """Which photos are shown; the names are those of an address.

    Attributes:
        persons, without: ids of persons who are on them, and who are not.
        year: in which they were taken.
        camera: with which.
        least: faces on them.
        sure: how sure it is that the first of `persons` is on them.
    """

    persons: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    year: int | None = None
    camera: str = ""
    least: int = 0
    sure: Sure = "all"

    def query(self, **changes: Any) -> list[tuple[str, str]]:
        """Return the fields of an address that asks for these photos, some of them changed."""
        now = replace(self, **changes)
        pairs = [("with", one) for one in now.persons] + [("without", one) for one in now.without]
        pairs += [("year", str(now.year))] if now.year else []
        pairs += [("camera", now.camera)] if now.camera else []
        pairs += [("least", str(now.least))] if now.least else []
        return pairs + ([("sure", now.sure)] if now.sure != "all" else [])


Persons = Annotated[list[str], Query(alias="with", max_length=12)]


def wanted(
    persons: Persons = [],  # noqa: B006 (FastAPI copies it)
    without: Annotated[list[str], Query(max_length=12)] = [],  # noqa: B006
    year: Annotated[str, Query(pattern=r"^([0-9]{1,4})?$")] = "",
    camera: Annotated[str, Query(max_length=MOST_CAMERA)] = "",
    least: Annotated[str, Query(pattern=r"^[0-9]{0,4}$")] = "",
    sure: Sure = "all",
) -> Wanted:
    """Read the fields of an address; persons may still be names."""
    return Wanted(
        tuple(one for one in persons if one.strip()), tuple(one for one in without if one.strip()),
        int(year) if year else None, camera, int(least or 0), sure,
    )  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """The photos that are shown, and what they can be narrowed down to.

    Attributes:
        photos: rows with `image_id`, `taken_at`, `camera`, `faces`, the latest first.
        years: number of photos of each year, the year itself not asked for.
        cameras: number of photos of each camera, the most frequent first.
        dated: whether any has a date.
    """

    photos: pa.Table
    years: list[tuple[int, int]] = field(default_factory=list)
    cameras: list[tuple[str, int]] = field(default_factory=list)
    dated: bool = False

    @property
    def ids(self) -> list[str]:
        """Ids of the photos, in order."""
        ids: list[str] = self.photos["image_id"].to_pylist()
        return ids

    def beside(self, image_id: str) -> tuple[int | None, str | None, str | None]:
        """Return the place of a photo among them, and the photos before and after it."""
        at = pc.index(self.photos["image_id"], image_id).as_py()
        if at < 0:
            return None, None, None
        around = self.photos["image_id"].slice(max(0, at - 1), 3 if at else 2).to_pylist()
        own = around.index(image_id)
        return at, around[0] if own else None, around[own + 1] if len(around) > own + 1 else None


def gallery(review: Review, snapshot: Snapshot, want: Wanted) -> Shown:
    """Return the photos that are wanted, and what they can be narrowed down to."""
    album = review.lookup.album()
    return snapshot.recent((want, id(album)), lambda: (_narrowed(album, snapshot, want), album))[0]


def _narrowed(album: pa.Table, snapshot: Snapshot, want: Wanted) -> Shown:
    everywhen = Chosen(want.persons, want.without, None, "", want.least)
    album = chosen_photos(snapshot, album, everywhen)
    if want.persons and want.sure != "all":
        sure = {face["image_id"] for face in sure_faces(snapshot, want.persons[0], want.sure)}
        album = album.filter(pc.is_in(album["image_id"], pa.array(sorted(sure), pa.string())))
    cameras = [one for one in _counts(album["camera"]) if len(one[0]) <= MOST_CAMERA]
    album = chosen_photos(snapshot, album, Chosen(camera=want.camera))
    years = sorted((int(one), count) for one, count in _counts(pc.year(album["taken_at"])))
    album = chosen_photos(snapshot, album, Chosen(year=want.year))
    return Shown(album, years, cameras, bool(years))


def sure_faces(snapshot: Snapshot, person_id: str, sure: Sure) -> list[dict[str, Any]]:
    """Return the faces of a person that are as sure as that."""
    faces = snapshot.faces(person_id)
    if sure == "confirmed":
        return [face for face in faces if face["confirmed"]]
    if sure == "doubtful":
        return [f for f in faces if not f["confirmed"] and (f["confidence"] or 0) < DOUBTFUL]
    return faces


def companions(
    snapshot: Snapshot, image_ids: Sequence[str], but: Sequence[str]
) -> list[tuple[dict[str, Any], int]]:
    """Return the persons who are on some photos with the number of these, the most first."""
    seen = {(face["image_id"], face["person_id"]) for face in snapshot.view.on_photos(image_ids)}
    count = Counter(person for _, person in seen if person and person not in but)
    rows = snapshot.rows([person for person, _ in count.most_common(4 * COMPANIONS)])
    shown = [row for row in rows if not row["hidden"]]
    if any(row["name"] or count[row["person_id"]] > 1 for row in shown):  # not whoever passed by
        shown = [row for row in shown if row["name"] or count[row["person_id"]] > 1]
    shown.sort(key=lambda row: (-count[row["person_id"]], row["name"] is None, row["person_id"]))
    return [(row, count[row["person_id"]]) for row in shown[:COMPANIONS]]


def on_page(
    review: Review, snapshot: Snapshot, rows: Sequence[Mapping[str, Any]], first: int, size: int,
    whole: bool = True,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return what a page shows of some photos, each with `image_id`, and their months.

    `month` is None where the row before has the same. With `whole`, the photo itself, the boxes
    of its faces, and who is on it come along.
    """
    part = [dict(row) for row in rows[first : first + size]]
    before = [rows[first - 1]["image_id"]] if first else []
    ids = [*before, *(row["image_id"] for row in part)]
    photos = review.lookup.photos(ids)
    last = _month(photos.get(before[0])) if before else None
    faces = review.lookup.faces_on(ids) if whole else {}
    names = _names(snapshot, ids) if whole else {}
    for row in part:
        image = row["image_id"]
        photo = photos.get(image) or {"width": None, "height": None}
        month = _month(photos.get(image))
        shown = [f for f in faces.get(image, ()) if f["face_id"] not in snapshot.view.rejected]
        row |= {"photo": photo, "faces": shown, "names": names.get(image, ""),
                "month": month if month != last else None}  # fmt: skip
        last = month
    return part


def _month(photo: dict[str, Any] | None) -> str:
    taken = photo["taken_at"] if photo else None
    return f"{taken:%B %Y}" if taken else "No date"


def _names(snapshot: Snapshot, image_ids: Sequence[str]) -> dict[str, str]:
    """Return the names of the persons on each of some photos."""
    found: dict[str, list[str]] = {}
    for face in snapshot.view.on_photos(image_ids):
        if name := snapshot.name_of(face["person_id"]):
            found.setdefault(face["image_id"], []).append(name)
    return {image: ", ".join(dict.fromkeys(names)) for image, names in found.items()}


def _counts(values: pa.ChunkedArray) -> list[tuple[Any, int]]:
    table = pc.value_counts(values.drop_null())
    pairs = [(one["values"], one["counts"]) for one in table.to_pylist()]
    return sorted(pairs, key=lambda pair: (-pair[1], str(pair[0])))
