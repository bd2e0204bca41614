"""The packages that training needs beyond Facelake's own; what was trained is used without them."""

from importlib import import_module
from typing import Any

from pipeline.errors import ConfigError


def extra(module: str, package: str) -> Any:
    """Return a module of a package of the extra `train`.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"Training needs {package}: pip install 'facelake[train]'; what was trained is used "
            "without it"
        ) from error
