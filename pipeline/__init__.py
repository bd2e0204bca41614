"""Facelake: photo archives of any size into tables of faces.

    from pipeline import Lake, index

    lake = index("photos/", "lake", embedder="sface")
    lake.faces.to_pandas(columns=["uri", "box"])

Names are imported when they are first used: importing this package takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.library import Lake, index
    from pipeline.search.verify import verify
    from pipeline.training.classify import classify

__version__ = "0.1.0"
__all__ = ["Lake", "classify", "index", "verify"]
_HOMES = {
    "Lake": "library", "index": "library", "verify": "search.verify",
    "classify": "training.classify",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
