"""`facelake runs`: what was done to a lake, when, how, and what came of it."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE
from rich.table import Column, Table

from pipeline.commands import options as opt
from pipeline.commands.output import Terminal, duration, say, show_facts, tell
from pipeline.library import Lake
from pipeline.maintenance.runs import LAST, differences, flat
from pipeline.storage.folder import visible

# Figures that say what came of a run, by command and in order; the rest is told by `show`.
RESULTS = (
    ("images", "photos"), ("new_images", "new photos"), ("faces", "faces"),
    ("new_faces", "new faces"), ("people", "people"), ("queries", "queries"),
)  # fmt: skip
LONGEST = 200
A_RUN = f"an id, the beginning of one, `{LAST}`, or `{LAST}-` and a command, as in `{LAST}-cluster`"


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "runs",
        help="list what was done to a lake, show a run, or compare two",
        description="List the runs of a lake, the last first; show all that the manifest of one "
        f"says; or list in what two differ. RUN is {A_RUN}.",
    )
    opt.add_lake(parser)
    actions = parser.add_subparsers(metavar="ACTION")
    for name, takes, what in (
        ("list", (), "list all runs"), ("show", ("run",), "show one"),
        ("diff", ("run", "other"), "list in what two differ"),
    ):  # fmt: skip
        action = actions.add_parser(name, help=what, description=what)
        for argument in takes:
            action.add_argument(argument, metavar="RUN", help=A_RUN)
        action.add_argument("--json", action="store_true", help="print JSON")
        action.set_defaults(action=name)
    opt.add_storage_options(parser)
    parser.set_defaults(func=run, action="list", json=False)


def run(options: argparse.Namespace) -> int:
    """Do what the options say; return the exit code."""
    lake = opt.open_lake(options)
    if options.action == "list":
        _list(lake, options.json)
    elif options.action == "show":
        about = lake.run(options.run)
        if options.json:
            tell(json.dumps(about, indent=2))
        else:
            facts = {name: visible(_text(value)) for name, value in flat(about)}
            show_facts(Terminal(), about["run_id"], facts)
    else:
        _diff(lake.run(options.run), lake.run(options.other), options.json)
    return 0


def _list(lake: Lake, as_json: bool) -> None:
    runs = lake.runs()
    if as_json:
        tell(json.dumps(runs, indent=2))
        return
    if not runs:
        tell(f"Nothing was done to {visible(lake.url)} yet")
        return
    whole = (Column(name, no_wrap=True) for name in ("run", "started", "took"))
    table = Table(*whole, "result", box=SIMPLE)
    for about in runs:
        took = about.get("seconds")
        table.add_row(
            visible(about["run_id"]), visible(about["started"][:16].replace("T", " ")),
            "" if took is None else duration(took), visible(_result(about)),
        )  # fmt: skip
    Terminal().print(table)


def _result(about: Mapping[str, Any]) -> str:
    """Return in a line what came of a run."""
    status = str(about.get("status", ""))
    told = [] if status in ("finished", "done") else [status]
    told += [f"{about[name]:,} {word}" for name, word in RESULTS
             if isinstance(about.get(name), int)]  # fmt: skip
    errors = about.get("errors")
    told += [f"{count:,} {code}" for code, count in errors.items()] if errors else []
    return ", ".join(told)


def _diff(one: Mapping[str, Any], other: Mapping[str, Any], as_json: bool) -> None:
    found = differences(one, other)
    if as_json:
        tell(json.dumps(found, indent=2))
        return
    console = Terminal()
    if not found:
        say(console, f"{visible(one['run_id'])} and {visible(other['run_id'])} are alike")
        return
    titles = (Column(visible(name), overflow="fold") for name in
              ("", one["run_id"], other["run_id"]))  # fmt: skip
    table = Table(*titles, box=SIMPLE)
    for name, values in found.items():
        told = ("" if value is None else visible(_text(value)) for value in values)
        table.add_row(visible(name), *told)
    console.print(table)


def _text(value: Any) -> str:
    """Return a fact in a line, cut where it is long."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
