"""Injects faults into the main job, and counts what is lost, doubled or different afterwards.

    FACELAKE_DATA=... python -m benchmarks.reliability [--rounds 3] [--only driver,actor] \
        [--write docs/reliability.md]

Every fault meets a run over the same shards; the run is started again until it ends well, and its
lake is compared with that of an undisturbed run. Only processes that this script started, or that
those started, are killed. Needs Linux; "disk full" needs root, to mount a small tmpfs.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.lake.columns import matrix
from pipeline.lake.store import LakeStore
from pipeline.maintenance.check import check
from tests.support.data import data_folder
from tests.support.faulty_proxy import FaultyProxy
from tests.support.weed import Weed, free_port

SHARDS, IMAGES_PER_SHARD = 8, 100
POLL_S = 0.05


@dataclass
class Row:
    """A line of the table."""

    fault: str
    injected: int = 0
    images: int = 0
    lost: int = 0
    doubled: int = 0
    differing: int = 0
    repeated: int = 0
    seconds: list[float] = field(default_factory=list)
    notes: str = ""


def make_shards(folder: Path) -> None:
    """Repack the first LFW photos into small tars."""
    source = sorted((data_folder() / "lfw-dev").glob("*.tar"))[0]
    with tarfile.open(source) as archive:
        photos = [m for m in archive if m.name.endswith(".jpg")][: SHARDS * IMAGES_PER_SHARD]
        for shard in range(SHARDS):
            with tarfile.open(folder / f"{shard:02}.tar", "w") as out:
                for member in photos[shard::SHARDS]:
                    out.addfile(member, archive.extractfile(member))


class Job:
    """One `facelake index` process, with a Ray of its own."""

    def __init__(self, source: str, lake: str, *options: str, env: dict[str, str] | None = None):
        self.began = time.monotonic()
        command = [sys.executable, "-m", "pipeline.commands.main", "index", source, "--plain"]
        command += ["--output", lake, "--embedder", "sface", "--part-images", "32", *options]
        self.process = subprocess.Popen(
            command,
            env=os.environ | (env or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def wait(self, timeout: float = 900) -> tuple[int, str]:
        """Return exit code and output."""
        output, _ = self.process.communicate(timeout=timeout)
        return self.process.returncode, output

    def seconds(self) -> float:
        return time.monotonic() - self.began

    def running(self) -> bool:
        return self.process.poll() is None


def children(root: int) -> Iterator[tuple[int, str]]:
    """Yield pid and title of every process below `root`."""
    parents: dict[int, list[int]] = {}
    titles = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError, IndexError):
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                parents.setdefault(parent, []).append(int(folder.name))
                titles[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
    pending = [root]
    while pending:
        for pid in parents.get(pending.pop(), []):
            yield pid, titles.get(pid, "")
            pending.append(pid)


def signal_one(root: int, words: str, number: int) -> bool:
    """Send a signal to one process below `root` whose title has `words`."""
    pids = [pid for pid, title in children(root) if words in title]
    if not pids:
        return False
    with suppress(ProcessLookupError):
        os.kill(random.choice(pids), number)
        return True
    return False


def parts(lake: str) -> int:
    return len(list(Path(lake).glob("images/*.parquet")))


def wait_for(job: Job, ready: Callable[[], bool]) -> bool:
    """Wait until `ready`; False when the job ends before."""
    while job.running():
        if ready():
            return True
        time.sleep(POLL_S)
    return False


def until_done(source: str, lake: str, row: Row, *options: str, env=None) -> str:
    """Start the job until it ends well; return what the last one printed."""
    for _ in range(8):
        job = Job(source, lake, *options, env=env)
        code, output = job.wait()
        row.seconds.append(job.seconds())
        if code == 0:
            return output
    sys.exit(f"{row.fault}: the job does not end well: {output}")


def message(output: str) -> str:
    """Return the line with which the command said what stopped it."""
    return next((x for x in output.splitlines() if x.startswith("facelake:")), output[-200:])


def added(output: str) -> int:
    """Return how many images a run wrote, from the table that ends it."""
    line = next(x for x in output.splitlines() if "images added" in x)
    return int(line.split("│")[2].replace(",", ""))


def compare(row: Row, reference: LakeStore, lake: LakeStore) -> None:
    """Add up what differs between a lake and that of the undisturbed run."""
    expected, actual = (x.read("images", ["image_id", "error", "faces"]) for x in (reference, lake))
    ids, actual_ids = expected["image_id"].to_pylist(), actual["image_id"].to_pylist()
    row.images += len(ids)
    row.lost += len(set(ids) - set(actual_ids))
    row.doubled += len(actual_ids) - len(set(actual_ids))
    columns = ["face_id", "box", "embedding"]
    left, right = (x.read("faces", columns).sort_by("face_id") for x in (reference, lake))
    if left["face_id"].to_pylist() != right["face_id"].to_pylist():
        both = set(left["face_id"].to_pylist()) ^ set(right["face_id"].to_pylist())
        row.differing += max(1, len(both))
    else:
        for column, limit in (("box", 0.05), ("embedding", 1e-3)):
            far = np.abs(matrix(left[column]) - matrix(right[column])).max(axis=1) > limit
            row.differing += int(far.sum())
    findings = check(lake).findings
    if findings:
        row.notes += f" check: {sorted({f.kind for f in findings})}"


class Bench:
    """Everything that the faults share."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self.folder, self.rounds = folder, rounds
        self.source = folder / "shards"
        self.source.mkdir()
        make_shards(self.source)
        self.reference = LakeStore(str(folder / "reference"))
        row = Row("undisturbed")
        until_done(str(self.source), self.reference.folder.url, row)
        self.undisturbed = row.seconds[-1]
        self.rows = [row]
        compare(row, self.reference, self.reference)

    def lake(self) -> str:
        return tempfile.mkdtemp(prefix="lake-", dir=self.folder)

    def finish(self, row: Row, lake: str, options: dict | None = None, *arguments: str) -> None:
        """Let the run end, and compare."""
        done = 0
        if "://" not in lake and parts(lake):  # images whose rows are final
            errors = LakeStore(lake).read("images", ["error"])["error"]
            done = errors.null_count
        output = until_done(str(self.source) if "://" not in lake else self.remote, lake, row,
                            *arguments)  # fmt: skip
        if done:  # what the last run wrote should be what was missing, no more
            row.repeated += max(0, done + added(output) - SHARDS * IMAGES_PER_SHARD)
        if "storage asked again" in output:
            row.notes = next(x for x in output.splitlines() if "asked again" in x).strip("│ ")
        compare(row, self.reference, LakeStore(lake, options))

    remote = ""

    def driver(self) -> Row:
        row = Row("driver killed (-9), at random")
        for _ in range(self.rounds):
            lake = self.lake()
            for wanted in (1, 12):
                job = Job(str(self.source), lake)
                if wait_for(job, lambda n=wanted, where=lake: parts(where) >= n):
                    time.sleep(random.random() / 2)
                    row.injected += 1
                    os.kill(job.process.pid, signal.SIGKILL)
                job.wait()
                row.seconds.append(job.seconds())
            self.finish(row, lake)
        return row

    def _process(self, name: str, words: str, times: int) -> Row:
        row = Row(name)
        for _ in range(self.rounds):
            lake = self.lake()
            job = Job(str(self.source), lake)
            for kill in range(times):
                if wait_for(job, lambda n=1 + 6 * kill, where=lake: parts(where) >= n):
                    row.injected += signal_one(job.process.pid, words, signal.SIGKILL)
            code, _ = job.wait()
            row.seconds.append(job.seconds())
            if code:
                row.notes = f"the run stops with exit {code}; started again"
            self.finish(row, lake)
        return row

    def actor(self) -> Row:
        return self._process("detect actor killed (-9)", "MapWorker(MapBatches(DecodeDetect))", 3)

    def embed(self) -> Row:
        return self._process("embed actor killed (-9)", "MapWorker(MapBatches(Embed))", 3)

    def raylet(self) -> Row:
        return self._process("raylet of the only node killed (-9)", "/raylet/raylet", 1)

    def decoder(self) -> Row:
        """Kill, then freeze the process that decodes: a native crash and a hang."""
        row = Row("decoder crashes (-9) and hangs (-STOP)")
        for _ in range(self.rounds):
            lake = self.lake()
            job = Job(str(self.source), lake, "--image-timeout", "5")
            for kill in range(6):
                if wait_for(job, lambda n=1 + 3 * kill, where=lake: parts(where) >= n):
                    number = signal.SIGKILL if kill % 2 else signal.SIGSTOP
                    row.injected += signal_one(job.process.pid, "pipeline.imaging.worker", number)
            code, output = job.wait()
            row.seconds.append(job.seconds())
            codes = [x.strip("│ ").split() for x in output.splitlines() if "error " in x]
            row.notes = f"exit {code}; " + ", ".join(f"{c[-1]} {c[1]}" for c in codes if len(c) > 2)
            self.finish(row, lake, None, "--retry-errors", "crashed,timeout")
        return row

    def full(self) -> Row:
        row = Row("disk full, then not")
        for _ in range(self.rounds):
            lake = self.lake()
            mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", lake]
            if subprocess.run(mount, capture_output=True).returncode:
                row.notes = "not run: may not mount"
                return row
            try:
                job = Job(str(self.source), lake)
                code, output = job.wait()
                row.injected += 1
                row.seconds.append(job.seconds())
                row.notes = f"exit {code}: {message(output)}".replace(lake, "LAKE")
                subprocess.run(["mount", "-o", "remount,size=64m", lake], check=True)
                self.finish(row, lake)
            finally:
                subprocess.run(["umount", lake], check=False)
        return row

    def node(self) -> Row:
        """Kill one of three nodes of a cluster while a job runs on it."""
        row = Row("one of three nodes killed (-9)")
        for _ in range(self.rounds):
            lake = self.lake()
            with ray_nodes(self.folder, 2) as (address, nodes, add):
                job = Job(str(self.source), lake, env={"RAY_ADDRESS": address})
                if wait_for(job, lambda where=lake: parts(where) >= 3):
                    victim = nodes.pop()
                    os.killpg(victim.pid, signal.SIGKILL)
                    row.injected += 1
                    add()
                code, output = job.wait()
                row.seconds.append(job.seconds())
                if code:
                    row.notes += f" exit {code}: {output.splitlines()[-1][:100]}"
            self.finish(row, lake)
        return row

    def storage(self) -> list[Row]:
        """Faults between the job and an S3-compatible server."""
        rows = []
        with Weed(self.folder / "weed") as weed:
            for path in sorted(self.source.iterdir()):
                weed.filesystem().put(str(path), f"photos/shards/{path.name}")
            self.remote = "s3://photos/shards"
            between = Row("write task killed (-9) between its two files")
            for number in range(self.rounds):
                lake = f"s3://photos/between-{number}"
                proxy = FaultyProxy(weed.address, victim=lambda line: line.startswith("PUT")
                                    and "/images/part-" in line)  # fmt: skip
                self._through(between, proxy, weed, lake)
            rows.append(between)
            for share in (0.05, 0.2):
                row = Row(f"S3: 503, resets, stalls, partial answers, {share:.0%} of requests")
                for number in range(self.rounds):
                    proxy = FaultyProxy(weed.address, share=share, seed=number)
                    self._through(row, proxy, weed, f"s3://photos/lake-{share}-{number}")
                rows.append(row)
        return rows

    def _through(self, row: Row, proxy: FaultyProxy, weed: Weed, lake: str) -> None:
        settings = weed.settings | {"endpoint_url": proxy.endpoint}
        options = [part for key, value in settings.items()
                   for part in ("--storage-option", f"{key}={value}")]  # fmt: skip
        self.finish(row, lake, weed.settings, *options)
        row.injected += proxy.injected.total()
        proxy.close()


def wait_for_cpus(address: str, wanted: int) -> None:
    """Return when all nodes have joined; on a busy machine that takes a while."""
    ask = (
        f"import ray; ray.init(address={address!r}); print('CPUS', ray.cluster_resources()['CPU'])"
    )
    for _ in range(20):
        answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)
        if f"CPUS {float(wanted)}" in answer.stdout:
            return
        time.sleep(3)
    sys.exit(f"the cluster does not get its {wanted} CPUs: {answer.stdout}{answer.stderr}")


@contextmanager
def ray_nodes(folder: Path, workers: int, head_cpus: int = 1, cpus: int = 2):
    """A cluster of a head and some workers, each in a process group of its own."""
    port = free_port()
    temp = tempfile.mkdtemp(prefix="fl-", dir="/tmp")
    env = os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    ray = str(Path(sys.prefix) / "bin" / "ray")

    def begin(*arguments: str) -> subprocess.Popen:
        command = [ray, "start", "--block", "--object-store-memory", str(300 * 2**20), *arguments]
        return subprocess.Popen(
            command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip

    head = begin("--head", "--port", str(port), "--num-cpus", str(head_cpus), "--temp-dir", temp,
                 "--include-dashboard", "false")  # fmt: skip
    address = f"127.0.0.1:{port}"
    time.sleep(8)
    nodes: list[subprocess.Popen] = []

    def add() -> None:
        nodes.append(begin("--address", address, "--num-cpus", str(cpus)))

    try:
        os.environ["RAY_AUTH_MODE"] = "disabled"
        for number in range(workers):  # two that start at once on one machine take the same sockets
            add()
            wait_for_cpus(address, head_cpus + (number + 1) * cpus)
        yield address, nodes, add
    finally:
        os.environ.pop("RAY_AUTH_MODE", None)
        for process in [*nodes, head]:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(temp, ignore_errors=True)


def table(bench: Bench) -> str:
    lines = [
        "| fault | times | images | rows lost | rows doubled | faces differing | committed "
        "images done again | seconds of extra work a run | notes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in bench.rows:
        runs = max(1, round(row.images / (SHARDS * IMAGES_PER_SHARD)))
        extra = sum(row.seconds) / runs - bench.undisturbed
        lines.append(
            f"| {row.fault} | {row.injected} | {row.images:,} | {row.lost} | {row.doubled} | "
            f"{row.differing} | {row.repeated} | {extra:.0f} | {row.notes} |"
        )
    return "\n".join(lines)


def write(document: Path, bench: Bench) -> None:
    """Put the table between the marks of a document."""
    before, rest = document.read_text().split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    footnote = f"An undisturbed run takes {bench.undisturbed:.0f} s."
    document.write_text(f"{before}{BEGIN}\n{table(bench)}\n\n{footnote}\n{END}{after}")


BEGIN, END = "<!-- faults -->", "<!-- end of faults -->"
FAULTS = ("driver", "actor", "embed", "raylet", "decoder", "full", "node", "storage")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default=",".join(FAULTS))
    parser.add_argument("--write", type=Path, help="document whose table is replaced")
    options = parser.parse_args()
    random.seed(1)
    with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
        bench = Bench(Path(folder), options.rounds)
        print(f"undisturbed: {bench.undisturbed:.0f} s", flush=True)
        for name in options.only.split(","):
            rows = getattr(bench, name)()
            bench.rows.extend(rows if isinstance(rows, list) else [rows])
            print(table(bench), flush=True)
        if options.write:
            write(options.write, bench)


if __name__ == "__main__":
    main()
