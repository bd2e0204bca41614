"""Folders, local or remote: opens, lists and publishes files over fsspec, with clear errors.

Every publish is atomic: a hidden temporary name and a rename locally, one PUT on object stores.
"""

import contextlib
import logging
import os
import re
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import ConfigError
from pipeline.storage.errors import storage_errors, within
from pipeline.storage.patience import OPTIONS, Patience, patience
from pipeline.storage.retry import attempt, count
from pipeline.storage.scratch import scratch

T = TypeVar("T")

# Storage options that are text even when they have only digits.
_TEXT_OPTIONS = frozenset({"key", "secret", "token", "username", "password"})

# botocore tries once, so that every failure is seen and counted above it: by s3fs, which tries five
# times without a pause, and by `retry`, which waits in between.
S3_ATTEMPTS = 1
TEMPORARY = ".tmp"
# What starts a formula in spreadsheets (OWASP, "CSV injection"); the apostrophe makes it a text,
# and stands before a text that has one already, so that nothing is lost on the way back.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "'")
ABANDONED_S = 3600.0


def filesystem(url: str, options: Mapping[str, Any]) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the file system of `url` and the path in it.

    `options` go to the back end (`endpoint_url`, `key`, `anon`, `headers` ...), except those of
    `patience`, which become its timeouts where it has some. For S3, retries are bounded as well,
    and the usual AWS variables apply.
    """
    protocol = url.split("://", 1)[0] if "://" in url else "file"
    limits = patience(options)
    settings = {name: value for name, value in options.items() if name not in OPTIONS}
    if protocol in ("s3", "s3a"):
        config = {
            "connect_timeout": limits.connect_s,
            "read_timeout": limits.read_s,
            "retries": {"total_max_attempts": S3_ATTEMPTS, "mode": "standard"},
        }
        settings["config_kwargs"] = config | dict(settings.get("config_kwargs", {}))
        settings.setdefault("use_listings_cache", False)
        _count_retries_of_s3fs()
    elif protocol in ("http", "https"):
        settings["client_kwargs"] = _http_client(limits) | dict(settings.get("client_kwargs", {}))
    elif protocol == "file":
        # `url_to_fs` would take `::` in a file's name for a chain of URLs.
        return LocalFileSystem(), cast(str, LocalFileSystem._strip_protocol(url))
    try:
        fs, path = url_to_fs(url, **settings)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"Cannot use {url}: {error}; install the fsspec back end for {protocol}:// or check "
            "the address"
        ) from error
    except TypeError as error:
        raise ConfigError(f"Cannot use {url} with {sorted(options)}: {error}") from error
    return fs, path


def _http_client(limits: Patience) -> dict[str, Any]:
    """Return what bounds the waiting of aiohttp, whose own limits are 30 s and 5 minutes."""
    import aiohttp

    return {
        "timeout": aiohttp.ClientTimeout(
            total=limits.file_s, sock_connect=limits.connect_s, sock_read=limits.read_s
        )
    }


@cache
def _count_retries_of_s3fs() -> None:
    """Count what s3fs tries again by itself, which only its debug log shows."""
    logger = logging.getLogger("s3fs")

    def count_retries(record: logging.LogRecord) -> bool:
        error = record.args[0] if isinstance(record.args, tuple) and record.args else None
        slow = "SlowDown" in str(error) or "reduce your request rate" in str(error)
        if "Retryable" in str(record.msg) or slow:
            count("SlowDown" if slow else type(error).__name__)
        return record.levelno >= logging.WARNING

    logger.addFilter(count_retries)
    logger.setLevel(logging.DEBUG)


def is_local(fs: fsspec.AbstractFileSystem) -> bool:
    """Return whether `fs` is this machine's own file system."""
    return isinstance(fs, LocalFileSystem)


def printable(path: str) -> str:
    """Return `path` as valid Unicode; bytes that are not UTF-8 become %XX.

    A path that has none of them stays as it is.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        return (
            "".join(f"%{ord(c) - 0xDC00:02X}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in path)
            .encode(errors="replace")
            .decode()
        )
    return path


def as_cell(text: str) -> str:
    """Return text fit for a cell of CSV: no spreadsheet takes it for a formula; see `from_cell`."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def from_cell(text: str) -> str:
    """Return the text that `as_cell` made a cell of."""
    return text[1:] if text.startswith("'") and text[1:].startswith(FORMULA_STARTS) else text


def visible(text: str) -> str:
    """Return text fit for a terminal: control characters are shown by their codes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in printable(text))


@dataclass(frozen=True)
class Folder:
    """A folder, local or remote; pickles as its address, so that any process can open it.

    Attributes:
        url: absolute path, or URL.
        options: back end options, see `filesystem`.
    """

    url: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make a local path absolute and drop the closing slash."""
        url = self.url.removeprefix("file://") if self.url.startswith("file://") else self.url
        if "://" not in url:
            url = os.path.abspath(os.path.expanduser(url))
        object.__setattr__(self, "url", url.rstrip("/") or "/")

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "options": dict(self.options)}

    @cached_property
    def _opened(self) -> tuple[fsspec.AbstractFileSystem, str]:
        return filesystem(self.url, self.options)

    @property
    def fs(self) -> fsspec.AbstractFileSystem:
        """The fsspec file system."""
        return self._opened[0]

    def path(self, name: str = "") -> str:
        """Return the path of `name` for `fs`."""
        root = self._opened[1].rstrip("/")
        return f"{root}/{name}" if name else root or "/"

    def child(self, name: str) -> "Folder":
        """Return the folder `name` inside this one."""
        return Folder(f"{self.url.rstrip('/')}/{name}", self.options)

    def exists(self, name: str = "") -> bool:
        """Return whether `name` is there."""
        with storage_errors("reach", f"{self.url}/{name}".rstrip("/")):
            return bool(self.attempt(lambda: self.fs.exists(self.path(name))))

    def reach(self) -> None:
        """Ask the storage once whether it answers, before a run starts.

        Raises:
            StorageError: it refuses, or does not answer in time.
        """
        within(lambda: self.fs.exists(self.path()), "reach", self.url)

    def read(self, name: str) -> bytes:
        """Return the bytes of file `name`."""
        with storage_errors("read", f"{self.url}/{name}"):
            return cast(bytes, self.attempt(lambda: self.fs.cat_file(self.path(name))))

    def open(self, name: str) -> BinaryIO:
        """Open file `name` for seeking and reading."""
        with storage_errors("open", f"{self.url}/{name}"):
            return cast(BinaryIO, self.fs.open(self.path(name), "rb"))

    def files(self) -> Mapping[str, int]:
        """Return name and size of the files directly inside; empty when the folder is not there.

        Hidden names (temporary files) are left out.
        """
        with storage_errors("list", self.url):
            try:
                entries = self.attempt(lambda: self.fs.ls(self.path(), detail=True, refresh=True))
            except FileNotFoundError:
                return {}
        return {
            name: int(entry["size"] or 0)
            for entry in entries
            if entry["type"] == "file"
            and (name := entry["name"].rsplit("/", 1)[-1])[:1] not in "._"
        }

    def temporary_files(self) -> list[str]:
        """Return the names of half-written files that a killed process left here.

        Object stores have none: a PUT that did not end never was.
        """
        if not is_local(self.fs) or not os.path.isdir(self.path()):
            return []
        names = os.listdir(self.path())
        return sorted(n for n in names if n.startswith(".") and n.endswith(TEMPORARY))

    def abandoned_files(self) -> list[str]:
        """Return the half-written files below here, at any depth, whose writer is no more.

        A file of another machine, or of a version that did not note its writer, is abandoned when
        nobody has written to it for an hour.
        """
        if not is_local(self.fs) or not os.path.isdir(self.path()):
            return []
        return sorted(
            os.path.relpath(os.path.join(folder, name), self.path())
            for folder, _, names in os.walk(self.path())
            for name in names
            if name.startswith(".") and name.endswith(TEMPORARY)
            and _is_abandoned(os.path.join(folder, name))
        )  # fmt: skip

    def publish(self, name: str, data: bytes) -> None:
        """Write file `name` whole or not at all, replacing an older one."""
        with storage_errors("write", f"{self.url}/{name}"):
            if not is_local(self.fs):
                self.attempt(lambda: self.fs.pipe_file(self.path(name), data))
                return
            final = self.path(name)
            with _complete_file(final, data) as temporary:
                os.replace(temporary, final)

    def publish_by(self, name: str, write: Callable[[str], object]) -> None:
        """Let `write` make file `name` at a local path, and publish it whole or not at all.

        For what is too large to be held in memory as bytes.
        """
        with storage_errors("write", f"{self.url}/{name}"):
            if is_local(self.fs):
                final = self.path(name)
                with _complete_file(final, write) as temporary:
                    os.replace(temporary, final)
                return
            with scratch() as folder:
                path = os.path.join(folder, "file")
                write(path)
                self.attempt(lambda: self.fs.put_file(path, self.path(name)))

    def create(self, name: str, data: bytes) -> bool:
        """Write file `name` unless it is there, and return whether it was written.

        When several create it at once, one succeeds: by a hard link locally, by a conditional PUT
        on S3. Other back ends check first, so two could succeed at the same moment.
        """
        with storage_errors("write", f"{self.url}/{name}"):
            path = self.path(name)
            if is_local(self.fs):
                with _complete_file(path, data) as temporary:
                    return _unless_exists(lambda: os.link(temporary, path))
            if "s3" in self.fs.protocol:
                return _unless_exists(lambda: self.fs.pipe_file(path, data, mode="create"))
            if self.fs.exists(path):
                return False
            self.fs.pipe_file(path, data)
            return True

    def attempt(self, call: Callable[[], T]) -> T:
        """Return what `call` returns; remote storage is asked again when it fails."""
        return call() if is_local(self.fs) else attempt(call)

    def remove_if_empty(self) -> None:
        """Remove a local folder that holds nothing; object stores have no empty folders."""
        if is_local(self.fs):
            with contextlib.suppress(OSError):
                os.rmdir(self.path())

    def remove(self, name: str) -> None:
        """Remove file `name`; it is no error when it is gone already."""
        with storage_errors("remove", f"{self.url}/{name}"):
            try:
                self.attempt(lambda: self.fs.rm_file(self.path(name)))
            except FileNotFoundError:
                return


def _unless_exists(create: Callable[[], object]) -> bool:
    try:
        create()
    except FileExistsError:
        return False
    return True


def host() -> str:
    """Return a name for this machine since it was started; containers differ by host name."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()}/{boot.read_text().strip() if boot.exists() else ''}"


def _writer() -> str:
    """Return a name of this process for the names of its half-written files."""
    return f"{blake2b(host().encode(), digest_size=6).hexdigest()}-{os.getpid()}"


def _is_abandoned(path: str) -> bool:
    match = re.search(r"\.([0-9a-f]{12})-(\d+)-[0-9a-f]{32}", path)
    if match is not None and match[1] == _writer().split("-")[0]:
        return not _is_alive(int(match[2]))
    try:
        return time.time() - os.stat(path).st_mtime > ABANDONED_S
    except OSError:
        return False  # it is gone


def _is_alive(pid: int) -> bool:
    """Return whether there is a process of this number; some systems have no /proc to look at."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def _complete_file(final: str, data: bytes | Callable[[str], object]) -> Iterator[str]:
    """Write a hidden file beside `final` that is removed afterwards, unless it was renamed.

    `data` is its bytes, or a function that writes to its path.
    """
    head, tail = os.path.split(final)
    os.makedirs(head, exist_ok=True)
    temporary = os.path.join(head, f".{tail}.{_writer()}-{uuid.uuid4().hex}{TEMPORARY}")
    try:
        if not isinstance(data, bytes):
            data(temporary)
        with open(temporary, "wb" if isinstance(data, bytes) else "rb+") as file:
            if isinstance(data, bytes):
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
        folder = os.open(head, os.O_RDONLY)
        try:
            os.fsync(folder)  # otherwise a power cut may lose the new name
        finally:
            os.close(folder)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def split_file(file: str, options: Mapping[str, Any] | None = None) -> tuple[Folder, str]:
    """Return the folder of a file, given by path or URL, and its name in it."""
    if "://" not in file:
        file = os.path.abspath(os.path.expanduser(file))
    head, _, tail = file.rpartition("/")
    return Folder(head or "/", options or {}), tail


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Return `key=value` options as a dict; true, false and whole numbers get their type.

    `outer.key=value` sets a key of a group: `headers.Authorization=...`. Headers are text.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        group, dot, inner = key.partition(".")
        if not separator or not group or (dot and not inner):
            raise ConfigError(
                f"--storage-option {key or pair!r} is not key=value, or group.key=value"
            )
        if not dot:
            options[key] = _typed(key, value)
            continue
        inside = options.setdefault(group, {})
        if not isinstance(inside, dict):
            raise ConfigError(f"--storage-option {group} is given both a value and {key}")
        inside[inner] = value if group == "headers" else _typed(inner, value)
    return options


def _typed(key: str, value: str) -> str | int | bool:
    if key in _TEXT_OPTIONS:
        return value
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    return int(value) if re.fullmatch("0|[1-9][0-9]*", value) else value
