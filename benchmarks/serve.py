"""The API under load, beside the stages of the batch pipeline, and under attack.

    FACELAKE_DATA=... python -m benchmarks.serve LAKE_OF_LFW [--requests 1000] [--clients 8]

The lake is made with `facelake index ... --embedder sface`. A head learns its people; the server is
the real one, a process of its own with a worker a core that it may use. Clients are threads that
each send one request after another. The stages decode, detect and embed the same photos in this
process, in batches, before and after the server does. `taskset -c 0` measures on one core.
"""

import argparse
import itertools
import os
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import torch

from benchmarks.clustering import labelled
from benchmarks.end_to_end import encoded
from benchmarks.heads import written
from pipeline import Lake
from pipeline.config import DecodeConfig, PoolConfig
from pipeline.lake.store import LakeStore
from pipeline.models.cards.card import find_card
from pipeline.models.faces import face_crops
from pipeline.stages.decode import Decode
from pipeline.stages.detect import Detect
from pipeline.stages.embed import Embed
from pipeline.training.classify import Classifier
from tests.support.bombs import png_bomb
from tests.support.data import data_folder
from tests.support.decoding import decode
from tests.support.serve_process import Server, multipart, running

EMBEDDER = "sface"
IMAGE = {"Content_Type": "image/jpeg"}
LOCK_S = 5
BATCH, ROUND = PoolConfig().detect_batch, 200
CALLS = "facelake_batch_photos_count"


def photos(count: int) -> list[bytes]:
    """Return photos drawn from all of the set."""
    names, read = [], {}
    for path in sorted((data_folder() / "lfw-dev").glob("*.tar")):
        with tarfile.open(path) as archive:
            names += [(path, one.name) for one in archive if one.name.endswith(".jpg")]
    drawn = np.random.default_rng(0).permutation(len(names))[:count]
    wanted = {names[k] for k in drawn}
    for path in {path for path, _ in wanted}:
        with tarfile.open(path) as archive:
            for one in archive:
                if (path, one.name) in wanted:
                    read[path, one.name] = archive.extractfile(one).read()
    return [read[names[k]] for k in drawn]


class Stages:
    """The batch pipeline's stages in one process, without small pictures of faces."""

    def __init__(self) -> None:
        self.decode, self.embed = Decode(DecodeConfig()), Embed(EMBEDDER)
        self.detect = Detect(find_card(EMBEDDER), thumbnails=False)

    def rate(self, data: list[bytes]) -> float:
        """Return photos a second."""
        began = time.perf_counter()
        for begin in range(0, len(data), BATCH):
            batch = data[begin : begin + BATCH]
            for part in self.decode(encoded({"data": batch, "error": [None] * len(batch)})):
                self.embed(self.detect(part))
        return len(data) / (time.perf_counter() - began)


def load(server: Server, data: list[bytes], clients: int) -> tuple[np.ndarray, float]:
    """Return milliseconds of each request, and requests a second."""
    own = threading.local()

    def one(photo: bytes) -> float:
        if not hasattr(own, "made"):
            own.made = HTTPConnection(*server.address, timeout=60)
        began = time.perf_counter()
        status, _, _ = server.recognise(photo, own.made)
        assert status == 200, status
        return (time.perf_counter() - began) * 1e3

    with ThreadPoolExecutor(clients) as pool:
        began = time.perf_counter()
        took = np.array(list(pool.map(one, data)))
        return took, len(data) / (time.perf_counter() - began)


def attacks(server: Server, photo: bytes) -> None:
    """Print what wrong and hostile requests are answered."""
    path, two = "/v1/recognise", multipart(("a", photo), ("b", photo))
    no_end = itertools.repeat(bytes(1 << 20), 40)
    cases = {
        "no token": ("POST", path, photo, {"Authorization": None, **IMAGE}),
        "another token": ("POST", path, photo, {"Authorization": "Bearer x", **IMAGE}),
        "Host: evil.example": ("POST", path, photo, {"Host": "evil.example", **IMAGE}),
        "Origin: https://evil.example": ("POST", path, photo,
                                         {"Origin": "https://evil.example", **IMAGE}),
        "Sec-Fetch-Site: cross-site": ("POST", path, photo, {"Sec_Fetch_Site": "cross-site"}),
        "preflight of another site": ("OPTIONS", path, None, {"Origin": "https://evil.example"}),
        "GET of recognise": ("GET", path, None, {}),
        "an unknown path": ("GET", "/v1/people", None, {}),
        "Content-Type: text/html": ("POST", path, photo, {"Content_Type": "text/html"}),
        "nothing": ("POST", path, b"", IMAGE),
        "text as a photo": ("POST", path, b"I am no photo", IMAGE),
        "half a JPEG's head": ("POST", path, photo[:100], IMAGE),
        "PNG of 60,000 x 60,000": ("POST", path, png_bomb(60_000), IMAGE),
        "two files where one is wanted": ("POST", path, two[1], {"Content_Type": two[0]}),
        "a form that is cut": ("POST", path, two[1][:-9], {"Content_Type": two[0]}),
        "verify with one file": ("POST", "/v1/verify", multipart(("a", photo))[1],
                                 {"Content_Type": two[0]}),
        "Content-Length: 10 GB": ("POST", path, b"", {"Content_Length": str(10 << 30), **IMAGE}),
        "40 MB in chunks, no length": ("POST", path, no_end,
                                       {"Transfer_Encoding": "chunked", **IMAGE}),
    }  # fmt: skip
    print("\n| request | answer |\n|---|---|")
    for name, (method, where, body, headers) in cases.items():
        try:
            status, _, answer = server.ask(method, where, body, **headers)
            print(f"| {name} | {status} `{answer['error']}` |", flush=True)
        except OSError as error:
            print(f"| {name} | {type(error).__name__} |", flush=True)
    status, _, answer = server.recognise(photo)
    print(f"| a photo, after all that | {status}, {len(answer['faces'])} face |")


def lock_share(work: Callable[[], object]) -> float:
    """Return the share of moments in which another thread must wait for Python's lock."""
    late, done = [], threading.Event()

    def watch() -> None:
        while not done.is_set():
            began = time.perf_counter()
            time.sleep(0.001)
            late.append(time.perf_counter() - began > 0.0015)

    watcher = threading.Thread(target=watch)
    watcher.start()
    end = time.perf_counter() + LOCK_S
    while time.perf_counter() < end:
        work()
    done.set()
    watcher.join()
    return float(np.mean(late))


def replicas(model: Path, data: list[bytes]) -> None:
    """Print what a second set of networks takes, and how much threads wait for each other."""

    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    before = resident()
    one = Classifier(str(model))
    pixels = [decode(photo).pixels for photo in data[:8]]
    found = one.detector.detect(pixels)
    crops = np.concatenate(
        [face_crops(p, f, one.embedder.card) for p, f in zip(pixels, found, strict=True)]
    )
    print(f"a set of networks more: {(resident() - before) / 1e6:.0f} MB")
    ways = {
        "nothing": lambda: time.sleep(0.01),
        "detect, a photo": lambda: one.detector.detect(pixels[:1]),
        "detect, 8 photos": lambda: one.detector.detect(pixels),
        "embed, a face": lambda: one.embedder.embed(crops[:1]),
        "embed, 8 faces": lambda: one.embedder.embed(crops[:8]),
    }
    for name, work in ways.items():
        print(f"Python's lock is held, {name}: {lock_share(work):.3f} of the time", flush=True)


class Load:
    """Requests to a server in rounds, and what they took."""

    def __init__(self, server: Server, name: str, clients: int) -> None:
        self.server, self.name, self.clients = server, name, clients
        self.took: list[np.ndarray] = []
        self.rates: list[float] = []
        self.calls = 0.0

    def round(self, data: list[bytes]) -> float:
        """Return photos a second."""
        before = figures(self.server)[CALLS]
        took, rate = load(self.server, data, self.clients)
        self.calls += figures(self.server)[CALLS] - before
        self.took.append(took)
        self.rates.append(rate)
        return rate

    def row(self) -> str:
        """Return a row of the table."""
        took = np.concatenate(self.took)
        cells = " | ".join(f"{ms:.0f} ms" for ms in np.quantile(took, (0.5, 0.95, 0.99)))
        return (f"| {self.name} | {self.clients} | {cells} | {spread(self.rates, 1)} | "
                f"{len(took) / self.calls:.1f} |")  # fmt: skip


def spread(values: list[float], digits: int) -> str:
    """Return the median and the range."""
    low, high = min(values), max(values)
    return f"{np.median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def figures(server: Server) -> dict[str, float]:
    """Return the server's metrics."""
    lines = server.ask("GET", "/v1/metrics")[2].splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lake", help="lake of lfw-dev")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    ids, _, people = labelled(LakeStore(options.lake), "lfw-dev")
    label = {str(f): str(who) for f, who in zip(ids, people, strict=True) if who is not None}
    data, clients = photos(options.requests), options.clients
    stages = Stages()
    stages.rate(data[:64])
    print(f"{len(os.sched_getaffinity(0))} core(s), {len(data):,} photos")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model"
        Lake(options.lake).train(model, written(folder, label), min_images=10)
        replicas(model, data)
        with running(model) as server, running(model, "--batch", 1) as single:
            alone, loaded = Load(server, "as it is", 1), Load(server, "as it is", clients)
            singles = Load(single, "`--batch 1`", clients)
            batches, shares, gains = [], [], []
            for one in (alone, loaded, singles):
                load(one.server, data[:50], one.clients)
            for begin in range(0, len(data), ROUND):
                part = data[begin : begin + ROUND]
                batches.append(stages.rate(part))
                shares.append(loaded.round(part) / batches[-1])
                gains.append(loaded.rates[-1] / singles.round(part))
                alone.round(part[: ROUND // 4])
            print("| server | clients | p50 | p95 | p99 | photos a second | photos a call |\n"
                  "|---|---|---|---|---|---|---|")  # fmt: skip
            print("\n".join(one.row() for one in (alone, loaded, singles)))
            print(f"| stages in batches | | | | | {spread(batches, 1)} | {BATCH} |")
            print(f"the server to the stages: {spread(shares, 2)}; to single photos: "
                  f"{spread(gains, 2)}; medians and ranges of {len(shares)} rounds")  # fmt: skip
            status = Path(f"/proc/{server.process.pid}/status").read_text()
            memory = int(status.partition("VmHWM:")[2].split()[0]) / 1e6
            print(f"the server took at most {memory:.2f} GB", flush=True)
            attacks(server, data[0])


if __name__ == "__main__":
    main()
