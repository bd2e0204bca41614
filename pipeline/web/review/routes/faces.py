"""Pages of faces and photos, and the pictures of both."""

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from pipeline.errors import ConfigError
from pipeline.people import actions
from pipeline.people.corrections import Constraint
from pipeline.people.log import Statement, append, new_id
from pipeline.storage.folder import visible
from pipeline.web.pages import plural
from pipeline.web.review.lookup import ID_DIGITS
from pipeline.web.review.parting import take_out
from pipeline.web.review.routes.people import person_label, who_is
from pipeline.web.review.state import Review
from pipeline.web.review.web import (
    FACE_ID,
    FaceId,
    Page,
    act,
    chosen,
    form_of,
    paged,
    render,
    review_of,
)

router = APIRouter()
FACES_SHOWN = 240


@router.get("/nobody")
def nobody(request: Request, page: Page = 1) -> Response:
    """List the faces that are of nobody yet: too small, blurred or turned to tell."""
    snapshot = review_of(request).snapshot()
    faces = snapshot.of_nobody
    at = paged(len(faces), page, FACES_SHOWN)
    shown = faces[at["first"] : at["first"] + FACES_SHOWN]
    return render(request, "nobody.html", "Faces of nobody", faces=shown, names=snapshot.names,
                  **at)  # fmt: skip


@router.post("/nobody")
def give(request: Request) -> Response:
    """Say who faces of nobody are, or that they are no faces."""
    review, form = review_of(request), form_of(request)
    ids, note = chosen(form, "face", FACE_ID), f"review: nobody {form.one('do')[:20]}"
    count = plural(len(ids), "face")
    if form.one("do") == "reject":
        return act(request, lambda: actions.not_a_face(review.people, ids, note),
                   f"{count} marked as no face")  # fmt: skip
    to, called = who_is(review.snapshot(), form.one("to"))
    if called is not None:
        return act(request, lambda: _make_new_person(review, ids, called, note),
                   f"{count}: a new person, {visible(called)}")  # fmt: skip
    assert to is not None
    return act(request, lambda: actions.move(review.people, ids, to, note),
               f"{count} moved to {person_label(review.snapshot(), to)}")  # fmt: skip


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
    if what == "accept":
        return act(request, lambda: actions.a_face(review.people, [face_id], note),
                   "It is a face again")  # fmt: skip
    if what == "split" and owner is not None:
        return take_out(request, owner, [face_id], None, None)
    if what == "cover" and owner is not None:
        return act(request, lambda: actions.cover(review.people, owner, face_id, note),
                   "The cover was set")  # fmt: skip
    if what == "move":
        to, called = who_is(review.snapshot(), form.one("to"))
        if owner is not None:
            return take_out(request, owner, [face_id], to, called)
        if called is not None:
            return act(request, lambda: _make_new_person(review, [face_id], called, note),
                       f"A new person, {visible(called)}")  # fmt: skip
        assert to is not None
        return act(request, lambda: actions.move(review.people, [face_id], to, note),
                   f"Moved to {person_label(review.snapshot(), to)}")  # fmt: skip
    raise ConfigError("This cannot be done with a face of nobody; say who it is instead")


def _make_new_person(review: Review, face_ids: list[str], text: str, note: str) -> Constraint:
    """Make faces of nobody a new person of this name."""
    statement = Statement("name", face_ids, (), new_id(), actions.checked_name(text))
    return append(review.people, [statement], note)
