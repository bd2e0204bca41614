"""`facelake index`: photos in, tables of faces out."""

import argparse
import os
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline import environment
from pipeline.commands.options import add_index_options, index_config
from pipeline.commands.progress import Live, Tally, duration
from pipeline.commands.weights import fetch_cards
from pipeline.config import IndexConfig
from pipeline.errors import EXIT_DAMAGED, EXIT_INTERRUPTED
from pipeline.lake import Lake, Models
from pipeline.ledger import Ledger
from pipeline.manifest import manifest
from pipeline.models.card import find_card
from pipeline.models.weights import WeightStore
from pipeline.sources.members import Report
from pipeline.sources.plan import plan
from pipeline.sources.units import Plan
from pipeline.storage import REACH_TIMEOUT_S, visible, within

SHOWN = 8


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "index",
        help="read photos, find and embed faces, write tables",
        description="Read photos from any mix of inputs, find and embed their faces, and add a "
        "row for every photo and every face to a lake. Run again to go on after a stop, or to "
        "add new photos: what the lake has is not done again.",
    )
    add_index_options(parser)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Run the main job and return its exit code."""
    config = index_config(options)
    console = Console(stderr=False)
    lake = Lake(config.output, config.storage_options)
    if options.dry_run:
        return dry_run(config, lake, console)
    job_began = time.monotonic()
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:6]}"
    ledger = known_images(lake)
    work = plan(
        config.inputs,
        output=config.output,
        ledger=ledger,
        options=config.storage_options,
        parallelism=os.cpu_count() or 1,
    )
    lake.check_names(config.detector, config.embedder)
    models = prepare(config)
    lake.claim(models)
    swept = lake.sweep()
    if swept:
        work.notices.append(f"removed {swept} unfinished parts of an interrupted run")

    # Ray takes seconds to import: not for --help, --dry-run or a wrong option.
    environment.prepare(options.verbose)
    from pipeline import dataset

    job = dataset.Job(config, lake, models, run_id)
    about = manifest(job.config, models, run_id)
    lake.publish_json(f"runs/{run_id}.json", about | {"status": "running"})
    images = work.images if not work.shards else None
    status = "failed"
    with Live(console, images, work.bytes, options.plain) as live:
        try:
            if work.units:
                live.status("starting Ray")
                dataset.start(options.verbose)
                sizing = dataset.cluster_sizing(config, work)
                live.status(
                    f"indexing with {sizing.detect_actors} detect and {sizing.embed_actors} "
                    "embed actors"
                )
                for result in dataset.run(job, work, ledger, sizing):
                    live.add(result)
            status = "finished"
        except KeyboardInterrupt:
            status = "interrupted"
        finally:
            report = dataset.collect_reports(job, work)
            lake.publish_json(
                f"runs/{run_id}.json",
                about | outcome(status, live.tally, report, time.monotonic() - job_began),
            )
    summary(console, lake, live.tally, report, time.monotonic() - job_began)
    if status == "interrupted":
        print(
            "facelake: interrupted; what is written is kept, run the same command to go on",
            file=sys.stderr,
        )
        return EXIT_INTERRUPTED
    return EXIT_DAMAGED if report.damage else 0


def prepare(config: IndexConfig) -> Models:
    """Find or fetch the weights of both models, and return which they are.

    Raises:
        ConfigError: an unknown model.
        WeightsError: weights that cannot be had, or are not what they should be.
    """
    directory = Path(config.weights_dir) if config.weights_dir else None
    store = WeightStore(directory, config.weights_url)
    detector = find_card(config.detector, "detector")
    embedder = find_card(config.embedder, "embedder")
    missing = [card for card in (detector, embedder) if store.state(card) == "missing"]
    fetch_cards(store, missing)
    return Models(store.revision(detector), store.revision(embedder), embedder.dimension)


def known_images(lake: Lake) -> Ledger:
    """Return what the lake has; nothing when it is new.

    Raises:
        StorageError: its storage cannot be reached within seconds, or refuses.
    """
    models = within(REACH_TIMEOUT_S, lake.models, "reach", lake.folder.url)
    return lake.ledger() if models else Ledger.empty()


def dry_run(config: IndexConfig, lake: Lake, console: Console) -> int:
    """List what a run would read, without starting anything."""
    ledger = known_images(lake)
    work = plan(config.inputs, output=config.output, ledger=ledger, options=config.storage_options)
    for unit in work.units:
        if unit.kind == "files":
            for name in unit.names:
                say(console, unit.base + name)
        else:
            say(console, unit.base)
    say(console, plan_line(work))
    return 0


def say(console: Console, text: str) -> None:
    """Print a line as it is: a name may look like markup, or hold control characters."""
    console.print(visible(text), highlight=False, markup=False, soft_wrap=True)


def plan_line(work: Plan) -> str:
    """Return in one line what a plan holds."""
    parts = [f"{work.images:,} loose images", f"{work.shards:,} shards"]
    parts.append(f"{work.bytes / 1e6:,.1f} MB")
    if work.done:
        parts.append(f"{work.done:,} in the lake already")
    if work.skipped:
        skipped = ", ".join(f"{n} {why}" for why, n in work.skipped.most_common())
        parts.append(f"passed over: {skipped}")
    return "Would read " + "; ".join(parts)


def outcome(status: str, tally: Tally, report: Report, seconds: float) -> dict[str, Any]:
    """Return the part of the manifest that is known at the end."""
    return {
        "status": status,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "images": tally.images,
        "images_with_face": tally.with_face,
        "faces": tally.faces,
        "parts": tally.parts,
        "bytes": tally.bytes,
        "already_in_lake": report.done,
        "errors": dict(tally.errors),
        "passed_over": dict(report.skipped),
        "notices": report.notices,
        "damaged": report.damage,
        "stage_seconds": {name: round(value, 2) for name, value in tally.seconds.items()},
    }


def summary(console: Console, lake: Lake, tally: Tally, report: Report, seconds: float) -> None:
    """Print the table that ends a run."""
    say(console, f"Lake {lake.folder.url}")
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row("images added", f"{tally.images:,}")
    table.add_row("  with a face", f"{tally.with_face:,}")
    table.add_row("faces added", f"{tally.faces:,}")
    if report.done:
        table.add_row("in the lake already", f"{report.done:,}")
    for code, count in sorted(tally.errors.items()):
        table.add_row(f"error {code}", f"{count:,}")
    skipped: Counter[str] = report.skipped
    for why, count in skipped.most_common(SHOWN):
        table.add_row("passed over", Text(visible(f"{count:,} {why}")))
    for text in report.notices[:SHOWN]:
        table.add_row("note", Text(visible(text)))
    for text in report.damage[:SHOWN]:
        table.add_row("[bold red]damaged[/]", Text(visible(text)))
    if len(report.damage) > SHOWN:
        table.add_row("", f"and {len(report.damage) - SHOWN} more, see the run's manifest")
    rate = f", {tally.images / seconds:.1f} images/s" if tally.images else ""
    table.add_row("time", duration(seconds) + rate)
    console.print(table)
