"""`facelake classify`: who is on photos, or on all photos of a lake, by a trained model."""

import argparse
import json
from dataclasses import asdict
from typing import Any

from pipeline.commands import options as opt
from pipeline.commands.output import Terminal, show_facts, tell
from pipeline.commands.progress import steps
from pipeline.errors import ConfigError
from pipeline.storage.folder import visible


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "classify",
        help="tell who is on photos by a trained model",
        description="Tell who each face of photos is, by a model of `facelake train`, or that it "
        "is nobody whom the model knows. With --lake every face of a lake is told, and the table "
        "`predictions` of the lake is made anew.",
    )
    parser.add_argument("photos", nargs="*", metavar="PHOTO", help="path or URL of a photo")
    parser.add_argument("--model", required=True, metavar="MODEL_DIR", help="of `facelake train`")
    parser.add_argument("--lake", metavar="LAKE", help="a lake instead of photos")
    parser.add_argument("--json", action="store_true", help="print JSON")
    opt.add_wait_option(parser)
    opt.add_own_embedder_options(parser)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Classify and print; return the exit code."""
    if bool(options.photos) == (options.lake is not None):
        raise ConfigError("Give either photos, or a lake with --lake")
    return _photos(options) if options.photos else _lake(options)


def _photos(options: argparse.Namespace) -> int:
    from pipeline.training.classify import classify

    results = classify(
        options.photos, options.model, embedder=options.embedder,
        weights=opt.weight_store(options), storage_options=opt.storage_of(options),
    )  # fmt: skip
    if options.json:
        tell(json.dumps([asdict(one) for one in results], indent=2))
    else:
        for one in results:
            if one.error is not None:
                tell(one.error)
            elif not one.faces:
                tell(f"{one.photo}: no face was found")
            for face in one.faces:
                who = "nobody it knows" if face.person is None else visible(face.person)
                place = " ".join(f"{edge:.0f}" for edge in face.box)
                tell(f"{one.photo}: {who}, probability {face.probability:.3f}, box {place}")
    return ConfigError.exit_code if any(one.error for one in results) else 0


def _lake(options: argparse.Namespace) -> int:
    lake, console = opt.open_lake(options), Terminal(stderr=options.json)
    with steps(console) as progress:
        figures = lake.classify(options.model, wait=options.wait, progress=progress)
    if options.json:
        tell(json.dumps(figures, indent=2))
        return 0
    facts = {name: f"{figures[name]:,}" for name in ("faces", "named", "nobody")}
    show_facts(console, f"predictions of {lake.url}", facts)
    return 0
