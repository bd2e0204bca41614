"""A Ray cluster on loopback in a process of its own, for all test processes of a run.

It ends with the process that started it, however that one ends.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import partialmethod
from pathlib import Path

ROOT = Path(__file__).parents[2]
START_S, END_S = 180, 20
# No token in the home, no usage report, no warning about GPUs.
SETTINGS = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True)
class Cluster:
    """Where the cluster is.

    Attributes:
        address: of Ray.
        dashboard: that `ray job submit` talks to.
    """

    address: str
    dashboard: str


class Holder:
    """The process that holds the cluster; `close` ends it.

    Args:
        place: file that tells where the cluster is, once it is there.
    """

    def __init__(self, place: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.ray_cluster", str(place)],
            cwd=ROOT,
            env=os.environ | SETTINGS,
            stdin=subprocess.PIPE,
        )

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def found(place: Path) -> Cluster:
    """Wait until a file tells where the cluster is."""
    until = time.monotonic() + START_S
    while not place.exists():
        assert time.monotonic() < until, "the Ray cluster of the tests does not start"
        time.sleep(0.1)
    return Cluster(**json.loads(place.read_text()))


def main(place: Path) -> None:
    """Hold a cluster until the standard input ends."""
    import ray
    from ray._private.parameter import RayParams

    from tests.support.weed import free_port

    # `ray.init` knows not these two: other clusters of the machine have the default port, and
    # nobody listens to logs.
    RayParams.__init__ = partialmethod(
        RayParams.__init__, dashboard_agent_listen_port=free_port(), include_log_monitor=False
    )
    # Sockets live here, whose paths may not exceed 107 bytes.
    folder = tempfile.mkdtemp(prefix="fl-", dir="/tmp")
    context = ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=True,
        dashboard_port=free_port(),
        object_store_memory=400 * 2**20,
        log_to_driver=False,
        logging_level="ERROR",
        _temp_dir=folder,
    )
    try:
        made = Cluster(context.address_info["gcs_address"], context.dashboard_url)
        half = place.with_suffix(".half")
        half.write_text(json.dumps(asdict(made)))
        half.rename(place)
        sys.stdin.read()
    finally:
        ray.shutdown()
        until = time.monotonic() + END_S
        while os.path.exists(folder) and time.monotonic() < until:
            shutil.rmtree(folder, ignore_errors=True)
            time.sleep(0.2)  # Ray's last processes still write there


if __name__ == "__main__":
    main(Path(sys.argv[1]))
