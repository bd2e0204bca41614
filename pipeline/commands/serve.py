"""`facelake serve`: an API that tells who is on photos, in real time."""

import argparse
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.commands import options as opt
from pipeline.commands.output import tell
from pipeline.errors import ConfigError, needs_extra
from pipeline.storage.folder import Folder, visible
from pipeline.web.serve.settings import ServeConfig

LEAST_TOKEN = 16


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "serve",
        help="tell who is on photos over HTTP, in real time",
        description="Serve an API on this machine that tells who is on a photo, by a model of "
        "`facelake train`, and whether two photos show one person. Answers are JSON. Requests "
        "need the printed token. Photos are neither kept nor logged. See docs/serve.md.",
    )
    parser.add_argument("--model", required=True, metavar="MODEL_DIR", help="of `facelake train`")
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE",
        help=f"holds the token, at least {LEAST_TOKEN} characters; default: a new one, printed",
    )  # fmt: skip
    opt.add_config_options(parser, ServeConfig)
    opt.add_own_embedder_options(parser)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Serve until interrupted."""
    token = _token(options.token_file)
    asked = opt.config_of(ServeConfig, options, token=token or secrets.token_urlsafe(32))
    with needs_extra("review", "Serving needs"):
        from pipeline.web.http.server import listening
        from pipeline.web.serve.server import serve
        from pipeline.web.serve.service import Service
    from pipeline.training.classify import Classifier
    from pipeline.training.model import load_model

    folder = Folder(options.model, opt.storage_of(options))
    model, weights = load_model(folder), opt.weight_store(options)
    name = visible(folder.url.rstrip("/").rpartition("/")[2])
    with listening(asked.host, asked.port) as listener:
        config = replace(asked, port=listener.getsockname()[1])
        service = Service(
            name, model, config, lambda: Classifier(model, options.embedder, weights)
        )  # fmt: skip
        shown = f"in {visible(str(options.token_file))}" if token else config.token
        tell(f"Serving {name} at {config.address}/v1; Ctrl-C ends it\nToken: {shown}")
        serve(service, listener)
    return 0


def _token(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        token = path.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"--token-file {visible(str(path))} cannot be read: {error}") from error
    if len(token) < LEAST_TOKEN or not token.isprintable() or " " in token:
        raise ConfigError(
            f"--token-file {visible(str(path))} has no token; write one of at least {LEAST_TOKEN} "
            "letters and digits into it"
        )
    return token
