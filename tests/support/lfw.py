"""LFW in a lake: its verification pairs, and its people by the names of their photos."""

import argparse
import re

import numpy as np

from pipeline.commands.evaluation.pairs import load_pairs
from pipeline.lake.lookup import chosen_faces
from pipeline.lake.store import LakeStore


def pairs_of(lake: LakeStore, path: str, **options: object):
    defaults = {"pairs": path, "face": None, "folds": 10, "flip": False, "embedder": None}
    return load_pairs(lake, argparse.Namespace(**(defaults | options)))


def named_people(lake: LakeStore) -> tuple[list[str], np.ndarray]:
    """Return the central face of each photo, and the number of its person, by the photo's name."""
    chosen = chosen_faces(lake, "central")
    rows = lake.read("images", ["image_id", "uri"]).to_pylist()
    faces = sorted((chosen[r["image_id"]], r["uri"]) for r in rows if r["image_id"] in chosen)
    names = [re.sub(r"_\d+\.jpg$", "", re.split("[#/]", uri)[-1]) for _, uri in faces]
    return [face for face, _ in faces], np.unique(names, return_inverse=True)[1]
