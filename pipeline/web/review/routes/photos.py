"""Pages of photos: all of them, one with its faces, and the pictures of both."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import Response, StreamingResponse

from pipeline.errors import ConfigError, FacelakeError
from pipeline.people.albums import zipped
from pipeline.storage.folder import visible
from pipeline.web.review.gallery import Wanted, gallery, on_page, wanted
from pipeline.web.review.pictures import PHOTO_SIDE, SMALL_SIDE
from pipeline.web.review.routes.people import (
    PHOTOS_SHOWN,
    find_person,
    known,
    like,
    person_label,
    who_is,
)
from pipeline.web.review.snapshot import Snapshot
from pipeline.web.review.web import (
    FaceId,
    ImageId,
    Page,
    PersonId,
    act,
    form_of,
    paged,
    render,
    review_of,
)

router = APIRouter()
# Labels inside a picture; the whole name is in the list beside it.
LABEL = 24
Want = Annotated[Wanted, Depends(wanted)]


@router.get("/photos")
def photos(request: Request, want: Want, page: Page = 1) -> Response:
    """List photos: all, or those with some persons, without others, of a year or camera."""
    review = review_of(request)
    snapshot, problem = review.snapshot(), ""
    try:
        want = known(snapshot, want)
        named = [[_called(snapshot, one) for one in ids] for ids in (want.persons, want.without)]
    except ConfigError:  # the page stays, with what was typed
        problem = _unknown(snapshot, want)
        named = [list(want.persons), list(want.without)]
        want = replace(want, persons=(), without=())
    shown = gallery(review, snapshot, want)
    at = paged(len(shown.photos), page, PHOTOS_SHOWN)
    start = max(0, at["first"] - 1)  # the one before tells whether a month goes on
    rows = shown.photos.slice(start, PHOTOS_SHOWN + 1).select(["image_id"]).to_pylist()
    return render(
        request, "photos.html", "Photos", want=want, shown=shown, names=snapshot.names,
        items=on_page(review, snapshot, rows, at["first"] - start, PHOTOS_SHOWN), link=want.query(),
        pages=want.query(), with_names=named[0], without_names=named[1],
        together="" if problem else " and ".join(named[0]), problem=problem,
        status=400 if problem else 200, **at,
    )  # fmt: skip


def _unknown(snapshot: Snapshot, want: Wanted) -> str:
    """Return what is wrong with names that were typed, for people."""
    for text in (*want.persons, *want.without):
        try:
            find_person(snapshot, text)
        except ConfigError:
            several = len(snapshot.with_name(text)) > 1
            what = "Several people are" if several else "Nobody is"
            close = like(snapshot, text)
            hint = f"; did you mean {close}?" if close and not several else ""
            return f"{what} called {visible(text)}{hint} All photos are shown."
    return ""


def _called(snapshot: Snapshot, person_id: str) -> str:
    return snapshot.name_of(person_id) or person_id


@router.get("/photos/{image_id}")
def photo(request: Request, image_id: ImageId, want: Want) -> Response:
    """Show a photo with its faces, and lead to its neighbours among those that are wanted."""
    review = review_of(request)
    row = review.lookup.photo(image_id)
    if row is None:
        raise HTTPException(404, "There is no such photo")
    snapshot = review.snapshot()
    want = known(snapshot, want)
    shown = gallery(review, snapshot, want)
    at, before, after = shown.beside(image_id)
    taken = row["taken_at"]
    return render(
        request, "photo.html", "Photo", photo=row, boxes=_boxes(request, image_id), at=at,
        of=len(shown.photos), before=before, after=after, names=snapshot.names, link=want.query(),
        up=_up(want, image_id, at or 0), taken=f"{taken:%Y-%m-%d %H:%M}" if taken else "",
    )  # fmt: skip


def _up(want: Wanted, image_id: str, at: int) -> str:
    """Return where one came from, a person or the list of photos, at the photo last shown."""
    page = [("page", str(at // PHOTOS_SHOWN + 1))]
    place = f"#photo-{image_id}"
    if want.persons and not want.without and not want.least:
        rest = replace(want, persons=want.persons[1:])
        return f"/people/{want.persons[0]}?{urlencode(rest.query() + page)}{place}"
    return f"/photos?{urlencode(want.query() + page)}{place}"


def _boxes(request: Request, image_id: str) -> list[dict[str, Any]]:
    """Return the faces of a photo, with whom they are."""
    review = review_of(request)
    snapshot = review.snapshot()
    boxes = [
        box for box in review.lookup.boxes(image_id)
        if box["face_id"] not in snapshot.view.withdrawn
    ]  # fmt: skip
    where = snapshot.view.persons_of([box["face_id"] for box in boxes])
    for box in boxes:
        box["person_id"] = where.get(box["face_id"])
        box["name"] = snapshot.name_of(box["person_id"])
        box["rejected"] = box["face_id"] in snapshot.view.rejected
        label = box["name"] or ""
        box["label"] = label if len(label) <= LABEL else f"{label[: LABEL - 1]}…"
    return boxes


@router.post("/photos/{image_id}/faces")
def draw(request: Request, image_id: ImageId) -> Response:
    """Keep a face that somebody drew on a photo, and say who it is."""
    review, form = review_of(request), form_of(request)
    try:
        box = [float(one) for one in form.one("box").split(",")]
    except ValueError:
        box = []
    if len(box) != 4:
        raise ConfigError("The frame needs four numbers: left, top, right, bottom, in pixels")
    snapshot, person, called = review.snapshot(), None, None
    if form.one("name").strip():
        person, called = who_is(snapshot, form.one("name"))
    who = visible(called) if called else person_label(snapshot, person) if person else "nobody yet"
    return act(
        request,
        lambda: review.marker.mark(image_id, box, person, called, "review: mark"),
        f"A face was added: {who}",
    )


@router.get("/people/{person_id}/photos.zip")
def packed(request: Request, person_id: PersonId, want: Want) -> Response:
    """Send the original photos of a person as one zip file."""
    review = review_of(request)
    snapshot = review.snapshot()
    person = snapshot.view.person(person_id)
    if person is None:
        raise HTTPException(404, "There is no such person any more")
    want = known(snapshot, want)
    shown = gallery(review, snapshot, replace(want, persons=(person_id, *want.persons)))
    rows = review.lookup.photos(shown.ids)

    def pieces() -> Iterator[bytes]:
        yield from zipped(review.originals, [rows[image] for image in shown.ids if image in rows])

    name = quote(f"{(person['name'] or 'photos').replace('/', '_')}.zip")
    head = {"content-disposition": f"attachment; filename*=UTF-8''{name}"}
    return StreamingResponse(pieces(), media_type="application/zip", headers=head)


@router.get("/photos/{image_id}/picture")
def picture(request: Request, image_id: ImageId) -> Response:
    """Return a photo: pixels alone, at most `PHOTO_SIDE` a side."""
    return _jpeg(request, image_id, PHOTO_SIDE)


@router.get("/photos/{image_id}/small")
def small(request: Request, image_id: ImageId) -> Response:
    """Return a photo of at most `SMALL_SIDE` a side."""
    return _jpeg(request, image_id, SMALL_SIDE)


@router.get("/thumbs/{face_id}")
def thumb(request: Request, face_id: FaceId) -> Response:
    """Return the small picture of a face."""
    try:
        data = review_of(request).pictures.face(face_id)
    except FacelakeError:
        data = None
    return _picture(data)


def _jpeg(request: Request, image_id: str, side: int) -> Response:
    try:
        data = review_of(request).pictures.photo(image_id, side)
    except FacelakeError:  # the page itself shows the reason
        data = None
    return _picture(data)


def _picture(data: bytes | None) -> Response:
    if data is None:
        return Response("no picture", 404, media_type="text/plain")
    return Response(data, media_type="image/jpeg")
