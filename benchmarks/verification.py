"""LFW verification on an indexed lake: k-fold accuracy of the central face.

    facelake index "$FACELAKE_DATA/lfw-dev/*.tar" --output /tmp/lfw --embedder sface
    python -m benchmarks.verification /tmp/lfw "$FACELAKE_DATA/lfw-dev/pairs.txt"

Protocol of Labeled Faces in the Wild: the threshold that is best on the other folds is applied to
each fold. The face whose centre is nearest to the photo's speaks for it; a pair with a photo that
has no face counts as wrong. No flip, no mean subtraction.
"""

import sys
from pathlib import Path

import numpy as np

from pipeline.columns import matrix
from pipeline.lake import Lake


def central_vectors(lake: Lake) -> dict[str, np.ndarray]:
    """Return one unit vector by photo name, `Person_0001`."""
    images = lake.read("images", ["image_id", "uri", "width", "height"]).to_pylist()
    faces = lake.read("faces", ["image_id", "box", "embedding"])
    boxes, vectors = matrix(faces["box"]), matrix(faces["embedding"])
    rows: dict[str, list[int]] = {}
    for i, image_id in enumerate(faces["image_id"].to_pylist()):
        rows.setdefault(image_id, []).append(i)
    best = {}
    for image in images:
        mine = rows.get(image["image_id"], [])
        if mine:
            centres = (boxes[mine, :2] + boxes[mine, 2:]) / 2
            off = np.linalg.norm(centres - [image["width"] / 2, image["height"] / 2], axis=1)
            name = image["uri"].rsplit("#", 1)[-1].rsplit("/", 1)[-1].removesuffix(".jpg")
            best[name] = vectors[mine[int(off.argmin())]]
    return best


def read_pairs(path: Path) -> tuple[list[tuple[str, str, bool]], int]:
    """Return (photo, photo, same person) of pairs.txt, fold after fold, and how many folds."""
    header, *lines = path.read_text().splitlines()
    pairs = []
    for line in lines:
        parts = line.split("\t")
        if len(parts) == 3:
            name, a, b = parts
            pairs.append((f"{name}_{int(a):04}", f"{name}_{int(b):04}", True))
        elif len(parts) == 4:
            first, a, second, b = parts
            pairs.append((f"{first}_{int(a):04}", f"{second}_{int(b):04}", False))
    return pairs, int(header.split()[0])


def similarities(
    vectors: dict[str, np.ndarray], pairs: list[tuple[str, str, bool]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return each pair's cosine, NaN where a photo has no face, and whether it is one person."""
    score = [
        vectors[a] @ vectors[b] if a in vectors and b in vectors else np.nan for a, b, _ in pairs
    ]
    return np.array(score), np.array([same for _, _, same in pairs])


def k_fold(score: np.ndarray, same: np.ndarray, folds: int) -> tuple[list[float], list[float]]:
    """Return accuracy and threshold of each fold; pairs without a score are wrong."""
    fold = np.arange(len(score)) * folds // len(score)
    grid = np.arange(-1, 1, 0.001)
    right = ((score[None] > grid[:, None]) == same[None]) & ~np.isnan(score)[None]
    accuracies, thresholds = [], []
    for k in range(folds):
        best = int(right[:, fold != k].mean(axis=1).argmax())
        accuracies.append(float(right[best, fold == k].mean()))
        thresholds.append(float(grid[best]))
    return accuracies, thresholds


def main() -> None:
    pairs, folds = read_pairs(Path(sys.argv[2]))
    score, same = similarities(central_vectors(Lake(sys.argv[1])), pairs)
    accuracies, thresholds = k_fold(score, same, folds)
    error = np.std(accuracies, ddof=1) / np.sqrt(folds)
    print(f"{len(pairs)} pairs, {folds} folds, {np.isnan(score).sum()} pairs without a face")
    print(
        f"accuracy {np.mean(accuracies):.4f} +/- {np.std(accuracies):.4f} "
        f"(standard error {error:.4f}), threshold {np.mean(thresholds):.3f}"
    )


if __name__ == "__main__":
    main()
