"""What the workers of an indexing run do, whoever starts them: Ray, or the run itself."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.config import DecodeConfig, IndexConfig
from pipeline.errors import FacelakeError
from pipeline.lake.ledger import Ledger, Places
from pipeline.lake.store import LakeStore, Models
from pipeline.models.cards.card import find_card
from pipeline.models.weights.store import WeightStore
from pipeline.sources.members import Report
from pipeline.sources.read import read
from pipeline.sources.units import Plan, Unit
from pipeline.stages.decode import Decode
from pipeline.storage.folder import printable
from pipeline.storage.retry import take_counts


@dataclass(frozen=True)
class Job:
    """What every task of a run must know.

    Attributes:
        config: of the run.
        lake: where to.
        models: which pair.
        run_id: of the run.
    """

    config: IndexConfig
    lake: LakeStore
    models: Models
    run_id: str

    def store(self) -> WeightStore:
        """Return where this process finds weights."""
        config = self.config
        return WeightStore.at(config.weights_dir, config.weights_url, config.licences)

    @property
    def reports(self) -> str:
        """Folder in the lake for the reports of read tasks."""
        return f"runs/{self.run_id}"


def detect_options(job: Job, device: str) -> dict[str, Any]:
    """Return what `Detect` is made with."""
    config = job.config
    return {
        "embedder": find_card(config.embedder),
        "config": config.detect,
        "detector": config.detector,
        "thumbnails": config.thumbnails,
        "device": device,
        "store": job.store(),
    }


def embed_options(job: Job, device: str) -> dict[str, Any]:
    """Return what `Embed` is made with."""
    config = job.config
    return {
        "embedder": config.embedder,
        "device": device,
        "threads": 1,
        "store": job.store(),
        "precision": None if config.precision == "auto" else config.precision,
        "views": config.views,
    }


def read_unit(unit: Unit, job: Job, ledger: Ledger) -> Iterator[pa.Table]:
    """Read a unit, and leave its report in the lake."""
    report = Report()
    yield from read(unit, ledger, job.config.read, report)
    if report != Report():
        name = hashlib.blake2b(f"{unit.base}{unit.names}".encode(errors="replace"), digest_size=16)
        where = printable(unit.base) if unit.kind != "files" else ""
        saved = {
            "shard": where,
            "whole": _whole(unit, report),
            "skipped": dict(report.skipped),
            "notices": report.notices,
            "damage": report.damage,
            "done": report.already_in_lake,
            "retries": dict(report.retries),
        }
        job.lake.publish_json(f"{job.reports}/{name.hexdigest()}.json", saved)


def _whole(unit: Unit, report: Report) -> list[Any] | None:
    """Return name, version and number of images of a shard that was read to its end."""
    if unit.kind == "files" or report.damage or not unit.version(0):
        return None
    images = report.images + report.already_in_lake
    return [Places().real(printable(unit.base)), unit.version(0), images]


def collect_reports(job: Job, plan: Plan) -> tuple[Report, dict[str, tuple[str, int]]]:
    """Fold what read tasks reported, and the plan's own counts, into one report.

    Returns the shards that were read to their ends as well.
    """
    whole: dict[str, tuple[str, int]] = {}
    total = Report(
        Counter(plan.skipped), list(plan.notices), list(plan.damage), plan.already_in_lake
    )
    folder = job.lake.folder.child(job.reports)
    for name in sorted(folder.files()):
        one = json.loads(folder.read(name))
        total.skipped.update(one["skipped"])
        total.already_in_lake += one["done"]
        total.retries.update(one["retries"])
        if one["whole"]:
            name_of_shard, version, images = one["whole"]
            whole[name_of_shard] = (version, images)
        where = f"{one['shard']}: " if one["shard"] else ""
        for text in one["notices"]:
            total.note(where + text)
        total.damage.extend(where + text for text in one["damage"])
        folder.remove(name)
    folder.remove_if_empty()
    total.retries.update(take_counts())  # this process asks storage as well
    return total, whole


class DecodeDetect:
    """Decode and Detect in one actor: pixels never leave the process."""

    def __init__(self, decode: DecodeConfig, detect: dict[str, Any]) -> None:
        from pipeline.models.runtime import openvino
        from pipeline.stages.detect import Detect

        if openvino() is None:
            import torch

            torch.set_num_threads(1)
        self.decode = Decode(decode)
        self.detect = Detect(**detect)

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Yield detected tables, decoded and searched in pieces of bounded pixels."""
        for part in self.decode(batch):
            detected = self.detect(part)
            del part  # its pixels would stay in memory while the next are decoded
            yield detected


def failed(error: BaseException) -> FacelakeError:
    """Return what to say of an error in a worker that nobody expected."""
    last = [line for line in str(error).splitlines() if line.strip()][-1:] or [""]
    return FacelakeError(
        f"A worker failed: {type(error).__name__}: {last[0].strip()}; what is written is kept. "
        "Run again to go on, with --verbose to see where it failed"
    )
