"""Kills every command before and after every single write, and counts what the next run leaves.

    python -m benchmarks.kills [--only index,forget]

Each time the command is given again, and the lake is compared with that of an undisturbed run:
images, gone images, faces, people, duplicates, corrections, and what `facelake check` finds.
"""

import argparse
import json
import subprocess
import sys
import tempfile

from tests.support.kill_at import COMMANDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(COMMANDS))
    print("| command | kills | lakes that differ |\n|---|---|---|")
    for command in parser.parse_args().only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, "-m", "tests.support.kill_at", folder, command],
                capture_output=True,
                text=True,
                check=True,
            )
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        killed = [line for line in lines if line["killed"]]
        differ = [line for line in lines if line["differs"]]
        print(f"| `{command}` | {len(killed)} | {len(differ)} |", flush=True)
        for line in differ:
            print(line)


if __name__ == "__main__":
    main()
