"""`facelake forget`: remove people, photos or faces from a lake, for good, and prove it."""

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.commands.options import add_storage_options, add_wait_option
from pipeline.commands.tasks import finish_forgetting, new_run_id, open_lake
from pipeline.errors import EXIT_UNSOUND, ConfigError
from pipeline.lake import tombstones as stones
from pipeline.lake.lake import Lake
from pipeline.lake.lock import RunLock
from pipeline.storage.folder import visible

if TYPE_CHECKING:
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
        "thumbnails, names, index, duplicates, checkpoints, pages. A later run does not bring them "
        "back. The photos themselves are not touched. Without a person, photo or face it goes on "
        "with what was stopped, and removes again what a backup brought back.",
    )
    parser.add_argument("lake", metavar="LAKE", help="path or URL of the lake")
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
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--prove", action="store_true",
        help="read every file of the lake, and say what is left of all that was ever forgotten; "
        "exit code 10 if something is",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_wait_option(parser)
    add_storage_options(parser)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Forget what the options say; return the exit code."""
    # They know all tables, and take seconds to load.
    from pipeline.maintenance.forget.prove import Cleartext, prove
    from pipeline.maintenance.forget.run import forget, sweep
    from pipeline.maintenance.forget.target import find

    console = Console(stderr=options.json)
    lake, _ = open_lake(options)
    named = bool(options.person or options.image or options.face)
    run_id = new_run_id("forget")
    clear: Cleartext | None = None
    done: Removed | None
    said: dict[str, Any] = {}
    with RunLock(lake.folder, run_id, options.wait):
        stopped = finish_forgetting(lake)
        if named:
            target = find(lake, options.person, options.image, options.face)
            said["forgotten"] = told(target)
            if not options.json:
                show_target(console, target)
            if options.dry_run:
                _print(options, said)
                return 0
            confirm(options)
            done = forget(lake, target, run_id)
            clear = Cleartext(sorted(target.texts()), sorted(target.names), target.blobs())
        else:
            # With --prove alone nothing is changed: what is there is what is told.
            known = bool(stones.load(lake.folder))
            if not known:
                console.print(f"nothing was ever forgotten in {visible(lake.folder.url)}")
            idle = options.prove or stopped or not known
            done = None if idle else sweep(lake, run_id)
        if done is not None:
            said["removed"] = vars(done)
            if not options.json:
                show_done(console, lake, done)
        proof = prove(lake, stones.load(lake.folder), clear) if options.prove else None
    if proof is not None:
        said["proof"] = {"files": proof.files, "rows": proof.rows, "left": proof.findings}
        if not options.json:
            show_proof(console, lake, proof)
    _print(options, said)
    return EXIT_UNSOUND if proof is not None and proof.findings else 0


def _print(options: argparse.Namespace, said: dict[str, Any]) -> None:
    if options.json:
        print(json.dumps(said, indent=2))


def told(target: "Target") -> dict[str, Any]:
    """Return what a target holds, in numbers."""
    return {
        "persons": len(target.persons),
        "photos": len(target.images),
        "faces": len(target.faces),
        "copies": len(target.copies),
    }


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
    print("This cannot be undone. Type yes to go on: ", end="", flush=True, file=sys.stderr)
    if input().strip().lower() != "yes":
        raise ConfigError("Nothing was forgotten")


def show_done(console: Console, lake: Lake, done: "Removed") -> None:
    """Print what was removed, and what to run next."""
    table = Table(title=f"forgotten in {visible(lake.folder.url)}", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("parts rewritten", f"{done.parts:,}")
    table.add_row("faces out of clusters", f"{done.clustered:,}")
    table.add_row("corrections removed", f"{done.corrections:,}")
    table.add_row("rows of duplicates", f"{done.duplicates:,}")
    if done.vectors:
        table.add_row("vectors of pictures", f"{done.vectors:,}")
    table.add_row("vector index", done.index or "not concerned")
    table.add_row("report", "removed" if done.report else "there was none")
    table.add_row("manifests of runs changed", f"{done.runs:,}")
    if done.leftovers:
        table.add_row("leftovers removed", f"{done.leftovers:,}")
    known = stones.load(lake.folder)
    kinds = {"face": known.faces, "image": known.images, "person": known.persons}
    in_all = ", ".join(f"{len(keys):,} {kind}" for kind, keys in kinds.items() if keys)
    table.add_row("tombstones in all", in_all or "none")
    console.print(table)
    again = [
        *(["facelake search-index"] if done.index else []),
        *(["facelake dedupe"] if done.duplicates else []),
        *(["facelake report"] if done.report else []),
    ]
    if again:
        console.print(f"to make again what was removed whole: {', '.join(again)}")


def show_proof(console: Console, lake: Lake, proof: "Proof") -> None:
    """Print what a search for what should be gone came to."""
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
