"""`facelake search-index`: build or update the vector index of a lake."""

import argparse
from typing import TYPE_CHECKING, Any

from rich.console import Console

from pipeline.commands import options as opt
from pipeline.commands.output import Terminal, duration, show_facts
from pipeline.commands.progress import steps
from pipeline.library import INDEX_FACES_FOR_RAY
from pipeline.search.settings import VectorIndexConfig

if TYPE_CHECKING:
    from pipeline.search.store import Manifest


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "search-index",
        help="build or update the index that makes searching fast",
        description="Build the vector index of a lake, or bring it up to date after `facelake "
        "index`: only new faces are read. Its recall is measured on faces of the lake.",
    )
    opt.add_lake(parser)
    opt.add_config_options(parser, VectorIndexConfig)
    opt.add_task_options(parser, INDEX_FACES_FOR_RAY, "faces")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Build, print the figures of the index, and return the exit code."""
    values = opt.values_of(VectorIndexConfig, options)
    console, lake = Terminal(), opt.open_lake(options)
    with steps(console) as progress:
        manifest = lake.build_index(ray=options.ray, wait=options.wait, progress=progress, **values)
    show(console, lake.url, manifest)
    return 0


def show(console: Console, lake: str, manifest: "Manifest") -> None:
    """Print the figures of the index."""
    cells = f", {manifest.nprobe:,} of {manifest.cells:,} cells searched" if manifest.cells else ""
    facts = {
        "faces": f"{manifest.rows:,} in {len(manifest.shards):,} shards",
        "kind": manifest.kind + cells,
    }
    if manifest.recall is not None:
        recall, queries = manifest.recall, manifest.queries
        facts["recall"] = f"{recall:.2%} of the ten nearest, {queries:,} faces asked"
    show_facts(console, f"index of {lake}", facts | {"time": duration(manifest.seconds)})
