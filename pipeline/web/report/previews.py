"""Small pictures of the photos themselves, within a budget."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.sources.originals import Originals
from pipeline.storage.folder import visible
from pipeline.web.report.spool import Spool

SIDE = 320
# Decoded at twice the size, so that what is reduced stays sharp.
DECODE_SIDE = 2 * SIDE
SPENT = "no preview: see --photos"


class Previews:
    """Makes previews until the budget is spent; a photo that is asked for again costs nothing.

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

    def fetch(self, photos: Iterable[Mapping[str, Any]]) -> None:
        """Make previews of rows of `images`, the first ones, until the budget is spent."""
        chosen: dict[str, Mapping[str, Any]] = {}
        for photo in photos:
            if len(chosen) >= self.left:
                break
            if photo["image_id"] not in self._known:
                chosen.setdefault(photo["image_id"], photo)
        self.left -= len(chosen)
        for photo, made, why in self.originals.try_jpegs(chosen.values(), SIDE):
            self.made += made is not None
            why = why.replace(visible(self.folder), "") if self.folder else why
            self._known[photo["image_id"]] = (self.spool.add(made) if made else None, why)
            if time.monotonic() > self.until:
                return

    def known(self, image_id: str) -> bool:
        """Return whether a preview was asked for, made or not."""
        return image_id in self._known

    def get(self, image_id: str) -> tuple[bytes | None, str]:
        """Return the preview of a photo and "", or None and why there is none."""
        number, why = self._known.get(image_id, (None, SPENT))
        return (None if number is None else self.spool.get(number)), why
