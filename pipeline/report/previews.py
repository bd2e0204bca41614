"""Small pictures of the photos themselves, within a budget."""

import time
from collections.abc import Mapping
from typing import Any

from pipeline.originals import Originals
from pipeline.report.spool import Spool
from pipeline.storage import visible

SIDE = 320
# Decoded at twice the size, so that what is reduced stays sharp.
DECODE_SIDE = 2 * SIDE
SPENT = "no preview: see --photos"


class Previews:
    """Makes previews until the budget is spent; the same photo costs once.

    Args:
        originals: where photos come from.
        spool: where previews are set aside.
        most: previews in all.
        seconds: after which none is begun.
        folder: that all photos share, left out of what is said of them.
    """

    def __init__(
        self, originals: Originals, spool: Spool, most: int, seconds: float, folder: str
    ) -> None:
        self.originals = originals
        self.spool = spool
        self.left = most
        self.until = time.monotonic() + seconds
        self.folder = folder
        self.made = 0
        self._known: dict[str, tuple[int | None, str]] = {}

    def open(self) -> bool:
        """Return whether the budget is not spent yet."""
        return self.left > 0 and time.monotonic() < self.until

    def get(self, photo: Mapping[str, Any]) -> tuple[bytes | None, str]:
        """Return the preview of a row of `images` and "", or None and why there is none."""
        key = photo["image_id"]
        if key not in self._known:
            if not self.open():
                return None, SPENT
            self.left -= 1
            made, why = self.originals.try_jpeg(photo, SIDE)
            self.made += made is not None
            why = why.replace(visible(self.folder), "") if self.folder else why
            self._known[key] = (self.spool.add(made) if made else None, why)
        number, why = self._known[key]
        return (None if number is None else self.spool.get(number)), why
