"""`facelake review`: pages in the browser for looking at people and correcting them."""

import argparse
import os
import secrets
import sys
import webbrowser
from typing import Any

from pipeline.commands import options as opt
from pipeline.commands.output import tell
from pipeline.errors import ConfigError
from pipeline.people import People
from pipeline.storage.folder import visible


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "review",
        help="look at people and correct them in the browser",
        description="Serve pages on this machine to name people, merge and split them, move and "
        "reject faces, answer doubtful cases with one key, look at duplicates, and search by "
        "dropping a picture. Every action is a correction in the lake at once and can be taken "
        "back. The printed address holds a secret token: who has it can see and change everything.",
    )
    opt.add_lake(parser)
    parser.add_argument("--port", type=int, default=0, metavar="N", help="default: a free one")
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS",
        help="interface to listen on; others than this machine's own need --allow-host; default: "
        "%(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME",
        help="name by which a reverse proxy is reached, see docs/review.md; may be repeated",
    )  # fmt: skip
    parser.add_argument("--read-only", action="store_true", help="show, but change nothing")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    opt.add_own_embedder_options(parser)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Serve until interrupted."""
    lake = opt.open_lake(options).store
    if People(lake).current() is None:
        raise ConfigError(
            f"There are no people yet in {lake.folder.url}; run facelake cluster {lake.folder.url}"
        )
    try:
        from pipeline.web.review.server import listening, serve
    except ImportError as error:
        raise ConfigError(
            f"The review page needs {error.name}; pip install 'facelake[review]'"
        ) from error
    from pipeline.web.review.settings import ReviewConfig
    from pipeline.web.review.state import Review

    token, allowed = secrets.token_urlsafe(32), tuple(options.allow_host)
    ReviewConfig(token, options.host, options.port, allowed)  # refuse before the port is taken
    with listening(options.host, options.port) as listener:
        port = listener.getsockname()[1]
        config = ReviewConfig(token, options.host, port, allowed, options.read_only)
        storage, weights = opt.storage_of(options), opt.weight_store(options)
        review = Review(lake, config, storage, weights, options.embedder)
        review.snapshot()
        name = f"[{options.host}]" if ":" in options.host else options.host
        address = f"http://{name}:{port}/?token={token}"

        def ready() -> None:
            tell(f"Reviewing {visible(lake.folder.url)}; Ctrl-C ends it\n{address}")
            if not options.no_browser and sys.stdout.isatty() and _has_display():
                webbrowser.open(address)

        serve(review, listener, ready)
    return 0


def _has_display() -> bool:
    return sys.platform == "darwin" or any(
        os.environ.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY")
    )
