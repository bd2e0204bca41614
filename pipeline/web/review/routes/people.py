"""Pages of persons: the list, one person, names, merging, and what is done with chosen faces."""

import difflib
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import pyarrow.compute as pc
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response

from pipeline.errors import ConfigError
from pipeline.people import actions
from pipeline.people.answers import together
from pipeline.people.view import SHORTEST_PREFIX
from pipeline.storage.folder import visible
from pipeline.web.pages import plural
from pipeline.web.review.gallery import (
    Shown,
    Wanted,
    companions,
    gallery,
    on_page,
    sure_faces,
    wanted,
)
from pipeline.web.review.parting import take_out
from pipeline.web.review.snapshot import Show, Snapshot
from pipeline.web.review.state import Review
from pipeline.web.review.web import (
    FACE_ID,
    PERSON_ID,
    Page,
    PersonId,
    act,
    chosen,
    display_name,
    form_of,
    go,
    paged,
    render,
    review_of,
)

router = APIRouter()
PERSONS_SHOWN, FACES_SHOWN, PHOTOS_SHOWN = 60, 120, 60
LONGEST_QUERY = 200
SPELLED_ALIKE = 0.85

Sort = Literal["size", "name", "recent"]


@router.get("/")
def people(
    request: Request,
    sort: Sort = "size",
    text: Annotated[str, Query(alias="q", max_length=LONGEST_QUERY)] = "",
    show: Show = "all",
    least: Annotated[str, Query(pattern=r"^[0-9]{0,7}$")] = "",
    page: Page = 1,
) -> Response:
    """List the people."""
    snapshot = review_of(request).snapshot()
    fewest = int(least or 0)
    table = snapshot.listed(sort, text.strip(), show, fewest)
    at = paged(len(table), page, PERSONS_SHOWN)
    return render(
        request, "people.html", "People", rows=table.slice(at["first"], PERSONS_SHOWN).to_pylist(),
        sort=sort, text=text, show=show, least=fewest, names=snapshot.names, **at,
    )  # fmt: skip


@router.get("/people/{person_id}")
def person(
    request: Request,
    person_id: PersonId,
    want: Annotated[Wanted, Depends(wanted)],
    view: Literal["photos", "faces"] = "photos",
    page: Page = 1,
) -> Response:
    """Show a person: photos or faces by month, with whom, and who is alike."""
    review = review_of(request)
    snapshot = review.snapshot()
    # links from before a merge still work
    person_id = snapshot.view.merged.get(person_id, person_id)
    row = snapshot.view.person(person_id)
    if row is None:
        raise HTTPException(404, "There is no such person any more")
    want = known(snapshot, want)
    whole = replace(want, persons=(person_id, *want.persons))
    shown = gallery(review, snapshot, whole)
    faces = snapshot.recent(
        ("in order", whole, view, id(shown)),
        lambda: (_in_order(snapshot, person_id, want, shown, view), shown),
    )[0]
    size = PHOTOS_SHOWN if view == "photos" else FACES_SHOWN
    at = paged(len(faces), page, size)
    items = on_page(review, snapshot, faces, at["first"], size, view == "photos")
    return render(
        request, "person.html", display_name(row["name"], person_id), person=row, view=view,
        names=snapshot.names, want=want, shown=shown, items=items, link=whole.query(),
        photos=len({face["image_id"] for face in snapshot.faces(person_id)}),
        pages=[*want.query(), ("view", view)], with_rows=snapshot.rows(want.persons),
        company=companions(snapshot, shown.ids, whole.persons) if page == 1 else (),
        alike=snapshot.alike(person_id) if page == 1 else (), **at,
    )  # fmt: skip


def _in_order(
    snapshot: Snapshot, person_id: str, want: Wanted, shown: Shown, view: str
) -> list[dict[str, Any]]:
    """Return the faces of a person on the photos that are shown, in their order.

    Of several on one photo, a list of photos has the first.
    """
    place = {image: at for at, image in enumerate(shown.ids)}
    own = [f for f in sure_faces(snapshot, person_id, want.sure) if f["image_id"] in place]
    faces = sorted(own, key=lambda face: (place[face["image_id"]], face["face_id"]))
    if view == "photos":
        return list({face["image_id"]: face for face in reversed(faces)}.values())[::-1]
    return faces


@router.post("/people/{person_id}/name")
def name(request: Request, person_id: PersonId) -> Response:
    """Give a name; if somebody has it already, ask whether the two are one person."""
    review, form = review_of(request), form_of(request)
    text = form.one("name")
    if not text.strip():
        if review.snapshot().name_of(person_id) is None:
            raise ConfigError("No name was given; type one first")
        return act(request, lambda: actions.unname(review.people, person_id, "review: no name"),
                   "The name was taken away")  # fmt: skip
    text = actions.checked_name(text)
    others = [row for row in review.snapshot().with_name(text) if row["person_id"] != person_id]
    answer = form.one("same")
    if others and answer == "yes":
        into = others[0]["person_id"]
        return act(request, lambda: actions.merge(review.people, [into, person_id],
                                                  f"review: merge {into} {person_id}"),
                   f"Added to {visible(text)}", form.one("next") or f"/people/{into}")  # fmt: skip
    if others and answer != "no":
        return render(request, "same_name.html", "Is it the same person?", person_id=person_id,
                      name=text, others=others, next=form.one("next"))  # fmt: skip
    return act(request, lambda: actions.name(review.people, person_id, text,
                                             f"review: name {person_id} {text}"),
               f"Called {new_label(review.snapshot(), text)}")  # fmt: skip


@router.post("/hide")
def hide(request: Request) -> Response:
    """Hide persons from lists, or show them again."""
    review, form = review_of(request), form_of(request)
    ids = chosen(form, "person", PERSON_ID)
    which = f"{len(ids)} people" if len(ids) > 1 else person_label(review.snapshot(), ids[0])
    if form.one("hidden") == "no":
        return act(request, lambda: actions.unhide(review.people, ids, "review: unhide"),
                   f"Shown in lists again: {which}")  # fmt: skip
    return act(request, lambda: actions.hide(review.people, ids, "review: hide"),
               f"Hidden from lists: {which}")  # fmt: skip


@router.post("/people/{person_id}/faces")
def faces(request: Request, person_id: PersonId) -> Response:
    """Do something with chosen faces of a person."""
    review, form = review_of(request), form_of(request)
    ids = chosen(form, "face", FACE_ID)
    what, count = form.one("do"), plural(len(ids), "face")
    note = f"review: {what} {' '.join(ids[:12])}"
    if what in ("split", "move", "confirm", "cover"):
        check_theirs(review, person_id, ids)
    if what == "split":
        return take_out(request, person_id, ids, None, None)
    if what == "confirm":
        return act(request, lambda: together(review.people, person_id, ids, note),
                   f"{count} confirmed")  # fmt: skip
    if what == "reject":
        return act(request, lambda: actions.not_a_face(review.people, ids, note),
                   f"{count} marked as no face")  # fmt: skip
    if what == "cover":
        if len(ids) != 1:
            raise ConfigError("One face is the cover; tick exactly one")
        return act(request, lambda: actions.cover(review.people, person_id, ids[0], note),
                   "The cover was set")  # fmt: skip
    if what == "move":
        return take_out(request, person_id, ids, *who_is(review.snapshot(), form.one("to")))
    raise ConfigError("Nothing was asked for; use the buttons of the page")


@router.post("/merge")
def merge(request: Request) -> Response:
    """Make persons one; asks which name to keep if there are two."""
    review, form = review_of(request), form_of(request)
    ids = chosen(form, "person", PERSON_ID)
    into, called = None, None
    if form.one("into").strip():
        into, called = who_is(review.snapshot(), form.one("into"))
    if called:
        actions.checked_name(called)
    if into:
        ids = [into, *ids]
    ids = list(dict.fromkeys(ids))
    if called and len(ids) == 1:
        return act(request, lambda: actions.name(review.people, ids[0], called,
                                                 f"review: name {ids[0]} {called}"),
                   f"Called {visible(called)}")  # fmt: skip
    if len(ids) < 2:
        raise ConfigError("Merging needs two different persons; tick two or more, or say who "
                          "they are")  # fmt: skip
    rows = [row for one in ids if (row := review.snapshot().view.person(one)) is not None]
    if len(rows) < len(ids):
        raise ConfigError("One of these persons is not there any more; load the page again")
    keep = form.one("keep")
    rows.sort(key=lambda row: (row["person_id"] != keep, row["name"] is None, -row["faces"]))
    names = {row["name"] for row in rows if row["name"]}
    if len(names) > 1 and keep not in ids and not called:
        return render(request, "merge.html", "Which name is right?", rows=rows,
                      next=form.one("next"))  # fmt: skip
    ordered = [row["person_id"] for row in rows]
    kept = called or display_name(rows[0]["name"], ordered[0])
    return act(request, lambda: actions.merge(review.people, ordered,
                                              f"review: merge {' '.join(ordered[:12])}", called),
               f"{len(ordered)} persons are one: {visible(kept)}")  # fmt: skip


@router.post("/undo")
def undo(request: Request) -> Response:
    """Take an action back: the one that is named, or the last."""
    review, form = review_of(request), form_of(request)
    wanted = form.one("id") or None
    was = review.message(wanted or "") or ""
    message = f"Taken back: {was}" if was and not was.startswith("Taken back") else "Taken back"
    if wanted in (review.people.current() or {}).get("constraints", ()):
        # The tables were made with it; names and flags show at once all the same.
        message += "; what it grouped is grouped anew by the next facelake cluster"
    undone = review.act(lambda: review.undo(wanted, "review: undo"), message)
    return go(form.one("next"), undone)


def check_theirs(review: Review, person_id: str, face_ids: Sequence[str]) -> None:
    """Check that faces are still those of a person; the page may be older than a change.

    Raises:
        ConfigError: some are not; it says who they are now.
    """
    snapshot = review.snapshot()
    now = snapshot.view.persons_of(face_ids)
    gone = [face for face in face_ids if now.get(face) != person_id]
    if gone and person_id not in snapshot.view.merged:
        others = {now.get(face) for face in gone}
        who = ", ".join(sorted(person_label(snapshot, one) if one else "nobody" for one in others))
        raise ConfigError(
            f"{len(gone)} of the {len(face_ids)} ticked faces were moved meanwhile (now: {who}). "
            "Nothing was changed; your ticks are kept"
        )


def known(snapshot: Snapshot, want: Wanted) -> Wanted:
    """Return what is wanted with ids of persons in place of names.

    Raises:
        ConfigError: there is nobody of a name, or there are several.
    """
    return replace(
        want, persons=tuple(find_person(snapshot, one) for one in want.persons),
        without=tuple(find_person(snapshot, one) for one in want.without),
    )  # fmt: skip


def find_person(snapshot: Snapshot, text: str) -> str:
    """Return the person with this name, id or start of one.

    Raises:
        ConfigError: nobody, or several.
    """
    if not text.strip():
        raise ConfigError("Nobody was named; give the name or id of a person")
    return snapshot.view.lookup(text.strip())


def who_is(snapshot: Snapshot, text: str) -> tuple[str | None, str | None]:
    """Return the id of the person whom a text means, or else the name of somebody new.

    Raises:
        ConfigError: it is empty, or means several.
    """
    text = text.strip()
    return (None, text) if is_new_name(snapshot, text) else (find_person(snapshot, text), None)


def is_new_name(snapshot: Snapshot, text: str) -> bool:
    """Return whether this is a name that nobody has, and not an id or the start of one."""
    ids = snapshot.view.people["person_id"]
    begins = len(text) >= SHORTEST_PREFIX and pc.any(pc.starts_with(ids, text)).as_py()
    return bool(text) and not begins and not snapshot.with_name(text)


def like(snapshot: Snapshot, text: str) -> str:
    """Return a name that is spelled almost like another, empty if there is none."""
    close = difflib.get_close_matches(text.casefold(), [n.casefold() for n in snapshot.names], 1,
                                      SPELLED_ALIKE)  # fmt: skip
    return next((n for n in snapshot.names if close and n.casefold() == close[0]), "")


def new_label(snapshot: Snapshot, text: str) -> str:
    """Return the name of a person who is new, safe to show, with a doubt about its spelling."""
    close = like(snapshot, text)
    return visible(text) + (f" (a new name; not {visible(close)}?)" if close else "")


def person_label(snapshot: Snapshot, person_id: str) -> str:
    """Return the name of a person, safe to show."""
    return visible(display_name(snapshot.name_of(person_id), person_id))
