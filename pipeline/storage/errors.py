"""Turns the errors of storage back ends into ones that say what to do, and limits waiting time."""

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from pipeline.errors import ConfigError, StorageError
from pipeline.storage.patience import start

T = TypeVar("T")

# A wrong endpoint or key must be reported within 15 s, start of the command included.
REACH_TIMEOUT_S = 11

_LOCAL_HINTS = {
    errno.ENOSPC: "the disk is full; free some space and run again: what was published is kept",
    errno.EDQUOT: "the quota is used up; free some space and run again: what was published is kept",
    errno.EACCES: "permission denied; check the owner and mode of the path",
    errno.EROFS: "the file system is read-only; choose another output",
}
# What to do about an error of a remote back end, by signs in its text.
_REMOTE_HINTS = {
    ("NoCredentials", "Unable to locate credentials"): "no credentials were found; set "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or --storage-option anon=true for a "
    "public bucket",
    ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"): "the "
    "credentials were refused; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
    "AWS_SESSION_TOKEN",
    ("PermissionError", "Forbidden", "AccessDenied", "403"): "access was denied; check the "
    "credentials and the bucket's policy",
    ("NoSuchBucket",): "the bucket does not exist; check its name and AWS_ENDPOINT_URL",
    ("EndpointConnectionError", "ConnectTimeout", "Could not connect", "ConnectionError",
     "ConnectionRefused", "Cannot connect"): "the server cannot be reached; check "
    "AWS_ENDPOINT_URL (or --storage-option endpoint_url=...) and the network",
}  # fmt: skip


@contextmanager
def storage_errors(action: str, url: str) -> Iterator[None]:
    """Turn what fsspec and its back ends raise into StorageError that says what to do."""
    try:
        yield
    except (StorageError, ConfigError):
        raise
    except FileNotFoundError as error:
        raise StorageError(f"Cannot {action} {url}: it does not exist; check the path") from error
    except Exception as error:  # back ends raise their own trees; botocore is not imported here
        hint = _LOCAL_HINTS.get(getattr(error, "errno", None) or 0, "")
        # A local error quotes the name of its file, which is not searched for signs.
        local = getattr(error, "filename", None) is not None
        hint = hint or (_described(error) if local else _remote_hint(error))
        raise StorageError(f"Cannot {action} {url}: {hint}") from error


def _remote_hint(error: BaseException) -> str:
    """Say what a remote back end's error means for the user."""
    text = " ".join(f"{type(e).__name__}: {e}" for e in _chain(error))
    status = status_of(error)
    answered = f" (the server answered {status})" if status else ""
    for signs, hint in _REMOTE_HINTS.items():
        if any(re.search(rf"(?<![0-9A-Za-z]){sign}", text) for sign in signs):
            return hint + answered
    return _described(error)


def _described(error: BaseException) -> str:
    text = str(error)
    if not text and isinstance(error, TimeoutError):
        text = "the storage stopped answering"
    return f"{type(error).__name__}: {text}"


def status_of(error: BaseException) -> int | None:
    """Return the status of the server's answer in an error of any back end, None without one."""
    for one in _chain(error):
        response = getattr(one, "response", None)  # of botocore
        about = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
        for status in (getattr(one, "status", None), getattr(one, "code", None),
                       about.get("HTTPStatusCode")):  # fmt: skip
            if isinstance(status, int) and 300 <= status < 600:
                return status
    return None


def reason(error: BaseException) -> str:
    """Return why one file could not be had, with the status of the server where there is one."""
    text, status = _described(error), status_of(error)
    if status is None or re.search(rf"(?<!\d){status}(?!\d)", text):
        return text
    return f"{text} (the server answered {status})"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def within(call: Callable[[], T], action: str, url: str, seconds: float = REACH_TIMEOUT_S) -> T:
    """Return what `call` returns, or raise StorageError after `seconds`.

    It runs in a daemon thread, so that a server that never answers does not hold up the exit.
    """
    answer = start(call)
    try:
        with storage_errors(action, url):
            return answer.result(timeout=seconds)
    except StorageError as error:
        if not answer.done():
            raise StorageError(
                f"Cannot {action} {url}: no answer within {seconds:.0f} s; check the address "
                "(AWS_ENDPOINT_URL), the credentials and the network"
            ) from error
        raise
