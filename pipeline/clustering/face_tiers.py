"""The tier of each face of a run: by its measures, by corrections, and by copies of its photo."""

import numpy as np

from pipeline.clustering.algorithms.tiers import (
    ATTACH,
    CORE,
    REJECTED,
    TierConfig,
    Tiers,
    tiers_by_measures,
)
from pipeline.clustering.copies import copied_faces
from pipeline.clustering.gather import Faces
from pipeline.lake.schema import is_marked
from pipeline.people.constraints import Corrections

MARKED = "somebody marked it; {}"
NOT_A_FACE = "somebody said that it is no face"
COUNTED = "a copy of a picture whose face counts already"


def assign_tiers(faces: Faces, corrections: Corrections, config: TierConfig) -> Tiers:
    """Return the tiers of the faces; those that somebody confirmed are core.

    What a person marked is never left out for its measures.
    """
    score, size_px, sharpness, yaw = (
        measure.astype(np.float64)
        for measure in (faces.score, faces.size_px, faces.sharpness, faces.yaw)
    )
    tiers = tiers_by_measures(score, size_px, sharpness, yaw, config)
    confirmed = {face for one in corrections.sets for face in one.faces}
    ids = [face.decode() for face in faces.face_id]
    for row, face in enumerate(ids):
        if face in corrections.rejected:
            tiers.put(row, REJECTED, NOT_A_FACE)
        elif face in confirmed:  # somebody looked at it
            tiers.put(row, CORE, None)
        elif tiers.tier[row] == REJECTED and is_marked(face):
            tiers.put(row, ATTACH, MARKED.format(tiers.reasons[row]))
    for row in copied_faces(faces, tiers).tolist():
        if ids[row] not in confirmed:
            tiers.put(row, ATTACH, COUNTED)
    return tiers
