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
    for row in np.flatnonzero(tiers.tier == REJECTED).tolist():
        if is_marked(faces.face_id[row].decode()):
            tiers.put(row, ATTACH, MARKED.format(tiers.reasons[row]))
    confirmed = faces.rows_of(corrections.faces)
    for row in confirmed.values():  # somebody looked at it
        tiers.put(row, CORE, None)
    for row in faces.rows_of(corrections.rejected).values():
        tiers.put(row, REJECTED, NOT_A_FACE)
    for row in np.setdiff1d(copied_faces(faces, tiers), list(confirmed.values())).tolist():
        tiers.put(row, ATTACH, COUNTED)
    return tiers
