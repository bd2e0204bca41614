"""Vectors of faces and their mirror images together, made from the lake's thumbnails."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import simplejpeg

from pipeline.arrays import Floats64
from pipeline.errors import ConfigError
from pipeline.lake.lookup import vectors_of
from pipeline.lake.store import LakeStore
from pipeline.models.cards.card import views_of
from pipeline.models.embedder import Embedder

FACES_AT_ONCE = 64


def with_mirrored(lake: LakeStore, faces: Sequence[str], embedder: Embedder) -> Floats64:
    """Return unit means of each face's vector and that of its mirrored thumbnail, [N, D].

    The vector is the lake's, of the photo itself; thumbnails are JPEG (quality 85) of the same
    crop. In SFace the two differ by far less than a face and its mirror image.

    Raises:
        ConfigError: faces have no thumbnails, or ones of another size; or the lake's vectors are
            of both already.
    """
    if views_of(lake.existing_models().embedder) == "flip":
        raise ConfigError(
            f"The vectors of {lake.folder.url} are of faces and their mirror images already "
            "(--views flip); run without --flip"
        )
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
