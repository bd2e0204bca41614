"""`facelake search-index`: build or update the vector index of a lake."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from pipeline.commands.progress import duration
from pipeline.commands.tasks import add_task_options, new_run_id, on_ray, open_lake, tasks
from pipeline.lake.manifest import versions
from pipeline.search.settings import KINDS, VectorIndexConfig, faiss
from pipeline.storage.folder import visible

if TYPE_CHECKING:
    from pipeline.search.store import Manifest

# Below it, starting Ray takes longer than the work.
FACES_FOR_RAY = 2_000_000


def add_parser(commands: Any) -> None:
    """Add the command."""
    config = VectorIndexConfig()
    parser = commands.add_parser(
        "search-index",
        help="build or update the index that makes searching quick",
        description="Build the vector index of a lake, or bring it up to date after `facelake "
        "index`: only what is new is read. Its recall is measured on faces of the lake.",
    )
    parser.add_argument("lake", metavar="LAKE", help="path or URL of the lake")
    parser.add_argument(
        "--kind", choices=("auto", *KINDS), default=config.kind,
        help="auto: flat below a million faces, ivf to 50 million, ivf-pq above; default: "
        "%(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--cells", type=int, metavar="C", help="of the ivf kinds; default: about 2 sqrt(faces)"
    )
    parser.add_argument(
        "--recall", type=float, default=config.recall, metavar="R",
        help="share of the ten nearest faces that a search must find; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--shard-rows", type=int, default=config.shard_rows, metavar="N",
        help="most faces of a shard; default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--full", action="store_true", help="build all again, not only what is new")
    add_task_options(parser, FACES_FOR_RAY, "faces")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Build, print what was built, and return the exit code."""
    from pipeline.search.build import Build

    config = VectorIndexConfig(
        kind=options.kind,
        cells=options.cells,
        recall=options.recall,
        shard_rows=options.shard_rows,
        full=options.full,
    )
    faiss()
    console = Console()
    lake, models = open_lake(options)
    run_id = new_run_id("search-index")
    file_bytes = sum(lake.folder.child("faces").files().values())
    ray = on_ray(options.ray, file_bytes, FACES_FOR_RAY * (4 * models.dimension + 500))
    with tasks(options, console, lake, run_id, ray) as (mapper, progress):
        manifest = Build(lake, config, mapper, run_id, progress).run()
        facts = {k: v for k, v in asdict(manifest).items() if k not in ("shards", "versions")}
        lake.publish_json(
            f"runs/{run_id}.json",
            facts | {"command": "search-index", "status": "done", "config": asdict(config),
                     "shards": len(manifest.shards),
                     "versions": versions() | dict(manifest.versions)},
        )  # fmt: skip
    show(console, lake.folder.url, manifest)
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
