"""Runs the stages of indexing on a cluster, as a Ray Dataset.

    units -> read -> decode + detect (actors) -> embed (actors) -> write -> results

On CPU clusters bytes travel to the detector's actors, which decode: twelve times less goes
through the object store. Where detectors hold a GPU, decoding has tasks of its own.
"""

import pickle
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, TaskPoolStrategy

from pipeline import errors
from pipeline.config import IndexConfig
from pipeline.errors import FacelakeError, ImageError, ResourceError
from pipeline.executor.resources import (
    EPOCH_BLOCKS,
    EPOCH_FILES,
    Sizing,
    size,
)
from pipeline.executor.shared_ledger import SharedLedger, share
from pipeline.executor.work import (
    DecodeDetect,
    Job,
    detect_options,
    embed_options,
    failed,
    read_unit,
)
from pipeline.lake.ledger import Ledger
from pipeline.lake.tombstones import Forgotten
from pipeline.sources.units import Plan, Unit
from pipeline.stages.decode import Decode
from pipeline.stages.write import Write

START_TIMEOUT_S = 300
# What Ray Data appends to the message of an exception, with advice on its own settings.
RAY_HINT = "\nFailed to apply"


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

    On a `private` cluster nobody else takes what actors need: all start at once. On others nodes
    come and go: pools grow, and are chosen again for each dataset.

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
    # Actors that wait for photos are kept: each that starts loads a model.
    context.autoscaling_config.actor_pool_util_downscaling_threshold = 0
    # Every wait for storage has its own limit; a shard may take longer than Ray's half an hour.
    context.execution_no_progress_timeout_s = -1
    # Ray warns when a small run does not fill its pools, which nobody can know beforehand.
    warnings.filterwarnings("ignore", "The (maximum|minimum) number of concurrent", UserWarning)
    shared = share(ledger)
    if private:
        sizing = replace(sizing, detect_most=0, embed_most=0)
    for number, units in enumerate(epochs(plan, sizing.block_bytes)):
        if number and not private:
            sizing = cluster_sizing(job.config, plan)
        dataset = build(job, units, shared, ledger.forgotten, sizing)
        try:
            for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
                yield from batch.to_pylist()
        except Exception as error:
            raise unwrapped(error) from error


def epochs(plan: Plan, block_bytes: int, most_blocks: int = EPOCH_BLOCKS) -> Iterator[list[Unit]]:
    """Yield the units of a plan in lists that make about `most_blocks` blocks in each stage.

    Ray Data keeps what it knows of every block until a dataset ends (ray#66016).
    """
    units: list[Unit] = []
    blocks, files = 0.0, 0
    for unit in plan.units:
        units.append(unit)
        files += len(unit.names)
        size = sum(plan.image_bytes if one < 0 else one for one in unit.sizes)
        blocks += max(1.0, size / block_bytes)
        if blocks >= most_blocks or files >= EPOCH_FILES:
            yield units
            units, blocks, files = [], 0.0, 0
    if units:
        yield units


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
    return failed(getattr(error, "cause", None) or error)


def build(
    job: Job, units: Sequence[Unit], ledger: SharedLedger, forgotten: Forgotten, sizing: Sizing
) -> Any:
    """Return the lazy Ray Dataset of some units; consuming it does the work."""
    items = [{"unit": pickle.dumps(unit)} for unit in units]
    dataset = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        partial(read_units, job=job, ledger=ledger),
        batch_size=1,
        batch_format="pyarrow",
        num_cpus=0,
        compute=TaskPoolStrategy(size=min(sizing.read_tasks, len(units))),
    )
    return _embedded(_detected(dataset, job, sizing), job, sizing).map_batches(
        Write(job.lake, job.models, job.run_id, forgotten).__call__,
        batch_size=sizing.part_images,
        batch_format="pyarrow",
        num_cpus=0,
        compute=TaskPoolStrategy(size=sizing.write_tasks),
    )


def _detected(dataset: Any, job: Job, sizing: Sizing) -> Any:
    """Decode and detect: in one actor on CPUs, apart where detectors hold a GPU."""
    # Imported here, because read tasks load this module too, and never need the 120 MB of torch.
    from pipeline.stages.detect import Detect

    config = job.config
    detect = detect_options(job, "cuda" if sizing.detect_gpus else "cpu")
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
        compute=pool(sizing.detect_actors, sizing.detect_most),
        num_cpus=sizing.detect_cpus,
        num_gpus=sizing.detect_gpus,
    )


def _embedded(dataset: Any, job: Job, sizing: Sizing) -> Any:
    from pipeline.stages.embed import Embed

    config = job.config
    return dataset.map_batches(
        Embed,
        fn_constructor_kwargs=embed_options(job, "cuda" if sizing.embed_gpus else "cpu"),
        batch_size=config.pools.embed_batch,
        batch_format="pyarrow",
        compute=pool(sizing.embed_actors, sizing.embed_most),
        num_cpus=sizing.embed_cpus,
        num_gpus=sizing.embed_gpus,
    )


def pool(actors: int, most: int = 0) -> ActorPoolStrategy:
    """Return a pool of that many actors, or up to `most` where nodes join.

    They are handed little ahead, so that the last ones end together.
    """
    return ActorPoolStrategy(
        min_size=actors, max_size=max(actors, most), max_tasks_in_flight_per_actor=2
    )


def read_units(batch: pa.Table, *, job: Job, ledger: SharedLedger) -> Iterator[pa.Table]:
    """Read units, and leave the report of each in the lake."""
    for data in batch["unit"].to_pylist():
        unit: Unit = pickle.loads(data)  # noqa: S301  # made by this run's own driver
        yield from read_unit(unit, job, ledger.of(unit))
