"""`facelake report`: a lake as pages to look at."""

import argparse
from typing import Any

from pipeline.commands import options as opt
from pipeline.commands.output import Terminal, say
from pipeline.web.report.settings import ReportConfig


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "report",
        help="write pages to look at: people, duplicates, errors, speed",
        description="Write a folder of pages that opens in any browser, from disk or object "
        "storage: what was indexed, the people and their photos, duplicates, errors, speed, "
        "evaluations. No scripts, nothing is fetched. It replaces the earlier report.",
    )
    opt.add_lake(parser)
    parser.add_argument(
        "--output", metavar="FOLDER", help="where to write it; default: report in the lake"
    )
    opt.add_config_options(parser, ReportConfig)
    parser.add_argument(
        "--evaluation", metavar="FOLDER",
        help="where `facelake evaluate --json FILE --plots DIR` wrote; default: evaluation in "
        "the lake, if it is there",
    )  # fmt: skip
    opt.add_wait_option(parser)
    opt.add_storage_options(parser)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Write the report and say where it is."""
    # templates: only the command that needs them pays
    from pipeline.web.pages import size

    values = opt.values_of(ReportConfig, options)
    written = opt.open_lake(options).report(
        options.output, evaluation=options.evaluation, wait=options.wait, **values
    )
    console = Terminal()
    pages = "page" if written.pages == 1 else "pages"
    say(console, f"{written.pages:,} {pages}, {size(written.bytes)}, {written.photos:,} photos, "
        f"{written.seconds:.1f} s")  # fmt: skip
    if written.removed:
        say(console, f"{written.removed:,} pages of the earlier report removed")
    say(console, f"Open {written.folder.url}/index.html")
    return 0
