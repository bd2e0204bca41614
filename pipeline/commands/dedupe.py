"""`facelake dedupe`: which pictures of a lake are copies, and what may be done about them."""

import argparse
import json
import time
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.commands import options as opt
from pipeline.commands.output import Terminal, duration, say, show_facts, tell
from pipeline.commands.progress import steps
from pipeline.dedupe import plans
from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.dedupe.gather import with_links
from pipeline.dedupe.removal import Moved
from pipeline.dedupe.tables import BURST, COPIES, KEPT
from pipeline.errors import ConfigError, StorageError
from pipeline.library import DEDUPE_IMAGES_FOR_RAY, Lake
from pipeline.storage.folder import split_file, visible

SHOWN = 10


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "dedupe",
        help="find copies of pictures, and move them aside if asked to",
        description="Find exact and near copies among the pictures of a lake, and say which one "
        "of them to keep and why. Nothing is moved unless --apply asks for it, and nothing is ever "
        "deleted. --plan and --apply act on the last decision and its options, and refuse when the "
        "lake has changed since. Run again after `facelake index`: only what is new is searched "
        "for.",
    )
    opt.add_lake(parser)
    opt.add_config_options(parser, DedupeConfig)
    actions = parser.add_argument_group("what is done")
    actions.add_argument(
        "--image",
        metavar="PHOTO",
        help="only list the pictures of the lake that are copies of this",
    )
    actions.add_argument("--json", action="store_true", help="with --image: as JSON")
    actions.add_argument(
        "--plan", metavar="FILE",
        help="write what may go to a .csv, or a .sh that moves it aside",
    )  # fmt: skip
    actions.add_argument(
        "--apply", nargs=2, metavar=("move", "FOLDER"),
        help="move what may go into a folder, each file after its bytes and those of the kept "
        "one were checked again",
    )  # fmt: skip
    actions.add_argument(
        "--kinds", type=opt.comma_separated, default=COPIES, metavar="KINDS",
        help=f"what --plan and --apply act on; default: {','.join(COPIES)}",
    )  # fmt: skip
    actions.add_argument(
        "--not-a-copy", nargs="+", metavar="PHOTO",
        help="say that photos are no copies of the rest of their groups, for this and all later "
        "searches; taken back with `facelake people LAKE undo`",
    )  # fmt: skip
    actions.add_argument(
        "--keep", metavar="PHOTO",
        help="say that of its copies this photo is kept, for this and all later searches; taken "
        "back with `facelake people LAKE undo`",
    )  # fmt: skip
    actions.add_argument("--undo", metavar="LOG", help="move back what --apply moved")
    opt.add_task_options(parser, DEDUPE_IMAGES_FOR_RAY, "images")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Find copies, print the figures, plan or move if asked to, and return the exit code."""
    values = opt.values_of(DedupeConfig, options)
    check(options)
    console, lake = Terminal(), opt.open_lake(options)
    if options.image:
        show_copies(console, lake.copies_of(options.image, **values), options.json)
        return 0
    if options.undo:
        return show_moved(console, "moved back", lake.undo_move(options.undo))
    if options.not_a_copy or options.keep:
        kept = options.keep
        said = lake.keep(kept) if kept else lake.not_a_copy(*options.not_a_copy)
        say(console, f"noted as {said.constraint_id}; undo it with facelake people LAKE undo")
    if options.apply:
        lake.check_target(options.apply[1])
    if must_decide(lake, options):
        began = time.monotonic()
        with steps(console) as progress:
            about = lake.dedupe(ray=options.ray, wait=options.wait, progress=progress, **values)
        show(console, lake.url, about, time.monotonic() - began)
    if options.plan or options.apply:
        say(console, f"acting on {lake.decision()}")
    if options.plan:
        write_plan(console, lake, options)
    if options.apply:
        moved = lake.move_copies(options.apply[1], options.kinds, wait=options.wait)
        return show_moved(console, "moved", moved)
    return 0


def check(options: argparse.Namespace) -> None:
    """Refuse options that do not go together before anything is done.

    Raises:
        ConfigError: says which.
    """
    plans.checked_kinds(options.kinds)
    if options.apply and options.apply[0] != "move":
        raise ConfigError(f"--apply {options.apply[0]}: the only thing to do is move FOLDER")
    if options.plan and not options.plan.endswith((".csv", ".sh")):
        raise ConfigError(f"--plan {options.plan}: name a file that ends in .csv or .sh")
    acts = options.plan or options.apply or options.undo
    says = options.not_a_copy or options.keep
    if options.not_a_copy and options.keep:
        raise ConfigError("Give --not-a-copy and --keep one after the other")
    if options.image and (acts or says):
        raise ConfigError("--image only tells; give the other actions without it")
    if says and acts:
        raise ConfigError(
            "--not-a-copy and --keep change what is a copy; look at what is found then, before "
            "--plan, --apply or --undo"
        )


def must_decide(lake: Lake, options: argparse.Namespace) -> bool:
    """Return whether to decide anew: what was reviewed is what is planned and moved.

    Raises:
        ConfigError: `--apply` with other options than those of the decision that was reviewed.
    """
    decision = lake.decision()
    if decision is None or not (options.plan or options.apply):
        return True
    config = opt.config_of(DedupeConfig, options)
    config = replace(config, reference=with_links(config.reference))
    if config == DedupeConfig():  # no option was given: those of the decision hold
        return False
    if options.apply and config != decision.config:
        raise ConfigError(
            f"These options are not those of {decision}; run facelake dedupe with them first, look "
            "at what it finds, and then --apply it without them"
        )
    return not options.apply


def write_plan(console: Console, lake: Lake, options: argparse.Namespace) -> None:
    """Write what may go to a file."""
    copies = lake.copies(options.kinds)
    write = plans.as_csv if options.plan.endswith(".csv") else plans.as_script
    folder, name = split_file(options.plan, opt.storage_of(options))
    folder.publish(name, write(copies).encode(errors="surrogateescape"))
    say(console, f"{len(copies):,} copies planned in {options.plan}")


def show(console: Console, lake: str, about: dict[str, Any], seconds: float) -> None:
    """Print the figures of the run."""
    kinds = about["kinds"]
    copies = sum(kinds.get(kind, 0) for kind in COPIES)
    size = about["bytes_of_copies"]
    facts = {
        "pictures": f"{about['images']:,}, {about['new_images']:,} of them new",
        "groups of copies": f"{kinds.get(KEPT, 0):,}",
        "copies": f"{copies:,}, {size / 1e6:,.1f} MB",
        **{f"  {kind}": f"{kinds[kind]:,}" for kind in COPIES if kinds.get(kind)},
    }
    if about.get("unconfirmed_pairs"):
        facts["near, but no copies"] = f"{about['unconfirmed_pairs']:,} pairs looked at again"
    if about.get("unread_pictures"):
        facts["not read again"] = f"{about['unread_pictures']:,}, no copies of anything near"
    if kinds.get(BURST):
        facts["shots in bursts"] = f"{kinds[BURST]:,}, all kept"
    show_facts(console, f"duplicates in {lake}", facts | {"time": duration(seconds)})
    if copies:
        say(console, f"see them with `facelake dedupe {lake} --plan copies.csv`")


def show_copies(console: Console, copies: list[dict[str, Any]], as_json: bool) -> None:
    """Print the copies of one picture."""
    if as_json:
        tell(json.dumps(copies, indent=2, default=str))
        return
    if not copies:
        console.print("no copy of it in the lake")
        return
    table = Table("kind", "bits", "size", "bytes", "where")
    for row in copies[:SHOWN]:
        size = f"{row['width']} x {row['height']}" if row["width"] else ""
        where = Text(visible(row["uri"]), overflow="fold")
        table.add_row(row["kind"], str(row["distance"]), size, f"{row['bytes']:,}", where)
    if len(copies) > SHOWN:
        table.caption = f"{len(copies):,} copies, {SHOWN} shown; --json gives all"
    console.print(table)


def show_moved(console: Console, action: str, result: Moved) -> int:
    """Print how many files were moved, and which not, and return the exit code."""
    more = f", with {result.companions:,} that belong to them" if result.companions else ""
    say(console, f"{result.moved:,} files {action}, {result.bytes / 1e6:,.1f} MB{more}")
    for why, count in result.skipped.most_common():
        say(console, f"  {count:,} left: {why}")
    if action == "moved" and result.log:
        say(console, f"undo it with --undo {result.log}")
    return StorageError.exit_code if result.failed else 0
