"""What commands that spread tasks have in common: a lake, a lock, a mapper, progress."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from rich.console import Console

from pipeline.commands.options import add_storage_options, add_wait_option
from pipeline.executor import environment
from pipeline.lake.checkpoints import Mapper, in_process
from pipeline.lake.lock import RunLock
from pipeline.lake.store import LakeStore, Models
from pipeline.lake.tombstones import PENDING
from pipeline.storage.folder import parse_options

Progress = Callable[[str, int, int], None]
logger = logging.getLogger(__name__)


def add_task_options(parser: Any, rows_for_ray: int, of_what: str) -> None:
    """Add the options that say where tasks run."""
    add_wait_option(parser)
    parser.add_argument("--verbose", action="store_true", help="log what is going on")
    parser.add_argument(
        "--ray", choices=("auto", "always", "never"), default="auto",
        help="whether tasks run on a Ray cluster; auto: on one that is named by RAY_ADDRESS, and "
        f"on this machine's cores from {rows_for_ray:,} {of_what}; default: %(default)s",
    )  # fmt: skip
    add_storage_options(parser)


def open_lake(options: argparse.Namespace) -> tuple[LakeStore, Models]:
    """Return the lake that the options name, and its models.

    Raises:
        ConfigError: there is none.
        StorageError: its storage does not answer.
    """
    lake = LakeStore.open(options.lake, parse_options(options.storage_option))
    return lake, lake.existing_models()


def new_run_id(command: str) -> str:
    """Return an id for a run."""
    return f"{command}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:6]}"


def on_ray(choice: str, file_bytes: int, enough: float) -> bool:
    """Return whether the work is worth a Ray cluster: files of so many bytes are, where it may."""
    if choice != "auto":
        return choice == "always"
    return "RAY_ADDRESS" in os.environ or file_bytes > enough


def finish_forgetting(lake: LakeStore) -> bool:
    """Finish what `facelake forget` was stopped in, before anything else is made of the lake.

    The caller holds the lake's lock. Returns whether there was something to finish.
    """
    if not lake.folder.exists(PENDING):
        return False
    from pipeline.maintenance.forget.run import finish  # it knows all tables: not for every start

    finish(lake, new_run_id("forget"))
    print("a forgetting that was stopped is finished now", file=sys.stderr)
    return True


@contextmanager
def tasks(
    options: argparse.Namespace,
    console: Console,
    lake: LakeStore,
    run_id: str,
    ray: bool,
    gpus: float = 0,
) -> Iterator[tuple[Mapper, Progress]]:
    """Hold the lake's lock, and give what runs tasks and what tells of them."""
    with (
        RunLock(lake.folder, run_id, options.wait),
        console.status("reading the lake") as status,
    ):
        finish_forgetting(lake)

        def progress(step: str, done: int, total: int) -> None:
            status.update(f"{step} {done} of {total}")
            logger.info("%s %d of %d", step, done, total)

        if not ray:
            yield in_process, progress
            return
        from pipeline.executor.cluster import cluster

        environment.prepare(options.verbose)
        with cluster(options.verbose):
            from pipeline.executor.ray_mapper import RayMapper

            yield RayMapper(gpus), progress
