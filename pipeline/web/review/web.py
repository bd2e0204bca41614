"""What all routes share: checked ids, rendered pages, and redirects after an action."""

import re
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

from fastapi import Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from pipeline.errors import ConfigError
from pipeline.people.corrections import Constraint
from pipeline.people.log import made_by, user_name
from pipeline.web import pages
from pipeline.web.http.forms import Form
from pipeline.web.review.state import Review

PersonId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]
FaceId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}-[0-9]{1,9}$")]
ImageId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
Page = Annotated[int, Query(ge=1, le=1_000_000)]

IMAGE_ID = re.compile(r"[0-9a-f]{32}")
FACE_ID = re.compile(r"[0-9a-f]{32}-[0-9]{1,9}")
PERSON_ID = re.compile(r"[0-9a-f]{16}")
# A path of ours; two slashes at the start would be another host.
_OURS = re.compile(r"/(?![/\\])[A-Za-z0-9_./?&=%+~-]*")
MESSAGE = "message"

environment = pages.environment("pipeline.web.review")


def review_of(request: Request) -> Review:
    """Return the state behind the pages."""
    review: Review = request.app.state.review
    return review


def form_of(request: Request) -> Form:
    """Return the form that the guard let through."""
    form: Form = request.state.form
    return form


def render(
    request: Request, template: str, title: str, status: int = 200, **values: Any
) -> HTMLResponse:
    """Return a page."""
    review = review_of(request)
    if "x-list" in request.headers:  # a page that has them already asks for more of its list
        values["names"] = ()
    message_id = request.query_params.get(MESSAGE, "")
    text = environment.get_template(template).render(
        title=title,
        lake=review.lake.folder.url,
        csrf=review.config.csrf,
        read_only=review.config.read_only,
        here=here(request),
        path=request.url.path,
        message=review.message(message_id),
        message_id=message_id,
        version=review.version(),
        me=made_by.get() or user_name() or "somebody",
        **values,
    )
    return HTMLResponse(text, status)


def here(request: Request) -> str:
    """Return path and query of a page, without the message that it shows."""
    query = [(key, value) for key, value in request.query_params.multi_items() if key != MESSAGE]
    return request.url.path + (f"?{urlencode(query)}" if query else "")


def act(
    request: Request, action: Callable[[], Constraint], message: str, back: str | None = None
) -> Response:
    """Do an action and go back to the page of the form, or to `back`, which shows the message."""
    message_id = review_of(request).act(action, message)
    return go(back or form_of(request).one("next"), message_id)


def go(target: str, message_id: str = "") -> Response:
    """Return a redirect to one of our own pages."""
    if not _OURS.fullmatch(target):
        target = "/"
    path, _, query = target.partition("?")
    pairs = [(key, value) for key, value in parse_qsl(query) if key != MESSAGE]
    pairs += [(MESSAGE, message_id)] if message_id else []
    return RedirectResponse(path + (f"?{urlencode(pairs)}" if pairs else ""), 303)


def chosen(form: Form, name: str, pattern: re.Pattern[str]) -> list[str]:
    """Return the ids that a form holds.

    Raises:
        ConfigError: there are none, or one is not an id.
    """
    ids = form.all(name)
    if not ids:
        raise ConfigError("Nothing was selected; tick one or more pictures first")
    if not all(pattern.fullmatch(one) for one in ids):
        raise ConfigError("The form holds something that is no id; load the page again")
    return ids


def paged(total: int, page: int, size: int) -> dict[str, int]:
    """Return what a template needs for links from page to page."""
    last = max(1, -(-total // size))
    page = min(page, last)
    return {"page": page, "last": last, "total": total, "first": (page - 1) * size}


def display_name(name: str | None, person_id: str) -> str:
    """Return the name of a person in messages."""
    return name or f"unnamed person {person_id[:4]}"
