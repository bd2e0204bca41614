"""The packages that training needs beyond Facelake's own; what was trained is used without them."""

from importlib import import_module
from typing import Any

from pipeline.errors import needs_extra


def extra(module: str) -> Any:
    """Return a module of a package of the extra `train`.

    Raises:
        ConfigError: it is not installed.
    """
    with needs_extra("train", "Training needs", "what was trained is used without it"):
        return import_module(module)


def need_network_packages(workers: int) -> None:
    """Find out before a network is trained for hours whether it can be trained and written.

    Raises:
        ConfigError: a package is not installed.
    """
    several = ("pydantic",) if workers > 1 else ()  # of Ray Train, which is not imported so early
    for module in ("kornia", "onnxscript", "safetensors.torch", "sklearn", *several):
        extra(module)
