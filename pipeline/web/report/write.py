"""Writes the report of a lake."""

import base64
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from pipeline.dedupe.duplicates import Duplicates
from pipeline.lake.manifest import read_config
from pipeline.lake.store import LakeStore
from pipeline.people import People
from pipeline.sources.originals import Originals
from pipeline.storage.folder import Folder
from pipeline.web.report import history, images, measured, overview, tiles
from pipeline.web.report.copies import copies
from pipeline.web.report.faces import Faces, first_faces, gather
from pipeline.web.report.groups import duplicates_pages
from pipeline.web.report.people import ShownPeople, shown_people
from pipeline.web.report.person import Album
from pipeline.web.report.previews import DECODE_SIDE, Previews
from pipeline.web.report.publish import Pages
from pipeline.web.report.settings import ReportConfig
from pipeline.web.report.site import Site
from pipeline.web.report.spool import Spool

REPORT = "report"
EVALUATION = "evaluation"
# The share of previews that duplicates may use; people get the rest.
DUPLICATES_SHARE = 0.5


@dataclass(frozen=True)
class Written:
    """A report that was written: its folder, pages, bytes, previews made, old pages removed."""

    folder: Folder
    pages: int
    bytes: int
    photos: int
    removed: int
    seconds: float


def write_report(
    lake: LakeStore,
    config: ReportConfig | None = None,
    output: Folder | None = None,
    evaluation: Folder | None = None,
) -> Written:
    """Write the report of a lake into `output`, by default the lake's own folder `report`.

    Pages of an earlier report that this one lacks are removed; `evaluation` is where plots and
    results of `facelake evaluate` lie, by default the lake's folder `evaluation`.

    Raises:
        ConfigError: there is no lake.
        StorageError: something cannot be read or written.
    """
    config = config or ReportConfig()
    lake.existing_models()
    began = time.monotonic()
    output = output or lake.folder.child(REPORT)
    with ExitStack() as stack:
        spool = stack.enter_context(Spool())
        pages = stack.enter_context(Pages(output))
        originals = stack.enter_context(
            Originals(lake.folder.options, read_config(lake), DECODE_SIDE)
        )
        report = _Report(lake, config, evaluation or lake.folder.child(EVALUATION), spool)
        photos, removed = report.write(pages, originals)
    seconds = time.monotonic() - began
    return Written(output, len(pages.names), pages.bytes, photos, removed, seconds)


class _Report:
    def __init__(
        self, lake: LakeStore, config: ReportConfig, evaluation: Folder, spool: Spool
    ) -> None:
        self.lake = lake
        self.config = config
        self.spool = spool
        self.measured = measured.measured(evaluation)
        self.site = Site(lake.folder.url.rsplit("/", 1)[-1], self.measured is not None)
        self.indexed = images.indexed(lake)
        self.copies = copies(Duplicates(lake), config.groups)
        self.shown = shown_people(People(lake), config)

    def write(self, pages: Pages, originals: Originals) -> tuple[int, int]:
        """Write all pages; return how many previews were made and old pages removed."""
        some = self.shown.faces if self.shown else first_faces(self.lake, overview.COVERS)
        faces = gather(self.lake, some["face_id"].combine_chunks(), self.spool)
        share = int(self.config.photos * DUPLICATES_SHARE)
        previews = self._previews(originals, share)
        url = self.lake.folder.url
        for name, text in duplicates_pages(
            self.site, self.copies, previews, self.indexed.folder, f"facelake dedupe {url}"
        ):
            pages.add(name, text)
        photos = previews.made
        previews.budget += self.config.photos - share
        if self.shown:
            table = images.photos_of(self.lake, some["image_id"].combine_chunks())
            album = Album(
                self.site, self.shown, faces, table, self.spool, previews, self.indexed.folder
            )
            for name, text in tiles.people_pages(
                self.site, self.shown, faces, self.spool, album.name
            ):
                pages.add(name, text)
            for name, text in album.pages():
                pages.add(name, text)
            photos = previews.made
        else:
            pages.add("people.html", self.site.render("people.html", "People", _nobody(url)))
        self._others(pages)
        return photos, pages.finish(self._index(faces))

    def _previews(self, originals: Originals, most: int) -> Previews:
        return Previews(originals, self.spool, most, self.config.photo_seconds, self.indexed.folder)

    def _others(self, pages: Pages) -> None:
        runs, total = history.runs(self.lake)
        values: Mapping[str, Any] = {"runs": runs, "total": total, "columns": history.STAGE}
        pages.add("speed.html", self.site.render("speed.html", "Speed", values))
        if self.measured:
            plots = [(name, media, base64.b64encode(data).decode())
                     for name, media, data in self.measured.plots]  # fmt: skip
            values = {"measured": measured.Measured(plots, self.measured.results)}  # type: ignore[arg-type]
            pages.add("evaluation.html", self.site.render("evaluation.html", "Evaluation", values))

    def _index(self, faces: Faces) -> str:
        page = overview.Overview(
            self.indexed, faces, self.shown, self.copies, self._covers(faces, self.shown)
        )
        cards = history.cards(self.lake)
        values = page.values(self.lake.folder.url) | {"cards": cards}
        return self.site.render("index.html", "Overview", values)

    def _covers(self, faces: Faces, shown: ShownPeople | None) -> Sequence[tiles.Tile]:
        if shown:
            some = shown.persons[: overview.COVERS]
            return [tiles.tile(shown, one, faces, self.spool) for one in some]
        return [
            tiles.Tile(
                tiles.picture_of(faces, self.spool, row), f"face {row + 1}", f"face {row + 1}"
            )
            for row in range(len(faces.sizes))
        ]


def _nobody(url: str) -> dict[str, Any]:
    return {
        "heading": "People", "stem": "people", "lines": (), "other": None, "at": 1, "of": 1,
        "tiles": (), "ungrouped": (), "command": f"facelake cluster {url}",
    }  # fmt: skip
