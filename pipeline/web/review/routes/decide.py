"""Pages of questions: are these one person, who is this, and which of these are theirs."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from pipeline.clustering.questions import answering
from pipeline.clustering.questions.answering import NO, YES, Answered
from pipeline.clustering.questions.question import Candidate, Kind, Question
from pipeline.clustering.questions.queue import Queue
from pipeline.errors import ConfigError
from pipeline.people.actions import checked_name
from pipeline.storage.folder import visible
from pipeline.web.review.snapshot import Snapshot
from pipeline.web.review.state import Review
from pipeline.web.review.web import MESSAGE, act, display_name, form_of, go, render, review_of

router = APIRouter()
# Keys choose among the first candidates.
KEYS = 9
TITLES: dict[Kind | None, str] = {
    "same": "Same person?", "half": "Two in one?", "who": "Who is this?", "batch": "Many at once",
}  # fmt: skip


@router.get("/suggestions")
def suggestions() -> Response:
    """Lead to the questions."""
    return RedirectResponse("/questions", 303)


@router.get("/unknown")
def unknown() -> Response:
    """Lead to the questions about people without a name."""
    return RedirectResponse("/questions?kind=who", 303)


@router.get("/questions")
def questions(
    request: Request,
    kind: Kind | None = None,
    at: Annotated[int, Query(ge=0, le=1_000)] = 0,
) -> Response:
    """Ask the question whose answer is expected to put most faces right."""
    review = review_of(request)
    question, progress = review.questions(at, kind)
    if question is None and at:
        at, (question, progress) = 0, review.questions(0, kind)
    snapshot = review.snapshot()
    template = "unknown.html" if question and question.candidates else "suggestions.html"
    if question and question.kind == "who":
        template = "unknown.html"
    message_id = request.query_params.get(MESSAGE, "")
    return render(
        request, template, TITLES.get(question.kind if question else kind, "Questions"),
        question=question, progress=progress, at=at, kind=kind, keys=KEYS,
        names=snapshot.names, followed=review.followed(message_id),
        last_answer=review.last_answer,
        left=_label(snapshot, question.left) if question else None,
        right=_label(snapshot, question.right) if question and question.right else None,
        candidates=[_shown(snapshot, question, one) for one in question.candidates]
        if question else [],
    )  # fmt: skip


@router.post("/questions")
def answer(request: Request) -> Response:
    """Take an answer, with what follows from it."""
    review, form = review_of(request), form_of(request)
    said, into, text = form.one("answer"), form.one("into"), form.one("name")
    chosen = [*form.all("person"), *form.all("face")]

    def how(queue: Queue, question: Question) -> Answered:
        if into:
            return answering.answer(queue, question, YES, [into])
        if said in (YES, NO):
            return answering.answer(queue, question, said, chosen if said == YES else [])
        return answering.name(queue, question, text)

    words = "Called " + visible(checked_name(text)) if not (into or said) else ""
    words = words or _words(review, form.one("id"), said, into, len(chosen))
    return go(form.one("next"), review.answer(form.one("id"), how, words))


@router.post("/questions/back")
def back(request: Request) -> Response:
    """Take back one thing that followed from an answer."""
    review, wanted = review_of(request), form_of(request).one("id")
    return act(request, lambda: answering.take_back(review.people, wanted, "review: back"),
               "Taken back; the answer itself stands")  # fmt: skip


def _words(review: Review, question_id: str, said: str, into: str, chosen: int) -> str:
    """Return what an answer is called in its message.

    Raises:
        ConfigError: there is no such question any more.
    """
    question = review.queue().find(question_id)
    if question is None:
        raise ConfigError("This question is not open any more; load the page again")
    snapshot = review.snapshot()
    if into:
        return f"Added to {visible(display_name(snapshot.name_of(into), into))}"
    left = visible(display_name(snapshot.name_of(question.left), question.left))
    if question.kind == "batch":
        none = said == NO or not chosen
        rest = len(question.candidates) - chosen
        apart = f", {rest} not" if rest else ""
        return f"None of these is {left}" if none else f"{chosen} of {left} confirmed{apart}"
    if question.kind == "who":
        return "None of these; kept apart"
    return "Yes: one person" if said == YES else "No: two people, kept apart"


def _label(snapshot: Snapshot, person_id: str) -> dict[str, Any]:
    return {"person_id": person_id, "name": snapshot.name_of(person_id)}


def _shown(snapshot: Snapshot, question: Question, one: Candidate) -> dict[str, Any]:
    """Return what a page shows of a candidate; a doubtful face is one of the person asked about."""
    kind = "face" if one.person_id == question.left else "person"
    return _label(snapshot, one.person_id) | {
        "key": one.key, "faces": one.faces, "count": one.count, "ticked": one.ticked, "field": kind,
        "chance": one.probability,
    }  # fmt: skip
