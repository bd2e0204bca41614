"""Building and searching the vector index, against raw FAISS, LanceDB and exact search.

    python -m benchmarks.search [--faces 1000000] [--kinds ivf] [--queries 500] [--only ...]

Faces are synthetic: people with a centre and faces around it, whose similarities are distributed
like those of real ones (benchmarks/synthetic.py); the lake they make is plain Parquet. Every
contender runs in a process of its own: seconds to build from that lake in one thread, peak memory,
queries a second in batches with one and two threads, milliseconds of one query alone (median), and
recall@10 against exact float32 search. Queries are faces of the lake, and do not count as their
own neighbours. LanceDB takes part where it can be imported (pip install lancedb pylance).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pipeline.lake.store import LakeStore
from pipeline.search import Searcher
from pipeline.search.build import Build
from pipeline.search.settings import VectorIndexConfig
from pipeline.search.store import IndexStore
from pipeline.search.training import sample
from pipeline.search.vectors import batches, rows_of, sizes_of
from tests.support.synthetic import Archive, write_lake

TOP, DIMENSION = 10, 512
SINGLE = 30


def peak_mb():
    """Return the peak of this process alone: ru_maxrss keeps that of the one it was forked from."""
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def make(folder, faces):
    archive = Archive(DIMENSION, 0)
    person = archive.long_tail(faces)
    vectors = archive.faces(person)
    write_lake(folder, vectors, [f"f{i}" for i in range(len(vectors))])


def vectors_of(lake):
    ids, blocks = [], []
    for name in sizes_of(lake):
        for face_ids, block in batches(lake, name):
            ids += face_ids.to_pylist()
            blocks.append(block)
    return ids, np.concatenate(blocks)


def timed(search, queries, threads, alone=SINGLE):
    """Return answers, queries a second, and milliseconds of one query."""
    search(queries[:8], threads)  # files are mapped, threads are there
    began = time.perf_counter()
    hits_found = search(queries, threads)
    rate = len(queries) / (time.perf_counter() - began)
    single = []
    for query in queries[:alone]:
        began = time.perf_counter()
        search(query[None], threads)
        single.append(time.perf_counter() - began)
    return hits_found, rate, 1000 * float(np.median(single))


def ours(lake, kind, queries, folder):
    import faiss

    faiss.omp_set_num_threads(1)
    began = time.perf_counter()
    manifest = Build(lake, VectorIndexConfig(kind=kind, full=True), run_id="bench").run()
    built, memory = time.perf_counter() - began, peak_mb()
    size = sum(IndexStore(lake).folder.files().values()) / 1e6
    print(f"  {kind}: {manifest.cells} cells, {manifest.nprobe} searched, "
          f"measured at build {manifest.recall}", file=sys.stderr)  # fmt: skip
    searcher = Searcher(lake)

    def search(vectors, threads):
        faiss.omp_set_num_threads(threads)
        return [[h.face_id for h in hits] for hits in searcher.nearest(vectors, TOP + 1)]

    return built, memory, size, search


def raw(lake, kind, queries, folder):
    """FAISS alone with the same parameters, all vectors in memory."""
    import faiss

    manifest = json.loads((Path(lake.folder.url) / "index" / "_current.json").read_text())
    cells, nprobe = manifest["cells"], manifest["nprobe"]
    faiss.omp_set_num_threads(1)
    began = time.perf_counter()
    ids, vectors = vectors_of(lake)
    half, inner = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    if kind == "flat":
        index = faiss.IndexScalarQuantizer(DIMENSION, half, inner)
    else:
        coarse = faiss.IndexFlatIP(DIMENSION)
        index = faiss.IndexIVFScalarQuantizer(coarse, DIMENSION, cells, half, inner, False)
        _, some = sample(lake, rows_of(lake, list(sizes_of(lake))), 40 * cells, 0, DIMENSION)
        index.train(some)
        index.nprobe = nprobe
    index.add(vectors)
    built, memory = time.perf_counter() - began, peak_mb()

    def search(wanted, threads):
        faiss.omp_set_num_threads(threads)
        rows = index.search(np.ascontiguousarray(wanted), TOP + 1)[1]
        return [[ids[i] for i in row if i >= 0] for row in rows]

    return built, memory, None, search


def lancedb(lake, kind, queries, folder):
    """LanceDB over what `facelake export-vectors` writes; as many cells, re-ranked tenfold."""
    import lancedb as library

    from pipeline.search.export import to_lance

    manifest = json.loads((Path(lake.folder.url) / "index" / "_current.json").read_text())
    began = time.perf_counter()
    target = Path(folder) / f"faces-{kind}.lance"
    there = target.exists()
    if not there:
        to_lance(lake, str(target))
    table = library.connect(folder).open_table(target.stem)
    if kind != "flat" and not there:
        table.create_index(
            metric="dot", vector_column_name="embedding", index_type="IVF_PQ",
            num_partitions=manifest["cells"], num_sub_vectors=DIMENSION // 8,
        )  # fmt: skip
    built, memory = time.perf_counter() - began, peak_mb()
    size = sum(f.stat().st_size for f in target.rglob("*") if f.is_file()) / 1e6

    def search(wanted, threads):
        answers = []
        for query in wanted:
            request = table.search(query, vector_column_name="embedding").metric("dot")
            if kind != "flat":
                request = request.nprobes(manifest["nprobe"]).refine_factor(10)
            request = request.select(["face_id", "_distance"]).limit(TOP + 1)
            answers.append(request.to_arrow()["face_id"].to_pylist())
        return answers

    return built, memory, size, search


def exact(lake, kind, queries, folder):
    """`facelake search` without an index: every part is read for every batch."""
    searcher = Searcher(lake, exact=True)
    return (
        0.0,
        peak_mb(),
        0.0,
        lambda vectors, threads: [
            [h.face_id for h in hits] for hits in searcher.nearest(vectors, TOP + 1)
        ],
    )


CONTENDERS = {"facelake": ours, "FAISS": raw, "LanceDB": lancedb, "no index": exact}


def truth(lake, queries):
    searcher = Searcher(lake, exact=True)
    return [[h.face_id for h in hits] for hits in searcher.nearest(queries, TOP + 1)]


def measure(name, folder, kind, threads):
    lake = LakeStore(str(Path(folder) / "lake"))
    saved = np.load(Path(folder) / "queries.npz", allow_pickle=False)
    queries = saved["vectors"]
    if name == "truth":
        print(json.dumps(truth(lake, queries)))
        return
    own = [face.decode() for face in saved["ids"]]
    expected = json.loads((Path(folder) / "truth.json").read_text())
    built, memory, size, search = CONTENDERS[name](lake, kind, queries, folder)
    figures = {"build_s": built, "build_mb": memory, "size_mb": size}
    wanted = (1, 2) if threads is None else (threads,)
    for count in wanted:
        slow = name == "no index"
        answers, rate, single = timed(search, queries[: 8 if slow else None], count,
                                    3 if slow else SINGLE)  # fmt: skip
        figures[f"rate_{count}"], figures[f"ms_{count}"] = rate, single
        shares = [
            len((set(a) & set(b)) - {me}) / TOP
            for a, b, me in zip(answers, expected, own, strict=False)
        ]
        figures["recall"] = float(np.mean(shares))
    figures["peak_mb"] = peak_mb()
    print(json.dumps(figures))


def child(folder, name, kind, threads=None):
    # LanceDB's threads are those of its pool, whose size is told by the environment
    limits = {"LANCE_CPU_THREADS": str(threads or 1), "TOKIO_WORKER_THREADS": str(threads or 1)}
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | limits
    command = [sys.executable, "-m", "benchmarks.search", "--child", name, folder, kind]
    done = subprocess.run([*command, str(threads or 0)], stdout=subprocess.PIPE, env=environment)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def row(name, kind, figures):
    one = "" if kind is None else f" {kind}"
    size = "" if figures["size_mb"] is None else f"{figures['size_mb']:,.0f}"
    return (
        f"| {name}{one} | {figures['build_s'] / 60:.1f} | {figures['build_mb']:,.0f} | {size} | "
        f"{figures['rate_1']:,.1f} | {figures['rate_2']:,.1f} | {figures['ms_1']:,.1f} | "
        f"{figures['recall']:.3f} |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=1_000_000)
    parser.add_argument("--kinds", nargs="+", default=["ivf", "flat"])
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--only", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS))
    parser.add_argument("--folder", help="kept, and taken if its lake is there; default: temporary")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, folder, kind, threads = options.child
        measure(name, folder, kind, int(threads) or None)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or temporary
        lake = LakeStore(str(Path(folder) / "lake"))
        if not lake.parts():
            make(Path(folder) / "lake", options.faces)
        rows = rows_of(lake, list(sizes_of(lake)))
        ids, vectors = sample(lake, rows, options.queries, 7, DIMENSION)
        np.savez(Path(folder) / "queries.npz", ids=ids, vectors=vectors)
        (Path(folder) / "truth.json").write_text(json.dumps(child(folder, "truth", "-")))
        print(f"{sum(rows.values()):,} faces, {DIMENSION} numbers each, {len(ids)} queries")
        print("| | build, min | build, MB | index, MB | queries/s, 1 thread | 2 threads | one, "
              "ms | recall@10 |\n|---|---|---|---|---|---|---|---|", flush=True)  # fmt: skip
        for kind in options.kinds:
            for name in options.only:
                if name == "no index":
                    continue
                figures = child(folder, name, kind, 1 if name == "LanceDB" else None)
                if figures and name == "LanceDB":
                    figures["rate_2"] = child(folder, name, kind, 2)["rate_2"]
                print(row(name, kind, figures) if figures else f"| {name} {kind} | not run |",
                      flush=True)  # fmt: skip
        if "no index" in options.only and (figures := child(folder, "no index", "-")):
            print(row("no index", None, figures), flush=True)


if __name__ == "__main__":
    main()
