"""Pairs of a file as the measures want them: numbers of vectors, folds and people."""

import argparse
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Floats64
from pipeline.commands.evaluation.output import counted
from pipeline.errors import ConfigError
from pipeline.evaluation.measures.folds import assign_folds
from pipeline.evaluation.measures.verification import Pairs
from pipeline.evaluation.mirror import lake_embedder, with_mirrored
from pipeline.evaluation.truth.pairs import LakePairs, read_pairs
from pipeline.lake.lookup import vectors_of
from pipeline.lake.store import LakeStore


@dataclass(frozen=True)
class Loaded:
    """Pairs, the vectors that they are of, and how the file matched the lake."""

    pairs: Pairs
    vectors: Floats64
    found: LakePairs
    drawn_folds: bool

    def facts(self) -> dict[str, int | bool]:
        """Return the counts for JSON."""
        pairs = self.pairs
        return {
            "pairs": len(pairs),
            "pairs_same": int(pairs.same.sum()),
            "pairs_different": int((~pairs.same).sum()),
            "people": pairs.people,
            "folds": int(pairs.fold.max()) + 1,
            "folds_drawn": self.drawn_folds,
            "pairs_without_face": int(((pairs.first < 0) | (pairs.second < 0)).sum()),
            "pairs_not_in_lake": self.found.missing,
            "pairs_ambiguous": self.found.ambiguous,
            "pairs_contradictory": self.found.contradictions,
        }

    def notes(self, without_face: str) -> list[str]:
        """Return the counts for people; `without_face` says what becomes of such pairs."""
        facts = self.facts()
        how = "drawn" if self.drawn_folds else "from the file"
        return [
            f"{facts['pairs']:,} pairs of {facts['people']:,} people: {facts['pairs_same']:,} of "
            f"one person, {facts['pairs_different']:,} of two; {facts['folds']} folds, {how}",
            *counted(
                facts["pairs_without_face"],
                f"pairs have a photo in which no face was found: {without_face}",
                always=True,
            ),
            *counted(self.found.missing, "pairs were left out: the lake lacks a photo"),
            *counted(self.found.ambiguous, "pairs were left out: several photos have the name"),
            *counted(
                self.found.contradictions,
                "pairs are called different, but other pairs make them one person: check the file",
            ),
        ]


def add_pairs(parser: argparse.ArgumentParser) -> None:
    """Add what tells the pairs."""
    parser.add_argument(
        "--pairs",
        required=True,
        metavar="FILE",
        help="pairs.txt of Labeled Faces in the Wild, or CSV or Parquet with the columns a,b,same "
        "and optionally fold and group; a and b are face ids, or photos by any of their names",
    )
    parser.add_argument(
        "--face",
        choices=("largest", "central"),
        help="which face speaks for a photo; default: central for pairs.txt, else largest",
    )
    parser.add_argument(
        "--folds",
        type=int,
        default=10,
        metavar="N",
        help="drawn where the file has none; default: %(default)s",
    )


def load_pairs(lake: LakeStore, options: argparse.Namespace) -> Loaded:
    """Return the pairs that the options name.

    Raises:
        ConfigError: they cannot be used.
    """
    if options.folds < 2:
        raise ConfigError(f"--folds is {options.folds}; give 2 or more")
    found = read_pairs(lake, options.pairs, options.face)
    faces = sorted({face for face in [*found.first, *found.second] if face is not None})
    row = {face: k for k, face in enumerate(faces)}
    same = np.array(found.same, dtype=bool)
    drawn = found.fold is None
    fold = assign_folds(same, options.folds) if found.fold is None else np.array(found.fold)
    pairs = Pairs(
        np.array([-1 if face is None else row[face] for face in found.first]),
        np.array([-1 if face is None else row[face] for face in found.second]),
        same,
        fold,
        np.array(found.person_first),
        np.array(found.person_second),
    )
    if not faces:
        raise ConfigError("No photo of the pairs has a face in the lake; there is nothing to rate")
    if getattr(options, "flip", False):
        vectors = with_mirrored(lake, faces, lake_embedder(lake, options.embedder))
    else:
        vectors = vectors_of(lake, faces)
    return Loaded(pairs, vectors, found, drawn)
