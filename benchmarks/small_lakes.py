"""Small lakes drawn from large ones, and whether confidence means what it says.

    FACELAKE_DATA=... python -m benchmarks.small_lakes LAKE_OF_LFW LAKE_OF_WILD [--lakes 24]

The lakes are made with `facelake index ... --embedder sface`. Constants of clustering were chosen
on people of one half, the figures are of the other (`--half tuning` shows the former).
"""

import argparse
import tempfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.clustering import labelled
from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.clustering.run import Run
from pipeline.evaluation.measures.clustering import Contingency
from pipeline.lake.checkpoints import in_process
from pipeline.lake.store import LakeStore
from pipeline.people.store import People

HALVES = ("tuning", "reporting")
EDGES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0001)


@dataclass(frozen=True)
class Source:
    """A large lake in memory, and the label of each labelled face."""

    lake: LakeStore
    images: pa.Table
    faces: pa.Table
    label: dict[str, str]
    photos: dict[str, list[str]]

    @classmethod
    def of(cls, path: str, name: str, half: str | None = None) -> "Source":
        """Read a lake; of its people all, or those of one of `HALVES`."""
        lake = LakeStore(path)
        face_ids, _, label = labelled(lake, name)
        images, faces = lake.read("images"), lake.read("faces")
        known = {str(f): str(p) for f, p in zip(face_ids, label, strict=True) if p is not None}
        photos = defaultdict(list)
        for face, image in zip(*faces.select(["face_id", "image_id"]).to_pydict().values(),
                               strict=True):  # fmt: skip
            if face in known and half in (None, HALVES[zlib.crc32(known[face].encode()) % 2]):
                photos[known[face]].append(image)
        return cls(lake, images, faces, known, {p: sorted(photos[p]) for p in sorted(photos)})

    def people(self, least: int) -> list[str]:
        """Return the people of at least so many photos."""
        return [person for person, photos in self.photos.items() if len(photos) >= least]


# What a kind of lake holds: (people, least photos, most photos) of each.
KINDS = {
    "8 people, 10 photos each": [(8, 10, 10)],
    "60 people, 4 photos each": [(60, 4, 4)],
    "100 people, 1 photo each": [(100, 1, 1)],
    "a family: 5 people, 8 to 40 photos, 12 visitors, 1 to 2": [(5, 8, 40), (12, 1, 2)],
    "3 people, 15 to 30 photos, 5 visitors, 1": [(3, 15, 30), (5, 1, 1)],
}
# Too few people are in the wild set for the others.
WILD_KINDS = tuple(kind for kind in KINDS if not kind.startswith(("60", "100")))


def draw(source: Source, kind: str, random: np.random.Generator) -> list[str]:
    """Return the photos of a lake of a kind."""
    photos: list[str] = []
    taken: set[str] = set()
    for people, least, most in KINDS[kind]:
        pool = [person for person in source.people(least) if person not in taken]
        for person in random.choice(pool, people, replace=False).tolist():
            taken.add(person)
            own = random.permutation(source.photos[person]).tolist()
            photos += own[: random.integers(least, most + 1)]
    return photos


def small_lake(source: Source, photos: list[str], folder: str) -> People:
    """Write a lake of some photos, with all faces on them."""
    wanted = pa.array(photos)
    lake = LakeStore(folder)
    lake.claim(source.lake.existing_models())
    lake.publish_part(*(table.filter(pc.is_in(table["image_id"], wanted))
                        for table in (source.images, source.faces)))  # fmt: skip
    return People(lake)


@dataclass(frozen=True)
class Result:
    """What clustering made of a lake: labelled faces alone."""

    label: list[str]
    cluster: list[str]
    confidence: np.ndarray

    @classmethod
    def of(cls, people: People, label: dict[str, str], **settings: Any) -> "Result":
        Run(people, ClusterConfig(full=True, **settings), in_process, "run").cluster()
        rows = people.clusters(["face_id", "person_id", "confidence"]).to_pylist()
        rows = [row for row in rows if row["face_id"] in label]
        return cls(
            [label[row["face_id"]] for row in rows],
            [row["person_id"] or row["face_id"] for row in rows],
            np.array([np.nan if row["confidence"] is None else row["confidence"] for row in rows]),
        )

    def right(self) -> np.ndarray:
        """Return whether each face is of the person that most faces of its group are of.

        A face alone is right when its person has no other face in the lake.
        """
        members: dict[str, list[str]] = defaultdict(list)
        for person, cluster in zip(self.label, self.cluster, strict=True):
            members[cluster].append(person)
        groups = {c: max(sorted(set(own)), key=own.count) for c, own in members.items()}
        seen = Counter(self.label)
        return np.array([
            groups[cluster] == person and (len(members[cluster]) > 1 or seen[person] == 1)
            for person, cluster in zip(self.label, self.cluster, strict=True)
        ])  # fmt: skip


def small_lakes(
    source: Source, kind: str, count: int, seed: int = 0, **settings: Any
) -> Iterator[Result]:
    """Draw lakes of a kind and cluster them."""
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            photos = draw(source, kind, np.random.default_rng([seed, number]))
            yield Result.of(small_lake(source, photos, folder), source.label, **settings)


def line(name: str, results: list[Result]) -> str:
    """Return the row of a table: means over lakes, and how many lakes joined whole people."""
    rates = [Contingency.of(one.label, one.cluster).rates() for one in results]

    def mean(key: str) -> float:
        return float(np.mean([rate[key] for rate in rates]))

    joined = [joined_people(one) for one in results]
    return (
        f"| {name} | {mean('pairwise_precision'):.3f} / {mean('pairwise_recall'):.3f} | "
        f"{mean('bcubed_precision'):.3f} / {mean('bcubed_recall'):.3f} | "
        f"{sum(n > 0 for n in joined)} of {len(joined)}, {np.mean(joined):.2f} a lake |"
    )


def joined_people(one: Result) -> int:
    """Return how many people too many the groups hold: those of which most faces are in one."""
    home: dict[str, list[str]] = defaultdict(list)
    for person, cluster in zip(one.label, one.cluster, strict=True):
        home[person].append(cluster)
    homes = [max(sorted(set(own)), key=own.count) for own in home.values()]
    return len(homes) - len(set(homes))


def reliability(results: list[Result]) -> list[str]:
    """Return the rows of a reliability table."""
    confidence = np.concatenate([one.confidence for one in results])
    right = np.concatenate([one.right() for one in results])
    known = ~np.isnan(confidence)
    confidence, right = confidence[known], right[known]
    rows = []
    for low, high in pairwise(EDGES):
        inside = (confidence >= low) & (confidence < high)
        if inside.any():
            mean, share = confidence[inside].mean(), right[inside].mean()
            rows.append(f"| {low:.2f} to {min(high, 1):.2f} | {inside.sum():,} | "
                        f"{mean:.3f} | {share:.3f} |")  # fmt: skip
    return rows


def whole(source: Source) -> Result:
    """Cluster all photos of the people of a half as one lake."""
    photos = [photo for own in source.photos.values() for photo in own]
    with tempfile.TemporaryDirectory() as folder:
        return Result.of(small_lake(source, photos, folder), source.label)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lfw", help="lake of lfw-dev")
    parser.add_argument("wild", help="lake of wild-dev")
    parser.add_argument("--lakes", type=int, default=24, help="lakes of each kind")
    parser.add_argument("--half", choices=HALVES, default="reporting")
    options = parser.parse_args()
    print("| lakes | pairwise P / R | BCubed P / R | lakes with whole people joined |")
    print("|---|---|---|---|")
    curves: dict[str, list[Result]] = {}
    for path, name, kinds in (
        (options.lfw, "lfw-dev", tuple(KINDS)),
        (options.wild, "wild-dev", WILD_KINDS),
    ):
        source = Source.of(path, name, options.half)
        for kind in kinds:
            results = list(small_lakes(source, kind, options.lakes))
            curves.setdefault(f"small lakes of {name}", []).extend(results)
            print(line(f"{name}: {kind}", results), flush=True)
        curves[f"all {options.half} people of {name}"] = [whole(source)]
    for name, results in curves.items():
        print(f"\n| confidence, {name} | faces | mean | right |\n|---|---|---|---|")
        print("\n".join(reliability(results)), flush=True)


if __name__ == "__main__":
    main()
