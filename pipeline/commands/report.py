"""`facelake report`: a lake as pages to look at."""

import argparse
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from rich.console import Console

from pipeline.commands.options import add_storage_options, add_wait_option
from pipeline.commands.search import say
from pipeline.commands.tasks import finish_forgetting, new_run_id, open_lake
from pipeline.errors import StorageError
from pipeline.lake.lock import RunLock
from pipeline.lake.store import LakeStore
from pipeline.storage.folder import Folder, parse_options, visible
from pipeline.web.report.settings import ReportConfig

logger = logging.getLogger(__name__)


def add_parser(commands: Any) -> None:
    """Add the command."""
    standard = ReportConfig()
    parser = commands.add_parser(
        "report",
        help="write pages to look at: people, duplicates, errors, speed",
        description="Write a folder of pages that opens in any browser, from disk or object "
        "storage: what was indexed, the people and their photos, duplicates, errors, speed, "
        "evaluations. No scripts, nothing is fetched. It replaces the earlier report.",
    )
    parser.add_argument("lake", metavar="LAKE", help="path or URL of the lake")
    parser.add_argument(
        "--output", metavar="FOLDER", help="where to write it; default: report in the lake"
    )
    parser.add_argument(
        "--people", type=int, default=standard.people, metavar="N",
        help="people who get a page at most, the largest first, and people seen once that are "
        "shown; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--photos", type=int, default=standard.photos, metavar="N",
        help="small pictures of photos in all, 0: faces alone; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--groups", type=int, default=standard.groups, metavar="N",
        help="groups of duplicates shown at most; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--evaluation", metavar="FOLDER",
        help="where `facelake evaluate --json FILE --plots DIR` wrote; default: evaluation in "
        "the lake, if it is there",
    )  # fmt: skip
    add_wait_option(parser)
    add_storage_options(parser)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Write the report and say where it is."""
    # templates and decoders: only the command that needs them pays
    from pipeline.web.pages import size
    from pipeline.web.report.write import write_report

    config = ReportConfig(people=options.people, photos=options.photos, groups=options.groups)
    storage = parse_options(options.storage_option)
    lake, _ = open_lake(options)
    output = Folder(options.output, storage) if options.output else None
    elsewhere = output is not None and not _is_inside(output, lake.folder)
    evaluation = Folder(options.evaluation, storage) if options.evaluation else None
    with _held(lake, options.wait, elsewhere):
        written = write_report(lake, config, output, evaluation)
    console = Console()
    pages = "page" if written.pages == 1 else "pages"
    say(console, f"{written.pages:,} {pages}, {size(written.bytes)}, {written.photos:,} photos, "
        f"{written.seconds:.1f} s")  # fmt: skip
    if written.removed:
        say(console, f"{written.removed:,} pages of the earlier report removed")
    say(console, f"Open {visible(written.folder.url)}/index.html")
    return 0


@contextmanager
def _held(lake: LakeStore, wait: bool, elsewhere: bool) -> Iterator[None]:
    """Hold the lake, in which nothing is half forgotten: pages would show what is to go.

    A lake in which nothing can be written is read as it is if the pages go `elsewhere`.

    Raises:
        LakeBusyError: another run is at work, or something half forgotten cannot be finished.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(RunLock(lake.folder, new_run_id("report"), wait))
        except StorageError as error:
            if not elsewhere:
                raise
            logger.info("the lake is not held: %s", error)
            lake.check_nothing_is_being_forgotten()
        else:
            finish_forgetting(lake)
        yield


def _is_inside(folder: Folder, lake: Folder) -> bool:
    return f"{folder.url}/".startswith(f"{lake.url}/")
