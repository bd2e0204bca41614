"""The library: what every command does, for notebooks and scripts.

    from pipeline import Lake, index

    lake = index("photos/", "lake", embedder="sface")
    lake.cluster()
    lake.people.name("3f2a", "Ann")
    lake.faces.to_pandas(columns=["uri", "box"])

Jobs take the options of their command as keywords, with _ for -, and raise the exceptions of
`pipeline.errors`. `progress` is True for a bar, or a function that is called with a step's name,
how much of it is done, and how much there is (0: not known).
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.config import IndexConfig, Licences
from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.dedupe.duplicates import Duplicates
from pipeline.errors import StorageError
from pipeline.evaluation import settings as evaluation
from pipeline.executor.index import Indexed
from pipeline.executor.index import index as index_lake
from pipeline.executor.progress import Watch, shown
from pipeline.executor.tasks import WhereRay, mapper
from pipeline.lake import schema
from pipeline.lake.checkpoints import Progress
from pipeline.lake.lock import RunLock
from pipeline.lake.manifest import read_config
from pipeline.lake.store import LakeStore
from pipeline.lake.tables import FaceTable, Table, faces_of, images_of, table_of
from pipeline.maintenance import follow
from pipeline.maintenance.hold import held, new_run_id, readable
from pipeline.maintenance.jobs import Place, Size, job
from pipeline.models.weights.store import WeightStore
from pipeline.options import build, takes
from pipeline.people.store import People
from pipeline.people.table import PeopleTable
from pipeline.search.settings import (
    IdentifyConfig,
    SearchConfig,
    VectorIndexConfig,
    VerifyConfig,
    faiss,
)
from pipeline.sources.plan import refuse_inside
from pipeline.storage.folder import Folder
from pipeline.training.predictions import predictions_of
from pipeline.training.settings import TrainConfig
from pipeline.web.report.settings import ReportConfig

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.dedupe.decision import Decision
    from pipeline.dedupe.plans import Copy
    from pipeline.dedupe.removal import Moved
    from pipeline.evaluation.report import Report
    from pipeline.maintenance.check import Result
    from pipeline.maintenance.forget.job import Confirm, Forgetting
    from pipeline.models.cards.calibration import Calibration
    from pipeline.people.constraints import Constraint
    from pipeline.people.marks.marker import Marker
    from pipeline.search.identity import Identity
    from pipeline.search.models import LakeModels
    from pipeline.search.probe import Photo
    from pipeline.search.results import SearchResult
    from pipeline.search.searcher import Searcher
    from pipeline.search.store import Manifest
    from pipeline.search.verify import Verdict
    from pipeline.training.train import Trained
    from pipeline.web.report.write import Written

logger = logging.getLogger(__name__)

# Below these, starting Ray takes longer than the work.
CLUSTER_FACES_FOR_RAY = 30_000
INDEX_FACES_FOR_RAY = 2_000_000
DEDUPE_IMAGES_FOR_RAY = 300_000
IMAGE_ROW_BYTES = 250  # of a row of `images` in a file, about
FACE_ROW_BYTES = 500  # of one of `faces`, about, without its vector

ProgressOption = Progress | bool | None


@takes(IndexConfig)
def index(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    progress: ProgressOption = None,
    wait: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> "Lake":
    """Read photos, find and embed their faces, and return the lake that has a row for each.

    Call it again after a stop, or to add new photos: photos in the lake are not done again.

    Args:
        inputs: folders, globs, images, .tar, .zip and .parquet shards, .txt lists of paths; local
            or any fsspec URL.
        output: the lake to make, or to add to.
        progress: True for a bar, or a function; see the top of this module.
        wait: wait while another run is writing to the lake.
        storage_options: for fsspec.
        options: see below.

    Raises:
        FacelakeError: something cannot be done; the message says what to do about it.
        KeyboardInterrupt: it was interrupted; rows that are written are kept.
    """
    several = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    config = build(
        IndexConfig,
        options,
        inputs=tuple(map(os.fspath, several)),
        output=os.fspath(output),
        storage_options=dict(storage_options or {}),
    )
    with shown(progress) as report:
        outcome = run_index(config, Watch(report), wait)
    if outcome.interrupted:
        raise KeyboardInterrupt
    return Lake(config.output, config.storage_options)


def run_index(config: IndexConfig, watch: Watch, wait: bool = False) -> Indexed:
    """Index as `index` does, with progress for `watch`, and return the outcome of the run.

    Raises:
        FacelakeError: something cannot be done; the message says what to do about it.
    """
    lake = LakeStore(config.output, config.storage_options)
    lake.folder.reach()
    for text in config.inputs:
        refuse_inside(text, config.output)
    run_id = new_run_id()
    try:
        with held(lake, run_id, wait):
            outcome = index_lake(config, lake, run_id, watch, follow)
            if not outcome.interrupted:
                weights = WeightStore.at(config.weights_dir, config.weights_url, config.licences)
                try:
                    restore_marks(lake, run_id, config.embedder, weights)
                except StorageError as error:  # what was indexed is there; `cluster` says it again
                    logger.warning("marked faces could not be looked after: %s", error)
            return outcome
    finally:
        lake.folder.remove_if_empty()


@contextmanager
def marking(
    lake: LakeStore, models: "LakeModels | None" = None, embedder: str | None = None,
    weights: WeightStore | None = None,
) -> "Iterator[Marker]":  # fmt: skip
    """Open what marks faces of a lake; models that are not given are loaded when needed."""
    from pipeline.people.marks.marker import Marker
    from pipeline.search.models import LakeModels
    from pipeline.sources.originals import Originals

    models = models or LakeModels(lake, embedder, weights)
    with (
        Originals(lake.folder.options, read_config(lake)) as originals,
        Marker(People(lake), originals, models) as marker,
    ):
        yield marker


def restore_marks(
    lake: LakeStore, run_id: str, embedder: str | None = None, weights: WeightStore | None = None
) -> None:
    """Bring marked faces in step with corrections; the caller holds the lake's lock."""
    if not lake.folder.child("constraints").files() or lake.models() is None:
        return
    with marking(lake, None, embedder, weights) as marker:
        settled = marker.restore(run_id)
    if settled.missing:
        logger.warning(
            "%d marked faces are missing until their photos can be read as they were",
            settled.missing,
        )


class Lake:
    """A lake: tables of images, faces and people, and everything that is done with them.

    Args:
        url: local folder or any fsspec URL.
        storage_options: for fsspec.
        embedder: path of the lake's own embedder, if Facelake does not know it by name.
        weights_dir: where weights are cached.
        weights_url: folder or URL to fetch weights from.
        licences: of the weights that may be used, see `index`.

    Raises:
        ConfigError: there is no lake.
        StorageError: the storage does not answer.
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        storage_options: Mapping[str, Any] | None = None,
        *,
        embedder: str | None = None,
        weights_dir: str | None = None,
        weights_url: str | None = None,
        licences: Licences | None = None,
    ) -> None:
        self.store = LakeStore.open(os.fspath(url), storage_options)
        self._embedder, self._weights = embedder, (weights_dir, weights_url, licences)

    def __repr__(self) -> str:
        """Return where it is."""
        return f"Lake({self.url!r})"

    @property
    def url(self) -> str:
        """Where it is."""
        return self.store.folder.url

    @property
    def images(self) -> Table:
        """A row for each photo, good or bad."""
        return images_of(self.store)

    @property
    def gone(self) -> Table:
        """A row for each photo that is not there any more, with `gone_since`; see `prune`."""
        return images_of(self.store.gone())

    @property
    def faces(self) -> FaceTable:
        """A row for each face: box, landmarks, vector."""
        return faces_of(self.store)

    @property
    def clusters(self) -> Table:
        """The person of each face as clustering has it; `people` has corrections as well."""
        return table_of(People(self.store).generations, "clusters", schema.CLUSTERS)

    @property
    def suggestions(self) -> Table:
        """Which persons might be one, or two."""
        return table_of(People(self.store).generations, "suggestions", schema.SUGGESTIONS)

    @property
    def duplicates(self) -> Table:
        """A row for each picture of which there are copies, or a burst."""
        return table_of(Duplicates(self.store).generations, "duplicates", schema.DUPLICATES)

    @property
    def predictions(self) -> Table:
        """Whom a trained model takes each face for; `classify` makes it."""
        return table_of(predictions_of(self.store), "predictions", schema.PREDICTIONS)

    @property
    def people(self) -> PeopleTable:
        """Who is who, corrections included, and the ways to correct it."""
        return PeopleTable(People(self.store), self._marking)

    @takes(ClusterConfig)
    def cluster(
        self,
        *,
        ray: WhereRay = "auto",
        wait: bool = False,
        progress: ProgressOption = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Group the faces into people, and return the figures of the run.

        Ids, names and corrections survive; after new photos only people whom they touch are done.
        """
        # It takes torch, a second to import, that nothing else should wait for.
        from pipeline.clustering.past import settings_of
        from pipeline.clustering.run import Run

        config = build(ClusterConfig, options)
        models = self.store.existing_models()
        size = self._faces_for_ray(CLUSTER_FACES_FOR_RAY, 1 if config.device == "cuda" else 0)
        with job(self.store, "cluster", Place(ray, wait, progress), size) as run:
            restore_marks(self.store, run.run_id, self._embedder, WeightStore.at(*self._weights))
            steps = Run(People(self.store), config, run.mapper, run.run_id, run.progress)
            about = steps.cluster()
            facts = {k: v for k, v in about.items() if k not in ("parts", "constraints")}
            run.record(facts | {"embedder": models.embedder, "config": settings_of(config)})
        return about

    @takes(DedupeConfig)
    def dedupe(
        self,
        *,
        ray: WhereRay = "auto",
        wait: bool = False,
        progress: ProgressOption = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Find copies of pictures, choose which ones to keep, and return the figures.

        Nothing is moved; `move_copies` does.
        """
        from pipeline.dedupe.gather import with_links
        from pipeline.dedupe.run import Run

        config = build(DedupeConfig, options)
        config = replace(config, reference=with_links(config.reference))
        size = Size("images", DEDUPE_IMAGES_FOR_RAY * IMAGE_ROW_BYTES)
        with job(self.store, "dedupe", Place(ray, wait, progress), size) as run:
            duplicates = Duplicates(self.store)
            about = Run(duplicates, config, run.mapper, run.run_id, run.progress).dedupe()
            run.record({name: value for name, value in about.items() if name != "parts"})
        return about

    @takes(DedupeConfig)
    def copies_of(self, photo: str, **options: Any) -> list[dict[str, Any]]:
        """Return the pictures of the lake that are copies of a photo, the nearest first."""
        from pipeline.dedupe.lookup import look_up, read_probe

        config = build(DedupeConfig, options)
        return look_up(self.store, read_probe(photo, self.store.folder.options), config)

    def decision(self) -> "Decision | None":
        """Return what the last `dedupe` decided and with which options; None before the first."""
        from pipeline.dedupe.decision import last_decision

        return last_decision(Duplicates(self.store))

    def not_a_copy(self, *photos: str) -> "Constraint":
        """Say that pictures are no copies of the others of their groups; see `people.undo`.

        It counts from the next `dedupe` on.
        """
        from pipeline.dedupe.apart import not_a_copy

        return not_a_copy(Duplicates(self.store), People(self.store), photos)

    def keep(self, photo: str) -> "Constraint":
        """Say that of its copies this picture is kept; see `people.undo`.

        It counts from the next `dedupe` on.
        """
        from pipeline.dedupe.apart import keep

        return keep(Duplicates(self.store), People(self.store), photo)

    def copies(self, kinds: Sequence[str] | None = None) -> "list[Copy]":
        """Return what may go by the last `dedupe`: copies of some kinds, all without a choice.

        Raises:
            ConfigError: nobody has decided yet, or the lake has changed since.
        """
        from pipeline.dedupe import plans
        from pipeline.dedupe.decision import current_decision

        chosen, duplicates = plans.checked_kinds(kinds), Duplicates(self.store)
        current_decision(duplicates)
        return plans.copies(duplicates, chosen)

    def check_target(self, folder: str) -> None:
        """Refuse a folder that `move_copies` could not use.

        Raises:
            ConfigError: it holds pictures of the lake.
        """
        from pipeline.dedupe import removal

        removal.refuse_target(Duplicates(self.store), Folder(folder, self.store.folder.options))

    def move_copies(
        self, folder: str, kinds: Sequence[str] | None = None, *, wait: bool = False
    ) -> "Moved":
        """Move what may go by the last `dedupe` into a folder.

        Each file goes after its bytes and those of the kept one were checked again.

        Returns how many were moved, what was left and why, and the log that `undo_move` takes.
        """
        from pipeline.dedupe import removal

        self.check_target(folder)
        target = Folder(folder, self.store.folder.options)
        run_id = new_run_id("moved")
        with RunLock(self.store.folder, run_id, wait):
            read = read_config(self.store)
            return removal.move(self.copies(kinds), target, f"{run_id}.jsonl", read)

    def undo_move(self, log: str) -> "Moved":
        """Move back what `move_copies` moved."""
        from pipeline.dedupe import removal

        return removal.undo(log, self.store.folder.options)

    @takes(VectorIndexConfig)
    def build_index(
        self,
        *,
        ray: WhereRay = "auto",
        wait: bool = False,
        progress: ProgressOption = None,
        **options: Any,
    ) -> "Manifest":
        """Build the vector index that makes searching fast, or add the faces that it lacks.

        Raises:
            ConfigError: FAISS is not installed.
        """
        from pipeline.search.build import Build

        config = build(VectorIndexConfig, options)
        faiss()
        size = self._faces_for_ray(INDEX_FACES_FOR_RAY)
        with job(self.store, "search-index", Place(ray, wait, progress), size) as run:
            made = Build(self.store, config, run.mapper, run.run_id, run.progress).run()
            run.record(made.facts() | {"config": asdict(config)})
        return made

    @takes(SearchConfig)
    def search(
        self, image: "Photo | None" = None, *, face_id: str | None = None, **options: Any
    ) -> "SearchResult":
        """Return the faces that are most similar to a photo's, or to one of the lake's own.

        Args:
            image: photo: path, URL, PIL image, array or tensor.
            face_id: a face of the lake instead of a photo.
            options: see below.
        """
        from pipeline.search.results import search

        exact = bool(options.get("exact", False))
        return search(self._searcher(exact), image, face_id=face_id, **options)

    @takes(IdentifyConfig)
    def identify(self, image: "Photo", **options: Any) -> "Identity":
        """Return which person the face of a photo is, or why nobody."""
        from pipeline.search.identity import identify

        return identify(self._searcher(), image, **options)

    @takes(IdentifyConfig)
    def identify_all(self, image: "Photo", **options: Any) -> "list[Identity]":
        """Return which persons the faces of a photo are, or why nobody, from left to right."""
        from pipeline.search.identity import identify_all

        return identify_all(self._searcher(), image, **options)

    @takes(VerifyConfig)
    def verify(
        self, first: str, second: str, *, calibration: "Calibration | None" = None, **options: Any
    ) -> "Verdict":
        """Return whether two faces of the lake are one person: face ids, or photos by any name."""
        from pipeline.search.verify import verify_faces

        return verify_faces(self.store, first, second, calibration=calibration, **options)

    @takes(evaluation.ClusteringConfig)
    def evaluate_clustering(self, labels: str | os.PathLike[str], **options: Any) -> "Report":
        """Compare the people with a CSV or Parquet file of face_id or image, and label."""
        from pipeline.evaluation.clustering import evaluate_clustering

        config = build(evaluation.ClusteringConfig, options)
        return evaluate_clustering(self.store, os.fspath(labels), config)

    @takes(evaluation.VerificationConfig)
    def evaluate_verification(self, pairs: str | os.PathLike[str], **options: Any) -> "Report":
        """Rate pairs of faces, LFW's pairs.txt or a file of a,b,same: accuracy, TAR at FAR."""
        from pipeline.evaluation.verification import evaluate_verification

        config = build(evaluation.VerificationConfig, options)
        embedder = self._models.embedder if config.flip else None
        return evaluate_verification(self.store, os.fspath(pairs), config, embedder)

    @takes(evaluation.IdentificationConfig)
    def evaluate_identification(self, labels: str | os.PathLike[str], **options: Any) -> "Report":
        """Search a gallery of labelled photos for known and unknown people: FNIR at FPIR."""
        from pipeline.evaluation.identification import evaluate_identification

        config = build(evaluation.IdentificationConfig, options)
        return evaluate_identification(self.store, os.fspath(labels), config)

    @takes(evaluation.DetectionConfig)
    def evaluate_detection(self, boxes: str | os.PathLike[str], **options: Any) -> "Report":
        """Compare the faces with boxes that people drew, CSV, WIDER FACE or COCO."""
        from pipeline.evaluation.detection import evaluate_detection

        config = build(evaluation.DetectionConfig, options)
        return evaluate_detection(self.store, os.fspath(boxes), config)

    @takes(evaluation.CalibrationConfig)
    def calibrate(self, pairs: str | os.PathLike[str], **options: Any) -> "Report":
        """Fit the probability of one person to pairs; with `output`, write it into a card."""
        from pipeline.evaluation.calibration import evaluate_calibration

        config = build(evaluation.CalibrationConfig, options)
        return evaluate_calibration(self.store, os.fspath(pairs), config)

    @takes(TrainConfig)
    def train(
        self,
        output: str | os.PathLike[str],
        labels: str | os.PathLike[str] | None = None,
        *,
        wait: bool = False,
        ray: WhereRay = "auto",
        progress: ProgressOption = None,
        **options: Any,
    ) -> "Trained":
        """Learn people from the lake, and write a model that tells them, with a page to look at.

        A head learns from the vectors of the lake. With `network`, a network is trained on the
        faces of the photos first, which are read again, and the head learns from its vectors. A
        training that was stopped goes on where it was when it is called again.

        Args:
            output: folder of the model, outside the lake; one that is there is replaced.
            labels: CSV or Parquet of face_id or image, and label; None: the people who have a name
                in the lake, corrections included.
            wait: for another run on the lake.
            ray: where faces are cut and the network is trained, see the top of this module.
            progress: see the top of this module.
            options: see below.

        Raises:
            ConfigError: fewer than two people have enough images, or no label matches a face.
            LakeBusyError: another run is at work.
            TrainingError: the network does not learn.
        """
        config, folder = build(TrainConfig, options), Folder(os.fspath(output), self._storage)
        run_id, file = new_run_id("train"), None if labels is None else os.fspath(labels)
        if config.network.network is None:
            from pipeline.training.train import Extra, check_place, finish, train_head
            from pipeline.web.model.page import page_of

            check_place(self.store, folder)
            with readable(self.store, run_id, wait, may_be_read_only=True):
                division = train_head(self.store, file, config)
                extra = Extra(page=page_of(self.store))
                return finish(division, self.store.existing_models(), folder, config, run_id, extra)
        return self._train_network(folder, file, config, run_id, Place(ray, wait, progress))

    def _train_network(
        self, folder: Folder, labels: str | None, config: TrainConfig, run_id: str, place: Place
    ) -> "Trained":
        """Hold the lake while faces are cut out of its photos; the training needs it no more."""
        from pipeline.training.fit.fitting import fitting
        from pipeline.training.network import Means, learn, prepare
        from pipeline.training.train import check_place
        from pipeline.web.model.page import page_of

        check_place(self.store, folder)
        on_ray = place.ray == "always" or (
            place.ray == "auto" and (config.network.workers > 1 or "RAY_ADDRESS" in os.environ)
        )
        with (
            shown(place.progress) as progress,
            mapper(on_ray) as tasks,
            fitting(config.network, on_ray, progress) as fit,
        ):
            with readable(self.store, run_id, place.wait, may_be_read_only=True):
                means = Means(WeightStore.at(*self._weights), tasks, progress)
                prepared = prepare(self.store, labels, folder, config, means)
            return learn(prepared, folder, config, run_id, fit, page_of(self.store))

    def classify(
        self,
        model: str | os.PathLike[str],
        *,
        wait: bool = False,
        progress: ProgressOption = None,
    ) -> dict[str, Any]:
        """Tell the person of every face by a trained model, and return the figures.

        They become the table `predictions`, which replaces the one that was there.

        Args:
            model: folder of `train`.
            wait: for another run on the lake.
            progress: see the top of this module.

        Raises:
            LakeMismatchError: the model knows vectors of another embedder.
            ConfigError: there is no such model, or it knows somebody who was forgotten here.
        """
        from pipeline.training.model import load_model
        from pipeline.training.predictions import classify_lake

        loaded = load_model(Folder(os.fspath(model), self._storage))
        with job(self.store, "classify", Place("never", wait, progress), Size("faces", 0)) as run:
            figures = classify_lake(self.store, loaded, run.run_id, run.progress)
            run.record(figures)
        return figures

    def export_vectors(self, target: str) -> int:
        """Write faces, photos and vectors for LanceDB, and return how many faces there are."""
        from pipeline.search.export import to_lance

        return to_lance(self.store, target)

    @takes(ReportConfig)
    def report(
        self,
        output: str | None = None,
        *,
        evaluation: str | None = None,
        wait: bool = False,
        **options: Any,
    ) -> "Written":
        """Write pages to look at: people, duplicates, errors, speed; return where they are.

        Args:
            output: folder, replaced if there is a report; None: `report` in the lake.
            evaluation: where evaluations lie; None: `evaluation` in the lake, if it is there.
            wait: for another run on the lake.
            options: see below.

        Raises:
            LakeBusyError: another run is at work.
        """
        from pipeline.web.report.write import write_report

        config, storage = build(ReportConfig, options), self.store.folder.options
        folder = Folder(output, storage) if output else None
        lake_url = f"{self.url}/"
        elsewhere = folder is not None and not f"{folder.url}/".startswith(lake_url)
        measured = Folder(evaluation, storage) if evaluation else None
        with readable(self.store, new_run_id("report"), wait, may_be_read_only=elsewhere):
            return write_report(self.store, config, folder, measured)

    def check(self, *, repair: bool = False) -> "Result":
        """Verify checksums, ids, twins, numbers and vectors; return what is wrong.

        With `repair`, leftovers and second rows go, and parts that cannot be trusted move to
        `quarantine/`; what is returned is what is wrong afterwards.
        """
        from pipeline.maintenance.check import check, check_and_repair

        return check_and_repair(self.store) if repair else check(self.store)

    def stats(self) -> dict[str, Any]:
        """Count photos, faces, people and copies, and the room they take."""
        from pipeline.maintenance.stats import stats

        return stats(self.store)

    def runs(self) -> list[dict[str, Any]]:
        """Return the manifests of all runs, the last first."""
        from pipeline.maintenance.runs import runs

        return runs(self.store)

    def run(self, name: str = "last") -> dict[str, Any]:
        """Return the manifest of a run: its id, the beginning of one, `last`, or `last-cluster`.

        Raises:
            ConfigError: there is no such run.
        """
        from pipeline.maintenance.runs import find_run

        return find_run(self.store, name)

    def prune(self, *, dry_run: bool = False, wait: bool = False) -> "pa.Table":
        """Remove the rows of photos that are gone for good, and return them (`gone` has them).

        With `dry_run` they are returned alone.
        """
        from pipeline.lake.moves import prune

        with held(self.store, new_run_id("prune"), wait):
            gone = self.gone.to_arrow(["image_id", "uri", "faces", "gone_since"])
            if not dry_run:
                prune(self.store)
        return gone

    def forget(
        self,
        *,
        person: str | Sequence[str] = (),
        image: str | Sequence[str] = (),
        face: str | Sequence[str] = (),
        prove: bool = False,
        wait: bool = False,
        confirm: "Confirm | None" = None,
    ) -> "Forgetting":
        """Remove people, photos or faces from every table, for good; photos are not touched.

        Without a person, photo or face it finishes a run that was stopped, and removes again what
        a backup brought back.

        Args:
            person: id, start of one, or exact name; or several.
            image: image_id, uri or name of a photo; or several.
            face: face id; or several.
            prove: read every file, and report what is left of what was ever forgotten.
            wait: for another run on the lake.
            confirm: called with what would be removed, returns whether to do it; None: do it.
        """
        from pipeline.maintenance.forget.job import Wanted, run

        wanted = Wanted(*(_several(texts) for texts in (person, image, face)))
        return run(self.store, wanted, proof=prove, wait=wait, confirm=confirm)

    @property
    def _storage(self) -> Mapping[str, Any]:
        return self.store.folder.options

    def _faces_for_ray(self, faces: int, gpus: float = 0) -> Size:
        row_bytes = 4 * self.store.existing_models().dimension + FACE_ROW_BYTES
        return Size("faces", faces * row_bytes, gpus)

    def _searcher(self, exact: bool = False) -> "Searcher":
        """Open the lake as it is now for searching; models are loaded once."""
        from pipeline.search.searcher import Searcher

        return Searcher(self.store, exact=exact, models=self._models)

    def _marking(self) -> "AbstractContextManager[Marker]":
        return marking(self.store, self._models)

    @cached_property
    def _models(self) -> "LakeModels":
        from pipeline.search.models import LakeModels

        return LakeModels(self.store, self._embedder, WeightStore.at(*self._weights))


def _several(texts: str | Sequence[str]) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else tuple(texts)
