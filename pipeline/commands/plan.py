"""`facelake plan`: what indexing an archive will take, from a sample of it."""

import argparse
import json
from typing import Any

from pipeline.commands import options as opt
from pipeline.commands.index import index_config
from pipeline.commands.output import Terminal, say, tell
from pipeline.commands.plan_tables import as_json, show
from pipeline.config import IndexConfig
from pipeline.executor.planning.job import PlanConfig, predict_archive


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "plan",
        help="predict hours, memory and output size from a sample",
        description="Run a sample of the photos through the stages of `facelake index`, in one "
        "thread, and predict the hours, memory and output of whole archives on a cluster, and how "
        "many cores feed one GPU. Starts no Ray and writes no lake.",
    )
    opt.add_inputs(parser)
    opt.add_config_options(parser, PlanConfig)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--verbose", action="store_true", help="show details")
    opt.add_config_options(parser, IndexConfig)
    opt.add_storage_options(parser)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Measure a sample, print predictions and return the exit code."""
    console = Terminal()

    def measuring(photos: int) -> None:
        if not options.json:
            say(console, f"measuring about {photos} photos")

    outcome = predict_archive(
        index_config(options, "nowhere"), opt.config_of(PlanConfig, options), measuring
    )
    if options.json:
        tell(json.dumps(as_json(outcome), indent=2))
    else:
        show(outcome, console)
    return 0
