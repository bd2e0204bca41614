"""`facelake review`: pages in the browser for looking at people and correcting them."""

import argparse
import os
import secrets
import sys
import webbrowser
from dataclasses import replace
from typing import Any

from pipeline.commands import options as opt
from pipeline.commands.output import tell
from pipeline.errors import ConfigError, needs_extra
from pipeline.imaging.memory import share_heaps
from pipeline.people import People
from pipeline.storage.folder import visible
from pipeline.web.review.settings import ReviewConfig


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
    opt.add_config_options(parser, ReviewConfig)
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    opt.add_own_embedder_options(parser)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Serve until interrupted."""
    share_heaps()
    lake = opt.open_lake(options).store
    if People(lake).current() is None:
        raise ConfigError(
            f"There are no people yet in {lake.folder.url}; run facelake cluster {lake.folder.url}"
        )
    with needs_extra("review", "The review page needs"):
        from pipeline.web.http.server import listening
        from pipeline.web.review.server import serve
    from pipeline.web.review.state import Review

    asked = opt.config_of(ReviewConfig, options, token=secrets.token_urlsafe(32))
    with listening(asked.host, asked.port) as listener:
        config = replace(asked, port=listener.getsockname()[1])
        storage, weights = opt.storage_of(options), opt.weight_store(options)
        review = Review(lake, config, storage, weights, options.embedder)
        review.snapshot()
        address = f"{config.address}/?token={config.token}"

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
