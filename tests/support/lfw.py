"""LFW in a lake: its people by the names of their photos."""

import re

import numpy as np

from pipeline.lake.lookup import chosen_faces
from pipeline.lake.store import LakeStore


def named_people(lake: LakeStore) -> tuple[list[str], np.ndarray]:
    """Return the central face of each photo, and the number of its person, by the photo's name."""
    chosen = chosen_faces(lake, "central")
    rows = lake.read("images", ["image_id", "uri"]).to_pylist()
    faces = sorted((chosen[r["image_id"]], r["uri"]) for r in rows if r["image_id"] in chosen)
    names = [re.sub(r"_\d+\.jpg$", "", re.split("[#/]", uri)[-1]) for _, uri in faces]
    return [face for face, _ in faces], np.unique(names, return_inverse=True)[1]
