"""A job on a lake: it holds the lake, runs its tasks here or on Ray, and leaves a manifest."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pipeline.executor.progress import shown
from pipeline.executor.tasks import WhereRay, mapper, on_ray
from pipeline.lake.checkpoints import Mapper, Progress
from pipeline.lake.manifest import started, versions
from pipeline.lake.store import LakeStore
from pipeline.maintenance.hold import held, new_run_id


@dataclass(frozen=True)
class Place:
    """Where a job runs, and who is told.

    Attributes:
        ray: always or never on a Ray cluster; auto: on one that RAY_ADDRESS names, and on this
            machine's cores where there is enough to do.
        wait: for another run that holds the lake, rather than refuse.
        progress: True for a bar, or a function.
    """

    ray: WhereRay = "auto"
    wait: bool = False
    progress: Progress | bool | None = None


@dataclass(frozen=True)
class Job:
    """A job that has begun.

    Attributes:
        run_id: of its manifest.
        mapper: what runs tasks.
        progress: whom to tell.
    """

    lake: LakeStore
    command: str
    run_id: str
    mapper: Mapper
    progress: Progress
    began: float

    def record(self, facts: Mapping[str, Any]) -> None:
        """Write the manifest of a job that is done."""
        about = {
            "run_id": self.run_id,
            "command": self.command,
            "started": started(self.began),
            "status": "finished",
            "seconds": time.monotonic() - self.began,
            "versions": versions(),
        }
        self.lake.publish_json(f"runs/{self.run_id}.json", about | dict(facts))


@dataclass(frozen=True)
class Size:
    """How much a job has to do, and from where on Ray is worth its start.

    Attributes:
        table: whose files are read.
        enough: bytes of them.
        gpus: of each task.
    """

    table: str
    enough: float
    gpus: float = 0


@contextmanager
def job(lake: LakeStore, command: str, place: Place, size: Size) -> Iterator[Job]:
    """Hold the lake for a job; what was half forgotten in it is finished first.

    Raises:
        LakeBusyError: another run holds it, and this one shall not wait.
        ResourceError: the Ray cluster does not answer.
    """
    run_id = new_run_id(command)
    file_bytes = sum(lake.folder.child(size.table).files().values())
    ray = on_ray(place.ray, file_bytes, size.enough)
    with (
        held(lake, run_id, place.wait),
        shown(place.progress) as progress,
        mapper(ray, size.gpus) as tasks,
    ):
        yield Job(lake, command, run_id, tasks, progress, time.monotonic())
