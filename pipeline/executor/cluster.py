"""Joins a Ray cluster, or starts one on this machine for as long as it is needed."""

import logging
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import ray

from pipeline.errors import ResourceError
from pipeline.executor.environment import quiet_stderr
from pipeline.executor.resources import STORE_BYTES, STORE_BYTES_A_CORE
from pipeline.imaging.memory import MALLOC
from pipeline.storage.scratch import remove_leftovers, scratch, short_parent

REACH_TIMEOUT_S = 8
# Linux allows 107 bytes for the path of a socket, macOS 103. Ray's own part of it is
# `/session_2026-11-27_12-00-00_123456_4194304/sockets/plasma_store`; ours `/facelake-abcdefgh/r`.
LONGEST_SOCKET, RAYS_PART, OUR_PART = 103, 65, 20
# Each time, every node is asked once.
STORE_EVERY_S = 5.0
logger = logging.getLogger(__name__)


@contextmanager
def cluster(verbose: bool = False) -> Iterator[bool]:
    """Join the cluster of the environment, or start one on this machine and end it afterwards.

    Under `ray job submit`, or with RAY_ADDRESS set, that cluster is joined; otherwise a private
    one is made, see `_private_folders`. Yields whether it is a private one.

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
    address = os.environ.get("RAY_ADDRESS")
    with ExitStack() as stack:
        if address:
            check_reachable(address)
            settings["runtime_env"] = {"env_vars": MALLOC}
        else:
            # Workers inherit this process's environment. An environment of their own would take
            # Ray's first workers, started without, out of use, and seconds for each of the others.
            for name, value in MALLOC.items():
                os.environ.setdefault(name, value)
            store = STORE_BYTES + STORE_BYTES_A_CORE * (os.cpu_count() or 1)
            settings |= stack.enter_context(_private_folders()) | {
                "address": "local",
                "include_dashboard": False,
                "object_store_memory": store,
            }
        with _joined(settings, verbose):
            yield not address


@contextmanager
def _private_folders() -> Iterator[dict[str, str]]:
    """Give Ray's settings for its folders, which photos and faces pass through.

    Ray opens its folder to everybody: it is made in one that nobody else may enter. In a long
    temporary folder its sockets would have no room: then it lies in a short one, and only objects
    that did not fit into memory go to the long one, where there is the space. All are removed
    afterwards, and before that what killed runs left.

    Raises:
        ResourceError: there is no folder with a short path.
    """
    parent = short_parent(LONGEST_SOCKET - RAYS_PART - OUR_PART)
    if parent is None:
        raise ResourceError(
            f"The temporary folder {tempfile.gettempdir()} has a path too long for sockets, and "
            "neither /tmp nor another short one can be written to; set TMPDIR to a folder with a "
            "path of at most 18 characters"
        )
    remove_leftovers()
    with ExitStack() as stack:
        settings = {"_temp_dir": os.path.join(stack.enter_context(scratch(parent)), "r")}
        if os.path.realpath(tempfile.gettempdir()) != parent:
            spilled = os.path.join(stack.enter_context(scratch()), "spilled")
            os.mkdir(spilled, 0o700)
            settings["object_spilling_directory"] = spilled
        yield settings


@contextmanager
def _joined(settings: dict[str, Any], verbose: bool) -> Iterator[None]:
    try:
        with quiet_stderr(not verbose):
            ray.init(**settings)
        yield
    except (RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        if ray.is_initialized():
            raise
        raise ResourceError(
            f"Ray did not start or cannot be joined: {(str(error).strip().splitlines() or [''])[0]}"
            "; check RAY_ADDRESS and the space in the temporary folder"
        ) from error
    finally:
        ray.shutdown()


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
