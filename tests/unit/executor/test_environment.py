"""What processes are told before they start, and memory that they give back."""

import os
import subprocess
import sys

import pytest

from pipeline.imaging.memory import MALLOC

HOLES = """
from pathlib import Path
from pipeline.imaging import memory

def held():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))

memory.give_back()
blocks = [b"x" * 100_000 for _ in range(1000)]
kept = blocks[::10]
full = held()
del blocks
memory.give_back()  # a moment after the last time
soon = held()
memory.GIVE_BACK_EVERY_S = 0
memory.give_back()
print(full, soon, held())
"""


@pytest.mark.skipif("glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""), reason="needs glibc")
def test_holes_in_the_heap_are_given_back_now_and_then():
    command = [sys.executable, "-c", HOLES]
    done = subprocess.run(
        command, env=os.environ | MALLOC, capture_output=True, text=True, check=True
    )
    full, soon, after = map(int, done.stdout.split())
    assert soon > full - 10_000_000
    assert after < full - 80_000_000


def test_read_tasks_do_without_torch():
    code = "import sys, pipeline.executor.dataset; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
