"""Pages of duplicates, searching and history."""

from typing import Annotated, Any
from urllib.parse import quote

import pyarrow.compute as pc
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from pipeline.dedupe.apart import keep, not_a_copy, said_of_pictures
from pipeline.dedupe.duplicates import Duplicates
from pipeline.people import actions
from pipeline.people.constraints import KEEPER, MARK, NOT_A_COPY
from pipeline.people.corrections import Constraint, undone
from pipeline.people.log import by_action
from pipeline.storage.folder import visible
from pipeline.web.pages import plural
from pipeline.web.review.state import Review
from pipeline.web.review.web import (
    FACE_ID,
    IMAGE_ID,
    Page,
    act,
    chosen,
    form_of,
    go,
    paged,
    render,
    review_of,
)

router = APIRouter()
GROUPS_SHOWN = 12
# A group may hold thousands of copies of one picture.
COPIES_SHOWN = 24
ACTIONS_SHOWN = 60
REJECTED_SHOWN = 240
CHANGES_TOLD = 3
YEAR_S = 365 * 86_400
# The kind that an action of several corrections is named by: the first of these that it has.
LEADING_KINDS = (
    "undo", NOT_A_COPY, KEEPER, MARK, "not-a-face", "a-face", "name", "cover", "hide", "show",
    "same", "different",
)  # fmt: skip
WORDS = {
    "same": "One person", "different": "Different people", "name": "Named", "show": "Shown again",
    MARK: "A face was added:",
    "not-a-face": "Not a face", "a-face": "A face after all", "hide": "Hidden", "cover": "Cover of",
    "undo": "Taken back",
    NOT_A_COPY: "Not a copy", KEEPER: "Kept of its copies",
}  # fmt: skip


@router.get("/duplicates")
def duplicates(request: Request, page: Page = 1) -> Response:
    """Show copies of one picture side by side, and which one is kept."""
    review = review_of(request)
    store = Duplicates(review.lake)
    if store.current() is None:
        return render(request, "duplicates.html", "Duplicates", groups=None, **paged(0, 1, 1))
    ids = store.table(["group_id"])["group_id"].unique().sort()
    at = paged(len(ids), page, GROUPS_SHOWN)
    wanted = ids.slice(at["first"], GROUPS_SHOWN)
    table = store.table(None, pc.field("group_id").isin(wanted))
    by_group: dict[str, list[dict[str, Any]]] = {}
    for row in table.sort_by([("keep", "descending"), ("image_id", "ascending")]).to_pylist():
        by_group.setdefault(row["group_id"], []).append(row)
    shown = [row["image_id"] for rows in by_group.values() for row in rows[:COPIES_SHOWN]]
    photos = review.lookup.photos(shown)
    said: dict[str, set[str]] = {}
    for row in said_of_pictures(review.people):
        said.setdefault(row.kind, set()).update(row.faces)
    groups = [
        {"kind": next((r["kind"] for r in rows if r["kind"] != "kept"), "kept"),
         "count": len(rows),
         "rows": [{**r, "photo": photos.get(r["image_id"]),
                   "apart": r["image_id"] in said.get(NOT_A_COPY, ()),
                   "chosen": r["image_id"] in said.get(KEEPER, ())}
                  for r in rows[:COPIES_SHOWN]]}
        for _, rows in sorted(by_group.items())
    ]  # fmt: skip
    return render(request, "duplicates.html", "Duplicates", groups=groups, **at)


@router.post("/duplicates")
def no_copy(request: Request) -> Response:
    """Note that a picture is no copy of the others of its group, or that it is kept."""
    review, form = review_of(request), form_of(request)
    photo = chosen(form, "image", IMAGE_ID)[0]
    if form.one("do") == "keep":
        return act(
            request, lambda: keep(Duplicates(review.lake), review.people, photo, "review: keep"),
            "Noted: this one is kept; it counts from the next facelake dedupe",
        )  # fmt: skip
    return act(
        request, lambda: not_a_copy(
            Duplicates(review.lake), review.people, [photo], "review: not-a-copy"
        ),
        "Noted: not a copy; it counts from the next facelake dedupe",
    )  # fmt: skip


@router.get("/search")
def search(
    request: Request,
    face: Annotated[str | None, Query(pattern=r"^[0-9a-f]{32}-[0-9]{1,9}$")] = None,
) -> Response:
    """Ask for a picture, or show faces similar to one of the lake."""
    review = review_of(request)
    result = review.finder.by_face(face) if face else None
    return render(request, "search.html", "Search", result=result, face=face, people=())


@router.post("/search")
def search_picture(request: Request) -> Response:
    """Show who is on a picture and faces similar to its largest; the picture is not stored."""
    review = review_of(request)
    result, everybody = review.finder.by_picture(form_of(request).file)
    ids = [one.person.person_id for one in everybody if one.person]
    rows = {row["person_id"]: row for row in review.snapshot().rows(ids)}
    people = [
        {"row": rows.get(one.person.person_id), "similarity": one.person.similarity}
        if one.person else {"row": None, "similarity": None}
        for one in everybody
    ]  # fmt: skip
    return render(request, "search.html", "Search", result=result, face=None, people=people)


@router.get("/rejected")
def rejected(request: Request, page: Page = 1) -> Response:
    """List the faces that were rejected."""
    now = review_of(request).snapshot().view
    faces = sorted(now.rejected - now.withdrawn)
    at = paged(len(faces), page, REJECTED_SHOWN)
    shown = faces[at["first"] : at["first"] + REJECTED_SHOWN]
    return render(request, "rejected.html", "Not a face", faces=shown, **at)


@router.post("/rejected")
def accept(request: Request) -> Response:
    """Take rejected faces back."""
    review, ids = review_of(request), chosen(form_of(request), "face", FACE_ID)
    count = plural(len(ids), "face")
    return act(request, lambda: actions.a_face(review.people, ids, f"review: a-face {count}"),
               f"{count} taken back")  # fmt: skip


@router.get("/me")
def me(request: Request) -> Response:
    """Ask under which name the history notes what somebody does here."""
    return render(request, "me.html", "Who are you?")


@router.post("/me")
def call_me(request: Request) -> Response:
    """Keep that name in a cookie of this browser."""
    review, form = review_of(request), form_of(request)
    name = actions.checked_name(form.one("me"))
    answer = go(form.one("next"))
    answer.set_cookie(review.config.me_cookie, quote(name), max_age=YEAR_S, httponly=True,
                      samesite="strict")  # fmt: skip
    return answer


@router.get("/changes")
def changes(request: Request, since: Annotated[str, Query(max_length=300)] = "") -> Response:
    """Tell what was corrected since a page was made, as JSON: `version` now, and `said` of each."""
    review = review_of(request)
    now = review.version()
    last, _, run = since.partition("@")
    files = review.people.constraint_files()
    rows = [row for name in sorted(files) if name > last for row in files[name]] if since else []
    said = [_told(review, one) for one in by_action(rows)[-CHANGES_TOLD:]]
    if since and run != now.partition("@")[2]:
        said.append("people were grouped anew")
    return JSONResponse({"version": now, "said": said})


def _told(review: Review, rows: list[Constraint]) -> str:
    """Return an action in a few words: who, what, whom."""
    one = _action(rows, frozenset())
    whom = one["name"] or (review.snapshot().name_of(one["person_id"]) if one["person_id"] else "")
    return visible(f"{one['by'] or 'somebody'}: {one['kind']}" + (f" {whom}" if whom else ""))


@router.get("/history")
def history(request: Request, page: Page = 1) -> Response:
    """List all corrections, the last first."""
    rows = review_of(request).people.constraints()
    gone = undone(rows)
    latest = by_action(rows)[::-1]
    at = paged(len(latest), page, ACTIONS_SHOWN)
    shown = [_action(rows, gone) for rows in latest[at["first"] : at["first"] + ACTIONS_SHOWN]]
    for one in shown:
        one["whom"] = review_of(request).snapshot().name_of(one["person_id"])
    return render(request, "history.html", "History", actions=shown, **at)


def _said(lead: Constraint, kinds: set[str], rows: list[Constraint]) -> str:
    """Return what was done, in words that a name may follow."""
    if "different" in kinds and kinds & {"same", "name"} and "undo" not in kinds:
        count = len({face for row in rows if row.kind == "different" for face in row.faces})
        return f"{plural(count, 'face')} moved to"
    if lead.kind == "name" and not lead.value:
        return "Name removed"
    if lead.kind in ("not-a-face", "a-face") and len(lead.faces) > 1:
        return f"{WORDS[lead.kind]}: {len(lead.faces)} faces"
    if kinds == {"same"}:
        return "Made one, or confirmed:"
    return WORDS.get(lead.kind, lead.kind)


def _action(rows: list[Constraint], gone: frozenset[str]) -> dict[str, Any]:
    """Return what a template shows of one action."""
    kinds = {row.kind for row in rows}
    lead = min(
        rows, key=lambda row: LEADING_KINDS.index(row.kind) if row.kind in LEADING_KINDS else 99
    )
    last = rows[-1]
    return {
        "id": last.constraint_id, "at": last.created_at, "by": last.made_by,
        "kind": _said(lead, kinds, rows), "undo": lead.kind == "undo",
        "name": lead.value if lead.kind == "name" else None, "note": last.note, "whom": None,
        "person_id": next((r.person_id for r in reversed(rows) if r.person_id), None),
        "faces": next((r.faces[0] for r in reversed(rows) if r.faces), None)
        if lead.kind not in (NOT_A_COPY, KEEPER) else None,
        "gone": all(row.constraint_id in gone for row in rows),
    }  # fmt: skip
