"""The example photos: similarity within and between people.

    facelake index examples/photos --output /tmp/examples --embedder sface
    python -m tests.support.examples /tmp/examples

Who is in which photo is told by the file names; the half-hidden face and the one false alarm of
the detector (score below 0.9) are left out.
"""

import sys
from pathlib import Path

import numpy as np

from pipeline.lake.columns import matrix
from pipeline.lake.store import LakeStore


def people(lake: LakeStore) -> tuple[list[str], np.ndarray]:
    """Return a name and a vector for each face that counts."""
    faces = lake.read("faces", ["uri", "box", "score", "embedding"])
    names, rows = [], []
    boxes = matrix(faces["box"])
    for i, uri in enumerate(faces["uri"].to_pylist()):
        photo = uri.rsplit("/", 1)[-1]
        if "half-face" in photo or faces["score"][i].as_py() < 0.9:
            continue
        left = boxes[i, 0] < 500  # of the composite, 1,170 pixels wide
        names.append(
            ("obama" if left else "biden") if "composite" in photo else photo.split("-")[0]
        )
        rows.append(i)
    return names, matrix(faces["embedding"])[rows]


def labels(lake: str, path: str) -> None:
    """Write the names of the faces that count as a file of labels."""
    store = LakeStore(lake)
    names, vectors = people(store)
    table = store.read("faces", ["face_id", "embedding"])
    every = matrix(table["embedding"])
    rows = [int(np.flatnonzero((every == vector).all(axis=1))[0]) for vector in vectors]
    lines = [f"{table['face_id'][k]},{name}" for k, name in zip(rows, names, strict=True)]
    Path(path).write_text("\n".join(["face_id,label", *lines]))


def margin(names: list[str], vectors: np.ndarray) -> tuple[float, float]:
    """Return the lowest similarity of one person's faces, and the highest of two people's."""
    who = np.array(names)
    similarity = vectors @ vectors.T
    same = who[:, None] == who[None, :]
    pairs = ~np.eye(len(who), dtype=bool)
    return float(similarity[same & pairs].min()), float(similarity[~same].max())


def main() -> None:
    names, vectors = people(LakeStore(sys.argv[1]))
    lowest, highest = margin(names, vectors)
    print(f"{len(names)} faces of {len(set(names))} people")
    print(f"same person at least {lowest:.3f}, different people at most {highest:.3f}")
    print(f"margin {lowest - highest:.3f}")


if __name__ == "__main__":
    main()
