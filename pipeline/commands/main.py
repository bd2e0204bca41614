"""Entry point of the `facelake` command."""

import argparse
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from pipeline import __version__
from pipeline.commands import (
    check,
    classify,
    cluster,
    completion,
    dedupe,
    demo,
    doctor,
    evaluate,
    export_vectors,
    forget,
    identify,
    index,
    people,
    plan,
    prune,
    report,
    review,
    runs,
    schema,
    search,
    search_index,
    serve,
    stats,
    train,
    verify,
    weights,
)
from pipeline.commands.output import Lines, tell, visible_lines
from pipeline.errors import EXIT_INTERRUPTED, FacelakeError


class Parser(argparse.ArgumentParser):
    """A parser whose errors name arguments, which a shell made of names of files."""

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """End, with a message fit for a terminal."""
        super().exit(status, visible_lines(message) if message else None)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    root = Parser(
        prog="facelake", description="Turn photo archives of any size into tables of faces."
    )
    root.add_argument("--version", action="version", version=f"facelake {__version__}")
    commands = root.add_subparsers(metavar="COMMAND", required=True)
    for command in (
        index, plan, cluster, people, review, dedupe, report, search, search_index, identify,
        export_vectors, verify, train, classify, serve, evaluate, check, prune, forget, weights,
        schema, runs, stats, doctor, completion, demo,
    ):  # fmt: skip
        command.add_parser(commands)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; errors become one message."""
    options = parser().parse_args(arguments)
    verbose = bool(getattr(options, "verbose", False))
    handler = logging.StreamHandler()
    handler.setFormatter(Lines("%(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])
    # Names of files may hold bytes that are no text: show them escaped instead of failing.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = int(options.func(options))
        sys.stdout.flush()
        return code
    except FacelakeError as error:
        if verbose:
            logging.getLogger(__name__).exception("details")
        tell(f"facelake: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `facelake ... | head`; what is left to print has no reader
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except KeyboardInterrupt:
        tell("facelake: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
