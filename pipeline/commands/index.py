"""`facelake index`: photos in, tables of faces out."""

import argparse
import sys
from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.commands import options as opt
from pipeline.commands.output import Terminal, duration, say, tell
from pipeline.commands.performance_tables import show
from pipeline.commands.progress import Live
from pipeline.config import IndexConfig
from pipeline.errors import EXIT_DAMAGED, EXIT_INTERRUPTED
from pipeline.executor.index import Indexed, compared, ledger_of, planned
from pipeline.executor.progress import Watch
from pipeline.lake.store import LakeStore
from pipeline.library import run_index
from pipeline.sources.reconcile import Reconciled
from pipeline.sources.units import Plan
from pipeline.storage.folder import visible

SHOWN = 8


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "index",
        help="read photos, find and embed faces, write tables",
        description="Read photos from any mix of inputs, find and embed their faces, and add a "
        "row for every photo and every face to a lake. Run it again to resume after a stop, or to "
        "add new photos: photos that are in the lake are not done again.",
    )
    opt.add_inputs(parser)
    parser.add_argument("--output", required=True, metavar="LAKE", help="the lake to add to")
    parser.add_argument("--dry-run", action="store_true", help="only list what would be read")
    opt.add_wait_option(parser)
    parser.add_argument("--verbose", action="store_true", help="show details, Ray's included")
    parser.add_argument("--plain", action="store_true", help="print lines, draw no progress bar")
    opt.add_config_options(parser, IndexConfig)
    opt.add_storage_options(parser)
    parser.set_defaults(func=run)


def index_config(options: argparse.Namespace, output: str) -> IndexConfig:
    """Return the checked config that the options ask for.

    Raises:
        ConfigError: an option out of its range.
    """
    return opt.config_of(
        IndexConfig,
        options,
        inputs=tuple(options.inputs),
        output=output,
        storage_options=opt.storage_of(options),
    )


def run(options: argparse.Namespace) -> int:
    """Run the main job and return its exit code."""
    config = index_config(options, options.output)
    console = Terminal()
    if options.dry_run:
        return dry_run(config, console)
    with Live(console, options.plain) as live:
        outcome = run_index(config, live, options.wait)
    summary(console, config.output, outcome)
    if outcome.performance:
        show(console, outcome.performance)
    if outcome.interrupted:
        tell(
            "facelake: interrupted; what is written is kept, run the same command to go on",
            file=sys.stderr,
        )
        return EXIT_INTERRUPTED
    return EXIT_DAMAGED if outcome.report.damage else 0


def dry_run(config: IndexConfig, console: Console) -> int:
    """List what a run would read, without starting anything."""
    lake = LakeStore(config.output, config.storage_options)
    lake.folder.reach()
    ledger = ledger_of(config, lake)
    inputs = planned(config, ledger, lake.shards())
    change = compared(config, lake, inputs, ledger, Watch())
    change.take_from(inputs)
    for unit in inputs.units:
        if unit.kind == "files":
            for name in unit.names:
                say(console, unit.base + name)
        else:
            say(console, unit.base)
    for text in inputs.damage:
        say(console, text)
    for text in change.notices:
        say(console, text)
    say(console, plan_line(inputs, change))
    return 0


def change_counts(change: Reconciled) -> dict[str, int]:
    """Return in words what became of photos of the lake, and of how many."""
    counts = {
        "moved": change.moved,
        "there again": len(change.back),
        "not there any more": len(change.gone),
    }
    return {what: count for what, count in counts.items() if count}


def plan_line(inputs: Plan, change: Reconciled) -> str:
    """Return a plan in one line; photos that moved or came back are not read after all."""
    parts = [f"{inputs.images:,} loose images", f"{inputs.shards:,} shards"]
    parts.append(f"{inputs.bytes / 1e6:,.1f} MB")
    if inputs.already_in_lake:
        parts.append(f"{inputs.already_in_lake:,} in the lake already")
    parts += [f"{count:,} {what}" for what, count in change_counts(change).items()]
    if inputs.skipped:
        skipped = ", ".join(f"{n} {why}" for why, n in inputs.skipped.most_common())
        parts.append(f"passed over: {skipped}")
    return "Would read " + "; ".join(parts)


def summary(console: Console, lake: str, outcome: Indexed) -> None:
    """Print the figures of the run."""
    tally, report, seconds = outcome.tally, outcome.report, outcome.seconds
    say(console, f"Lake {LakeStore(lake).folder.url}")
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row("images added", f"{tally.images:,}")
    table.add_row("  with a face", f"{tally.with_face:,}")
    table.add_row("faces added", f"{tally.faces:,}")
    if report.already_in_lake:
        table.add_row("in the lake already", f"{report.already_in_lake:,}")
    for what, count in change_counts(outcome.change).items():
        table.add_row(what, f"{count:,}")
    for code, count in sorted(tally.errors.items()):
        table.add_row(f"error {code}", f"{count:,}")
    retries = tally.retries + report.retries
    if retries:
        kinds = ", ".join(f"{n} {kind}" for kind, n in retries.most_common())
        table.add_row("storage asked again", f"{retries.total():,} ({kinds})")
    skipped: Counter[str] = report.skipped
    for why, count in skipped.most_common(SHOWN):
        table.add_row("passed over", Text(visible(f"{count:,} {why}")))
    for text in report.notices[:SHOWN]:
        table.add_row("note", Text(visible(text)))
    for text in report.damage[:SHOWN]:
        table.add_row(Text("damaged", style="bold red"), Text(visible(text)))
    if len(report.damage) > SHOWN:
        table.add_row("", f"and {len(report.damage) - SHOWN} more, see the run's manifest")
    rate = f", {tally.images / seconds:.1f} images/s" if tally.images else ""
    table.add_row("time", duration(seconds) + rate)
    console.print(table)
