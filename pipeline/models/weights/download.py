"""Fetches one file over HTTP, resumed and retried, or copies it from a folder."""

import errno
import http.client
import json
import logging
import random
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any

from pipeline.errors import WeightsError

logger = logging.getLogger(__name__)

# called with the bytes so far, and with all bytes where the server says how many
Progress = Callable[[int, int | None], None]

ATTEMPTS = 5
TIMEOUT_S = 30.0  # for a connection and for each read; a live link delivers something in it
BACKOFF_S = 0.5  # doubled at each attempt: 0.5, 1, 2, 4
LONGEST_PAUSE_S = 20.0
CHUNK = 1 << 20
# a later attempt may succeed; other 4xx are final
TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


class _RetryError(Exception):
    """This attempt failed; another may not."""

    def __init__(self, reason: str, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


def fetch(
    url: str,
    part: Path,
    *,
    size: int | None = None,
    trusted: bool = False,
    progress: Progress | None = None,
) -> None:
    """Bring the file at `url` to `part`, going on where an earlier call stopped.

    Args:
        url: http, https or file URL, or a local path.
        part: the unfinished file; kept on failure, so that the next call resumes.
        size: bytes expected; another announced size is refused before the transfer.
        trusted: the caller checks a SHA-256, so resuming without an ETag is safe.
        progress: called now and then, from this thread.

    Raises:
        WeightsError: with the reason, after the last attempt or at a final answer.
    """
    scheme = urllib.parse.urlsplit(url).scheme.lower()
    if scheme in {"http", "https"}:
        transfer = _Transfer(url, part, size, trusted, progress or _silent)
        _with_retries(transfer)
    elif scheme in {"", "file"}:
        _copy(url, part, size, progress or _silent)
    else:
        raise WeightsError(f"{url}: only http, https and file URLs and local folders work")


def _silent(done: int, total: int | None) -> None:
    pass


def _with_retries(transfer: "_Transfer") -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            transfer.attempt()
            return
        except _RetryError as error:
            if attempt == ATTEMPTS:
                raise WeightsError(f"{error} (after {ATTEMPTS} attempts)") from error
            pause = BACKOFF_S * 2 ** (attempt - 1)
            # jitter: many nodes that failed together must not return together
            pause *= random.uniform(0.5, 1.5)  # noqa: S311 (no secret)
            pause = min(max(pause, error.pause_s or 0), LONGEST_PAUSE_S)
            logger.info("%s; trying again in %.1f s", error, pause)
            time.sleep(pause)


def _copy(url: str, part: Path, size: int | None, progress: Progress) -> None:
    source = Path(urllib.request.url2pathname(urllib.parse.urlsplit(url).path))
    if not url.lower().startswith("file:"):
        source = Path(url)
    try:
        actual = source.stat().st_size
        if size is not None and actual != size:
            raise WeightsError(f"{source} has {actual:,} bytes, not {size:,}")
        shutil.copyfile(source, part)
    except OSError as error:
        raise WeightsError(f"Cannot copy {source}: {error}") from error
    progress(actual, actual)


class _Transfer:
    """One URL and its unfinished file; `attempt` may be called again after `_RetryError`."""

    def __init__(
        self,
        url: str,
        part: Path,
        size: int | None,
        trusted: bool,
        progress: Progress,
    ) -> None:
        self.url, self.part, self.size, self.trusted = url, part, size, trusted
        self.progress = progress
        # the ETag of what lies in `part`: a tail of another version must not be appended
        self.tag = part.with_name(part.name + ".etag")

    def attempt(self) -> None:
        have = self.part.stat().st_size if self.part.exists() else 0
        headers = {"User-Agent": "facelake", "Accept-Encoding": "identity"}
        tag = self._saved_tag()
        if have and (tag or self.trusted):
            headers["Range"] = f"bytes={have}-"
            if tag:
                headers["If-Range"] = tag
        request = urllib.request.Request(self.url, headers=headers)  # noqa: S310 (see fetch)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
                self._receive(response, have if response.status == 206 else 0)
        except urllib.error.HTTPError as error:
            with error:  # it holds the connection
                self._refused(error, have)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in DISK:
                raise WeightsError(f"Cannot write {self.part}: {error}") from error
            reason = getattr(error, "reason", None) or error
            raise _RetryError(f"{self.url}: {reason or type(error).__name__}") from error

    def _refused(self, error: urllib.error.HTTPError, have: int) -> None:
        if error.code == 416 and have:  # nothing after `have`: complete, or another file by now
            if _total(error.headers) != have:
                self.part.unlink()
                raise _RetryError(
                    f"{self.url}: the file has changed its size", pause_s=0
                ) from error
            self.progress(have, have)
        elif error.code in TRANSIENT:
            raise _RetryError(
                f"{self.url}: HTTP {error.code}", _retry_after(error.headers)
            ) from error
        else:
            raise WeightsError(f"{self.url}: HTTP {error.code} {error.reason}") from error

    def _receive(self, response: Any, start: int) -> None:
        total = _total(response.headers)
        if start and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            self.part.unlink(missing_ok=True)
            raise _RetryError(f"{self.url}: the server sent another range than asked", pause_s=0)
        if total is not None and self.size is not None and total != self.size:
            self.part.unlink(missing_ok=True)
            raise WeightsError(f"{self.url} has {total:,} bytes, not {self.size:,}")
        if response.headers.get_content_type() == "text/html":
            raise WeightsError(f"{self.url} answers with a web page; a login page of the network?")
        if not start:
            self._remember_tag(response.headers)
        done = start
        with self.part.open("ab" if start else "wb") as out:
            while chunk := response.read1(CHUNK):
                out.write(chunk)
                done += len(chunk)
                if self.size is not None and done > self.size:
                    break
                self.progress(done, total or self.size)
        expected = total or self.size
        if expected is not None and done > expected:
            self.part.unlink()
            raise WeightsError(f"{self.url} has more than {expected:,} bytes")
        if expected is not None and done < expected:
            raise _RetryError(
                f"{self.url}: the connection ended after {done:,} of {expected:,} bytes"
            )

    def _saved_tag(self) -> str | None:
        try:
            saved = json.loads(self.tag.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        same = isinstance(saved, dict) and saved.get("url") == self.url
        return str(saved["etag"]) if same and saved.get("etag") else None

    def _remember_tag(self, headers: Message) -> None:
        etag = headers.get("ETag", "")
        if etag and not etag.startswith("W/"):  # RFC 9110 13.1.5: If-Range takes strong tags only
            self.tag.write_text(json.dumps({"url": self.url, "etag": etag}), "utf-8")
        else:
            self.tag.unlink(missing_ok=True)


def _total(headers: Message) -> int | None:
    """Return the size of the whole file from Content-Range or Content-Length."""
    text = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _retry_after(headers: Message) -> float | None:
    text = headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None
