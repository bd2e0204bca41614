"""`facelake train`: people of a lake in, a model that tells them out."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from rich.console import Console

from pipeline.commands import options as opt
from pipeline.commands.evaluate_tables import cell, plain_table
from pipeline.commands.output import Terminal, say, show_facts, tell
from pipeline.commands.progress import bar
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
        help="learn people from a lake: a head, or a network as well",
        description="Learn people from a lake: a head that names whom a face is, or nobody. It "
        "learns from the vectors of the lake; with --network a network is trained on the faces of "
        "the photos first, and the head learns from its vectors. The lake is not changed. Some "
        "images of each person are kept apart to measure it, and some people. A training that was "
        "stopped goes on when the command is given again. The page report.html in the model's "
        "folder shows what came of it, with faces.",
    )
    opt.add_lake(parser)
    parser.add_argument(
        "--output", required=True, metavar="MODEL_DIR",
        help="folder of the model, outside the lake; a model that is there is replaced",
    )  # fmt: skip
    parser.add_argument(
        "--labels", metavar="FILE",
        help="CSV or Parquet with the columns face_id,label or image,label, as `facelake evaluate` "
        "reads it; folders: of a photo, the folder it lies in; webdataset: the .cls, .txt or .json "
        "beside it in its tar; none: a teacher alone; default: the named people of the lake",
    )  # fmt: skip
    opt.add_config_options(parser, TrainConfig)
    opt.add_task_options(parser, None, "with several --workers")
    opt.add_weights_options(parser)
    parser.add_argument("--json", action="store_true", help="print the model's card as JSON")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Train, print how good it is, and return the exit code."""
    values = opt.values_of(TrainConfig, options)
    lake = opt.open_lake(options)
    console = Terminal(stderr=options.json)
    with bar(console) as progress:
        trained = lake.train(
            options.output, options.labels, wait=options.wait, ray=options.ray,
            progress=progress, **values,
        )  # fmt: skip
    if options.json:
        tell(json.dumps(trained.card, indent=2))
    elif trained.people:
        show(console, trained)
    else:
        show_network(console, trained)
    return 0


def show_network(console: Console, trained: "Trained") -> None:
    """Print what became of a network that was trained without labels."""
    card, network = trained.card, trained.card["network"]
    best = network["epochs"][network["best_epoch"] - 1]
    show_facts(console, f"model in {trained.folder}", {
        "network": f"{network['name']}, {card['dimension']} numbers a face",
        "faces": ", ".join(f"{count:,} {name}" for name, count in card["parts"].items()),
        "best epoch": f"{network['best_epoch']} of {len(network['epochs'])}",
        **{name.replace("_", " "): f"{value:.4f}" for name, value in best.items()
           if name.startswith("teacher")},
    })  # fmt: skip
    say(console, f"try it: facelake index PHOTOS --embedder {trained.folder} --output LAKE")


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
