"""What earlier runs of `index` were told, from the manifests in `runs/`."""

import json
import logging
from collections.abc import Iterator
from typing import Any

from pipeline.config import ReadConfig
from pipeline.lake.lake import Lake

logger = logging.getLogger(__name__)


def configs(lake: Lake) -> Iterator[dict[str, Any]]:
    """Yield the settings of all runs of `index`, the last first; unreadable ones are left out."""
    runs = lake.folder.child("runs")
    for name in sorted((n for n in runs.files() if n.endswith(".json")), reverse=True):
        try:
            config = json.loads(runs.read(name)).get("config", {})
            if isinstance(config.get("inputs", None), list):
                yield config
        except (ValueError, AttributeError):
            logger.warning("%s/%s cannot be read and was passed over", runs.url, name)


def inputs(lake: Lake) -> list[str]:
    """Return what was ever indexed into a lake."""
    return [str(text) for config in configs(lake) for text in config["inputs"]]


def read_config(lake: Lake) -> ReadConfig:
    """Return how the last run read shards: which columns of Parquet hold images and their names."""
    told = next(configs(lake), {}).get("read", {})
    known = {name: told[name] for name in ("image_column", "key_column") if name in told}
    return ReadConfig(**known)
