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
    """Makes previews until the budget is spent; the same photo is made only once.

    Args:
        originals: where photos come from.
        spool: where previews are set aside.
        budget: most previews to make; callers may add to it.
        seconds: after which no more are begun.
        folder: that all photos share; it is left out of error texts.
    """

    def __init__(
        self, originals: Originals, spool: Spool, budget: int, seconds: float, folder: str
    ) -> None:
        self.originals = originals
        self.spool = spool
        self.budget = budget
        self._deadline = time.monotonic() + seconds
        self.folder = folder
        self.made = 0
        self._results: dict[str, tuple[int | None, str]] = {}

    def fetch(self, photos: Iterable[Mapping[str, Any]]) -> None:
        """Make previews of rows of `images`, in order, until the budget is spent."""
        chosen: dict[str, Mapping[str, Any]] = {}
        for photo in photos:
            if len(chosen) >= self.budget:
                break
            if photo["image_id"] not in self._results:
                chosen.setdefault(photo["image_id"], photo)
        self.budget -= len(chosen)
        for photo, jpeg, why in self.originals.try_jpegs(chosen.values(), SIDE):
            self.made += jpeg is not None
            why = why.replace(visible(self.folder), "") if self.folder else why
            self._results[photo["image_id"]] = (self.spool.add(jpeg) if jpeg else None, why)
            if time.monotonic() > self._deadline:
                return

    def requested(self, image_id: str) -> bool:
        """Return whether `fetch` tried to make a preview of this photo."""
        return image_id in self._results

    def get(self, image_id: str) -> tuple[bytes | None, str]:
        """Return the preview of a photo and "", or None and why there is none."""
        number, why = self._results.get(image_id, (None, SPENT))
        return (None if number is None else self.spool.get(number)), why
