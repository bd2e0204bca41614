"""Pairs of a file as the measures want them: numbers of vectors, folds and people."""

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Floats64
from pipeline.errors import ConfigError
from pipeline.evaluation.measures.folds import assign_folds
from pipeline.evaluation.measures.verification import Pairs
from pipeline.evaluation.mirror import with_mirrored
from pipeline.evaluation.report import counted
from pipeline.evaluation.settings import PairsConfig
from pipeline.evaluation.truth.pairs import LakePairs, read_pairs
from pipeline.lake.lookup import vectors_of
from pipeline.lake.store import LakeStore
from pipeline.models.embedder import Embedder


@dataclass(frozen=True)
class LoadedPairs:
    """Pairs, the vectors that they are of, and how the file matched the lake."""

    pairs: Pairs
    vectors: Floats64
    lake_pairs: LakePairs

    def facts(self) -> dict[str, int | bool]:
        """Return the counts for JSON."""
        pairs, matched = self.pairs, self.lake_pairs
        return {
            "pairs": len(pairs),
            "pairs_same": int(pairs.same.sum()),
            "pairs_different": int((~pairs.same).sum()),
            "people": pairs.people,
            "folds": int(pairs.fold.max()) + 1,
            "folds_drawn": matched.fold is None,
            "pairs_without_face": int(((pairs.first < 0) | (pairs.second < 0)).sum()),
            "pairs_not_in_lake": matched.missing,
            "pairs_ambiguous": matched.ambiguous,
            "pairs_contradictory": matched.contradictions,
        }

    def notes(self, without_face: str) -> list[str]:
        """Return the counts for people; `without_face` says what becomes of such pairs."""
        facts = self.facts()
        how = "drawn" if facts["folds_drawn"] else "from the file"
        return [
            f"{facts['pairs']:,} pairs of {facts['people']:,} people: {facts['pairs_same']:,} of "
            f"one person, {facts['pairs_different']:,} of two; {facts['folds']} folds, {how}",
            *counted(
                facts["pairs_without_face"],
                f"pairs have a photo in which no face was found: {without_face}",
                always=True,
            ),
            *counted(facts["pairs_not_in_lake"], "pairs were left out: the lake lacks a photo"),
            *counted(facts["pairs_ambiguous"], "pairs were left out: several photos have the name"),
            *counted(
                facts["pairs_contradictory"],
                "pairs are called different, but other pairs make them one person: check the file",
            ),
        ]


def load_pairs(
    lake: LakeStore, file: str, config: PairsConfig, embedder: Embedder | None = None
) -> LoadedPairs:
    """Return the pairs of a file, with vectors of the mirrored faces too if `embedder` is given.

    Raises:
        ConfigError: they cannot be used.
    """
    matched = read_pairs(lake, file, config.face)
    faces = sorted({face for face in [*matched.first, *matched.second] if face is not None})
    if not faces:
        raise ConfigError("No photo of the pairs has a face in the lake; there is nothing to rate")
    row = {face: k for k, face in enumerate(faces)}
    same = np.array(matched.same, dtype=bool)
    fold = matched.fold
    pairs = Pairs(
        np.array([-1 if face is None else row[face] for face in matched.first]),
        np.array([-1 if face is None else row[face] for face in matched.second]),
        same,
        assign_folds(same, config.folds) if fold is None else np.array(fold),
        np.array(matched.person_first),
        np.array(matched.person_second),
    )
    vectors = vectors_of(lake, faces) if embedder is None else with_mirrored(lake, faces, embedder)
    return LoadedPairs(pairs, vectors, matched)
