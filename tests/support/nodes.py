"""Indexes photos on a cluster of some nodes, all on this machine, to which something happens.

    python -m tests.support.nodes CASE PHOTOS LAKE [OPTION ...]

`late`: a node joins once the first one works. `gone`: a node is killed while it works. `slow`: a
node takes longer for each batch. Detectors wait where a case needs it, so that none depends on
time. Each node has one core, and the first one has the driver. Prints a line of JSON: the exit
code, and how many images detectors of each node were given.
"""

import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.executor.environment import prepare
from pipeline.executor.work import DecodeDetect

WAIT_S, SLOW_S = 200, 2.0
# Seconds until a killed node counts as gone.
HEALTH = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}


class Watched(DecodeDetect):
    """Detects, and notes what this node was given."""

    def __call__(self, batch):
        case, node = os.environ["CASE"], os.environ["NODE"]
        with (marks() / f"{node}-{os.getpid()}").open("a") as file:
            file.write(f"{batch.num_rows}\n")
        if case == "gone" and node == "other":
            time.sleep(WAIT_S)  # until it is killed
        if case == "slow" and node == "other":
            time.sleep(SLOW_S)
        wait_for("other")
        yield from super().__call__(batch)


def marks() -> Path:
    return Path(os.environ["MARKS"])


def wait_for(node: str) -> None:
    """Wait until detectors of a node were given something."""
    until = time.monotonic() + WAIT_S
    while not list(marks().glob(f"{node}-*")) and time.monotonic() < until:
        time.sleep(0.02)


def given() -> dict[str, int]:
    """Return how many images detectors of each node were given."""
    images: Counter[str] = Counter()
    for path in marks().iterdir():
        images[path.name.split("-")[0]] += sum(map(int, path.read_text().split()))
    return dict(images)


def small_blocks(dataset: Any) -> None:
    """Let the stages hand on some images at a time, and detectors tell what they were given."""
    sizing = dataset.cluster_sizing

    def small(config, plan):
        return replace(sizing(config, plan), block_bytes=6 * plan.image_bytes)

    dataset.cluster_sizing, dataset.DecodeDetect = small, Watched


def run(case: str, arguments: list[str]) -> int:
    from ray.cluster_utils import Cluster

    from pipeline.commands.main import main
    from pipeline.executor import dataset

    small_blocks(dataset)
    cluster, nodes = Cluster(), {}

    def add(name: str) -> None:
        os.environ["NODE"] = name
        system = {} if nodes else {"_system_config": HEALTH}
        nodes[name] = cluster.add_node(
            num_cpus=1, include_dashboard=False, env_vars={"NODE": name}, **system
        )  # fmt: skip

    add("first")
    if case != "late":
        add("other")
    os.environ["RAY_ADDRESS"] = cluster.address
    codes: list[int] = []
    # Nodes are started by the main thread.
    thread = threading.Thread(target=lambda: codes.append(main(arguments)), daemon=True)
    thread.start()
    if case == "late":
        wait_for("first")
        add("other")
    if case == "gone":
        wait_for("other")
        cluster.remove_node(nodes["other"], allow_graceful=False)
    thread.join()
    cluster.shutdown()
    return codes[0]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="fl-", dir="/tmp") as folder:
        (Path(folder) / "m").mkdir()
        case, photos, lake, *options = sys.argv[1:]
        os.environ |= {
            "RAY_TMPDIR": folder, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0",
            "MARKS": f"{folder}/m", "CASE": case,
        }  # fmt: skip
        prepare()
        code = run(case, ["index", photos, "--output", lake, *options])
        print(json.dumps({"code": code, "images": given()}))
