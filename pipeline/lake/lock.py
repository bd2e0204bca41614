"""The lock that keeps a lake to one run at a time: a file with a heartbeat."""

import json
import logging
import os
import secrets
import threading
import time
from pathlib import Path
from typing import Any

from pipeline.errors import LakeBusyError, StorageError
from pipeline.storage.folder import Folder, host

logger = logging.getLogger(__name__)

NAME = "run.lock"
HEARTBEAT_S = 10.0
# If the heartbeat of a lock from another machine does not change for this long, its run is dead.
# Watching for a change, instead of reading a time, does not need clocks that agree.
STILL_S = 45.0
SETTLE_S = 1.0


class RunLock:
    """Holds a lake for one run; use as a context manager.

    Args:
        folder: of the lake.
        run_id: who holds it; workers compare it before they publish (`holder`).
        wait: wait for another run to end instead of raising.

    Raises:
        LakeBusyError: another run is at work.
    """

    def __init__(self, folder: Folder, run_id: str, wait: bool = False) -> None:
        self.folder = folder
        self.run_id = run_id
        self.wait = wait
        self._beats = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "RunLock":
        while not self.folder.create(NAME, self._state()):
            other = self._read()
            if other is None:  # it was released between the two calls
                time.sleep(0.1)
                continue
            if is_dead(other) or self._stands_still(other):
                logger.warning("taking over the lock of a dead run, %s", other.get("run_id"))
                self.folder.publish(NAME, self._state())
                time.sleep(SETTLE_S)  # if two take over at once, the last writer keeps it
                if holder(self.folder) == self.run_id:
                    break
            elif not self.wait:
                raise self._busy(other)
            time.sleep(min(HEARTBEAT_S, 2.0))
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()
        for name in self.folder.abandoned_files():  # of a command that was killed
            self.folder.remove(name)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()
        try:
            if holder(self.folder) == self.run_id:
                self.folder.remove(NAME)
        except StorageError as error:  # the run's own outcome matters more
            logger.warning("the lock stays behind: %s", error)

    def _busy(self, other: dict[str, Any]) -> LakeBusyError:
        return LakeBusyError(
            f"Another run is writing to {self.folder.url}: {other.get('run_id')} on "
            f"{other.get('host')}, process {other.get('pid')}. Wait until it ends, or run with "
            "--wait; a run that died is recognised by itself"
        )

    def _stands_still(self, other: dict[str, Any]) -> bool:
        """Watch whether the lock changes; a living run on this machine need not be watched."""
        if other.get("host") == host():
            return False
        until = time.monotonic() + STILL_S
        while time.monotonic() < until:
            time.sleep(1.0)
            if self._read() != other:
                return False
        return True

    def _read(self) -> dict[str, Any] | None:
        return read(self.folder)

    def _state(self) -> bytes:
        self._beats += 1
        return json.dumps(
            {
                "run_id": self.run_id,
                "host": host(),
                "pid": os.getpid(),
                "started": process_start(os.getpid()),
                "beat": self._beats,
                "nonce": secrets.token_hex(4),
            }
        ).encode()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            try:
                if holder(self.folder) not in (self.run_id, None):
                    logger.error("another run took the lake; this one will stop at its next part")
                    return
                self.folder.publish(NAME, self._state())
            except StorageError as error:
                logger.warning("no heartbeat: %s", error)


def read(folder: Folder) -> dict[str, Any] | None:
    """Return what the lock says, None when there is none."""
    if not folder.exists(NAME):
        return None
    try:
        state = json.loads(folder.read(NAME))
    except ValueError:
        return {}
    except StorageError:
        if folder.exists(NAME):
            raise
        return None
    return state if isinstance(state, dict) else {}


def holder(folder: Folder) -> str | None:
    """Return the id of the run that holds the lake."""
    state = read(folder)
    return None if state is None else str(state.get("run_id"))


def is_dead(state: dict[str, Any]) -> bool:
    """Return whether the lock belongs to a process of this machine that is no more."""
    if state.get("host") != host():
        return False
    pid = state.get("pid")
    return not isinstance(pid, int) or process_start(pid) != state.get("started")


def process_start(pid: int) -> str | None:
    """Return when a process started, in the kernel's ticks; None when there is no such process.

    Process ids are used again; the two together are not.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
