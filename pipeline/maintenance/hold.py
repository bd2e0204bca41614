"""Holding a lake: one run at a time writes, and nothing in it is half forgotten."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from uuid import uuid4

from pipeline.errors import StorageError
from pipeline.lake.lock import RunLock
from pipeline.lake.store import LakeStore
from pipeline.lake.tombstones import PENDING

logger = logging.getLogger(__name__)


def new_run_id(command: str = "") -> str:
    """Return an id for a run; those of indexing start with the date alone."""
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:6]}"
    return f"{command}-{stamp}" if command else stamp


@contextmanager
def held(lake: LakeStore, run_id: str, wait: bool = False) -> Iterator[None]:
    """Hold the lake for a run, after what was half forgotten in it is finished.

    Raises:
        LakeBusyError: another run holds it, and this one shall not wait.
    """
    with RunLock(lake.folder, run_id, wait):
        finish_forgetting(lake)
        yield


@contextmanager
def readable(lake: LakeStore, run_id: str, wait: bool, may_be_read_only: bool) -> Iterator[None]:
    """Hold a lake that is only read, so that nothing in it is half forgotten meanwhile.

    One in which nothing can be written is read as it is if it `may_be_read_only`.

    Raises:
        LakeBusyError: another run is at work, or something half forgotten cannot be finished.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(RunLock(lake.folder, run_id, wait))
        except StorageError as error:
            if not may_be_read_only:
                raise
            logger.info("the lake is not held: %s", error)
            lake.check_nothing_is_being_forgotten()
        else:
            finish_forgetting(lake)
        yield


def finish_forgetting(lake: LakeStore) -> bool:
    """Finish what `facelake forget` was stopped in, before anything else is made of the lake.

    The caller holds the lake's lock. Returns whether there was something to finish.
    """
    if not lake.folder.exists(PENDING):
        return False
    from pipeline.maintenance.forget.run import finish  # it knows all tables: not for every start

    finish(lake, new_run_id("forget"))
    logger.warning("a forgetting that was stopped is finished now")
    return True
