"""The manifest that a run writes about itself, `runs/<run_id>.json`, and those of earlier runs."""

import json
import logging
import os
import platform
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pipeline.config import IndexConfig, ReadConfig
from pipeline.lake.store import LakeStore, Models

logger = logging.getLogger(__name__)

PACKAGES = (
    "facelake", "torch", "ray", "pyarrow", "numpy", "pillow", "simplejpeg", "pi-heif",
    "onnxruntime", "fsspec", "s3fs",
)  # fmt: skip
# Storage options that are no secret; every other value is left out.
HARMLESS = frozenset({"endpoint_url", "anon", "use_ssl", "requester_pays"})


def manifest(config: IndexConfig, models: Models, run_id: str) -> dict[str, Any]:
    """Return the manifest of a run that starts; secrets are left out."""
    settings = asdict(config)
    settings["storage_options"] = redacted(config.storage_options)
    settings["inputs"] = [absolute(without_password(text)) for text in config.inputs]
    for name in ("output", "weights_url"):
        settings[name] = without_password(settings[name]) if settings[name] else None
    return {
        "run_id": run_id,
        "command": "index",
        "detector": models.detector,
        "embedder": models.embedder,
        "config": settings,
        "versions": versions(),
    }


def started(began: float) -> str:
    """Return when it was that `time.monotonic()` gave `began`, as ISO 8601 in UTC."""
    ago = timedelta(seconds=time.monotonic() - began)
    return (datetime.now(UTC) - ago).isoformat(timespec="seconds")


def absolute(text: str) -> str:
    """Return an input so that it means the same from any folder."""
    return text if "://" in text else os.path.abspath(os.path.expanduser(text))


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of what the figures depend on."""
    return {"python": platform.python_version()} | {p: version_of(p) for p in PACKAGES}


def redacted(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return storage options without the values of keys, tokens and the like."""
    return {
        key: without_password(str(value)) if key in HARMLESS else "***"
        for key, value in options.items()
    }


def without_password(url: str) -> str:
    """Return a URL without the user and password that may stand before its host."""
    return re.sub(r"(?<=://)[^/@]*@", "***@", url)


def version_of(package: str) -> str | None:
    """Return the version of a package, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def manifests(lake: LakeStore) -> Iterator[dict[str, Any]]:
    """Yield the manifests of all runs, of each command the last first; unreadable ones are not."""
    runs = lake.folder.child("runs")
    for name in sorted((n for n in runs.files() if n.endswith(".json")), reverse=True):
        try:
            about = {"run_id": name.removesuffix(".json")} | json.loads(runs.read(name))
        except (ValueError, TypeError):
            logger.warning("%s/%s cannot be read and was passed over", runs.url, name)
            continue
        yield about


def configs(lake: LakeStore) -> Iterator[dict[str, Any]]:
    """Yield the settings of all runs of `index`, the last first."""
    for about in manifests(lake):
        config = about.get("config")
        if isinstance(config, dict) and isinstance(config.get("inputs"), list):
            yield config


def inputs(lake: LakeStore) -> list[str]:
    """Return what was ever indexed into a lake."""
    return [str(text) for config in configs(lake) for text in config["inputs"]]


def read_config(lake: LakeStore) -> ReadConfig:
    """Return how the last run read shards: which columns of Parquet hold images and their names."""
    saved = next(configs(lake), {}).get("read", {})
    names = ("image_column", "key_column")
    return ReadConfig(**{name: saved[name] for name in names if name in saved})
