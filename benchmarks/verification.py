"""LFW on an indexed lake: accuracy by folds, TAR at FAR, FNIR at FPIR, of the central face.

    facelake index "$FACELAKE_DATA/lfw-dev/*.tar" --output /tmp/lfw --embedder sface
    python -m benchmarks.verification /tmp/lfw "$FACELAKE_DATA/lfw-dev/pairs.txt"

The protocol of Labeled Faces in the Wild, and open-set identification with a gallery of half of
each person's photos, as docs/evaluation.md describes them. No flip, no mean subtraction; with
--variants those as well.
"""

import argparse

import numpy as np

from pipeline.evaluation.measures.identification import identification, search, split
from pipeline.evaluation.measures.verification import pair_scores, verification
from pipeline.evaluation.pairs import load_pairs
from pipeline.evaluation.settings import PairsConfig
from pipeline.lake.lookup import vectors_of
from pipeline.lake.store import LakeStore
from pipeline.search.models import LakeModels
from tests.support.lfw import named_people


def show(title: str, measures: dict, intervals: dict) -> None:
    print(title)
    for name, value in measures.items():
        low, high = intervals.get(name, (np.nan, np.nan))
        print(f"  {name:20} {value:.5f}   {low:.4f} to {high:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lake")
    parser.add_argument("pairs")
    parser.add_argument("--variants", action="store_true")
    options = parser.parse_args()
    lake = LakeStore(options.lake)
    loaded = load_pairs(lake, options.pairs, PairsConfig())
    measured = verification(pair_scores(loaded.vectors, loaded.pairs), loaded.pairs)
    print(loaded.facts())
    print(f"threshold {measured.folds.threshold:.3f}, standard error {measured.folds.error:.4f}")
    show("verification", measured.measures, measured.intervals)
    faces, person = named_people(lake)
    vectors, parts = vectors_of(lake, faces), split(person)
    probes = np.concatenate([parts.known, parts.unknown])
    for template in ("mean", "best"):
        searches = search(vectors, person, parts.gallery, probes, template)
        result = identification(searches, person[probes])
        show(f"identification, template {template}", result.measures, result.intervals)
    if options.variants:
        rates = []
        for seed in range(10):
            parts = split(person, seed=seed)
            probes = np.concatenate([parts.known, parts.unknown])
            searches = search(vectors, person, parts.gallery, probes)
            result = identification(searches, person[probes], bootstrap=0)
            rates.append(list(result.measures.values()))
        names = list(result.measures)
        for name, low, high in zip(names, np.min(rates, 0), np.max(rates, 0), strict=True):
            print(f"ten divisions: {name} {low:.4f} to {high:.4f}")
        for flip in (False, True):
            embedder = LakeModels(lake).embedder if flip else None
            loaded = load_pairs(lake, options.pairs, PairsConfig(), embedder)
            for mean in (False, True):
                scores = pair_scores(loaded.vectors, loaded.pairs, subtract_mean=mean)
                measures = verification(scores, loaded.pairs, bootstrap=0).measures
                show(f"flip {flip}, subtract mean {mean}", measures, {})


if __name__ == "__main__":
    main()
