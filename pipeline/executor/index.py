"""The main job: photos are read, faces found and embedded, and a row for each is written."""

import logging
import os
import re
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import IndexConfig
from pipeline.errors import LakeMismatchError, StorageError
from pipeline.executor import environment
from pipeline.executor.performance import StageTimes, measured
from pipeline.executor.progress import Tally, Watch
from pipeline.executor.resources import Sizing
from pipeline.executor.tasks import mapper
from pipeline.lake.generations import Resized
from pipeline.lake.ledger import Ledger
from pipeline.lake.manifest import manifest, started
from pipeline.lake.moves import bring_back, mend, park, relocate, resized
from pipeline.lake.store import GONE, LakeStore, Models, Shards
from pipeline.models.cards.card import find_card, known_cards, revision_of, views_of
from pipeline.models.embedder import load_embedder
from pipeline.models.weights.store import WeightStore
from pipeline.people.store import corrected_faces
from pipeline.sources.members import Report
from pipeline.sources.plan import check_columns, plan
from pipeline.sources.reconcile import Reconciled, Reconciler, to_hash
from pipeline.sources.units import Plan

if TYPE_CHECKING:
    from pipeline.executor.cluster import StoreWatch
    from pipeline.executor.work import Job

logger = logging.getLogger(__name__)
# More is hashed on a Ray cluster: on one machine it would take a quarter of an hour and more.
RAY_BYTES = 100 * 2**30


@dataclass(frozen=True)
class Indexed:
    """What became of a run.

    Attributes:
        run_id: of its manifest in `runs/`.
        status: finished or interrupted.
        tally: what it wrote.
        report: what it passed over, noticed, and found damaged.
        seconds: wall time.
        performance: figures of its stages; None when there was nothing to do.
        change: which photos moved, came back, or are gone.
    """

    run_id: str
    status: str
    tally: Tally
    report: Report
    seconds: float
    performance: dict[str, Any] | None
    change: Reconciled = field(default_factory=Reconciled)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it; what is written is kept."""
        return self.status == "interrupted"


class Followers(Protocol):
    """What was made from a lake, and follows its photos; see `maintenance.follow`."""

    def moved(self, lake: LakeStore, images: Resized, faces: Resized) -> None:
        """Note the new sizes of parts in which places alone have changed."""

    def leaving(self, lake: LakeStore, gone: set[str], run_id: str) -> None:
        """Take images that are gone out of people and duplicates."""

    def left(self, lake: LakeStore, faces: Resized) -> None:
        """Note the new sizes of parts that images left."""


def index(
    config: IndexConfig, lake: LakeStore, run_id: str, watch: Watch, followers: Followers
) -> Indexed:
    """Index what the lake lacks; the caller holds the lake's lock.

    Photos that moved, changed, or are gone are found first. Ctrl-C ends it in order: the lake is
    whole, and the manifest says `interrupted`.

    Raises:
        LakeMismatchError: the lake holds rows of other models.
        FacelakeError: an input, model or cluster that cannot be used, or a stage that failed.
    """
    began = time.monotonic()
    ledger = ledger_of(config, lake)
    if len(ledger.doubled()):  # a run was killed
        mend(lake, ledger, partial(corrected_faces, lake))
        ledger = ledger_of(config, lake)
    inputs = planned(config, ledger, lake.shards())
    models = prepare_lake(config, lake, inputs, watch)
    change = compared(config, lake, inputs, ledger, watch)
    if change:
        bring_in_step(lake, change, run_id, followers)
        ledger = ledger_of(config, lake)
        change.take_from(inputs)
    inputs.notices += change.notices
    if change.gone:
        inputs.notices.append(
            f"the rows of photos that are not there are kept in {GONE}/, and come back with them; "
            "`facelake prune` removes them"
        )
    run = _Run(config, lake, models, run_id, watch, began, change)
    run.record({"status": "running"})
    return run.process(inputs, ledger)


def ledger_of(config: IndexConfig, lake: LakeStore) -> Ledger:
    """Return which images the lake has; those with errors that are tried again are to be read."""
    return lake.ledger(config.retried_codes()) if lake.models() else Ledger.empty()


def compared(
    config: IndexConfig, lake: LakeStore, inputs: Plan, ledger: Ledger, watch: Watch
) -> Reconciled:
    """Return which photos of the lake moved, came back, or are not there any more."""
    if not len(ledger):
        return Reconciled()

    def uris(image_ids: Sequence[str]) -> dict[str, str]:
        where = pc.field("image_id").isin(pa.array(image_ids, pa.string()))
        rows = lake.read("images", ["image_id", "uri"], where).to_pydict()
        return dict(zip(rows["image_id"], rows["uri"], strict=True))

    comparison = Reconciler(inputs, ledger, uris, config.storage_options)
    size, done = to_hash(comparison.units), 0
    text = f"comparing {size / 1e6:,.0f} MB of photos with the lake"

    def tell(more: int) -> None:
        nonlocal done
        done += more
        watch.step(text, done, size)

    if comparison.units:
        tell(0)
    with mapper(size > RAY_BYTES) as tasks:
        return comparison.run(config.read, tasks, tell)


def bring_in_step(lake: LakeStore, change: Reconciled, run_id: str, followers: Followers) -> None:
    """Let the rows of the lake follow their photos, and what was made from them follow the rows."""
    images, faces = (lake.folder.child(table) for table in ("images", "faces"))
    was_images, was_faces = images.files(), faces.files()
    relocate(lake, change.places)
    moved_faces = faces.files()
    followers.moved(lake, resized(was_images, images.files()), resized(was_faces, moved_faces))
    bring_back(lake, change.back)
    followers.leaving(lake, change.gone, run_id)
    park(lake, change.gone, datetime.now(UTC).replace(microsecond=0))
    followers.left(lake, resized(moved_faces, faces.files()))
    lake.note_shards(change.whole)


def planned(config: IndexConfig, ledger: Ledger, shards: Shards | None = None) -> Plan:
    """Return what there is to read, and what was passed over."""
    inputs = plan(
        config.inputs,
        output=config.output,
        ledger=ledger,
        options=config.storage_options,
        parallelism=os.cpu_count() or 1,
        shards=shards,
    )
    check_columns(inputs, config.read.image_column, config.read.key_column)
    return inputs


def prepare_models(config: IndexConfig, watch: Watch) -> Models:
    """Find or fetch the weights of both models, and return which they are.

    Raises:
        ConfigError: an unknown model.
        WeightsError: weights that cannot be had, or are not what they should be.
    """
    store = WeightStore.at(config.weights_dir, config.weights_url, config.licences)
    detector = find_card(config.detector, "detector")
    embedder = find_card(config.embedder, "embedder")
    for card in (detector, embedder):
        if store.state(card) == "missing":
            store.paths(card, partial(_fetched, watch, card.name))
    if not embedder.bundled:
        # A model that does not load is told before a cluster is started for it.
        load_embedder(config.embedder, store=store)
    revision = revision_of(store.revision(embedder), config.views)
    return Models(store.revision(detector), revision, embedder.dimension)


def _fetched(watch: Watch, name: str, done: int, total: int | None) -> None:
    watch.step(f"fetching {name}", done, total or 0)


def prepare_lake(config: IndexConfig, lake: LakeStore, inputs: Plan, watch: Watch) -> Models:
    """Bring the lake into a state to be added to, and return the models it is for."""
    check_names(config, lake)
    models, current = prepare_models(config, watch), lake.models()
    try:
        lake.claim(models)
    except LakeMismatchError as error:
        raise LakeMismatchError(f"{error}{way_back(current, models.embedder)}") from None
    leftovers = lake.sweep()
    if leftovers:
        inputs.notices.append(f"removed {leftovers} unfinished files of an interrupted run")
    return models


def check_names(config: IndexConfig, lake: LakeStore) -> None:
    """Compare names alone, before weights are fetched for nothing; paths are left to `claim`.

    Raises:
        LakeMismatchError: the lake holds rows of models with other names.
    """
    current, names = lake.models(), (config.detector, config.embedder)
    if current is None or not known_cards().keys() >= set(names) or not lake.parts():
        return
    wanted = revision_of(config.embedder, config.views)
    if current.names != names or views_of(current.embedder) != config.views:
        raise LakeMismatchError(
            f"{lake.mismatch(current, config.detector, wanted)}{way_back(current, wanted)}"
        )


def way_back(current: Models | None, embedder: str) -> str:
    """Say which options would fit the lake's rows, where Facelake has its embedder."""
    if current is None:
        return ""
    name, views, options = current.names[1], views_of(current.embedder), ""
    if re.split("[@+]", embedder)[0] != name:
        if name not in known_cards():
            return ""
        options = f" --embedder {name}"
    if views != views_of(embedder):
        options += f" --views {views}"
    return f", or run with{options}" if options else ""


@dataclass(frozen=True)
class _Run:
    """One run over a lake that is ready for it."""

    config: IndexConfig
    lake: LakeStore
    models: Models
    run_id: str
    watch: Watch
    began: float
    change: Reconciled

    def process(self, inputs: Plan, ledger: Ledger) -> Indexed:
        """Do the work, and leave a manifest whatever happens."""
        from pipeline.executor.work import Job, collect_reports  # not for --help

        job = Job(self.config, self.lake, self.models, self.run_id)
        watch, status = self.watch, "failed"
        now = time.time()
        by = _By({"start": now - (time.monotonic() - self.began), "prepare": now})
        watch.planned(inputs.images if not inputs.shards else None, inputs.bytes)
        try:
            if inputs.units:
                with closing(self.work(job, inputs, ledger, by)) as results:
                    for result in results:
                        watch.part(result)
            watch.finished()
            status = "finished"
        except KeyboardInterrupt:
            watch.stopping()
            status = "interrupted"
        finally:
            if status != "finished" or by.lost:  # parts may be written that nobody told of
                watch.tally.recount(self.lake.written_by(self.run_id))
            # A run that failed may have lost the lake to another one; the next one mends.
            if status != "failed" and inputs.rereads and watch.tally.images:
                mend(self.lake, self.lake.ledger(), partial(corrected_faces, self.lake))
            report, whole = collect_reports(job, inputs)
            if status == "finished":
                self.lake.note_shards(whole)
            figures = None
            if by.sizing and watch.tally.parts:
                figures = performance(watch.tally.times, by)
            seconds = time.monotonic() - self.began
            outcome = Indexed(
                self.run_id, status, watch.tally, report, seconds, figures, self.change
            )
            self.record(_facts(outcome))
        return outcome

    def work(
        self, job: "Job", inputs: Plan, ledger: Ledger, by: "_By"
    ) -> Generator[Mapping[str, Any]]:
        """Yield what becomes of each part, from one worker if the job is small, else from Ray."""
        from pipeline.executor import single

        verbose = logger.isEnabledFor(logging.INFO)
        if single.suits(self.config, inputs):
            by.sizing = single.sizing(self.config, inputs)
            self.watch.step("indexing in one process")
            try:
                yield from single.run(job, inputs, ledger, verbose)
                return
            except single.WorkerLostError as error:
                logger.warning("the worker was lost (%s); the rest is done on Ray", error)
                by.lost, ledger = True, ledger_of(self.config, self.lake)
        yield from self.on_ray(job, inputs, ledger, by, verbose)

    def on_ray(
        self, job: "Job", inputs: Plan, ledger: Ledger, by: "_By", verbose: bool
    ) -> Generator[Mapping[str, Any]]:
        """Yield what becomes of each part, done on a Ray cluster."""
        # Ray takes seconds to import: not for --help, --dry-run or a wrong option.
        environment.prepare(verbose)
        from pipeline.executor import dataset
        from pipeline.executor.cluster import StoreWatch, cluster

        by.store = StoreWatch()
        self.watch.step("starting Ray")
        with cluster(verbose) as private, by.store:
            by.marks["ray"] = time.time()
            sizing = by.sizing = dataset.cluster_sizing(self.config, inputs)
            self.watch.step(
                f"indexing with {sizing.detect_actors} detect and {sizing.embed_actors} "
                "embed actors"
            )
            yield from dataset.run(job, inputs, ledger, sizing, private)

    def record(self, facts: dict[str, Any]) -> None:
        """Write the manifest; at the end, a full disk here must not hide what stopped the run."""
        about = manifest(self.config, self.models, self.run_id) | {"started": started(self.began)}
        try:
            self.lake.publish_json(f"runs/{self.run_id}.json", about | facts)
        except StorageError as error:
            if facts["status"] == "running":
                raise
            logger.warning("the manifest of the run could not be written: %s", error)


@dataclass
class _By:
    """Who does the work of a run, and when.

    Attributes:
        marks: as of `measured`.
        store: Ray's objects.
        lost: whether a worker of its own was lost.
    """

    marks: dict[str, float]
    sizing: Sizing | None = None
    store: "StoreWatch | None" = None
    lost: bool = False


def performance(times: StageTimes, by: _By) -> dict[str, Any]:
    """Return the figures of a run that ends now."""
    assert by.sizing is not None
    figures = measured(
        times,
        by.sizing.workers(),
        by.sizing.cpus,
        apart=by.sizing.decode_apart,
        marks=by.marks,
        end=time.time(),
    )
    store = (by.store.peak, by.store.spilled) if by.store else (None, None)
    return figures | dict(zip(("store_peak_bytes", "spilled_bytes"), store, strict=True))


def _facts(outcome: Indexed) -> dict[str, Any]:
    """Return the part of the manifest that is known at the end."""
    tally, report = outcome.tally, outcome.report
    facts = {
        "status": outcome.status,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(outcome.seconds, 1),
        "images": tally.images,
        "images_with_face": tally.with_face,
        "faces": tally.faces,
        "parts": tally.parts,
        "bytes": tally.bytes,
        "already_in_lake": report.already_in_lake,
        "moved": outcome.change.moved,
        "come_back": len(outcome.change.back),
        "gone": len(outcome.change.gone),
        "errors": dict(tally.errors),
        "storage_retries": dict(tally.retries + report.retries),
        "passed_over": dict(report.skipped),
        "notices": report.notices,
        "damaged": report.damage,
        "stage_seconds": {
            name: round(spent["seconds"], 2) for name, spent in tally.times.stages.items()
        },
    }
    return facts if outcome.performance is None else facts | {"performance": outcome.performance}
