"""Folders for what a run needs for a while: private to its user, and removed in the end.

A folder is locked as long as its run lives. What a killed run left is not locked any more: the next
run of the same user removes it.
"""

import contextlib
import fcntl
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pipeline.errors import StorageError

logger = logging.getLogger(__name__)

PREFIX = "facelake-"
LOCK, UNLOCKED = "lock", "lock.new"
REMOVALS, REMOVAL_PAUSE_S = 5, 0.2
# An empty folder so old is no longer about to get its lock.
EMPTY_S = 60.0
# Where folders may be when the temporary folder will not do.
OTHERS = ("/tmp", "/var/tmp")  # noqa: S108  # a folder of mode 0700 with a random name is made there


@contextmanager
def scratch(parent: str | None = None) -> Iterator[str]:
    """Give a new folder that nobody else may enter, and remove it afterwards.

    It lies in `parent`, or the temporary folder. What killed runs left there is removed first.
    """
    parent = parent or tempfile.gettempdir()
    remove_leftovers([parent])
    folder = tempfile.mkdtemp(prefix=PREFIX, dir=parent)  # of mode 0700
    lock = None
    try:
        lock = _locked(folder)
        yield os.path.realpath(folder)
    finally:
        _remove(folder)
        if lock is not None:
            os.close(lock)


@contextmanager
def scratch_errors() -> Iterator[None]:
    """Turn what goes wrong with files of a run into a StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"The temporary folder {tempfile.gettempdir()} cannot be written to "
            f"({error.strerror}); set TMPDIR to a folder with more room"
        ) from error


def _locked(folder: str) -> int | None:
    """Lock a new folder, and return the descriptor that holds the lock.

    None where the file system has no locks: then nobody takes the folder for a leftover.
    """
    new = os.path.join(folder, UNLOCKED)
    descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        os.unlink(new)
        return None
    os.rename(new, os.path.join(folder, LOCK))  # never seen without its lock
    return descriptor


def leftovers(parents: Sequence[str] | None = None) -> list[str]:
    """Return the folders of this user's runs that are no more, in `parents` or all `places`."""
    return [folder for folder in _ours(parents or places()) if _is_dead(folder)]


def remove_leftovers(parents: Sequence[str] | None = None) -> int:
    """Remove what this user's killed runs left, and return how many folders were removed."""
    found = leftovers(parents)
    for folder in found:
        logger.info("removing %s, which a killed run left", folder)
        _remove(folder)
    return len(found)


def _remove(folder: str) -> None:
    """Remove a folder, its lock last: a removal that is cut short is finished by the next run."""
    for _ in range(REMOVALS):  # Ray's last processes may write while they end
        with contextlib.suppress(OSError):
            for entry in list(os.scandir(folder)):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                elif entry.name != LOCK:
                    os.unlink(entry.path)
            if os.listdir(folder) in ([LOCK], []):
                break
        time.sleep(REMOVAL_PAUSE_S)
    shutil.rmtree(folder, ignore_errors=True)


def _ours(parents: Sequence[str]) -> Iterator[str]:
    for parent in dict.fromkeys(os.path.realpath(parent) for parent in parents):
        names: list[str] = []
        with contextlib.suppress(OSError):
            names = os.listdir(parent)
        for name in names:
            path = os.path.join(parent, name)
            if name.startswith(PREFIX) and _is_private_folder(path):
                yield path


def _is_private_folder(path: str) -> bool:
    """Return whether this is a folder of ours, no link to one, that nobody else can write to."""
    try:
        about = os.lstat(path)
    except OSError:
        return False
    mode = stat.S_IMODE(about.st_mode)
    return stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() and mode == 0o700


def _is_dead(folder: str) -> bool:
    """Return whether nobody holds the lock of a folder; what never had one is left alone."""
    for name in (LOCK, UNLOCKED):
        try:
            descriptor = os.open(os.path.join(folder, name), os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True
    try:  # killed before it made its lock
        return not os.listdir(folder) and time.time() - os.stat(folder).st_mtime > EMPTY_S
    except OSError:
        return False


def places() -> list[str]:
    """Return where scratch folders of this user may be, the temporary folder first."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    home = os.path.expanduser("~")
    found = [tempfile.gettempdir(), *OTHERS, *(p for p in (runtime, home) if os.path.isabs(p))]
    return list(dict.fromkeys(os.path.realpath(path) for path in found))


def short_parent(longest: int) -> str | None:
    """Return a folder to put scratch folders in whose path has at most `longest` characters.

    The temporary folder if it is short enough. Batch systems make long ones, in which a socket's
    path would exceed what the system allows. None where there is none.
    """
    return next(
        (p for p in places() if len(os.fsencode(p)) <= longest and _is_writable_folder(p)), None
    )


def _is_writable_folder(path: str) -> bool:
    try:
        with tempfile.TemporaryFile(dir=path):
            return True
    except OSError:
        return False
