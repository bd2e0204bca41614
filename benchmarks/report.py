"""Time, memory and size of the report of a large lake, and how long its pages take to open.

    python -m benchmarks.report [--faces 100000] [--keep FOLDER]

Faces are synthetic: people seen as often as in an archive, grouped as they are, thumbnails of some
3 KB, dates over twenty years. There are no photos behind them, so no previews are made: these cost
some 10 ms each, and for those in archives the time to find them. Memory is the peak resident set
of the command. Pages are opened in Chromium, from disk, nothing cached.
"""

import argparse
import io
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.lake import schema
from pipeline.lake.store import LakeStore
from pipeline.people import People
from tests.support.synthetic import Archive, write_lake

DIMENSION, THUMBNAILS, SIDE = 128, 500, 112


def thumbnails(random: np.random.Generator) -> list[bytes]:
    """Return small JPEGs of soft noise."""
    made = []
    for _ in range(THUMBNAILS):
        noise = random.integers(0, 255, (SIDE // 7, SIDE // 7, 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(
            out, "JPEG", quality=85
        )
        made.append(out.getvalue())
    return made


def make(folder: Path, faces: int) -> int:
    """Write a lake of so many faces with its people; return the bytes of a mean thumbnail."""
    archive = Archive(DIMENSION)
    random = archive.random
    label = archive.long_tail(faces)
    pictures = thumbnails(random)
    days = random.integers(11_000, 18_000, faces)
    write_lake(
        folder,
        archive.faces(label),
        [f"{year}/IMG_{n:06}.jpg" for n, year in enumerate(1970 + days // 365)],
        thumbnail=lambda face: pictures[face % len(pictures)],
        taken_at=days.astype("datetime64[D]").astype("datetime64[ms]"),
    )
    people(LakeStore(str(folder)), folder, label, days)
    return int(np.mean([len(one) for one in pictures]))


def people(lake: LakeStore, folder: Path, label: np.ndarray, days: np.ndarray) -> None:
    """Publish the people as they are; one face in fifty is doubtful."""
    rows = lake.read("faces", ["face_id", "image_id", "uri"])
    number = np.array([int(uri[-10:-4]) for uri in rows["uri"].to_pylist()])
    owner = label[number]
    ids = np.array([f"{one:016x}" for one in range(int(label.max()) + 1)])
    count = len(rows)
    random = np.random.default_rng(1)
    clusters = {f.name: pa.nulls(count, f.type) for f in schema.CLUSTERS} | {
        "face_id": rows["face_id"], "image_id": rows["image_id"], "person_id": pa.array(ids[owner]),
        "tier": pa.array(np.where(random.random(count) < 0.02, "attach", "core")),
        "similarity": pa.array(random.uniform(0.4, 0.9, count).astype(np.float32)),
        "confidence": pa.array(random.uniform(0.7, 1.0, count).astype(np.float32)),
        "confirmed": pa.array(np.zeros(count, bool)), "run_id": pa.array(["r"] * count),
    }  # fmt: skip
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(len(ids) + 1))
    sizes = np.diff(starts)
    seen = np.flatnonzero(sizes)
    face_ids = np.array(rows["face_id"].to_pylist())
    when = days[number][order]
    persons = [
        {"person_id": ids[k], "hidden": False, "faces": int(sizes[k]), "images": int(sizes[k]),
         "core_faces": int(sizes[k]), "cover_face_id": face_ids[order[starts[k]]],
         "exemplars": [face_ids[order[starts[k]]]], "confidence": 0.9, "run_id": "r",
         "first_taken_at": day(when[starts[k] : starts[k + 1]].min()),
         "last_taken_at": day(when[starts[k] : starts[k + 1]].max()),
         "mean": [0.0] * DIMENSION}
        for k in seen
    ]  # fmt: skip
    People(lake).publish(
        "r",
        [pa.table({f.name: clusters[f.name] for f in schema.CLUSTERS}, schema=schema.CLUSTERS)],
        [pa.Table.from_pylist(persons, schema.people_schema(DIMENSION))],
        schema.SUGGESTIONS.empty_table(),
        {},
    )


def day(number: int) -> datetime:
    """Return midnight of a day, counted from 1970."""
    return datetime(1970, 1, 1) + timedelta(days=int(number))


def opened(report: Path, names: list[str]) -> None:
    """Print how long pages take to open."""
    path = shutil.which("chromium")
    if path is None:
        print("no Chromium: pages were not opened")
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name in names:
            seconds, paint = [], []
            for _ in range(5):
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                began = time.monotonic()
                page.goto((report / name).as_uri())
                seconds.append(time.monotonic() - began)
                page.wait_for_timeout(1000)
                painted = (
                    "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"
                )
                paint.append(page.evaluate(painted) / 1000)
                page.close()
            print(
                f"{name:32} {(report / name).stat().st_size / 1e6:5.2f} MB, loaded in "
                f"{np.median(seconds):.2f} s, first seen after {np.nanmedian(paint):.2f} s"
            )
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--keep", type=Path, help="keep the lake there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as aside:
        lake = (options.keep or Path(aside)) / "lake"
        # in a process of its own: what it takes is not the command's
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            mean = pool.apply(make, (lake, options.faces))
        print(f"{options.faces:,} faces, thumbnails of {mean / 1e3:.1f} KB", flush=True)
        began = time.monotonic()
        command = [sys.executable, "-m", "pipeline.commands.main", "report", str(lake)]
        process = subprocess.Popen(command)
        _, status, usage = os.wait4(process.pid, 0)
        seconds, peak = time.monotonic() - began, usage.ru_maxrss / 1e3
        cpu = usage.ru_utime + usage.ru_stime
        assert status == 0
        report = lake / "report"
        sizes = {path.name: path.stat().st_size for path in report.iterdir()}
        largest = max(sizes, key=lambda name: sizes[name])
        print(
            f"{seconds:.0f} s, {cpu:.0f} s of CPU, peak {peak:.0f} MB, {len(sizes):,} pages, "
            f"{sum(sizes.values()) / 1e6:.0f} MB in all, the largest {sizes[largest] / 1e6:.2f} MB"
        )
        person = max((n for n in sizes if n.startswith("person-")), key=lambda name: sizes[name])
        opened(report, ["index.html", "people.html", person])


if __name__ == "__main__":
    main()
