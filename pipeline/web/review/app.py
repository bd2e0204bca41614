"""The application: routes behind the guard, and errors as pages."""

import logging
from importlib.resources import files
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException as PlainHTTPException

from pipeline.errors import ConfigError, FacelakeError
from pipeline.web import pages
from pipeline.web.http.access import App
from pipeline.web.review.guard import Guard
from pipeline.web.review.routes import decide, faces, other, people, photos
from pipeline.web.review.state import Review
from pipeline.web.review.web import environment, render, review_of

logger = logging.getLogger(__name__)
STATIC_FILES = {
    "review.css": "text/css",
    **{
        f"{name}.js": "text/javascript"
        for name in ("review", "send", "lists", "select", "photo", "watch")
    },
    "icon.svg": "image/svg+xml",
}
STATIC = files("pipeline.web.review").joinpath("static")


def application(review: Review) -> App:
    """Return the ASGI application that shows a lake."""
    # Read now: a program that is updated while it runs goes on with its own pages.
    environment.auto_reload = False
    for name in environment.list_templates(extensions=["html"]):
        environment.get_template(name)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(_fresh)])
    app.state.review = review
    for module in (people, photos, faces, decide, other):
        app.include_router(module.router)
    for name, kind in STATIC_FILES.items():
        app.add_api_route(f"/static/{name}", _static(name, kind), include_in_schema=False)
    app.add_exception_handler(FacelakeError, _refused)
    app.add_exception_handler(RequestValidationError, _not_found)
    app.add_exception_handler(PlainHTTPException, _plain)
    app.add_exception_handler(Exception, _broken)
    guarded: Any = app
    return Guard(guarded, review.config)


def _fresh(request: Request) -> None:
    """Look at what others did before anything is changed."""
    if request.method == "POST":
        review_of(request).people.fresh()


def _static(name: str, kind: str) -> Any:
    text = STATIC.joinpath(name).read_text("utf-8")
    body = (pages.css() + text if kind == "text/css" else text).encode()
    return lambda: Response(body, media_type=kind)


def _refused(request: Request, error: Exception) -> Response:
    status = 400 if isinstance(error, ConfigError) else 503
    return render(request, "error.html", "That did not work", status, text=str(error))


def _not_found(request: Request, _: Exception) -> Response:
    return render(request, "error.html", "Not found", 404, text="There is no such page here")


def _plain(request: Request, error: Exception) -> Response:
    assert isinstance(error, PlainHTTPException)
    own = isinstance(error, HTTPException)  # the text of others is Starlette's
    text = str(error.detail) if own else "There is no such page here"
    return render(request, "error.html", "Not found", error.status_code, text=text)


def _broken(request: Request, error: Exception) -> Response:
    # The error itself goes to the log only: it may name paths that a page should not show.
    return render(
        request, "error.html", "Something broke", 500,
        text="Nothing was changed; the terminal in which facelake review runs says more",
    )  # fmt: skip
