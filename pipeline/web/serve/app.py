"""The application: routes behind the gate, and errors as JSON."""

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from pipeline.errors import ImageError, NoFaceError
from pipeline.web.http.access import App, RefusedError
from pipeline.web.http.forms import parse, read_body
from pipeline.web.serve.gate import HEALTH, METRICS, RECOGNISE, VERIFY, Gate, refusal
from pipeline.web.serve.service import Service

router = APIRouter()
MOST_PARTS = 16


def application(service: Service) -> App:
    """Return the ASGI application of a service."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.service = service
    app.include_router(router)
    for kind in (RefusedError, ImageError, NoFaceError, HTTPException, Exception):
        app.add_exception_handler(kind, _failed)
    guarded: Any = app
    return Gate(guarded, service.config, service.metrics)


@router.get(HEALTH)
async def health(request: Request) -> Response:
    """Say whether it is ready."""
    state = _service(request).health()
    return JSONResponse(state, 200 if state["ready"] else 503)


@router.get(METRICS)
async def metrics(request: Request) -> Response:
    """Return the metrics."""
    return Response(_service(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)


@router.post(RECOGNISE)
async def recognise(request: Request) -> Response:
    """Say who is on a photo."""
    service = _service(request)
    kind = _kind(request)
    if kind != "multipart/form-data" and kind != "application/octet-stream" and (
        not kind.startswith("image/")
    ):  # fmt: skip
        raise RefusedError(
            415, "Send the bytes of a photo as image/jpeg or the like, or as "
            "application/octet-stream, or one file as multipart/form-data",
        )  # fmt: skip
    with service.admitted():
        body = await _body(request)
        if kind == "multipart/form-data":
            files = parse(request.headers["content-type"], body, MOST_PARTS).files
            if len(files) != 1:
                raise RefusedError(400, f"{len(files)} files were sent; send one", "wrong_files")
            body = files[0][1]
        return JSONResponse(await service.recognise(body))


@router.post(VERIFY)
async def verify(request: Request) -> Response:
    """Say whether two photos show one person."""
    service = _service(request)
    if _kind(request) != "multipart/form-data":
        raise RefusedError(415, "Send two files, a and b, as multipart/form-data")
    with service.admitted():
        body = await _body(request)
        files = parse(request.headers["content-type"], body, MOST_PARTS).files
        if sorted(name for name, _ in files) != ["a", "b"]:
            raise RefusedError(400, "Send two files, one named a and one named b", "wrong_files")
        photos = dict(files)
        return JSONResponse(await service.verify(photos["a"], photos["b"]))


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _body(request: Request) -> bytes:
    config, length = _service(request).config, request.headers.get("content-length", "")
    return await read_body(request.receive, length, config.max_body, config.timeout_s)


def _failed(request: Request, error: Exception) -> Response:
    match error:
        case RefusedError():
            return refusal(error)
        case ImageError():
            return refusal(RefusedError(
                422, f"This cannot be used: {error.detail}; send another photo", error.code.value
            ))  # fmt: skip
        case NoFaceError():
            return refusal(RefusedError(422, str(error), "no_face"))
        case HTTPException(status_code=405):
            allowed = (error.headers or {}).get("Allow", "")
            answer = refusal(RefusedError(405, f"Ask with {allowed}"))
            answer.headers["allow"] = allowed
            return answer
        case HTTPException():
            paths = ", ".join((RECOGNISE, VERIFY, HEALTH, METRICS))
            return refusal(RefusedError(404, f"There are only {paths}"))
    # The error itself goes to the log only.
    return refusal(RefusedError(500, "Something broke; the server's terminal says more"))
