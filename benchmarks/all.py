"""Runs the benchmarks that docs/benchmarks.md reports, one after another.

    FACELAKE_DATA=... python -m benchmarks.all [--wheel facenet_pytorch-2.6.0-py3-none-any.whl]

Lakes are made in a temporary folder. Leaves speed.json and end_to_end.json in the current folder,
and the tables of speed in docs/benchmarks.md; the rest is printed. Takes about four hours on
two cores. Each can be run alone: python -m benchmarks.speed --only detect
"""

import argparse
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.data import EXAMPLES, data_folder

DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def run(*command: object) -> None:
    print("$", *command, flush=True)
    subprocess.run([sys.executable, "-m", *map(str, command)], check=True)
    print(flush=True)


def index(source: object, lake: Path) -> None:
    run("pipeline.commands.main", "index", source, "--output", lake, "--embedder", "sface")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", help="facenet-pytorch 2.6.0; fetched from PyPI without")
    wheel = parser.parse_args().wheel
    reference = ["--wheel", wheel] if wheel else []
    print(platform.platform(), platform.processor() or "", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        lakes = Path(folder)
        index(EXAMPLES, lakes / "examples")
        run("tests.support.examples", lakes / "examples")
        index(f"{data_folder()}/lfw-dev/*.tar", lakes / "lfw")
        run("benchmarks.verification", lakes / "lfw", data_folder() / "lfw-dev" / "pairs.txt")
        run("benchmarks.heads", lakes / "lfw")
        run("benchmarks.serve", lakes / "lfw")
        index(data_folder() / "wild-dev", lakes / "wild")
        run("benchmarks.small_lakes", lakes / "lfw", lakes / "wild")
        run("benchmarks.splits", lakes / "lfw", lakes / "wild")
        run("benchmarks.reviewer", lakes / "lfw", lakes / "wild")
    run("benchmarks.mtcnn_parity", *reference)
    run("benchmarks.inception_parity", *reference)
    run("benchmarks.facenet_drop_in", *reference)
    run("benchmarks.speed", "--write", DOCUMENT, "--json", "speed.json", *reference)
    run("benchmarks.detection_side", *reference)
    run("benchmarks.end_to_end", "--json", "end_to_end.json", *reference)
    run("benchmarks.startup")
    run("benchmarks.memory", "--images", "500", "5000", "20000")
    run("benchmarks.driver", "--images", "1e5", "1e6")
    run("benchmarks.clustering", "driver")
    run("benchmarks.clustering", "scale")
    run("benchmarks.clustering", "incremental", "1000000", "--share", ".01")
    run("benchmarks.hashes", "--pictures", "1000000", "10000000")
    run("benchmarks.reliability")


if __name__ == "__main__":
    main()
