"""Runs the stages of indexing on a cluster, as a Ray Dataset.

    units -> read -> decode + detect (actors) -> embed (actors) -> write -> results

On CPU clusters bytes travel to the detector's actors, which decode: twelve times less goes
through the object store. Where detectors hold a GPU, decoding has tasks of its own.
"""

import hashlib
import json
import pickle
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, TaskPoolStrategy

from pipeline import errors
from pipeline.config import DecodeConfig, IndexConfig
from pipeline.errors import FacelakeError, ImageError, ResourceError
from pipeline.executor.resources import READ_CPUS, WRITE_CPUS, Sizing, size
from pipeline.lake.ledger import Ledger, Places
from pipeline.lake.store import LakeStore, Models
from pipeline.models.cards.card import find_card
from pipeline.models.weights.store import WeightStore
from pipeline.sources.members import Report
from pipeline.sources.read import read
from pipeline.sources.units import Plan, Unit
from pipeline.stages.decode import Decode
from pipeline.stages.write import Write
from pipeline.storage.folder import printable
from pipeline.storage.retry import take_counts

START_TIMEOUT_S = 300
# What Ray Data appends to the message of an exception, with advice on its own settings.
RAY_HINT = "\nFailed to apply"


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
        return WeightStore.at(
            self.config.weights_dir, self.config.weights_url, self.config.licences
        )

    @property
    def reports(self) -> str:
        """Folder in the lake for the reports of read tasks."""
        return f"runs/{self.run_id}"


def cluster_sizing(config: IndexConfig, plan: Plan) -> Sizing:
    """Choose the pools from what the cluster has."""
    resources = ray.cluster_resources()
    return size(
        resources.get("CPU", 1),
        resources.get("GPU", 0),
        config.pools,
        device=config.device,
        images=plan.estimated_images(),
        image_bytes=plan.image_bytes,
    )


def run(
    job: Job, plan: Plan, ledger: Ledger, sizing: Sizing, private: bool = False
) -> Iterator[Mapping[str, Any]]:
    """Process the plan, yielding one row of `stages.write.RESULT` a published part.

    On a `private` cluster nobody else takes what actors need: all start at once.

    Raises:
        FacelakeError: what a stage raised, without Ray's wrapping.
        ResourceError: the actors did not start.
    """
    if not plan.units:
        return
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.enable_rich_progress_bars = False
    context.target_max_block_size = sizing.block_bytes
    # Ray waits for one pool before it starts the next.
    context.wait_for_min_actors_s = -1 if private else START_TIMEOUT_S
    # Otherwise the cause, whose message says what to do, stays in the worker.
    context.raise_original_map_exception = True
    # Every wait for storage has its own limit; a shard may take longer than Ray's half an hour.
    context.execution_no_progress_timeout_s = -1
    dataset = build(job, plan, ledger, sizing)
    # Ray warns when a small run does not fill its pools, which nobody can know beforehand.
    warnings.filterwarnings("ignore", "The (maximum|minimum) number of concurrent", UserWarning)
    try:
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from batch.to_pylist()
    except Exception as error:
        raise unwrapped(error) from error


def unwrapped(error: BaseException) -> FacelakeError:
    """Return the FacelakeError inside what Ray raised, or one that says what Ray raised."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        # Ray makes its own error look like the cause; only the cause itself has the plain message.
        if isinstance(cause, FacelakeError) and type(cause).__module__ == errors.__name__:
            return type(cause)(str(cause).split(RAY_HINT)[0].strip())
        causes.append(cause)
        cause = getattr(cause, "cause", None) or cause.__cause__ or cause.__context__
    text = "\n".join(str(one) for one in causes)
    # An actor that fails to start leaves only the text of its traceback.
    for name, message in reversed(re.findall(r"pipeline\.errors\.(\w+): (.+)", text)):
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, FacelakeError) and kind is not ImageError:
            return kind(message.strip())
    if "min_actors" in text:
        return ResourceError(
            f"The actors did not start within {START_TIMEOUT_S} s: is the cluster busy, or "
            "smaller than it says?"
        )
    inner = getattr(error, "cause", None) or error
    last = [line for line in str(inner).splitlines() if line.strip()][-1:] or [""]
    return FacelakeError(
        f"A worker failed: {type(inner).__name__}: {last[0].strip()}; what is written is kept. "
        "Run again to go on, with --verbose to see where it failed"
    )


def build(job: Job, plan: Plan, ledger: Ledger, sizing: Sizing) -> Any:
    """Return the lazy Ray Dataset of the run; consuming it does the work."""
    units = [{"unit": pickle.dumps(unit)} for unit in plan.units]
    dataset = ray.data.from_items(units, override_num_blocks=len(units)).map_batches(
        partial(read_units, job=job, ledger=ray.put(ledger)),
        batch_size=1,
        batch_format="pyarrow",
        num_cpus=READ_CPUS,
        compute=TaskPoolStrategy(size=min(sizing.read_tasks, len(units))),
    )
    return _embedded(_detected(dataset, job, sizing), job, sizing).map_batches(
        Write(job.lake, job.models, job.run_id, ledger.forgotten).__call__,
        batch_size=sizing.part_images,
        batch_format="pyarrow",
        num_cpus=WRITE_CPUS,
        compute=TaskPoolStrategy(size=sizing.write_tasks),
    )


def _detected(dataset: Any, job: Job, sizing: Sizing) -> Any:
    """Decode and detect: in one actor on CPUs, apart where detectors hold a GPU."""
    # Imported here, because read tasks load this module too, and never need the 120 MB of torch.
    from pipeline.stages.detect import Detect

    config = job.config
    detect = {
        "embedder": find_card(config.embedder),
        "config": config.detect,
        "detector": config.detector,
        "thumbnails": config.thumbnails,
        "device": "cuda" if sizing.detect_gpus else "cpu",
        "store": job.store(),
    }
    if sizing.decode_apart:
        dataset = dataset.map_batches(
            Decode(config.decode).__call__,
            batch_size=config.pools.detect_batch,
            batch_format="pyarrow",
            num_cpus=1,
        )
    return dataset.map_batches(
        Detect if sizing.decode_apart else DecodeDetect,
        fn_constructor_kwargs=detect
        if sizing.decode_apart
        else {"decode": config.decode, "detect": detect},
        batch_size=config.pools.detect_batch,
        batch_format="pyarrow",
        compute=pool(sizing.detect_actors),
        num_cpus=sizing.detect_cpus,
        num_gpus=sizing.detect_gpus,
    )


def _embedded(dataset: Any, job: Job, sizing: Sizing) -> Any:
    from pipeline.stages.embed import Embed

    config = job.config
    return dataset.map_batches(
        Embed,
        fn_constructor_kwargs={
            "embedder": config.embedder,
            "device": "cuda" if sizing.embed_gpus else "cpu",
            "threads": 1,
            "store": job.store(),
            "precision": None if config.precision == "auto" else config.precision,
            "views": config.views,
        },
        batch_size=config.pools.embed_batch,
        batch_format="pyarrow",
        compute=pool(sizing.embed_actors),
        num_cpus=sizing.embed_cpus,
        num_gpus=sizing.embed_gpus,
    )


def pool(actors: int) -> ActorPoolStrategy:
    """Return a pool of that many actors, handed little ahead so that the last ones end together."""
    return ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2)


def read_units(batch: pa.Table, *, job: Job, ledger: Any) -> Iterator[pa.Table]:
    """Read units with a `ledger` that Ray holds, and leave the report of each in the lake."""
    lake_ledger: Ledger = ray.get(ledger)
    for data in batch["unit"].to_pylist():
        unit: Unit = pickle.loads(data)  # noqa: S301  # made by this run's own driver
        report = Report()
        yield from read(unit, lake_ledger, job.config.read, report)
        if report != Report():
            name = hashlib.blake2b(
                f"{unit.base}{unit.names}".encode(errors="replace"), digest_size=16
            )
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
        import torch

        from pipeline.stages.detect import Detect

        torch.set_num_threads(1)
        self.decode = Decode(decode)
        self.detect = Detect(**detect)

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Yield detected tables, decoded and searched in pieces of bounded pixels."""
        for part in self.decode(batch):
            detected = self.detect(part)
            del part  # its pixels would stay in memory while the next are decoded
            yield detected
