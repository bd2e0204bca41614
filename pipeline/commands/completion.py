"""`facelake completion`: a script by which a shell completes commands and options."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import shtab

from pipeline.commands.output import tell

SHELLS = ("bash", "zsh", "fish")
# What the values of options are called that are paths, or may be.
PATHS = frozenset({"A", "ADDRESS", "B", "DIR", "FILE", "FOLDER", "INPUT", "LAKE", "LOG",
                   "MODEL_DIR", "PATH", "PHOTO"})  # fmt: skip


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "completion",
        help="print a script that lets a shell complete commands and options",
        description="Print a script that lets a shell complete commands, options and paths. bash: "
        "facelake completion bash > ~/.local/share/bash-completion/completions/facelake; zsh: "
        "facelake completion zsh > a file _facelake in a folder of $fpath; fish: facelake "
        "completion fish > ~/.config/fish/completions/facelake.fish.",
    )
    parser.add_argument("shell", choices=SHELLS, help="for which shell")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    from pipeline.commands.main import parser  # which imports this module

    root = parser()
    for action in _actions(root):
        if action.type is Path or action.metavar in PATHS:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    tell(shtab.complete(root, shell=options.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _actions(child)
