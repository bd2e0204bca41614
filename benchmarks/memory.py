"""Peak memory and throughput of the main job for few and for many images.

    FACELAKE_DATA=... python -m benchmarks.memory [--images 1000 20000] [--series memory.tsv]

LFW photos are repeated under new names until there are enough. Memory is the sum of the
proportional set sizes (PSS) of the job's process and all below it, Ray's included, seen every half
second. Throughput is from the first part of the lake to the last.

By kind of process it is what is theirs alone; what they share in memory is the object store. The
kinds' peaks need not fall together.
"""

import argparse
import tarfile
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from pyarrow import parquet

from benchmarks.reliability import Job, children
from pipeline.lake.store import LakeStore
from tests.support.data import data_folder

PER_SHARD = 500
DRIVER, STORE, TASKS, RAY = "driver", "object store", "read and write tasks, idle", "Ray"
# What stands in a process's title; Ray renames its workers with every task.
KINDS = {
    "MapBatches(DecodeDetect)": "detect actors",
    "MapBatches(Embed)": "embed actors",
    "pipeline.imaging.worker": "decoders",
    "/raylet/raylet": "raylet",
    "/gcs/gcs_server": "gcs",
    "ray::IDLE": TASKS,
    "ray::MapBatches(": TASKS,
}


def make(folder: Path, count: int) -> None:
    """Write `count` photos as shards of 500."""
    photos = []
    for path in sorted((data_folder() / "lfw-dev").glob("*.tar")):
        with tarfile.open(path) as archive:
            photos += [
                (member.name, archive.extractfile(member).read())
                for member in archive
                if member.name.endswith(".jpg")
            ]
    for shard in range(-(-count // PER_SHARD)):
        with tarfile.open(folder / f"{shard:04}.tar", "w") as archive:
            for number in range(shard * PER_SHARD, min(count, (shard + 1) * PER_SHARD)):
                name, data = photos[number % len(photos)]
                info = tarfile.TarInfo(f"{number:06}-{name}")
                info.size = len(data)
                with tempfile.TemporaryFile() as file:
                    file.write(data)
                    file.seek(0)
                    archive.addfile(info, file)


def kind(title: str) -> str:
    """Return what a process below the driver is."""
    return next((name for words, name in KINDS.items() if words in title), RAY)


def pss(pid: int) -> tuple[int, int]:
    """Return a process's proportional set size in bytes, and how much of it is shared memory."""
    sizes = {"Pss:": 0, "Pss_Shmem:": 0}
    with suppress(OSError):  # it is gone
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(" ")
            if name in sizes:
                sizes[name] = int(rest.split()[0]) * 1024
    return sizes["Pss:"], sizes["Pss_Shmem:"]


def sample(root: int) -> Counter[str]:
    """Return the memory of a process and all below it, by kind."""
    bytes_by_kind: Counter[str] = Counter()
    for pid, name in [(root, DRIVER), *((pid, kind(title)) for pid, title in children(root))]:
        total, shared = pss(pid)
        bytes_by_kind[name] += total - shared
        bytes_by_kind[STORE] += shared
    return bytes_by_kind


def report(series: list[tuple[float, Counter[str]]]) -> str:
    """Return a table of what each kind took: when the sum was highest, at most, and usually."""
    highest = max((one for _, one in series), key=Counter.total)
    lines = ["| kind of process | at the peak | its own peak | median |", "|---|---|---|---|"]
    for name, _ in highest.most_common():
        sizes = sorted(one[name] for _, one in series)
        shown = " | ".join(f"{x / 1e9:.2f}" for x in (highest[name], sizes[-1], middle(sizes)))
        lines.append(f"| {name} | {shown} |")
    return "\n".join(lines)


def middle(sizes: list[int]) -> int:
    return sorted(sizes)[len(sizes) // 2]


def write_series(path: Path, count: int, series: list[tuple[float, Counter[str]]]) -> None:
    """Append every sample: images of the run, seconds, kind, bytes."""
    with path.open("a") as file:
        for seconds, one in series:
            for name, size in sorted(one.items()):
                file.write(f"{count}\t{seconds:.1f}\t{name}\t{size}\n")


def steady(lake: Path) -> float:
    """Return images a second from the first part on."""
    parts = sorted((lake / "images").glob("*.parquet"), key=lambda part: part.stat().st_mtime)
    if len(parts) < 2:
        return 0.0
    later = sum(parquet.read_metadata(part).num_rows for part in parts[1:])
    return later / (parts[-1].stat().st_mtime - parts[0].stat().st_mtime)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 20_000])
    parser.add_argument("--series", type=Path, help="file to which every sample is appended")
    options = parser.parse_args()
    peaks = []
    for count in options.images:
        with tempfile.TemporaryDirectory() as folder:
            source, lake = Path(folder) / "in", Path(folder) / "lake"
            source.mkdir()
            make(source, count)
            job = Job(str(source), str(lake))
            series = []
            while job.running():
                series.append((job.seconds(), sample(job.process.pid)))
                time.sleep(0.5)
            code, output = job.wait()
            seconds = job.seconds()
            rows = len(LakeStore(str(lake)).ledger())
            totals = [one.total() for _, one in series]
            print(
                f"{count:,} images: {rows:,} rows, exit {code}, {seconds:.0f} s, "
                f"steady {steady(lake):.1f} images/s, "
                f"peak {max(totals) / 1e9:.2f} GB, median {middle(totals) / 1e9:.2f} GB\n"
                f"{report(series)}\n",
                flush=True,
            )
            if options.series:
                write_series(options.series, count, series)
            if code:
                print(output)
            peaks.append(max(totals))
    print(f"peak of the last against the first: {peaks[-1] / peaks[0] - 1:+.1%}")


if __name__ == "__main__":
    main()
