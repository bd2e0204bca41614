"""Kills a command of Facelake in the middle of a step."""

import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def kill_in(step, arguments, work):
    """Start a command, and kill it once `work` has a file of a step."""
    command = [sys.executable, "-m", "pipeline.commands.main", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    while process.poll() is None and not list(work.glob(f"*/{step}-*")):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
