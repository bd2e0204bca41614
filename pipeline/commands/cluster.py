"""`facelake cluster`: faces of a lake in, people out."""

import argparse
import time
from typing import Any

from rich.console import Console

from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.commands import options as opt
from pipeline.commands.output import Terminal, duration, say, show_facts
from pipeline.commands.progress import steps
from pipeline.library import CLUSTER_FACES_FOR_RAY


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "cluster",
        help="group the faces of a lake into people",
        description="Group the faces of a lake into people. Ids and corrections survive every "
        "run; after new photos were indexed, only people whom they touch are done again; a run "
        "that was stopped resumes.",
    )
    opt.add_lake(parser)
    opt.add_task_options(parser, CLUSTER_FACES_FOR_RAY, "faces")
    opt.add_config_options(parser, ClusterConfig)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Cluster, print the figures, and return the exit code."""
    values = opt.values_of(ClusterConfig, options)
    console, began = Terminal(), time.monotonic()
    lake = opt.open_lake(options)
    with steps(console) as progress:
        about = lake.cluster(ray=options.ray, wait=options.wait, progress=progress, **values)
    show(console, lake.url, about, time.monotonic() - began)
    return 0


def show(console: Console, lake: str, about: dict[str, Any], seconds: float) -> None:
    """Print the figures of the run."""
    if not about["threshold"]:
        say(console, f"no face was found on the photos of {lake}: there are no people")
        return
    threshold = about["threshold"]
    tiers = about["tiers"]
    groups = about["threshold_of_groups"]["equal_groups"]
    kind = "asked for" if threshold["fixed"] is not None else "calibrated"
    facts = {
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
        facts["neighbours found"] = f"{about['recall']:.2%} of those above the threshold (sample)"
    if about["ids_changed"]:
        facts["changed person"] = f"{about['ids_changed']:,} faces"
    show_facts(console, f"people of {lake}", facts)
    say(console, f"look at them with `facelake people {lake} list`, took {duration(seconds)}")
