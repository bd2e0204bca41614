"""Peak memory of the main job for few and for many images.

    FACELAKE_DATA=... python -m benchmarks.memory [--images 1000 20000]

LFW photos are repeated under new names until there are enough. Memory is the sum of the
proportional set sizes (PSS) of the job's process and all below it, Ray's included, seen every half
second. Large faces only are searched, to spare time; memory does not depend on it.
"""

import argparse
import tarfile
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.data import data_folder
from benchmarks.reliability import Job, children
from pipeline.lake import Lake

PER_SHARD = 500


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


def pss(pid: int) -> int:
    """Return a process's proportional set size in bytes, 0 when it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 20_000])
    peaks = []
    for count in parser.parse_args().images:
        with tempfile.TemporaryDirectory() as folder:
            source, lake = Path(folder) / "in", Path(folder) / "lake"
            source.mkdir()
            make(source, count)
            job = Job(str(source), str(lake), "--min-face-px", "60", "--no-thumbnails")
            peak, series = 0, []
            while job.running():
                tree = [job.process.pid, *(pid for pid, _ in children(job.process.pid))]
                now = sum(map(pss, tree))
                series.append(now)
                peak = max(peak, now)
                time.sleep(0.5)
            code, output = job.wait()
            rows = len(Lake(str(lake)).ledger())
            steady = sorted(series)[len(series) // 2]
            print(
                f"{count:,} images: {rows:,} rows, exit {code}, {job.seconds():.0f} s, "
                f"peak {peak / 1e9:.2f} GB, median {steady / 1e9:.2f} GB",
                flush=True,
            )
            if code:
                print(output)
            peaks.append(peak)
    print(f"peak of the last against the first: {peaks[-1] / peaks[0] - 1:+.1%}")


if __name__ == "__main__":
    main()
