"""Who follows when a few faces are taken out of a person: two people in one, and one person alone.

    FACELAKE_DATA=... python -m benchmarks.splits LAKE_OF_LFW LAKE_OF_WILD [--half tuning]

The lakes are made with `facelake index ... --embedder sface`. Of the 40 most similar pairs of
people ten faces each are put together, both ways; ten faces of each are one person, thrice.
"""

import argparse

import numpy as np

from benchmarks.small_lakes import HALVES, Source
from pipeline.lake.columns import matrix
from pipeline.people.followers import part

PAIRS, EACH, TICKED = 40, 10, (1, 2, 3, 5)


def people_of(source: Source) -> list[np.ndarray]:
    """Return the vectors of each person of at least `EACH` photos."""
    ids = source.faces["face_id"].to_pylist()
    vectors = dict(zip(ids, matrix(source.faces["embedding"]), strict=True))
    own: dict[str, list[np.ndarray]] = {person: [] for person in source.people(EACH)}
    for face, person in source.label.items():
        if person in own:
            own[person].append(vectors[face])
    return [np.stack(of) for of in own.values()]


def similar_pairs(people: list[np.ndarray]) -> np.ndarray:
    """Return the most similar pairs of people, both ways."""
    means = np.stack([one.mean(axis=0) for one in people])
    first, second = np.triu_indices(len(people), 1)
    best = np.argsort(-(means @ means.T)[first, second])[:PAIRS]
    pairs = np.stack([first[best], second[best]], axis=1)
    return np.concatenate([pairs, pairs[:, ::-1]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lfw", help="lake of lfw-dev")
    parser.add_argument("wild", help="lake of wild-dev")
    parser.add_argument("--half", choices=HALVES, default="reporting")
    options = parser.parse_args()
    print("| set | ticked | hers that follow | all of hers, none of the other's | others that "
          "follow | one person: anybody follows |\n|---|---|---|---|---|---|")  # fmt: skip
    for path, name in ((options.lfw, "lfw-dev"), (options.wild, "wild-dev")):
        people = people_of(Source.of(path, name, options.half))
        pairs, random = similar_pairs(people), np.random.default_rng(0)
        for ticked in TICKED:
            taken = range(EACH, EACH + ticked)
            results = []
            for a, b in pairs:
                both = [random.permutation(people[i])[:EACH] for i in (a, b)]
                follow = np.array(part(dict(enumerate(np.concatenate(both))), taken).follow, int)
                hers, others = (follow >= EACH).sum(), (follow < EACH).sum()
                results.append((hers / (EACH - ticked), hers == EACH - ticked and not others,
                                others / EACH))  # fmt: skip
            alone = [
                bool(part(dict(enumerate(random.permutation(one)[:EACH])), range(ticked)).follow)
                for one in people for _ in range(3)
            ]  # fmt: skip
            rates = np.mean(results, axis=0)
            print(f"| {name} | {ticked} of {EACH} | {rates[0]:.3f} | {rates[1]:.2f} | "
                  f"{rates[2]:.3f} | {np.mean(alone):.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
