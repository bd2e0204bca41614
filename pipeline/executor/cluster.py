"""Joins a Ray cluster, or starts one on this machine for as long as it is needed."""

import logging
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from pipeline.errors import ResourceError
from pipeline.executor.environment import quiet_stderr
from pipeline.executor.resources import STORE_BYTES, STORE_BYTES_A_CORE
from pipeline.imaging.memory import MALLOC

REACH_TIMEOUT_S = 8
LONGEST_FOLDER = 30
# Each time, every node is asked once.
STORE_EVERY_S = 5.0
logger = logging.getLogger(__name__)


@contextmanager
def cluster(verbose: bool = False) -> Iterator[bool]:
    """Join the cluster of the environment, or start one on this machine and end it afterwards.

    Under `ray job submit`, or with RAY_ADDRESS set, that cluster is joined; otherwise a private
    one is made, reachable with a random token only. Its folder may hold photos that did not fit
    into memory: it is removed at the end. Yields whether it is a private one.

    Raises:
        ResourceError: Ray does not start, or the cluster cannot be reached.
    """
    if ray.is_initialized():
        yield False
        return
    level = logging.INFO if verbose else logging.ERROR
    logging.getLogger("ray").setLevel(level)
    settings: dict[str, Any] = {
        "log_to_driver": verbose,
        "logging_level": level,
    }
    folder = None
    address = os.environ.get("RAY_ADDRESS")
    if address:
        check_reachable(address)
        settings["runtime_env"] = {"env_vars": MALLOC}
    else:
        # Workers inherit this process's environment. An environment of their own would take Ray's
        # first workers, started without, out of use, and seconds for each of the others.
        for name, value in MALLOC.items():
            os.environ.setdefault(name, value)
        folder = tempfile.mkdtemp(prefix="facelake-")
        store = STORE_BYTES + STORE_BYTES_A_CORE * (os.cpu_count() or 1)
        settings |= {"address": "local", "include_dashboard": False, "object_store_memory": store}
        # Sockets below it may not exceed 107 bytes.
        if len(folder) < LONGEST_FOLDER:
            settings["_temp_dir"] = folder
    try:
        with quiet_stderr(not verbose):
            ray.init(**settings)
        yield not address
    except (RuntimeError, ConnectionError, ray.exceptions.RayError) as error:
        if ray.is_initialized():
            raise
        raise ResourceError(
            f"Ray did not start or cannot be joined: {str(error).strip().splitlines()[0]}; check "
            "RAY_ADDRESS and the space in the temporary folder"
        ) from error
    finally:
        ray.shutdown()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def check_reachable(address: str) -> None:
    """Raise ResourceError unless somebody listens at `host:port`; Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():  # "auto", "local"
        return
    try:
        socket.create_connection((host, int(port)), REACH_TIMEOUT_S).close()
    except OSError as error:
        raise ResourceError(
            f"No Ray cluster answers at RAY_ADDRESS={address} ({error}); start it, correct the "
            "address, or unset it to use this machine alone"
        ) from error


def store_usage() -> dict[str, int]:
    """Return bytes in the object stores of all nodes, and bytes spilled since the cluster started.

    Empty where Ray does not tell: the call is an internal one, that its `ray memory` uses as well.
    """
    try:
        from ray._private.internal_api import get_memory_info_reply, get_state_from_address

        state = get_state_from_address(ray.get_runtime_context().gcs_address)
        stats = get_memory_info_reply(state, timeout_seconds=STORE_EVERY_S).store_stats
        return {
            "used": int(stats.object_store_bytes_used),
            "spilled": int(stats.spilled_bytes_total),
        }
    except Exception as error:  # whatever a later Ray makes of it, no figure is worth a run
        logger.debug("Ray does not tell what its object store holds: %s", error)
        return {}


class StoreWatch:
    """Follows the object store while it is in use as a context manager.

    Attributes:
        peak: most bytes that were seen in it, None where Ray does not tell.
        spilled: bytes spilled meanwhile, likewise.
    """

    def __init__(self) -> None:
        self.peak: int | None = None
        self.spilled: int | None = None
        self._before = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "StoreWatch":
        self._before = store_usage().get("spilled", 0)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(2 * STORE_EVERY_S)
        self._look()

    def _follow(self) -> None:
        while not self._stop.wait(STORE_EVERY_S):
            if not self._look():
                return

    def _look(self) -> bool:
        usage = store_usage()
        if usage:
            self.peak = max(self.peak or 0, usage["used"])
            self.spilled = max(0, usage["spilled"] - self._before)
        return bool(usage)
