"""`facelake cluster`: faces of a lake in, people out."""

import argparse
import time
from dataclasses import fields
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.clustering.algorithms.tiers import TierConfig
from pipeline.commands.progress import duration
from pipeline.commands.tasks import add_task_options, new_run_id, on_ray, open_lake, tasks
from pipeline.lake.lake import Lake
from pipeline.lake.manifest import versions
from pipeline.people.store import People
from pipeline.storage.folder import visible

# Below it, starting Ray takes longer than the work.
FACES_FOR_RAY = 30_000

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
    add_task_options(parser, FACES_FOR_RAY, "faces")
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
    # It takes torch, a second to import, that no other command should wait for.
    from pipeline.clustering.past import settings_of
    from pipeline.clustering.run import Run

    config = cluster_config(options)
    console = Console()
    lake, models = open_lake(options)
    began = time.monotonic()
    run_id = new_run_id("cluster")
    people = People(lake)
    file_bytes = sum(lake.folder.child("faces").files().values())
    ray = on_ray(options.ray, file_bytes, FACES_FOR_RAY * (4 * models.dimension + 500))
    gpus = 1 if config.device == "cuda" else 0
    with tasks(options, console, lake, run_id, ray, gpus) as (mapper, progress):
        about = Run(people, config, mapper, run_id, progress).cluster()
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
