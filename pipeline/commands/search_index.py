"""`facelake search-index`: build or update the vector index of a lake."""

import argparse
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from pipeline.commands import options as opt
from pipeline.commands.output import duration
from pipeline.commands.progress import steps
from pipeline.library import INDEX_FACES_FOR_RAY
from pipeline.search.settings import VectorIndexConfig
from pipeline.storage.folder import visible

if TYPE_CHECKING:
    from pipeline.search.store import Manifest


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "search-index",
        help="build or update the index that makes searching quick",
        description="Build the vector index of a lake, or bring it up to date after `facelake "
        "index`: only what is new is read. Its recall is measured on faces of the lake.",
    )
    opt.add_lake(parser)
    opt.add_config_options(parser, VectorIndexConfig)
    opt.add_task_options(parser, INDEX_FACES_FOR_RAY, "faces")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Build, print what was built, and return the exit code."""
    values = opt.values_of(VectorIndexConfig, options)
    console, lake = Console(), opt.open_lake(options)
    with steps(console) as tell:
        made = lake.build_index(ray=options.ray, wait=options.wait, progress=tell, **values)
    show(console, lake.url, made)
    return 0


def show(console: Console, lake: str, manifest: "Manifest") -> None:
    """Print what was built."""
    table = Table(title=f"index of {visible(lake)}", show_header=False)
    table.add_row("faces", f"{manifest.rows:,} in {len(manifest.shards):,} shards")
    cells = f", {manifest.nprobe:,} of {manifest.cells:,} cells searched" if manifest.cells else ""
    table.add_row("kind", manifest.kind + cells)
    if manifest.recall is not None:
        table.add_row("recall", f"{manifest.recall:.2%} of the ten nearest, {manifest.queries:,} "
                      "faces asked")  # fmt: skip
    table.add_row("time", duration(manifest.seconds))
    console.print(table)
