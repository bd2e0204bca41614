"""Memory of a driver whose archive is in the lake already, but for one photo in a hundred.

    python -m benchmarks.driver [--images 1e6 1e7]

Made up are the listing, a file system of folders with a thousand photos each, and the rows of the
lake, as tables of `images`; the ledger, the plan, the comparison and the epochs are the code's own.
Each size runs in a process of its own. "Private" memory is what the process holds; of mapped files
the system keeps in memory what it likes, and the highest sum of both is the peak.
"""

import argparse
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import fsspec
import pyarrow as pa
from fsspec import AbstractFileSystem

A_FOLDER = 1000
ROWS = 2**16
EVERY_S = 0.2


def name(number: int) -> str:
    return f"{number // A_FOLDER:07d}/IMG_{number:010d}.jpg"


def digits(number: int) -> str:
    """Return 32 hex digits, spread evenly."""
    mixed = (number * 0x9E3779B97F4A7C15 + 0x7F4A7C15) % 2**64
    return f"{mixed:016x}{mixed ^ 0x5851F42D4C957F2D:016x}"


class Made(AbstractFileSystem):
    """Lists photos that nobody has; `path` is archive/COUNT."""

    protocol = "made"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix("made://").rstrip("/")

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        _, count, *folder = self._strip_protocol(path).split("/")
        if not folder:
            folders = range(-(-int(count) // A_FOLDER))
            return [
                {"name": f"archive/{count}/{n:07d}", "type": "directory", "size": 0}
                for n in folders
            ]
        start = int(folder[0]) * A_FOLDER
        return [
            {"name": f"archive/{count}/{name(n)}", "type": "file", "size": 1000 + n % 900_000,
             "ETag": f"{n:x}"}
            for n in range(start, min(start + A_FOLDER, int(count)))
        ]  # fmt: skip


def tables(count: int, root: str) -> Iterator[pa.Table]:
    for start in range(0, count, ROWS):
        numbers = range(start, min(count, start + ROWS))
        places = [f"{root}/{name(n)}" for n in numbers]
        yield pa.table(
            {
                "image_id": [digits(n) for n in numbers],
                "uri": places,
                "shard": [place.rsplit("/", 1)[0] for place in places],
                "sha256": [digits(n + count) * 2 for n in numbers],
                "bytes": pa.array([1000 + n % 900_000 for n in numbers], pa.int64()),
                "error": pa.nulls(len(places), pa.string()),
                "file_version": [f"{1000 + n % 900_000} {n:x}" for n in numbers],
            }
        )


def memory(process: int | str = "self") -> dict[str, int]:
    """Return bytes of a process: private, and those of mapped files."""
    with open(f"/proc/{process}/status") as file:
        found = dict(re.findall(r"(RssAnon|RssFile):\s+(\d+) kB", file.read()))
    return {key: int(value) * 1024 for key, value in found.items()}


class Peak(threading.Thread):
    """Sees the memory of this process, again and again."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.private = self.both = 0
        self.start()

    def run(self) -> None:
        while True:
            now = memory()
            self.private = max(self.private, now["RssAnon"])
            self.both = max(self.both, sum(now.values()))
            time.sleep(EVERY_S)


def work(count: int) -> None:
    from pipeline.config import ReadConfig
    from pipeline.executor.dataset import epochs
    from pipeline.lake.ledger import Ledger
    from pipeline.sources.plan import plan
    from pipeline.sources.reconcile import Reconciler

    fsspec.register_implementation("made", Made)
    before, peak, began = memory()["RssAnon"], Peak(), time.monotonic()
    marks = []

    def mark(what: str) -> None:
        marks.append(f"{what} {time.monotonic() - began:.0f} s, {peak.private / 1e6:.0f} MB")
        print("   ", marks[-1], flush=True)

    root = f"made://archive/{count}"
    known = count - count // 100
    ledger = Ledger.from_tables(tables(known, root))
    assert not len(ledger.doubled())
    mark("ledger")
    inputs = plan([root], output="/none", ledger=ledger, options={}, parallelism=2)
    mark("plan")
    assert (inputs.already_in_lake, inputs.images) == (known, count - known)
    change = Reconciler(inputs, ledger, lambda _: {}, {}).run(ReadConfig())
    assert not change
    mark("comparison")
    assert sum(len(u.names) for units in epochs(inputs, 2**25) for u in units) == count - known
    mark("epochs")
    print(
        f"| {count:,} | {time.monotonic() - began:,.0f} | {peak.private / 1e6:,.0f} MB "
        f"| {peak.both / 1e6:,.0f} MB | {(peak.private - before) / count:.1f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=float, nargs="*", default=[1e5, 1e6, 1e7])
    parser.add_argument("--work", type=int)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work)
        return
    print("| photos | seconds | private, peak | with mapped files | private bytes a photo |")
    print("|---|---|---|---|---|")
    for count in arguments.images:
        command = [sys.executable, "-m", "benchmarks.driver", "--work", str(int(count))]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
