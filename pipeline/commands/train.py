"""`facelake train`: people of a lake in, a model that tells them out."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from rich.console import Console

from pipeline.commands import options as opt
from pipeline.commands.evaluate_tables import cell, plain_table
from pipeline.commands.output import Terminal, say, show_facts, tell
from pipeline.training.settings import TrainConfig

if TYPE_CHECKING:
    from pipeline.training.train import Trained

SHOWN = 10
MEANINGS = {
    "accuracy": "share of the test's faces of known people that are named rightly, no threshold",
    "macro_precision": "mean over the people",
    "macro_recall": "mean over the people",
    "macro_f1": "mean over the people",
}
OPEN = {
    "detected": "share of known people's faces that are accepted, under the right name",
    "false_alarms": "share of strangers' faces that are accepted",
}


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "train",
        help="learn people from the vectors of a lake",
        description="Learn people from the vectors of a lake: a head that names whom a face is, or "
        "nobody. No network is trained, and the lake is not changed. Some images of each person "
        "are kept apart to measure it. The labels are the people who have a name in the lake, "
        "corrections included, or a file's. The page report.html in the model's folder shows what "
        "came of it, with faces.",
    )
    opt.add_lake(parser)
    parser.add_argument(
        "--output", required=True, metavar="MODEL_DIR",
        help="folder of the model, outside the lake; a model that is there is replaced",
    )  # fmt: skip
    parser.add_argument(
        "--labels", metavar="FILE",
        help="CSV or Parquet with the columns face_id,label or image,label, as `facelake evaluate` "
        "reads it; default: the named people of the lake",
    )  # fmt: skip
    opt.add_config_options(parser, TrainConfig)
    opt.add_wait_option(parser)
    parser.add_argument("--json", action="store_true", help="print the model's card as JSON")
    opt.add_storage_options(parser)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Train, print how good it is, and return the exit code."""
    values = opt.values_of(TrainConfig, options)
    lake = opt.open_lake(options)
    trained = lake.train(options.output, options.labels, wait=options.wait, **values)
    if options.json:
        tell(json.dumps(trained.card, indent=2))
    else:
        show(Terminal(), trained)
    return 0


def show(console: Console, trained: "Trained") -> None:
    """Print what was learnt from, the measures, the people told worst, and what was left out."""
    card = trained.card
    parts = card["parts"]
    facts = {
        "head": f"{card['head']}, on vectors of {card['embedder']}",
        "labels": card["labels"],
        "people": f"{card['classes']:,}",
        "faces": ", ".join(f"{count:,} {name}" for name, count in parts.items()),
        "nobody below": f"probability {card['acceptance']['threshold']:.3f}",
    }
    show_facts(console, f"model in {trained.folder}", facts)
    rows = []
    for subject, meanings in (("closed_set", MEANINGS), ("open_set", OPEN)):
        measured = card["measures"][subject]
        for name, meaning in meanings.items():
            bounds = measured["intervals"].get(name)
            interval = f"{bounds[0]:.4f} to {bounds[1]:.4f}" if bounds else ""
            rows.append((name.replace("_", " "), cell(measured[name]), interval, meaning))
    console.print(plain_table("", ("measure", "value", "95 % interval", "meaning"), rows))
    worst = sorted((row for row in trained.people if row["tested"]), key=lambda row: row["f1"])
    headings = ("person", "faces tested", "precision", "recall", "F1")
    columns = ("label", "tested", "precision", "recall", "f1")
    told = [[cell(row[name]) for name in columns] for row in worst[:SHOWN]]
    console.print(plain_table("told worst", headings, told))
    out: dict[str, int] = {}
    for one in trained.left_out:
        out[one.reason] = out.get(one.reason, 0) + one.count
    if out:
        pairs = [(reason, cell(count)) for reason, count in out.items()]
        console.print(plain_table("left out (left_out-*.parquet)", ("why", "count"), pairs))
    for note in trained.notes:
        say(console, note)
    say(console, f"look at it: {trained.page}")
    say(console, f"try it: facelake classify PHOTO --model {trained.folder}")
