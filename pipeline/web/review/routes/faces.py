"""Pages of faces and photos, and the pictures of both."""

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from pipeline.errors import ConfigError, FacelakeError
from pipeline.people import actions
from pipeline.people.corrections import Constraint
from pipeline.people.log import Statement, append, new_id
from pipeline.storage.folder import visible
from pipeline.web.review.lookup import ID_DIGITS
from pipeline.web.review.parting import take_out
from pipeline.web.review.pictures import PHOTO_SIDE, SMALL_SIDE
from pipeline.web.review.routes.people import find_person, is_new_name, person_label
from pipeline.web.review.state import Review
from pipeline.web.review.web import FaceId, ImageId, act, form_of, render, review_of

router = APIRouter()
# Labels inside a picture; the whole name is in the list below it.
LABEL = 24


@router.get("/faces/{face_id}")
def face(request: Request, face_id: FaceId) -> Response:
    """Show a face and what can be done with it."""
    review = review_of(request)
    photo = review.lookup.photo(face_id[:ID_DIGITS])
    rows = [row for row in review.lookup.boxes(face_id[:ID_DIGITS]) if row["face_id"] == face_id]
    if photo is None or not rows:
        raise HTTPException(404, "There is no such face")
    snapshot = review.snapshot()
    where = snapshot.view.persons_of([face_id])
    owner = where.get(face_id)
    return render(
        request, "face.html", "Face", face=rows[0], photo=photo, owner=owner,
        owner_name=snapshot.name_of(owner), rejected=face_id in snapshot.view.rejected,
        clustered=face_id in where, names=snapshot.names,
    )  # fmt: skip


@router.post("/faces/{face_id}")
def change(request: Request, face_id: FaceId) -> Response:
    """Do something with one face."""
    review, form = review_of(request), form_of(request)
    what, note = form.one("do"), f"review: {form.one('do')[:20]} {face_id}"
    owner = review.snapshot().view.persons_of([face_id]).get(face_id)
    if what == "reject":
        return act(request, lambda: actions.not_a_face(review.people, [face_id], note),
                   "Marked as no face")  # fmt: skip
    if what == "split" and owner is not None:
        return take_out(request, owner, [face_id], None, None)
    if what == "cover" and owner is not None:
        return act(request, lambda: actions.cover(review.people, owner, face_id, note),
                   "The cover was set")  # fmt: skip
    if what == "move":
        text = form.one("to").strip()
        new = is_new_name(review.snapshot(), text)
        to = None if new else find_person(review.snapshot(), text)
        if owner is not None:
            return take_out(request, owner, [face_id], to, text if new else None)
        if to is None:
            return act(request, lambda: _make_new_person(review, face_id, text, note),
                       f"A new person, {visible(text)}")  # fmt: skip
        return act(request, lambda: actions.move(review.people, [face_id], to, note),
                   f"Moved to {person_label(review.snapshot(), to)}")  # fmt: skip
    raise ConfigError("This cannot be done with a face of nobody; say who it is instead")


def _make_new_person(review: Review, face_id: str, text: str, note: str) -> Constraint:
    """Make a face of nobody a new person of this name."""
    statement = Statement("name", [face_id], (), new_id(), actions.checked_name(text))
    return append(review.people, [statement], note)


@router.get("/photos/{image_id}")
def photo(request: Request, image_id: ImageId) -> Response:
    """Show a photo with its faces."""
    review = review_of(request)
    row = review.lookup.photo(image_id)
    if row is None:
        raise HTTPException(404, "There is no such photo")
    snapshot = review.snapshot()
    boxes = review.lookup.boxes(image_id)
    where = snapshot.view.persons_of([box["face_id"] for box in boxes])
    for box in boxes:
        box["person_id"] = where.get(box["face_id"])
        box["name"] = snapshot.name_of(box["person_id"])
        box["rejected"] = box["face_id"] in snapshot.view.rejected
        label = box["name"] or ""
        box["label"] = label if len(label) <= LABEL else f"{label[: LABEL - 1]}…"
    return render(request, "photo.html", "Photo", photo=row, boxes=boxes)


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
