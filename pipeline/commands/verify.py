"""`facelake verify`: are two photos, or two faces of a lake, one person?"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table

from pipeline.commands import options as opt
from pipeline.commands.output import Terminal, tell
from pipeline.config import DEFAULT_EMBEDDER, IndexConfig
from pipeline.errors import ConfigError
from pipeline.library import Lake
from pipeline.options import default_of
from pipeline.search.settings import VerifyConfig
from pipeline.storage.folder import visible

if TYPE_CHECKING:
    from pipeline.search.verify import Verdict


def add_parser(commands: Any) -> None:
    """Add the command."""
    summary = "tell whether two photos, or two faces of a lake, are one person"
    parser = commands.add_parser(
        "verify",
        help=summary,
        description="Compare two faces: similarity, the calibrated probability that they are one "
        "person, the decision at the model's threshold, and what is known of the model.",
    )
    for name in ("A", "B"):
        parser.add_argument(
            name.lower(), metavar=name, help="photo; with --lake a face id, or a photo of the lake"
        )
    parser.add_argument("--lake", metavar="LAKE", help="compare faces that this lake has")
    parser.add_argument(
        "--embedder",
        help="name, or path of an ONNX model with its .toml card, not with --lake; default: "
        f"{DEFAULT_EMBEDDER}",
    )
    parser.add_argument(
        "--detector", default=default_of(IndexConfig, "detector"), help="default: %(default)s"
    )
    opt.add_config_options(parser, VerifyConfig)
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="written by facelake evaluate calibrate; default: the card's",
    )
    opt.add_weights_options(parser)
    opt.add_storage_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Compare and print."""
    verdict = compare(options)
    if options.json:
        tell(json.dumps(_as_json(verdict), indent=2))
    else:
        _show(verdict, options.select)
    return 0


def compare(options: argparse.Namespace) -> "Verdict":
    """Compare two faces of a lake, or of two photos."""
    # torch alone takes seconds: only the command that needs it pays
    from pipeline.models import load_detector, load_embedder
    from pipeline.models.cards.calibration import read_calibration
    from pipeline.search.verify import verify

    values = opt.values_of(VerifyConfig, options)
    opt.config_of(VerifyConfig, options)  # refused before anything is loaded
    calibration = read_calibration(options.calibration) if options.calibration else None
    storage = opt.storage_of(options)
    if options.lake is not None:
        if options.embedder is not None:
            raise ConfigError(
                "--embedder is for photos; with --lake the vectors of the lake are compared"
            )
        lake = Lake(options.lake, storage)
        return lake.verify(options.a, options.b, calibration=calibration, **values)
    weights = opt.weight_store(options)
    return verify(
        options.a,
        options.b,
        load_embedder(options.embedder or DEFAULT_EMBEDDER, store=weights),
        detector=load_detector(options.detector, store=weights),
        calibration=calibration,
        storage_options=storage,
        **values,
    )


def _as_json(verdict: Any) -> dict[str, Any]:
    card = verdict.card
    return {
        "similarity": verdict.similarity,
        "probability": verdict.probability,
        "prior": verdict.prior,
        "threshold": verdict.threshold,
        "same": verdict.same,
        "calibration": verdict.calibration.fields() if verdict.calibration else None,
        "model": {
            "name": card.name if card else verdict.revision.split("@")[0],
            "revision": verdict.revision,
            "licence": card.licence if card else None,
            "accuracy": card.accuracy if card else None,
        },
        "faces": [asdict(side) for side in (verdict.first, verdict.second)],
    }


def _show(verdict: Any, choice: str) -> None:
    table = Table(box=SIMPLE, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    if verdict.probability is None:
        probability = "not calibrated"
    else:
        calibration = verdict.calibration
        probability = (
            f"{verdict.probability:.6f} at a prior of {verdict.prior:g} ({calibration.method}, "
            f"from {visible(calibration.labelled_set)})"
        )
    threshold = "none: give --threshold" if verdict.threshold is None else f"{verdict.threshold:g}"
    decision = {True: "one person", False: "two people", None: "none: there is no threshold"}
    table.add_row("similarity", f"{verdict.similarity:.4f}")
    table.add_row("probability", probability)
    table.add_row("threshold", threshold)
    table.add_row("decision", decision[verdict.same])
    model = _as_json(verdict)["model"]
    table.add_row("model", visible(model["revision"]))
    table.add_row("licence", model["licence"] or "not known here")
    table.add_row("accuracy", model["accuracy"] or "not known here")
    Terminal().print(table)
    for side in (verdict.first, verdict.second):
        if side.faces > 1:
            what = f", box {', '.join(f'{v:.0f}' for v in side.box)}" if side.box else ""
            which = side.face_id or f"the {choice}"
            tell(f"{visible(side.name)} has {side.faces} faces; compared was {which}{what}")
