"""`facelake cluster`: faces of a lake in, people out."""

import argparse
import logging
import os
import time
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from rich.console import Console
from rich.table import Table

from pipeline import environment
from pipeline.clustering.settings import ClusterConfig
from pipeline.clustering.tiers import TierConfig
from pipeline.commands.progress import duration
from pipeline.errors import ConfigError
from pipeline.grouping.run import Run, settings_of
from pipeline.grouping.workspace import Mapper, in_process
from pipeline.lake import Lake
from pipeline.lock import RunLock
from pipeline.manifest import versions
from pipeline.people.store import People
from pipeline.storage import parse_options, visible
from pipeline.troubles import REACH_TIMEOUT_S, within

# Below it, starting Ray takes longer than the work.
FACES_FOR_RAY = 30_000
logger = logging.getLogger(__name__)

TIER_HELP = {
    "core_score": "detector probability that a face needs to link others",
    "core_px": "size that a face needs to link others, pixels",
    "core_sharpness": "sharpness that a face needs to link others",
    "core_yaw": "turn above which a face links nobody, degrees",
    "attach_score": "detector probability below which a face is left out",
    "attach_px": "size below which a face is left out, pixels",
}


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "cluster",
        help="group the faces of a lake into people",
        description="Group the faces of a lake into people. Ids and corrections survive every "
        "run; after new photos were indexed only what they touch is done again; a run that was "
        "stopped goes on where it was.",
    )
    parser.add_argument("lake", metavar="LAKE", help="path or URL of the lake")
    config = ClusterConfig()
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="COSINE",
        help="similarity that makes one person; default: calibrated on this lake",
    )
    parser.add_argument(
        "--false-neighbours",
        type=float,
        default=config.false_neighbours,
        metavar="N",
        help="strangers that a face may resemble enough, on average, what calibration aims at; "
        "more joins more; default: %(default)s",
    )
    parser.add_argument("--full", action="store_true", help="make all people again; ids survive")
    parser.add_argument("--wait", action="store_true", help="wait for another run on the lake")
    parser.add_argument("--verbose", action="store_true", help="log what is going on")
    parser.add_argument(
        "--ray", choices=("auto", "always", "never"), default="auto",
        help="whether tasks run on a Ray cluster; auto: on one that is named by RAY_ADDRESS, and "
        f"on this machine's cores from {FACES_FOR_RAY:,} faces; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="where neighbours are searched"
    )
    search = parser.add_argument_group("search for neighbours")
    search.add_argument(
        "--neighbours", type=int, default=config.neighbours, metavar="K",
        help="neighbours of a face that are looked at; default: %(default)s",
    )  # fmt: skip
    search.add_argument(
        "--probes", type=int, default=config.probes, metavar="P",
        help="cells that are searched for them; default: %(default)s",
    )  # fmt: skip
    search.add_argument(
        "--exact-below", type=int, default=config.exact_below, metavar="N",
        help="fewer faces than this are all compared; default: %(default)s",
    )  # fmt: skip
    evidence = parser.add_argument_group("evidence and quality")
    evidence.add_argument(
        "--same-photo-penalty", type=float, default=config.penalty, metavar="COSINE",
        help="what a photo that shows both takes from their similarity; default: %(default)s",
    )  # fmt: skip
    evidence.add_argument(
        "--margin", type=float, default=config.margin, metavar="COSINE",
        help="by how much a weak face must prefer its person to the next; default: %(default)s",
    )  # fmt: skip
    for tier in fields(TierConfig):
        evidence.add_argument(
            f"--{tier.name.replace('_', '-')}", type=float, default=tier.default, metavar="X",
            help=f"{TIER_HELP[tier.name]}; default: %(default)s",
        )  # fmt: skip
    parser.add_argument(
        "--storage-option", action="append", default=[], metavar="KEY=VALUE",
        help="for the storage back end; may be repeated",
    )  # fmt: skip
    parser.set_defaults(func=run)


def cluster_config(options: argparse.Namespace) -> ClusterConfig:
    """Return the checked config that the options ask for.

    Raises:
        ConfigError: an option out of its range.
    """
    return ClusterConfig(
        threshold=options.threshold,
        false_neighbours=options.false_neighbours,
        neighbours=options.neighbours,
        probes=options.probes,
        exact_below=options.exact_below,
        penalty=options.same_photo_penalty,
        margin=options.margin,
        tiers=TierConfig(**{tier.name: getattr(options, tier.name) for tier in fields(TierConfig)}),
        full=options.full,
        device=options.device,
    )


def run(options: argparse.Namespace) -> int:
    """Cluster, print what was found, and return the exit code."""
    config = cluster_config(options)
    console = Console()
    lake = Lake(options.lake, parse_options(options.storage_option))
    within(REACH_TIMEOUT_S, lake.folder.reach, "reach", lake.folder.url)
    models = lake.models()
    if models is None:
        raise ConfigError(f"There is no lake at {lake.folder.url}; check the path")
    began = time.monotonic()
    run_id = f"cluster-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:6]}"
    people = People(lake)
    with RunLock(lake.folder, run_id, options.wait), console.status("reading faces") as status:

        def progress(step: str, done: int, total: int) -> None:
            status.update(f"{step} {done} of {total}")
            logger.info("%s %d of %d", step, done, total)

        if on_ray(options.ray, lake):
            from pipeline.cluster import cluster

            environment.prepare(options.verbose)
            with cluster(options.verbose):
                from pipeline.mapper import RayMapper

                mapper: Mapper = RayMapper(1 if config.device == "cuda" else 0)
                about = Run(people, config, mapper, run_id, progress).cluster()
        else:
            about = Run(people, config, in_process, run_id, progress).cluster()
        seconds = time.monotonic() - began
        facts = {k: v for k, v in about.items() if k not in ("parts", "constraints")}
        lake.publish_json(
            f"runs/{run_id}.json",
            {"run_id": run_id, "command": "cluster", "status": "done", "seconds": seconds,
             "embedder": models.embedder, "config": settings_of(config), "versions": versions(),
             **facts},
        )  # fmt: skip
    show(console, lake, about, seconds)
    return 0


def on_ray(choice: str, lake: Lake) -> bool:
    """Return whether the work is worth a Ray cluster."""
    if choice != "auto":
        return choice == "always"
    if "RAY_ADDRESS" in os.environ:
        return True
    rows = sum(lake.folder.child("faces").files().values())
    models = lake.models()
    return rows > FACES_FOR_RAY * (4 * (models.dimension if models else 0) + 500)


def show(console: Console, lake: Lake, about: dict[str, Any], seconds: float) -> None:
    """Print what was found."""
    table = Table(title=f"people of {visible(lake.folder.url)}", show_header=False)
    threshold = about["threshold"]
    tiers = about["tiers"]
    groups = about["threshold_of_groups"]["equal_groups"]
    kind = "asked for" if threshold["fixed"] is not None else "calibrated"
    rows = {
        "people": f"{about['people']:,}, {about['people_of_one_face']:,} of them seen once",
        "faces": f"{about['faces']:,}: {tiers.get('core', 0):,} core, {tiers.get('attach', 0):,} "
        f"weak, {tiers.get('rejected', 0):,} left out",
        "one person from": f"similarity {threshold['single_faces']:.3f} between two faces, "
        f"{groups['20']:.3f} between groups of 20 ({kind})",
        "to review": f"{about['suggestions']:,} doubtful decisions",
        "done again": f"{about['new_faces']:,} faces"
        + (" (new, or touched by corrections)" if about["incremental"] else ""),
        "seconds": f"{seconds:.1f}",
    }
    if about.get("recall") is not None:
        rows["neighbours found"] = f"{about['recall']:.2%} of those above the threshold (sample)"
    if about["ids_changed"]:
        rows["changed person"] = f"{about['ids_changed']:,} faces"
    for name, text in rows.items():
        table.add_row(name, text)
    console.print(table)
    console.print(
        f"look at them with `facelake people {visible(lake.folder.url)} list`, took "
        f"{duration(seconds)}", highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
