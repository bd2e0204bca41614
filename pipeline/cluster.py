"""Joins a Ray cluster, or starts one on this machine for as long as it is needed."""

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from pipeline.environment import MALLOC, quiet_stderr
from pipeline.errors import ResourceError
from pipeline.resources import STORE_BYTES, STORE_BYTES_A_CORE

REACH_TIMEOUT_S = 8
LONGEST_FOLDER = 30


@contextmanager
def cluster(verbose: bool = False) -> Iterator[None]:
    """Join the cluster of the environment, or start one on this machine and end it afterwards.

    Under `ray job submit`, or with RAY_ADDRESS set, that cluster is joined; otherwise a private
    one is made, reachable with a random token only. Its folder may hold photos that did not fit
    into memory: it is removed at the end.

    Raises:
        ResourceError: Ray does not start, or the cluster cannot be reached.
    """
    if ray.is_initialized():
        yield
        return
    level = logging.INFO if verbose else logging.ERROR
    logging.getLogger("ray").setLevel(level)
    settings: dict[str, Any] = {
        "log_to_driver": verbose,
        "logging_level": level,
        "runtime_env": {"env_vars": MALLOC},
    }
    folder = None
    address = os.environ.get("RAY_ADDRESS")
    if address:
        check_reachable(address)
    else:
        folder = tempfile.mkdtemp(prefix="facelake-")
        store = STORE_BYTES + STORE_BYTES_A_CORE * (os.cpu_count() or 1)
        settings |= {"address": "local", "include_dashboard": False, "object_store_memory": store}
        # Sockets below it may not exceed 107 bytes.
        if len(folder) < LONGEST_FOLDER:
            settings["_temp_dir"] = folder
    try:
        with quiet_stderr(not verbose):
            ray.init(**settings)
        yield
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
