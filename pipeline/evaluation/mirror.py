"""Vectors of faces and their mirror images together, made from the lake's thumbnails."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import simplejpeg

from pipeline.arrays import Floats64
from pipeline.errors import ConfigError, LakeMismatchError
from pipeline.lake.lookup import vectors_of
from pipeline.lake.store import LakeStore
from pipeline.models.cards.card import known_cards
from pipeline.models.embedder import Embedder, load_embedder
from pipeline.models.weights.store import WeightStore

FACES_AT_ONCE = 64


def lake_embedder(
    lake: LakeStore, name_or_path: str | None = None, store: WeightStore | None = None
) -> Embedder:
    """Load the embedder that made a lake.

    Args:
        lake: made by it.
        name_or_path: see `find_card`; needed for a model that Facelake does not know.
        store: where weights lie.

    Raises:
        ConfigError: there is no lake, or its model is not known.
        LakeMismatchError: the lake was made by another revision.
    """
    models = lake.models()
    if models is None:
        raise ConfigError(f"There is no lake at {lake.folder.url}; check the path")
    lake_model = models.embedder.split("@")[0]
    if name_or_path is None and lake_model not in known_cards():
        raise ConfigError(
            f"The lake {lake.folder.url} was made by {models.embedder}, which Facelake does not "
            "know; give the path of the model with --embedder"
        )
    embedder = load_embedder(name_or_path or lake_model, store=store)
    if embedder.revision != models.embedder:
        raise LakeMismatchError(
            f"The lake {lake.folder.url} was made by {models.embedder}, not by "
            f"{embedder.revision}, so their vectors cannot be compared; give the same model"
        )
    return embedder


def with_mirrored(lake: LakeStore, faces: Sequence[str], embedder: Embedder) -> Floats64:
    """Return unit means of each face's vector and that of its mirrored thumbnail, [N, D].

    The vector is the lake's, of the photo itself; thumbnails are JPEG (quality 85) of the same
    crop. In SFace the two differ by far less than a face and its mirror image.

    Raises:
        ConfigError: faces have no thumbnails, or ones of another size.
    """
    where = pc.is_in(pc.field("face_id"), pa.array(faces, pa.string()))
    table = lake.read("faces", ["face_id", "thumbnail"], where)
    by_face = dict(zip(*table.to_pydict().values(), strict=True))
    size = embedder.card.input_size
    mirrored = []
    for start in range(0, len(faces), FACES_AT_ONCE):
        crops = []
        for face in faces[start : start + FACES_AT_ONCE]:
            data = by_face[face]
            crop = simplejpeg.decode_jpeg(data) if data else np.zeros((0, 0, 3), np.uint8)
            if crop.shape != (size, size, 3):
                raise ConfigError(
                    f"Face {face} has no thumbnail of {size} x {size} pixels, from which its "
                    "mirror image is made; index without --no-thumbnails, or run without --flip"
                )
            crops.append(crop[:, ::-1])
        mirrored.append(embedder.embed(np.ascontiguousarray(np.stack(crops)))[0])
    both = vectors_of(lake, faces) + np.concatenate(mirrored)
    both /= np.linalg.norm(both, axis=1, keepdims=True)
    return both
