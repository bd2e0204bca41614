"""Throughput of the main job on two local nodes against one, each with one core to give.

    FACELAKE_DATA=... python -m benchmarks.nodes [--images 2000] [--rounds 2]

All nodes are on this machine: two of one core each have the whole of a two-core machine, on which
Ray itself and the driver live as well. What can be told is that the job spreads, not how a network
behaves.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.memory import make, steady
from benchmarks.reliability import Job, ray_nodes
from pipeline.lake.store import LakeStore


def measure(source: Path, folder: Path, nodes: int, images: int) -> float:
    """Return images a second from the first part on."""
    with ray_nodes(folder, nodes, head_cpus=0, cpus=1) as (address, _, _):
        lake = folder / "lake"
        job = Job(str(source), str(lake), "--detect-actors", str(nodes), "--embed-actors",
                  str(nodes), env={"RAY_ADDRESS": address})  # fmt: skip
        code, output = job.wait()
        assert code == 0, output
        assert len(LakeStore(str(lake)).ledger()) == images
        return steady(lake)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    rates: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as where:
        source = Path(where) / "in"
        source.mkdir()
        make(source, options.images)
        for _ in range(options.rounds):
            for nodes, measured in rates.items():
                with tempfile.TemporaryDirectory() as folder:
                    measured.append(measure(source, Path(folder), nodes, options.images))
                print(f"{nodes} node(s): {measured[-1]:.1f} images/s", flush=True)
    one, two = (statistics.median(measured) for measured in rates.values())
    print(f"two nodes against one: {two / one:.2f} times ({two:.1f} / {one:.1f} images/s)")


if __name__ == "__main__":
    main()
