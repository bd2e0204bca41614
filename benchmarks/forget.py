"""How long forgetting takes, and the proof of it, by the size of the lake.

    python -m benchmarks.forget [--faces 10000 100000] [--write docs/privacy.md]

Synthetic faces (see `tests.support.synthetic`) are clustered; then the person with most faces is
named and forgotten, and one photo is.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.clustering.run import Run
from pipeline.lake.checkpoints import in_process
from pipeline.lake.store import LakeStore
from pipeline.maintenance.forget import run
from pipeline.maintenance.forget.prove import Cleartext, prove
from pipeline.maintenance.forget.target import find
from pipeline.people import People
from tests.support.synthetic import Archive, write_lake

BEGIN, END = "<!-- forget -->", "<!-- end of forget -->"
HEAD = (
    "| faces in the lake | faces that went | forget a person | forget a photo | prove | "
    "files, rows | peak memory |\n|---|---|---|---|---|---|---|"
)


def measure(count: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        made = Archive(128)
        label = made.long_tail(count)
        write_lake(Path(folder), made.faces(label), [f"f{i}" for i in range(count)])
        lake = LakeStore(folder)
        store = People(lake)
        Run(store, ClusterConfig(), in_process, "c").cluster()
        people = store.people(["person_id", "faces"])
        largest = people["person_id"][int(np.argmax(people["faces"].to_numpy()))].as_py()
        other = lake.read("images", ["image_id"], pc.field("faces") > 0)["image_id"][0].as_py()
        began = time.monotonic()
        target = find(lake, [largest], (), ())
        run.forget(lake, target, "f1")
        person_s = time.monotonic() - began
        clear = Cleartext(sorted(target.texts()), (), target.blobs()[:100])
        began = time.monotonic()
        run.forget(lake, find(lake, (), [other], ()), "f2")
        photo_s = time.monotonic() - began
        began = time.monotonic()
        proof = prove(lake, lake.forgotten(), clear)
        prove_s = time.monotonic() - began
        assert not proof.findings, proof.findings
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        return (
            f"| {count:,} | {len(target.faces):,} | {person_s:.1f} s | {photo_s:.1f} s | "
            f"{prove_s:.1f} s | {proof.files:,}, {proof.rows:,} | {peak:.1f} GB |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--write", type=Path, help="document whose table is replaced")
    options = parser.parse_args()
    lines = [HEAD]
    for count in options.faces:
        lines.append(measure(count))
        print(lines[-1], flush=True)
    if options.write:
        before, rest = options.write.read_text().split(BEGIN, 1)
        summary = (
            "`python -m benchmarks.forget`, one process, two shared cores; memory with clustering."
        )
        text = "\n".join([summary, "", *lines])
        options.write.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END, 1)[1]}")


if __name__ == "__main__":
    main()
