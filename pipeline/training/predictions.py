"""The table of predictions of a lake: whom a model takes each face for."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.lake import schema
from pipeline.lake.checkpoints import Progress
from pipeline.lake.columns import matrix
from pipeline.lake.generations import Generations
from pipeline.lake.store import LakeStore
from pipeline.lake.tombstones import Forgotten
from pipeline.training.model import HeadModel

CURRENT, TABLE = "predictions/_current.json", "predictions"
BATCH = 16_384


def predictions_of(lake: LakeStore) -> Generations:
    """Return the generations of the table."""
    return Generations(
        lake,
        CURRENT,
        (TABLE,),
        "Nobody has classified the faces of {lake} yet; run facelake classify --lake {lake}",
        "run `facelake classify` again: it makes the table anew",
    )


def classify_lake(
    lake: LakeStore, model: HeadModel, run_id: str, progress: Progress
) -> dict[str, int | str]:
    """Tell the person of every face of a lake, write `predictions`, and return the figures.

    The caller holds the lake's lock. Memory is that of one part.

    Raises:
        LakeMismatchError: the vectors are of another embedder.
        ConfigError: the model knows somebody who was forgotten in this lake.
    """
    model.need(lake.existing_models(), lake.folder.url)
    _refuse_forgotten(lake.forgotten(), model, lake.folder.url)
    figures = {"faces": 0, "named": 0}

    def tables() -> Iterator[pa.Table]:
        names = lake.parts()
        for done, name in enumerate(names):
            for batch in lake.face_batches(name, ["face_id", "image_id", "embedding"], BATCH):
                rows = _rows(model, batch, run_id)
                figures["faces"] += len(rows)
                figures["named"] += len(rows) - rows["person"].null_count
                yield rows
            progress("classify", done + 1, len(names))

    about = {"model_sha256": model.digest, "head": model.card["head"]}
    generations = predictions_of(lake)
    generations.publish(run_id, {TABLE: tables()}, about)
    # The tables are written while the figures are counted.
    return {**figures, "nobody": figures["faces"] - figures["named"], **about}


def _rows(model: HeadModel, batch: pa.RecordBatch, run_id: str) -> pa.Table:
    evidence, probability, accepted = model.tell(matrix(batch["embedding"]))
    named = [int(k) if yes else None for k, yes in zip(evidence.person, accepted, strict=True)]
    columns = {
        "face_id": batch["face_id"],
        "image_id": batch["image_id"],
        "person": pa.array([None if k is None else model.labels[k] for k in named], pa.string()),
        "person_id": pa.array(
            [None if k is None else model.person_ids[k] for k in named], pa.string()
        ),
        "probability": pa.array(probability.astype(np.float32)),
        "run_id": pa.array([run_id] * len(named), pa.string()),
    }
    return pa.table(columns, schema=schema.PREDICTIONS)


def _refuse_forgotten(forgotten: Forgotten, model: HeadModel, lake: str) -> None:
    if not forgotten:
        return
    persons = sum(forgotten.key(one) in forgotten.persons for one in model.person_ids if one)
    faces = sum(
        forgotten.key(face) in forgotten.faces
        or forgotten.key(schema.image_of(face)) in forgotten.images
        for face in model.samples["face_id"].to_pylist()
    )
    if persons or faces:
        raise ConfigError(
            f"The model was trained with {faces:,} faces that were forgotten in {lake} since; "
            "run `facelake train` again, and remove copies of the old model"
        )
