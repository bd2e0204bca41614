"""`facelake weights`: which models there are, fetching their weights, checking them."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import JustifyMethod
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from pipeline.commands.output import Terminal, tell
from pipeline.errors import ConfigError, WeightsError
from pipeline.models.cards.card import ModelCard, find_card, known_cards
from pipeline.models.weights.store import WeightStore


def add_parser(subparsers: Any) -> None:
    """Add `weights` to the subcommands of argparse."""
    summary = "list, fetch and verify the weights of models"
    parser = subparsers.add_parser("weights", help=summary, description=summary)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--weights-dir",
        type=Path,
        metavar="DIR",
        help="cache (default: $FACELAKE_HOME/weights, else ~/.cache/facelake/weights)",
    )
    common.add_argument(
        "--weights-url",
        metavar="URL",
        help="mirror or folder that holds the files by name (default: $FACELAKE_WEIGHTS_URL)",
    )
    listing = actions.add_parser("list", parents=[common], help="show the known models")
    listing.add_argument("--json", action="store_true", help="print JSON")
    fetching = actions.add_parser("fetch", parents=[common], help="download weights")
    fetching.add_argument("models", nargs="*", metavar="NAME", help="models by name")
    fetching.add_argument("--all", action="store_true", help="every known model")
    actions.add_parser("verify", parents=[common], help="check all weights that are there")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Do what the options say; return the exit code."""
    store = WeightStore(args.weights_dir, args.weights_url)
    if args.action == "list":
        return _list(store, args.json)
    if args.action == "fetch":
        return _fetch(store, args.models, args.all)
    return _verify(store)


def _list(store: WeightStore, as_json: bool) -> int:
    cards = list(known_cards().values())
    if as_json:
        rows = [
            dataclasses.asdict(card)
            | {
                "folder": None,
                "size": card.size,
                "state": store.state(card),
                "paths": [str(store.location(card, file)) for file in card.files],
            }
            for card in cards
        ]
        tell(json.dumps(rows, indent=2))
        return 0
    table = Table(
        box=SIMPLE,
        padding=(0, 1, 0, 0),
        caption=f"cache: {store.directory}",
        caption_justify="left",
    )
    for heading in ("name", "kind", "licence", "dim.", "size", "state", "accuracy"):
        side: JustifyMethod = "right" if heading in {"dim.", "size"} else "left"
        table.add_column(heading, justify=side, no_wrap=heading in {"name", "size", "state"})
    for card in cards:
        size = f"{card.size / 1e6:.1f} MB" if card.size else "?"
        dimension = str(card.dimension or "")
        state = store.state(card)
        accuracy = card.accuracy.split(" (")[0].split(";")[0]  # --json has the whole text
        table.add_row(card.name, card.kind, card.licence, dimension, size, state, accuracy)
    Terminal().print(table)
    return 0


def _fetch(store: WeightStore, names: list[str], everything: bool) -> int:
    if bool(names) == everything:
        raise ConfigError(f"Name models ({', '.join(known_cards())}), or give --all, not both")
    # one that has to be made by hand is fetched by nobody
    every = [card for card in known_cards().values() if card.bundled or card.files[0].url]
    cards = every if everything else [find_card(name) for name in names]
    for card, paths in fetch_cards(store, cards):
        tell(f"{card.name}: {', '.join(map(str, paths))}")
    return 0


def fetch_cards(
    store: WeightStore, cards: Sequence[ModelCard]
) -> list[tuple[ModelCard, tuple[Path, ...]]]:
    """Return the checked files of each model, downloaded if needed, with a bar on a terminal.

    Raises:
        WeightsError: a file cannot be downloaded, or is not the right one.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    console = Terminal(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bars:
        return [(card, _fetch_one(store, card, bars)) for card in cards]


def _fetch_one(store: WeightStore, card: ModelCard, bars: Progress) -> tuple[Path, ...]:
    task = bars.add_task(card.name, total=card.size)

    def show(done: int, total: int | None) -> None:
        bars.update(task, completed=done, total=total)

    paths = store.paths(card, show)
    size = sum(path.stat().st_size for path in paths)
    bars.update(task, completed=size, total=size)
    return paths


def _verify(store: WeightStore) -> int:
    checks = [check for card in known_cards().values() for check in store.verify(card)]
    for check in checks:
        if check.actual is None:
            verdict = "missing"
        elif check.damaged:
            verdict = f"WRONG: SHA-256 {check.actual}, not {check.expected}"
        else:
            verdict = "ok" if check.expected else f"not pinned yet: SHA-256 {check.actual}"
        tell(f"{check.card}: {check.path}: {verdict}")
    return WeightsError.exit_code if any(check.damaged for check in checks) else 0
