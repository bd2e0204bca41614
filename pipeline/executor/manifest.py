"""What a run leaves behind about itself: `runs/<run_id>.json`."""

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pipeline.config import IndexConfig
from pipeline.lake.lake import Models

PACKAGES = (
    "facelake", "torch", "ray", "pyarrow", "numpy", "pillow", "simplejpeg", "pi-heif",
    "onnxruntime", "fsspec", "s3fs",
)  # fmt: skip
# Storage options that are no secret; every other value is left out.
HARMLESS = frozenset({"endpoint_url", "anon", "use_ssl", "requester_pays"})


def manifest(config: IndexConfig, models: Models, run_id: str) -> dict[str, Any]:
    """Return what is known of a run before it starts; secrets are left out."""
    settings = asdict(config)
    settings["storage_options"] = redacted(config.storage_options)
    settings["inputs"] = [absolute(without_password(text)) for text in config.inputs]
    for name in ("output", "weights_url"):
        settings[name] = without_password(settings[name]) if settings[name] else None
    return {
        "run_id": run_id,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "detector": models.detector,
        "embedder": models.embedder,
        "config": settings,
        "versions": versions(),
    }


def absolute(text: str) -> str:
    """Return an input so that it means the same from any folder."""
    return text if "://" in text else os.path.abspath(os.path.expanduser(text))


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of what the figures depend on."""
    return {"python": platform.python_version()} | {p: _version(p) for p in PACKAGES}


def redacted(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return storage options without the values of keys, tokens and the like."""
    return {
        key: without_password(str(value)) if key in HARMLESS else "***"
        for key, value in options.items()
    }


def without_password(url: str) -> str:
    """Return a URL without the user and password that may stand before its host."""
    return re.sub(r"(?<=://)[^/@]*@", "***@", url)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
