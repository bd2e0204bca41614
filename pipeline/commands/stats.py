"""`facelake stats`: what a lake holds, counted."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from pipeline.commands import options as opt
from pipeline.commands.amounts import size
from pipeline.commands.output import Terminal, show_facts, tell
from pipeline.storage.folder import visible

NOT_YET = "not yet: facelake {}"


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "stats",
        help="count what a lake holds",
        description="Count the photos, faces, people and copies of a lake, errors by their codes, "
        "formats, dates, and files and bytes by folder. Only some columns are read.",
    )
    opt.add_lake(parser)
    opt.add_storage_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Count, print, and return the exit code."""
    found = opt.open_lake(options).stats()
    if options.json:
        tell(json.dumps(found, indent=2))
        return 0
    facts = {name: visible(text) for name, text in _facts(found).items()}
    show_facts(Terminal(), found["lake"], facts)
    return 0


def _facts(found: Mapping[str, Any]) -> dict[str, str]:
    photos, people, copies = found["photos"], found["people"], found["copies"]
    facts = {
        "models": f"{found['detector']}, {found['embedder']}",
        "photos": f"{photos['count']:,} in {photos['parts']:,} parts, {size(photos['bytes'])}, "
        f"{photos['pixels'] / 1e6:,.0f} megapixels",
        "with faces": f"{photos['with_faces']:,}: {photos['faces']:,} faces",
        "taken": f"{photos['first_taken']} to {photos['last_taken']}, {photos['dated']:,} photos"
        if photos["dated"]
        else "no photo says when",
        "formats": _counts(photos["formats"]),
        "errors": _counts(photos["errors"]) or "none",
        "gone": f"{found['gone']:,} photos",
        "people": NOT_YET.format("cluster"),
        "copies": NOT_YET.format("dedupe"),
    }
    if people:
        facts["people"] = (
            f"{people['people']:,}, {people['people_of_one_face']:,} of them seen once; "
            f"{people['suggestions']:,} to review, {people['corrections']:,} corrections"
        )
    if copies:
        facts["copies"] = f"{_counts(copies['kinds']) or 'none'}; {size(copies['bytes'])} of copies"
    for name, room in found["folders"].items():
        facts[f"{name}/" if name != "." else "files beside"] = (
            f"{room['files']:,} files, {size(room['bytes'])}"
        )
    return facts


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())
