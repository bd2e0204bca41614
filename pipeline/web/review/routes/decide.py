"""Pages of decisions: Same person? and Who is this?"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from pipeline.errors import ConfigError
from pipeline.people import actions
from pipeline.people.answers import different, together
from pipeline.storage.folder import visible
from pipeline.web.review.parting import parting_of
from pipeline.web.review.state import Review
from pipeline.web.review.web import (
    FACE_ID,
    PERSON_ID,
    Page,
    act,
    chosen,
    display_name,
    form_of,
    paged,
    render,
    review_of,
)

router = APIRouter()
# One picture is not enough to decide, and nobody looks at more than ten.
EXEMPLARS = 10
UNKNOWN_SHOWN = 12
FACES_OF_UNKNOWN = 6

Kind = Literal["all", "groups", "singles"]


@router.get("/suggestions")
def suggestions(request: Request, at: Annotated[int, Query(ge=0, le=1_000_000)] = 0) -> Response:
    """Ask whether two groups of faces are one person, the most doubtful first."""
    review = review_of(request)
    snapshot = review.snapshot()
    rows = snapshot.suggestions
    at = at if at < len(rows) else 0
    if not rows:
        return render(request, "suggestions.html", "Same person?", row=None, at=0, total=0)
    row = rows[at]
    return render(
        request, "suggestions.html", "Same person?", row=row, at=at, total=len(rows),
        sides=_sides(review, row),
    )  # fmt: skip


@router.post("/suggestions")
def answer(request: Request) -> Response:
    """Take an answer: yes makes or keeps them one person, no two."""
    review, form = review_of(request), form_of(request)
    persons = chosen(form, "person", PERSON_ID)
    same, note = form.one("answer") == "yes", f"review: answer {form.one('answer')[:3]}"
    if len(persons) == 2:
        if same:
            rows = [r for p in persons if (r := review.snapshot().view.person(p)) is not None]
            rows.sort(key=lambda row: (row["name"] is None, -row["faces"]))
            ids = [row["person_id"] for row in rows]
            return act(request, lambda: actions.merge(review.people, ids, note),
                       "Yes: one person")  # fmt: skip
        return act(request, lambda: different(review.people, persons[0], persons[1], note),
                   "No: two people, kept apart")  # fmt: skip
    faces = chosen(form, "face", FACE_ID)
    if same:
        return act(request, lambda: together(review.people, persons[0], faces[:2], note),
                   "Yes: one person")  # fmt: skip
    stay, other = _split_faces(review, persons[0], faces[0], faces[1])
    # What was shown of the first side is kept apart; the page shows no more of it.
    apart = _shown(review, persons[0], faces[0], stay)
    return act(request, lambda: actions.split(review.people, persons[0], other, note, None, apart),
               f"No: two people; a new person has {len(other)} of the faces")  # fmt: skip


def _sides(review: Review, row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return both sides of a suggestion: person, name, number of faces, some of them."""
    snapshot = review.snapshot()
    if row["kind"] == "merged":
        parted = _split_faces(review, row["person_a"], row["face_a"], row["face_b"])
        persons = (row["person_a"], row["person_a"])
        faces = [list(side) for side in parted]
    else:
        persons = (row["person_a"], row["person_b"])
        faces = [[face["face_id"] for face in snapshot.view.faces(person)] for person in persons]
    sides = []
    for person, of_side, first in zip(persons, faces, (row["face_a"], row["face_b"]), strict=True):
        sides.append({
            "person_id": person, "name": snapshot.name_of(person), "count": len(of_side),
            "faces": _shown(review, person, first, of_side),
        })  # fmt: skip
    return sides


def _shown(review: Review, person_id: str, first: str, side: Sequence[str]) -> list[str]:
    """Return the faces of one side of a suggestion that the page shows."""
    row = review.snapshot().view.person(person_id)
    good = [*(row["exemplars"] if row else []), *side]
    return list(dict.fromkeys([first, *(face for face in good if face in set(side))]))[:EXEMPLARS]


def _split_faces(
    review: Review, person_id: str, first: str, second: str
) -> tuple[Sequence[str], Sequence[str]]:
    """Return the faces of a person that are more similar to the first face, and to the second.

    Raises:
        ConfigError: one of the two is not a face of the person any more.
    """
    own = {face["face_id"] for face in review.snapshot().view.faces(person_id)}
    parting = parting_of(review, person_id, [second], [first], least_gap=-1.0)
    if not {first, second} <= own or first not in parting.stay:
        raise ConfigError("These faces are not of one person any more; load the page again")
    return parting.stay, [second, *parting.follow]


@router.get("/unknown")
def unknown(request: Request, kind: Kind = "all", page: Page = 1) -> Response:
    """Ask who people without a name are; those with most faces come first."""
    snapshot = review_of(request).snapshot()
    table = snapshot.unnamed(kind)
    at = paged(len(table), page, UNKNOWN_SHOWN)
    rows = table.slice(at["first"], UNKNOWN_SHOWN).to_pylist()
    return render(
        request, "unknown.html", "Who is this?", rows=rows, kind=kind, names=snapshot.names,
        proposals=snapshot.proposals([row["person_id"] for row in rows]), shown=FACES_OF_UNKNOWN,
        **at,
    )  # fmt: skip


@router.post("/unknown")
def name_unknown(request: Request) -> Response:
    """Give a person without a name one, or merge it into a person who has that name."""
    review, form = review_of(request), form_of(request)
    person = chosen(form, "person", PERSON_ID)[0]
    into = form.one("into")
    if not into:
        text = actions.checked_name(form.one("name"))
        others = [row for row in review.snapshot().with_name(text) if row["person_id"] != person]
        if not others:
            return act(request, lambda: actions.name(review.people, person, text,
                                                     f"review: name {person} {text}"),
                       f"Called {visible(text)}")  # fmt: skip
        into = str(others[0]["person_id"])
    if not PERSON_ID.fullmatch(into):
        raise ConfigError("The form holds something that is no id; load the page again")
    name = display_name(review.snapshot().name_of(into), into)
    return act(request, lambda: actions.merge(review.people, [into, person],
                                              f"review: merge {into} {person}"),
               f"Added to {visible(name)}")  # fmt: skip
