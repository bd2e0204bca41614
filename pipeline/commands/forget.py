"""`facelake forget`: remove people, photos or faces from a lake, for good, and prove it."""

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.commands import options as opt
from pipeline.commands.output import Terminal, say, tell
from pipeline.errors import EXIT_UNSOUND, ConfigError
from pipeline.lake.store import LakeStore
from pipeline.storage.folder import visible

if TYPE_CHECKING:
    from pipeline.maintenance.forget.job import Forgetting
    from pipeline.maintenance.forget.prove import Proof
    from pipeline.maintenance.forget.run import Removed
    from pipeline.maintenance.forget.target import Target

SHOWN = 10


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "forget",
        help="remove people, photos or faces for good",
        description="Remove people, photos or faces from every table of a lake, for good: vectors, "
        "thumbnails, names, index, duplicates, predictions, checkpoints, pages. A later run does "
        "not bring them back. The photos themselves are not touched. Without a person, photo or "
        "face it finishes a run that was stopped, and removes again what a backup brought back.",
    )
    opt.add_lake(parser)
    parser.add_argument(
        "--person", action="append", default=[], metavar="PERSON",
        help="id, start of one, or exact name: all faces, and the name; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--image", action="append", default=[], metavar="PHOTO",
        help="image_id, uri or name of a photo: its row, and all its faces; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--face", action="append", default=[], metavar="FACE",
        help="face id; may be repeated",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="only list what would be removed")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--prove", action="store_true",
        help="read every file of the lake, and say what is left of all that was ever forgotten; "
        "exit code 10 if something is",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")
    opt.add_wait_option(parser)
    opt.add_storage_options(parser)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Forget what the options say; return the exit code."""
    console = Terminal(stderr=options.json)
    lake = opt.open_lake(options)

    def may_go(target: "Target") -> bool:
        if not options.json:
            show_target(console, target)
        if not options.dry_run:
            confirm(options)
        return not options.dry_run

    outcome = lake.forget(
        person=options.person,
        image=options.image,
        face=options.face,
        prove=options.prove,
        wait=options.wait,
        confirm=may_go,
    )
    if not outcome.ever and outcome.target is None:
        say(console, f"nothing was ever forgotten in {lake.url}")
    if options.json:
        tell(json.dumps(as_json(outcome), indent=2))
    else:
        if outcome.removed is not None:
            show_removed(console, lake.store, outcome.removed)
        if outcome.proof is not None:
            show_proof(console, lake.store, outcome.proof)
    return EXIT_UNSOUND if outcome.proof is not None and outcome.proof.findings else 0


def as_json(outcome: "Forgetting") -> dict[str, Any]:
    """Return the target, what was removed, and the proof, for JSON."""
    facts: dict[str, Any] = {}
    if (target := outcome.target) is not None:
        facts["forgotten"] = {
            "persons": len(target.persons),
            "photos": len(target.images),
            "faces": len(target.faces),
            "copies": len(target.copies),
        }
    if outcome.removed is not None:
        facts["removed"] = vars(outcome.removed)
    if (proof := outcome.proof) is not None:
        facts["proof"] = {"files": proof.files, "rows": proof.rows, "left": proof.findings}
    return facts


def show_target(console: Console, target: "Target") -> None:
    """Print what is going to be forgotten."""
    names = ", ".join(sorted(target.names))
    console.print(
        Text(visible(
            f"to forget: persons {len(target.persons):,}{f' ({names})' if names else ''}, "
            f"photos {len(target.images):,}, faces {len(target.faces):,}"
        ))
    )  # fmt: skip
    shown = sorted({target.photos[row["image_id"]]["uri"] for row in target.faces.values()}
                   | {target.photos[one]["uri"] for one in target.images})  # fmt: skip
    for uri in shown[:SHOWN]:
        console.print(Text(f"  {visible(uri)}"), soft_wrap=True)
    if len(shown) > SHOWN:
        console.print(f"  and {len(shown) - SHOWN:,} more photos")
    if target.copies:
        console.print(f"{len(target.copies):,} of the photos are the same as others of them")


def confirm(options: argparse.Namespace) -> None:
    """Ask on a terminal; elsewhere --yes is needed.

    Raises:
        ConfigError: not confirmed.
    """
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("This cannot be undone; look at --dry-run, then give --yes")
    tell("This cannot be unremoved. Type yes to go on: ", end="", file=sys.stderr)
    if input().strip().lower() != "yes":
        raise ConfigError("Nothing was forgotten")


def show_removed(console: Console, lake: LakeStore, removed: "Removed") -> None:
    """Print what was removed, and what to run next."""
    table = Table(title=f"forgotten in {visible(lake.folder.url)}", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("parts rewritten", f"{removed.parts:,}")
    table.add_row("faces out of clusters", f"{removed.clustered:,}")
    table.add_row("corrections removed", f"{removed.corrections:,}")
    table.add_row("rows of duplicates", f"{removed.duplicates:,}")
    if removed.predictions:
        table.add_row("predictions", f"{removed.predictions:,}")
    if removed.vectors:
        table.add_row("vectors of pictures", f"{removed.vectors:,}")
    table.add_row("vector index", removed.index or "not concerned")
    table.add_row("report", "removed" if removed.report else "there was none")
    table.add_row("manifests of runs changed", f"{removed.runs:,}")
    if removed.leftovers:
        table.add_row("leftovers removed", f"{removed.leftovers:,}")
    tombstones = lake.forgotten()
    kinds = {"face": tombstones.faces, "image": tombstones.images, "person": tombstones.persons}
    in_all = ", ".join(f"{len(keys):,} {kind}" for kind, keys in kinds.items() if keys)
    table.add_row("tombstones in all", in_all or "none")
    console.print(table)
    commands = [
        *(["facelake search-index"] if removed.index else []),
        *(["facelake dedupe"] if removed.duplicates else []),
        *(["facelake report"] if removed.report else []),
    ]
    if commands:
        console.print(f"to make again what was removed whole: {', '.join(commands)}")


def show_proof(console: Console, lake: LakeStore, proof: "Proof") -> None:
    """Print whether anything is left of what was forgotten."""
    if not proof.findings:
        console.print(
            f"proved: {proof.files:,} files with {proof.rows:,} rows hold nothing of what was "
            "forgotten"
        )
        return
    table = Table(title="left of what was forgotten")
    table.add_column("file", overflow="fold")
    table.add_column("what", overflow="fold")
    for where, what in proof.findings:
        table.add_row(Text(visible(where)), Text(what))
    console.print(table)
    console.print(f"to remove it: facelake forget {visible(lake.folder.url)}", soft_wrap=True)
