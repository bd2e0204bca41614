"""Taking faces out of a person: which others follow is shown before anything is done."""

from collections.abc import Sequence

from fastapi import Request
from fastapi.responses import Response

from pipeline.people import actions
from pipeline.people.followers import LEAST_GAP, Parting, part
from pipeline.storage.folder import visible
from pipeline.web.pages import plural
from pipeline.web.review.lookup import vectors_of
from pipeline.web.review.state import Review
from pipeline.web.review.web import act, display_name, form_of, render, review_of

# Of the faces that stay: those least like the ones that go, and those most like them.
STAY_SHOWN = 30


def parting_of(
    review: Review, person_id: str, taken: Sequence[str], kept: Sequence[str] = (),
    least_gap: float = LEAST_GAP,
) -> Parting:  # fmt: skip
    """Return which faces of a person follow some; see `followers.part`."""
    own = [face["face_id"] for face in review.snapshot().view.faces(person_id)]
    compared = list(dict.fromkeys([*taken, *kept, *own]))[: actions.MOST_COMPARED]
    vectors = vectors_of(review.lookup, [face for face in compared if face in set(own)])
    return part(vectors, taken, kept, least_gap)


def take_out(
    request: Request, person_id: str, ids: list[str], to: str | None, called: str | None
) -> Response:
    """Take faces out of a person, as a new one of a name or none, or as the person `to`.

    If others look like going along, they are shown first. What somebody saw staying is kept apart.
    """
    review, form = review_of(request), form_of(request)
    parting = parting_of(review, person_id, ids)
    if parting.follow and form.one("sure") != "yes":
        ends = [*parting.stay[:STAY_SHOWN], *parting.stay[STAY_SHOWN:][-STAY_SHOWN:]]
        return render(
            request, "split.html", "Who goes along?", person_id=person_id, taken=ids,
            follow=parting.follow, stay=ends, more=len(parting.stay) - len(ends),
            name=review.snapshot().name_of(person_id), to=form.one("to").strip(),
            do=form.one("do"), next=form.one("next"),
        )  # fmt: skip
    seen = set(form.all("seen"))
    apart = [face for face in form.all("offered") if face not in ids]
    apart += [face for face in parting.apart if face in seen or not seen]
    apart = apart or parting.stay[:1]
    count = plural(len(ids), "face")
    told = min(len(apart), actions.ANCHORS)
    stays = f"; {told} that stay count as confirmed" if told > 1 else ""
    note = f"review: {form.one('do')} {' '.join(ids[:12])}"
    if to is not None:
        label = visible(display_name(review.snapshot().name_of(to), to))
        return act(request, lambda: actions.move(review.people, ids, to, note, apart),
                   f"{count} moved to {label}{stays}")  # fmt: skip
    new = "a new person" + (f", {visible(called)}" if called else "")
    return act(request, lambda: actions.split(review.people, person_id, ids, note, called, apart),
               f"{count} taken out: {new}{stays}")  # fmt: skip
