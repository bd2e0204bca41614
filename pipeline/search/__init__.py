"""Search: similar faces, who somebody is, and the vector index that makes both quick.

    from pipeline.search import Searcher, identify, search

    result = search("~/faces", image="photo.jpg")
    [(match.similarity, match.uri, match.name) for match in result.matches]
    identify("~/faces", image="photo.jpg").person

Names are imported when they are first used: torch alone takes seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.search.identity import identify
    from pipeline.search.results import search
    from pipeline.search.searcher import Searcher

_HOMES = {"Searcher": "searcher", "identify": "identity", "search": "results"}

__all__ = ["Searcher", "identify", "search"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
