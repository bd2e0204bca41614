"""SeaweedFS, an S3-compatible server, on loopback; for tests and benchmarks."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

import s3fs

KEY, SECRET = "facelake", "facelake-secret"
BINARY = Path(sys.prefix) / "bin" / "weed"
PORTS = (
    "s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port",
    "volume.port.grpc", "filer.port", "filer.port.grpc",
)  # fmt: skip


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Weed:
    """A server with one bucket, `photos`; use as a context manager.

    Args:
        folder: for its data and log.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {name: free_port() for name in PORTS}

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.ports["s3.port"]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3.port']}"

    @property
    def settings(self) -> dict[str, str]:
        """What fsspec must be told."""
        return {"endpoint_url": self.endpoint, "key": KEY, "secret": SECRET}

    @property
    def options(self) -> list[str]:
        """What the command line must be told."""
        pairs = (f"{key}={value}" for key, value in self.settings.items())
        return [part for pair in pairs for part in ("--storage-option", pair)]

    def filesystem(self) -> s3fs.S3FileSystem:
        return s3fs.S3FileSystem(**self.settings)

    def __enter__(self) -> "Weed":
        (self.folder / "data").mkdir(parents=True)
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        config = self.folder / "s3.json"
        config.write_text(json.dumps({"identities": [identity]}))
        self._log = (self.folder / "weed.log").open("wb")
        self._process = subprocess.Popen(
            [
                str(BINARY),
                "server",
                f"-dir={self.folder / 'data'}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                "-s3",
                f"-s3.config={config}",
                "-master.telemetry=false",  # it would report to the internet
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                "-master.volumeSizeLimitMB=64",
                "-volume.max=20",
                *(f"-{name}={port}" for name, port in self.ports.items()),
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._wait_until_ready()
        return self

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + 90
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            try:
                urllib.request.urlopen(self.endpoint, timeout=1)
            except urllib.error.HTTPError:
                # It answers; the volume server registers a little later.
                try:
                    fs = self.filesystem()
                    if not fs.exists("photos"):
                        fs.mkdir("photos")
                    fs.pipe("photos/ready", b"yes")
                    return
                except OSError:
                    pass
            except OSError:
                pass
            time.sleep(0.5)
        raise RuntimeError(f"weed is not ready: {(self.folder / 'weed.log').read_text()[-2000:]}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:  # it takes its time, and its data is thrown away
            self._process.kill()
            self._process.wait()
        self._log.close()
