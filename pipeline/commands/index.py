"""`facelake index`: photos in, tables of faces out."""

import argparse
import logging
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.commands.interrupts import Interrupts
from pipeline.commands.options import add_index_options, index_config
from pipeline.commands.performance_tables import performance, show
from pipeline.commands.progress import Live, Tally, duration
from pipeline.commands.tasks import finish_forgetting
from pipeline.commands.weights import fetch_cards
from pipeline.config import IndexConfig
from pipeline.errors import (
    EXIT_DAMAGED,
    EXIT_INTERRUPTED,
    ConfigError,
    ErrorCode,
    LakeMismatchError,
    StorageError,
)
from pipeline.executor import environment
from pipeline.lake.ledger import Ledger
from pipeline.lake.lock import RunLock
from pipeline.lake.manifest import manifest
from pipeline.lake.store import LakeStore, Models
from pipeline.models.cards.card import find_card, known_cards
from pipeline.models.embedder import load_embedder
from pipeline.models.weights.store import WeightStore
from pipeline.sources.members import Report
from pipeline.sources.plan import check_columns, covers, plan, refuse_inside
from pipeline.sources.units import Plan
from pipeline.storage.folder import visible

SHOWN = 8
logger = logging.getLogger(__name__)


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
    console = Console()
    lake = LakeStore(config.output, config.storage_options)
    lake.folder.reach()
    retry = retried_codes(options.retry_errors)
    if options.dry_run:
        return dry_run(config, lake, retry, console)
    for text in config.inputs:
        refuse_inside(text, config.output)
    began = time.monotonic()
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:6]}"
    try:
        with RunLock(lake.folder, run_id, options.wait):
            finish_forgetting(lake)
            ledger = lake.ledger(retry) if lake.models() else Ledger.empty()
            work = plan_inputs(config, ledger)
            models = open_lake(config, lake, work, retry if ledger.again else frozenset())
            about = manifest(config, models, run_id)
            lake.publish_json(f"runs/{run_id}.json", about | {"status": "running"})
            this = Run(config, models, run_id, about, began)
            return process(options, console, lake, work, ledger, this)
    finally:
        lake.folder.remove_if_empty()


def retried_codes(option: str | None) -> frozenset[str]:
    """Return the error codes whose images are read again: `unreadable`, and those asked for.

    Raises:
        ConfigError: a code that there is not.
    """
    known = [code.value for code in ErrorCode]
    asked = known if option == "all" else (option or "").replace(" ", "").split(",")
    unknown = set(asked) - set(known) - {""}
    if unknown:
        raise ConfigError(
            f"--retry-errors {', '.join(sorted(unknown))}: there is no such code; choose from "
            f"{', '.join(known)}, or all"
        )
    return frozenset({ErrorCode.UNREADABLE.value, *asked}) - {""}


def plan_inputs(config: IndexConfig, ledger: Ledger) -> Plan:
    """Find what there is to read."""
    work = plan(
        config.inputs,
        output=config.output,
        ledger=ledger,
        options=config.storage_options,
        parallelism=os.cpu_count() or 1,
    )
    check_columns(work, config.read.image_column, config.read.key_column)
    return work


def open_lake(config: IndexConfig, lake: LakeStore, work: Plan, retry: frozenset[str]) -> Models:
    """Bring the lake into a state to be added to, and return the models it is for.

    Leftovers of a crash go, and so do the error rows that this run replaces.
    """
    check_names(config, lake)
    models, current = prepare(config), lake.models()
    try:
        lake.claim(models)
    except LakeMismatchError as error:
        raise LakeMismatchError(f"{error}{way_back(current, models.names[1])}") from None
    swept = lake.sweep()
    if swept:
        work.notices.append(f"removed {swept} unfinished files of an interrupted run")
    if retry:
        again = lake.drop_errors(retry, covers(work))
        if again:
            work.notices.append(f"{again} images that had an error before were read again")
    return models


def check_names(config: IndexConfig, lake: LakeStore) -> None:
    """Compare names alone, before weights are fetched for nothing; paths are left to `claim`.

    Raises:
        LakeMismatchError: the lake holds rows of models with other names.
    """
    current, names = lake.models(), (config.detector, config.embedder)
    if current is None or not known_cards().keys() >= set(names) or not lake.parts():
        return
    if current.names != names:
        raise LakeMismatchError(
            f"{lake.mismatch(current, *names)}{way_back(current, config.embedder)}"
        )


def way_back(current: Models | None, embedder: str) -> str:
    """Say which embedder would fit the lake's rows, where Facelake has it."""
    if current is None or current.names[1] == embedder or current.names[1] not in known_cards():
        return ""
    return f", or run with --embedder {current.names[1]}"


@dataclass(frozen=True)
class Run:
    """One run: what it was told, by which models, and what its manifest says from the start."""

    config: IndexConfig
    models: Models
    run_id: str
    about: dict[str, Any]
    began: float


def process(
    options: argparse.Namespace,
    console: Console,
    lake: LakeStore,
    work: Plan,
    ledger: Ledger,
    run: Run,
) -> int:
    """Do the work on Ray, show how it gets on, and return the exit code."""
    # Ray takes seconds to import: not for --help, --dry-run or a wrong option.
    environment.prepare(options.verbose)
    from pipeline.executor import dataset
    from pipeline.executor.cluster import StoreWatch, cluster

    job = dataset.Job(run.config, lake, run.models, run.run_id)
    images = work.images if not work.shards else None
    status = "failed"
    store, sizing = StoreWatch(), None
    now = time.time()
    marks = {"start": now - (time.monotonic() - run.began), "prepare": now}
    with Live(console, images, work.bytes, options.plain) as live:
        try:
            if work.units:
                live.status("starting Ray")
                with cluster(options.verbose) as private, store:
                    marks["ray"] = time.time()
                    sizing = dataset.cluster_sizing(run.config, work)
                    live.status(
                        f"indexing with {sizing.detect_actors} detect and {sizing.embed_actors} "
                        "embed actors"
                    )
                    with Interrupts() as interrupts:
                        for result in dataset.run(job, work, ledger, sizing, private):
                            live.add(result)
                            interrupts.check()
            live.done()
            status = "finished"
        except KeyboardInterrupt:
            # A second Ctrl-C must not stop what leaves the lake tidy.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            status = "interrupted"
        finally:
            if status != "finished":  # parts may be written that nobody told of
                live.tally.recount(lake.written_by(run.run_id))
            report = dataset.collect_reports(job, work)
            seconds = time.monotonic() - run.began
            end = outcome(status, live.tally, report, seconds)
            if sizing and live.tally.parts:
                end["performance"] = performance(live.tally.times, sizing, store, marks)
            record(lake, run, end)
    summary(console, lake, live.tally, report, seconds)
    if "performance" in end:
        show(console, end["performance"])
    if status == "interrupted":
        print(
            "facelake: interrupted; what is written is kept, run the same command to go on",
            file=sys.stderr,
        )
        return EXIT_INTERRUPTED
    return EXIT_DAMAGED if report.damage else 0


def record(lake: LakeStore, run: Run, end: dict[str, Any]) -> None:
    """Write the run's manifest; a full disk here must not hide what stopped the run."""
    try:
        lake.publish_json(f"runs/{run.run_id}.json", run.about | end)
    except StorageError as error:
        logger.warning("the manifest of the run could not be written: %s", error)


def prepare(config: IndexConfig) -> Models:
    """Find or fetch the weights of both models, and return which they are.

    Raises:
        ConfigError: an unknown model.
        WeightsError: weights that cannot be had, or are not what they should be.
    """
    store = WeightStore.at(config.weights_dir, config.weights_url)
    detector = find_card(config.detector, "detector")
    embedder = find_card(config.embedder, "embedder")
    missing = [card for card in (detector, embedder) if store.state(card) == "missing"]
    fetch_cards(store, missing)
    if not embedder.bundled:
        # A model that does not load is told before a cluster is started for it.
        load_embedder(config.embedder, store=store)
    return Models(store.revision(detector), store.revision(embedder), embedder.dimension)


def dry_run(config: IndexConfig, lake: LakeStore, retry: frozenset[str], console: Console) -> int:
    """List what a run would read, without starting anything."""
    work = plan_inputs(config, lake.ledger(retry) if lake.models() else Ledger.empty())
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
    if work.already_in_lake:
        parts.append(f"{work.already_in_lake:,} in the lake already")
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
        "already_in_lake": report.already_in_lake,
        "errors": dict(tally.errors),
        "storage_retries": dict(tally.retries + report.retries),
        "passed_over": dict(report.skipped),
        "notices": report.notices,
        "damaged": report.damage,
        "stage_seconds": {
            name: round(done["seconds"], 2) for name, done in tally.times.stages.items()
        },
    }


def summary(
    console: Console, lake: LakeStore, tally: Tally, report: Report, seconds: float
) -> None:
    """Print the table that ends a run."""
    say(console, f"Lake {lake.folder.url}")
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row("images added", f"{tally.images:,}")
    table.add_row("  with a face", f"{tally.with_face:,}")
    table.add_row("faces added", f"{tally.faces:,}")
    if report.already_in_lake:
        table.add_row("in the lake already", f"{report.already_in_lake:,}")
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
        table.add_row("[bold red]damaged[/]", Text(visible(text)))
    if len(report.damage) > SHOWN:
        table.add_row("", f"and {len(report.damage) - SHOWN} more, see the run's manifest")
    rate = f", {tally.images / seconds:.1f} images/s" if tally.images else ""
    table.add_row("time", duration(seconds) + rate)
    console.print(table)
