"""Where the seconds of a small run go: the 15 example photos, `--embedder sface`.

    python -m benchmarks.startup [--rounds 3] [--other FOLDER]

First the phases of whole runs, by their manifests, and what the interpreter takes around them; with
the folder of another version of this repository, that one's runs in turn with ours, of which the
whole is compared. Then what the two kinds of actors do before their first image, each in a process
of its own; the detector also with an empty cache of compiled code.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from tests.support.data import EXAMPLES

HERE = Path(__file__).parent.parent
STEPS = {
    "detect": [
        ("stages, runtimes", "from pipeline.stages.detect import Detect; import torch, numba"),
        (
            "model",
            "from pipeline.models.cards.card import find_card; d = Detect(find_card('sface'))",
        ),
        ("first photo", "d.detector.detect(pixels)"),
        ("second photo", "d.detector.detect(pixels)"),
    ],
    "embed": [
        ("stage", "from pipeline.stages.embed import Embed"),
        ("model", "e = Embed('sface', threads=1)"),
        ("first face", "e.embedder.embed(crop)"),
        ("second face", "e.embedder.embed(crop)"),
    ],
}
BEFORE = """
import time, numpy as np
from pathlib import Path
from pipeline.imaging.decode import decode
pixels = decode(Path(PHOTO).read_bytes(), 200_000_000, None).pixels
crop = np.full((1, 112, 112, 3), 127, np.uint8)
"""


def environment(folder: Path, **others: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", **others}


def index(folder: Path) -> tuple[float, dict[str, float]]:
    """Return the wall seconds of a run of the version in `folder`, and those of its phases."""
    with tempfile.TemporaryDirectory() as lake:
        command = [sys.executable, "-m", "pipeline.commands.main", "index", str(EXAMPLES)]
        began = time.monotonic()
        subprocess.run(
            [*command, "--output", lake, "--embedder", "sface", "--plain"],
            cwd=folder, env=environment(folder), check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        wall = time.monotonic() - began
        (path,) = (Path(lake) / "runs").glob("*.json")
        manifest = json.loads(path.read_text())
        return wall, manifest.get("performance", {}).get("phases", {})


def steps(actor: str, **others: str) -> dict[str, tuple[float, float]]:
    """Return wall and CPU seconds of each step of an actor, in a new process."""
    code = BEFORE.replace("PHOTO", repr(str(EXAMPLES / "obama-2012-portrait.jpg")))
    for name, step in STEPS[actor]:
        code += "wall, cpu = time.perf_counter(), time.process_time()\n" + step + "\n"
        code += f"print({name!r}, time.perf_counter() - wall, time.process_time() - cpu, sep='|')\n"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=HERE, env=environment(HERE, **others), check=True, capture_output=True, text=True,
    )  # fmt: skip
    lines = (line.split("|") for line in done.stdout.splitlines())
    return {name: (float(wall), float(cpu)) for name, wall, cpu in lines}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--other", type=Path, help="folder of another version of this repository")
    options = parser.parse_args()
    ours, other_times = [], []
    for _ in range(options.rounds):
        if options.other:
            other_times.append(index(options.other.resolve())[0])
        ours.append(index(HERE))
    print("whole runs, seconds\n\n| phase | median |\n|---|---|")
    for name in ours[0][1]:
        print(f"| {name} | {median(phases.get(name, 0) for _, phases in ours):.2f} |")
    around = median(wall - sum(phases.values()) for wall, phases in ours)
    print(f"| interpreter, imports, exit | {around:.2f} |")
    print(f"| whole process | {median(wall for wall, _ in ours):.2f} |")
    if other_times:
        ratios = sorted(a / b[0] for a, b in zip(other_times, ours, strict=True))
        print(
            f"\nthe other version {median(other_times):.2f} s: {median(ratios):.2f} times ours "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f} by pair)"
        )
    with tempfile.TemporaryDirectory() as empty:
        runs = {
            "detect": steps("detect"),
            "detect, nothing compiled": steps("detect", NUMBA_CACHE_DIR=empty),
            "embed": steps("embed"),
        }
    print("\nactors, seconds\n\n| actor | step | wall | CPU |\n|---|---|---|---|")
    for actor, seconds_by_module in runs.items():
        for name, (wall, cpu) in seconds_by_module.items():
            print(f"| {actor} | {name} | {wall:.2f} | {cpu:.2f} |")


if __name__ == "__main__":
    main()
