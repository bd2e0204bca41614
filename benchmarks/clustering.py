"""Clustering on real people, among distractors, at scale, and when photos are added.

    FACELAKE_DATA=... python -m benchmarks.clustering dev LAKE_OF_LFW LAKE_OF_WILD
    python -m benchmarks.clustering distractors LAKE_OF_LFW [--factors 10 100]
    python -m benchmarks.clustering scale [--faces 100000 1000000]
    python -m benchmarks.clustering incremental LAKE_OF_LFW|NUMBER_OF_SYNTHETIC_FACES
    python -m benchmarks.clustering driver [--faces 100000 1000000] [--dimension 512]

The lakes are made with `facelake index ... --embedder sface`. Labels are used for the measures
alone, and for the settings of the algorithms that are compared.
"""

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.driver import Peak, memory
from benchmarks.memory import pss
from benchmarks.reliability import children
from pipeline.evaluation.measures.clustering import Contingency
from pipeline.lake.columns import matrix
from pipeline.lake.store import LakeStore
from pipeline.people.store import People
from tests.support.data import data_folder
from tests.support.synthetic import Archive, write_lake

# Chinese Whispers depends on the order in which faces speak: by 0.005 on the wild set.
SEEDS = 20


def labelled(lake: LakeStore, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return face ids, vectors and labels (None where unknown) of a lake of `lfw-dev` or wild.

    A photo's label belongs to its central face in LFW, to the largest one in the wild set.
    """
    truth = {}
    for path in sorted((data_folder() / name).glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                if member.name.endswith(".cls"):
                    truth[member.name[:-4]] = archive.extractfile(member).read().decode().strip()
    images = lake.read("images", ["image_id", "uri", "width", "height"]).to_pylist()
    faces = lake.read("faces", ["face_id", "image_id", "box", "embedding"])
    box, owner = matrix(faces["box"]), faces["image_id"].to_pylist()
    rows: dict[str, list[int]] = {}
    for i, image in enumerate(owner):
        rows.setdefault(image, []).append(i)
    label = np.full(len(owner), None, object)
    for image in images:
        rows_of_image = np.array(rows.get(image["image_id"], []), int)
        if not len(rows_of_image):
            continue
        if name == "lfw-dev":
            centre = (box[rows_of_image, :2] + box[rows_of_image, 2:]) / 2
            best = np.linalg.norm(
                centre - [image["width"] / 2, image["height"] / 2], axis=1
            ).argmin()
        else:
            best = np.prod(box[rows_of_image, 2:] - box[rows_of_image, :2], axis=1).argmax()
        key = image["uri"].rsplit("#", 1)[-1].rsplit("/", 1)[-1].removesuffix(".jpg")
        label[rows_of_image[best]] = truth[key]
    return np.array(faces["face_id"].to_pylist()), matrix(faces["embedding"]), label


def cluster(lake: str, *options: str) -> dict[str, Any]:
    """Run `facelake cluster`; return its manifest, `wall_s`, and `peak` bytes of its processes."""
    command = [sys.executable, "-m", "pipeline.commands.main", "cluster", lake, *options]
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        tree = [process.pid, *(pid for pid, _ in children(process.pid))]
        peak = max(peak, sum(pss(pid)[0] for pid in tree))
        time.sleep(0.5)
    if process.returncode:
        sys.exit(f"facelake cluster ended with {process.returncode}")
    run_id = People(LakeStore(lake)).current()["run_id"]
    about = json.loads(LakeStore(lake).folder.read(f"runs/{run_id}.json"))
    return about | {"wall_s": time.monotonic() - began, "peak": peak}


def clusters_of(lake: LakeStore, face_ids: np.ndarray) -> list[str | None]:
    """Return the person of each face."""
    rows = People(lake).clusters(["face_id", "person_id"]).to_pydict()
    by_id = dict(zip(rows["face_id"], rows["person_id"], strict=True))
    return [by_id[i] for i in face_ids]


def rates(label: np.ndarray, clusters: list[Any]) -> Contingency:
    has_label = np.array([one is not None for one in label])
    return Contingency.of(label[has_label].tolist(), np.array(clusters, object)[has_label].tolist())


def line(name: str, table: Contingency, more: str = "") -> str:
    r = table.rates()
    return (
        f"| {name} | {r['pairwise_f']:.4f} | {r['bcubed_precision']:.4f} / "
        f"{r['bcubed_recall']:.4f} / {r['bcubed_f']:.4f} | {len(table.clusters):,} |{more}"
    )


def dev(options: argparse.Namespace) -> None:
    """Compare with other algorithms at their own best setting, and show F over thresholds."""
    from benchmarks.clustering_baselines import ALGORITHMS

    names = ("lfw-dev", "wild-dev")
    others: dict[tuple[str, str], dict[float, list[tuple[float, float]]]] = {}
    for path, name in zip(options.lakes, names, strict=True):
        lake = LakeStore(path)
        face_ids, vectors, label = labelled(lake, name)
        print(f"\n### {name}: {len(face_ids):,} faces\n")
        print("| method | pairwise F | BCubed P / R / F | clusters |\n|---|---|---|---|")
        cluster(path, "--full")
        table = rates(label, clusters_of(lake, face_ids))
        print(line("Facelake, defaults, no labels", table), flush=True)
        print({k: tuple(round(x, 4) for x in v) for k, v in table.intervals().items()})
        for kind in ALGORITHMS:
            others[name, kind] = settings(kind, vectors, label)
            best, t = max((sum(f[1] for f in each) / len(each), t)
                          for t, each in others[name, kind].items())  # fmt: skip
            pairwise, found_f = np.array(others[name, kind][t]).T
            print(f"| {kind} at its best, {t:.2f} | {pairwise.mean():.4f} | {best:.4f}, "
                  f"{found_f.min():.4f} to {found_f.max():.4f} | |", flush=True)  # fmt: skip
    print("\n### One setting for both: BCubed F\n")
    for kind in ALGORITHMS:
        means = {t: [np.mean([f[1] for f in others[n, kind][t]]) for n in names]
                 for t in others[names[0], kind]}  # fmt: skip
        t = max(means, key=lambda t: sum(means[t]))
        print(f"| {kind}, {t:.2f} | {means[t][0]:.4f} | {means[t][1]:.4f} |")


def settings(
    kind: str, vectors: np.ndarray, label: np.ndarray
) -> dict[float, list[tuple[float, float]]]:
    """Return pairwise and BCubed F of an algorithm at its settings, for each seed it may have."""
    from benchmarks.clustering_baselines import ALGORITHMS, chinese_whispers

    results = {}
    for step in (0,) if kind == "hdbscan" else range(26, 66, 2):
        t = step / 100
        if kind == "chinese_whispers":
            runs = [chinese_whispers(vectors, t, seed) for seed in range(SEEDS)]
        else:
            runs = [ALGORITHMS[kind](vectors, t)]
        tables = [rates(label, run.tolist()).rates() for run in runs]
        results[t] = [(one["pairwise_f"], one["bcubed_f"]) for one in tables]
    return results


def distractors(options: argparse.Namespace) -> None:
    """Add synthetic strangers to LFW, and see what becomes of LFW's people."""
    from benchmarks.clustering_baselines import ALGORITHMS

    _, vectors, label = labelled(LakeStore(options.lake), "lfw-dev")
    has_label = np.array([one is not None for one in label])
    vectors, label = vectors[has_label], label[has_label]
    print("| distractors | threshold | pairwise F | BCubed P / R / F | clusters | minutes |")
    for factor in (0, *options.factors):
        with tempfile.TemporaryDirectory() as folder:
            names = [f"lfw-{i}" for i in range(len(vectors))]
            write_lake(Path(folder), vectors, names)
            if factor:
                more = strangers(vectors, factor * len(vectors))
                write_lake(Path(folder), more, [f"stranger-{i}" for i in range(len(more))])
            about = cluster(folder)
            lake = LakeStore(folder)
            rows = lake.read("faces", ["face_id", "uri"]).to_pydict()
            place = dict(zip(rows["uri"], rows["face_id"], strict=True))
            persons = clusters_of(lake, [place[f"synthetic/{n}"] for n in names])
            t = about["threshold"]["single_faces"]
            print(line(f"{factor}x | {t:.3f}", rates(label, persons),
                       f" {about['wall_s'] / 60:.1f} |"), flush=True)  # fmt: skip
            if factor and factor * len(vectors) < 100_000:
                everything = np.concatenate([vectors, more])
                for fixed in (0.46, 0.54):
                    out = ALGORITHMS["connected_components"](everything, fixed)[: len(vectors)]
                    print(line(f"{factor}x, components | {fixed}", rates(label, out.tolist())))


def strangers(vectors: np.ndarray, count: int, seed: int = 1) -> np.ndarray:
    """Draw unit vectors from a normal distribution with the mean and covariance of `vectors`."""
    random = np.random.default_rng(seed)
    mean, covariance = vectors.mean(axis=0), np.cov(vectors.T)
    factor = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(mean)))
    drawn = mean + random.standard_normal((count, len(mean))) @ factor.T
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def scale(options: argparse.Namespace) -> None:
    """Cluster long-tailed synthetic archives of growing size."""
    print(
        "| faces | minutes | exponent | bytes a face | neighbours found | pairwise F | BCubed F |"
    )
    last = None
    for count in options.faces:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            archive = Archive()
            person = archive.long_tail(count)
            write_lake(Path(folder), archive.faces(person), [f"f{i}" for i in range(count)])
            about = cluster(folder, *options.options)
            lake = LakeStore(folder)
            rows = lake.read("faces", ["face_id", "uri"]).to_pydict()
            truth = person[[int(u.rsplit("/f", 1)[1]) for u in rows["uri"]]]
            table = Contingency.of(truth.tolist(), clusters_of(lake, rows["face_id"]))
            r = table.rates()
            growth = "" if last is None else (
                f"{np.log(about['wall_s'] / last[1]) / np.log(count / last[0]):.2f}"
            )  # fmt: skip
            recall = "exact" if about["recall"] is None else f"{about['recall']:.4f}"
            print(
                f"| {count:,} | {about['wall_s'] / 60:.1f} | {growth} | "
                f"{about['peak'] / count:,.0f}"
                f" | {recall} | {r['pairwise_f']:.4f} | {r['bcubed_f']:.4f} |", flush=True,
            )  # fmt: skip
            print({k: about.get(k) for k in ("threshold", "recall_of_groups", "people", "peak")})
            last = count, about["wall_s"]


def incremental(options: argparse.Namespace) -> None:
    """Cluster a lake but for a share of it, add that, and compare with clustering all at once."""
    if options.lake.isdecimal():
        archive = Archive()
        vectors = archive.faces(archive.long_tail(int(options.lake)))
        names = [f"f{i}" for i in range(len(vectors))]
    else:
        faces = LakeStore(options.lake).read("faces", ["face_id", "embedding"])
        vectors, names = matrix(faces["embedding"]), faces["face_id"].to_pylist()
    order = np.random.default_rng(0).permutation(len(names))
    cut = round(len(names) * (1 - options.share))
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as whole:
        write_lake(Path(folder), vectors[order[:cut]], [names[i] for i in order[:cut]])
        cluster(folder)
        before = People(LakeStore(folder)).clusters(["face_id", "person_id"]).to_pydict()
        write_lake(Path(folder), vectors[order[cut:]], [names[i] for i in order[cut:]])
        added = cluster(folder)
        write_lake(Path(whole), vectors[order], [names[i] for i in order])
        full = cluster(whole)
        ids = LakeStore(folder).read("faces", ["face_id"])["face_id"].to_pylist()
        one, two = clusters_of(LakeStore(folder), ids), clusters_of(LakeStore(whole), ids)
        agree = Contingency.of([str(p or f) for p, f in zip(two, ids, strict=True)], one)
        after = dict(zip(ids, one, strict=True))
        moved = sum(after[f] != p for f, p in zip(*before.values(), strict=True) if p)
        print(
            f"{len(ids) - cut:,} of {len(ids):,} faces new: {added['seconds']:.1f} s against "
            f"{full['seconds']:.1f} s in full ({added['seconds'] / full['seconds']:.0%}), "
            "agreement "
            f"BCubed F {agree.rates()['bcubed_f']:.4f}, {moved} of {cut:,} faces changed person"
        )


def driver(options: argparse.Namespace) -> None:
    """Measure what the process holds that clusters; its tasks run in another one."""
    if options.lake:
        hold(options.lake)
        return
    print("| faces | people | seconds | private at first | private, peak | bytes a face |")
    print("|---|---|---|---|---|---|")
    for count in options.faces:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            archive = Archive(options.dimension)
            vectors = archive.faces(archive.long_tail(count))
            write_lake(Path(folder), vectors, [f"f{i}" for i in range(count)])
            del vectors
            command = [sys.executable, "-m", "benchmarks.clustering", "driver", "--lake", folder]
            subprocess.run(command, check=True)


def hold(lake: str) -> None:
    from pipeline.clustering.algorithms.settings import ClusterConfig
    from pipeline.clustering.run import Run

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:

        def mapper(function: Any, arguments: Any) -> Iterator[Any]:
            for each in arguments:
                yield pool.submit(function, *each).result()

        people, before = People(LakeStore(lake)), memory()["RssAnon"]
        peak, began = Peak(), time.monotonic()
        about = Run(people, ClusterConfig(full=True), mapper, "driver").cluster()
        held = (peak.private - before) / about["faces"]
        print(
            f"| {about['faces']:,} | {about['people']:,} | {time.monotonic() - began:,.0f} "
            f"| {before / 1e6:,.0f} MB | {peak.private / 1e6:,.0f} MB | {held:,.0f} |", flush=True,
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("dev")
    one.add_argument("lakes", nargs=2)
    one.set_defaults(func=dev)
    one = commands.add_parser("distractors")
    one.add_argument("lake")
    one.add_argument("--factors", type=int, nargs="+", default=[10, 100])
    one.set_defaults(func=distractors)
    one = commands.add_parser("scale")
    one.add_argument("--faces", type=int, nargs="+", default=[100_000, 1_000_000])
    one.add_argument("--folder")
    one.add_argument("options", nargs="*")
    one.set_defaults(func=scale)
    one = commands.add_parser("incremental")
    one.add_argument("lake")
    one.add_argument("--share", type=float, default=0.05)
    one.set_defaults(func=incremental)
    one = commands.add_parser("driver")
    one.add_argument("--faces", type=int, nargs="+", default=[100_000, 1_000_000])
    one.add_argument("--dimension", type=int, default=512)
    one.add_argument("--folder")
    one.add_argument("--lake", help=argparse.SUPPRESS)
    one.set_defaults(func=driver)
    options = parser.parse_args()
    options.func(options)


if __name__ == "__main__":
    main()
