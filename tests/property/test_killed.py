"""A command killed before or after a write: the next one leaves the lake of an undisturbed run.

A sample of the writes; `python -m benchmarks.kills` takes all of them.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.kill_at import COMMANDS

ROOT = Path(__file__).parents[2]
SAMPLE = {
    "index": (3, 16),
    "cluster": (17,),
    "dedupe": (5,),
    "report": (3,),
    "forget": (9, 16),
    "check": (1,),
    "prune": (1,),
    "search-index": (3,),
}


def test_every_command_is_in_the_sample():
    assert SAMPLE.keys() == COMMANDS.keys()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_killed_command_is_finished_by_the_next(command, tmp_path):
    arguments = [sys.executable, "-m", "tests.support.kill_at", str(tmp_path), command]
    numbers = map(str, SAMPLE[command])
    done = subprocess.run(
        [*arguments, *numbers], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 2 * len(SAMPLE[command])
    assert all(line["killed"] for line in lines)
    assert [line for line in lines if line["differs"]] == []
