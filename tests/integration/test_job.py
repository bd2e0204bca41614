"""`ray job submit` of jobs/index.py."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[2]


def test_ray_job_submit(cluster, tmp_path) -> None:
    ray = Path(sys.prefix) / "bin" / "ray"
    command = [
        str(ray), "job", "submit", "--address", f"http://{cluster.dashboard}",
        "--working-dir", str(ROOT), "--",
        sys.executable, "jobs/index.py", "examples/photos", "--output", str(tmp_path / "lake"),
        "--embedder", "sface",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "images added" in done.stdout
    assert len(pd.read_parquet(tmp_path / "lake" / "images")) == 15
