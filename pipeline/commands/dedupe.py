"""`facelake dedupe`: which pictures of a lake are copies, and what may be done about them."""

import argparse
import json
import os
import time
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.commands.progress import duration
from pipeline.commands.tasks import add_task_options, new_run_id, on_ray, open_lake, tasks
from pipeline.dedupe import plans, removal
from pipeline.dedupe.algorithms.settings import RULES, DedupeConfig
from pipeline.dedupe.duplicates import Duplicates
from pipeline.dedupe.lookup import look_up, read_probe
from pipeline.dedupe.run import Run
from pipeline.dedupe.tables import BURST, COPIES, KEPT
from pipeline.errors import ConfigError, StorageError
from pipeline.lake.lake import Lake
from pipeline.lake.lock import RunLock
from pipeline.lake.manifest import read_config, versions
from pipeline.storage.folder import Folder, parse_options, split_file, visible

# Below it, starting Ray takes longer than the work.
IMAGES_FOR_RAY = 300_000
ROW_BYTES = 250  # of a row of `images` in a file, about
SHOWN = 10


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "dedupe",
        help="find copies of pictures, and move them aside if asked to",
        description="Find exact and near copies among the pictures of a lake, and say which one "
        "of them to keep and why. Nothing is moved unless --apply asks for it, and nothing is ever "
        "deleted. Run again after `facelake index`: only what is new is searched for.",
    )
    parser.add_argument("lake", metavar="LAKE", help="path or URL of the lake")
    config = DedupeConfig()
    what = parser.add_argument_group("what counts as a copy")
    what.add_argument(
        "--radius", type=int, default=config.radius, metavar="BITS",
        help="bits of 256 by which the hashes of copies may differ; default: %(default)s",
    )  # fmt: skip
    what.add_argument(
        "--mirrored", action="store_true", help="also copies with left and right exchanged"
    )
    what.add_argument(
        "--rotated", action="store_true", help="also copies turned by 90, 180 or 270 degrees"
    )
    what.add_argument(
        "--crops", action="store_true",
        help="also parts of pictures, by a face that both show in the same geometry",
    )  # fmt: skip
    what.add_argument(
        "--embedding", metavar="MODEL",
        help="also pictures that are alike by an image embedding: path of an ONNX file with a "
        "card, as for `index --embedder`; the originals are read once",
    )  # fmt: skip
    what.add_argument(
        "--embedding-cosine", type=float, default=config.model_cosine, metavar="COSINE",
        help="from which its vectors are one picture; default: %(default)s",
    )  # fmt: skip
    what.add_argument(
        "--burst-seconds", type=float, default=config.burst_s, metavar="S",
        help="shots of one camera at most this far apart are a burst; 0: no bursts, and other "
        "times of one camera do not keep pictures from being copies; default: %(default)s",
    )  # fmt: skip
    keep = parser.add_argument_group("what is kept")
    keep.add_argument(
        "--prefer", default=",".join(config.prefer), metavar="RULES",
        help="what decides, first the most important: "
        + "; ".join(f"{rule}: {words}" for rule, words in RULES.items())
        + "; default: %(default)s",
    )  # fmt: skip
    keep.add_argument(
        "--reference", action="append", default=[], metavar="FOLDER",
        help="folder, archive or URL whose pictures are always kept; may be repeated",
    )  # fmt: skip
    keep.add_argument(
        "--max-group", type=int, default=config.max_group, metavar="N",
        help="pictures of one group, the nearest to the kept one; default: %(default)s",
    )  # fmt: skip
    do = parser.add_argument_group("what is done")
    do.add_argument("--full", action="store_true", help="search all again, not only what is new")
    do.add_argument(
        "--image", metavar="PHOTO", help="only tell which pictures of the lake are copies of this"
    )
    do.add_argument("--json", action="store_true", help="with --image: as JSON")
    do.add_argument(
        "--plan", metavar="FILE",
        help="write what may go to a .csv, or a .sh that moves it aside",
    )  # fmt: skip
    do.add_argument(
        "--apply", nargs=2, metavar=("move", "FOLDER"),
        help="move what may go into a folder, each file after its bytes and those of the kept "
        "one were checked again",
    )  # fmt: skip
    do.add_argument(
        "--kinds", default=",".join(COPIES), metavar="KINDS",
        help="what --plan and --apply act on; default: %(default)s",
    )  # fmt: skip
    do.add_argument("--undo", metavar="LOG", help="move back what --apply moved")
    add_task_options(parser, IMAGES_FOR_RAY, "images")
    parser.set_defaults(func=run)


def dedupe_config(options: argparse.Namespace) -> DedupeConfig:
    """Return the checked config that the options ask for.

    Raises:
        ConfigError: an option out of its range.
    """
    return DedupeConfig(
        radius=options.radius,
        mirrored=options.mirrored,
        rotated=options.rotated,
        crops=options.crops,
        model=options.embedding,
        model_cosine=options.embedding_cosine,
        prefer=tuple(filter(None, options.prefer.replace(" ", "").split(","))),
        reference=tuple(dict.fromkeys(p for one in options.reference for p in both_paths(one))),
        burst_s=options.burst_seconds,
        max_group=options.max_group,
        full=options.full,
    )


def both_paths(text: str) -> tuple[str, ...]:
    """Return a folder as it is given, and with its links resolved."""
    if not text:
        return ("",)
    url = Folder(text).url
    return (url,) if "://" in url else (url, os.path.realpath(url))


def chosen_kinds(text: str) -> tuple[str, ...]:
    """Return the kinds of copies that a list names.

    Raises:
        ConfigError: there is no such kind.
    """
    kinds = tuple(filter(None, text.replace(" ", "").split(",")))
    unknown = [kind for kind in kinds if kind not in COPIES]
    if unknown or not kinds:
        raise ConfigError(f"--kinds {text}: choose from {', '.join(COPIES)}; bursts are no copies")
    return kinds


def run(options: argparse.Namespace) -> int:
    """Search, print what was found, do what was asked for, and return the exit code."""
    config, kinds = dedupe_config(options), chosen_kinds(options.kinds)
    if options.apply and options.apply[0] != "move":
        raise ConfigError(f"--apply {options.apply[0]}: the only thing to do is move FOLDER")
    if options.plan and not options.plan.endswith((".csv", ".sh")):
        raise ConfigError(f"--plan {options.plan}: name a file that ends in .csv or .sh")
    if options.image and (options.plan or options.apply or options.undo):
        raise ConfigError("--image only tells; give --plan, --apply or --undo without it")
    console = Console()
    lake, _ = open_lake(options)
    if options.image:
        show_copies(console, look_up(lake, read_probe(options.image, lake.folder.options), config),
                    options.json)  # fmt: skip
        return 0
    if options.undo:
        return tell(console, "moved back", removal.undo(options.undo, lake.folder.options))
    duplicates = Duplicates(lake)
    target = Folder(options.apply[1], lake.folder.options) if options.apply else None
    if target:
        removal.refuse_target(duplicates, target)
    search(console, options, config, duplicates)
    if options.plan or target:
        found = plans.copies(duplicates, kinds)
        if options.plan:
            text = plans.as_csv(found) if options.plan.endswith(".csv") else (
                plans.as_script(found)
            )  # fmt: skip
            folder, name = split_file(options.plan, parse_options(options.storage_option))
            folder.publish(name, text.encode(errors="surrogateescape"))
            console.print(f"{len(found):,} copies planned in {visible(options.plan)}",
                          highlight=False, markup=False, soft_wrap=True)  # fmt: skip
        if target:
            moving = new_run_id("moved")
            with RunLock(lake.folder, moving, options.wait):
                return tell(
                    console,
                    "moved",
                    removal.move(found, target, f"{moving}.jsonl", read_config(lake)),
                )
    return 0


def search(
    console: Console, options: argparse.Namespace, config: DedupeConfig, duplicates: Duplicates
) -> None:
    """Look for duplicates and print what was found."""
    lake = duplicates.lake
    began = time.monotonic()
    run_id = new_run_id("dedupe")
    file_bytes = sum(lake.folder.child("images").files().values())
    ray = on_ray(options.ray, file_bytes, IMAGES_FOR_RAY * ROW_BYTES)
    with tasks(options, console, lake, run_id, ray) as (mapper, progress):
        about = Run(duplicates, config, mapper, run_id, progress).dedupe()
        seconds = time.monotonic() - began
        facts = {k: v for k, v in about.items() if k != "parts"}
        lake.publish_json(
            f"runs/{run_id}.json",
            {"run_id": run_id, "command": "dedupe", "status": "done", "seconds": seconds,
             "versions": versions(), **facts},
        )  # fmt: skip
    show(console, lake, about, seconds)


def show(console: Console, lake: Lake, about: dict[str, Any], seconds: float) -> None:
    """Print what was found."""
    kinds = about["kinds"]
    table = Table(title=Text(f"duplicates in {visible(lake.folder.url)}"), show_header=False)
    copies = sum(kinds.get(kind, 0) for kind in COPIES)
    size = about["bytes_of_copies"]
    table.add_row("pictures", f"{about['images']:,}, {about['new_images']:,} of them new")
    table.add_row("groups of copies", f"{kinds.get(KEPT, 0):,}")
    table.add_row("copies", f"{copies:,}, {size / 1e6:,.1f} MB")
    for kind in COPIES:
        if kinds.get(kind):
            table.add_row(f"  {kind}", f"{kinds[kind]:,}")
    if kinds.get(BURST):
        table.add_row("shots in bursts", f"{kinds[BURST]:,}, all kept")
    table.add_row("time", duration(seconds))
    console.print(table)
    if copies:
        console.print(
            f"see them with `facelake dedupe {visible(lake.folder.url)} --plan copies.csv`",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip


def show_copies(console: Console, found: list[dict[str, Any]], as_json: bool) -> None:
    """Print the copies of one picture."""
    if as_json:
        print(json.dumps(found, indent=2, default=str))
        return
    if not found:
        console.print("no copy of it in the lake")
        return
    table = Table("kind", "bits", "size", "bytes", "where")
    for row in found[:SHOWN]:
        size = f"{row['width']} x {row['height']}" if row["width"] else ""
        where = Text(visible(row["uri"]), overflow="fold")
        table.add_row(row["kind"], str(row["distance"]), size, f"{row['bytes']:,}", where)
    if len(found) > SHOWN:
        table.caption = f"{len(found):,} copies, {SHOWN} shown; --json gives all"
    console.print(table)


def tell(console: Console, done: str, result: removal.Moved) -> int:
    """Print what became of files, and return the exit code."""
    lines = [f"{result.moved:,} files {done}, {result.bytes / 1e6:,.1f} MB"]
    lines += [f"  {count:,} left: {why}" for why, count in result.skipped.most_common()]
    if done == "moved" and result.log:
        lines.append(f"undo it with --undo {visible(result.log)}")
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
    return StorageError.exit_code if result.failed else 0
