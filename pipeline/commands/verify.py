"""`facelake verify`: are two photos, or two faces of a lake, one person?"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from pipeline.commands.options import add_storage_options, add_weights_options
from pipeline.config import DEFAULT_EMBEDDER
from pipeline.errors import ConfigError
from pipeline.lake.store import LakeStore
from pipeline.storage.folder import parse_options, visible

CHOICES = ("largest", "most-probable", "central")


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
    parser.add_argument("--detector", default="mtcnn", help="default: %(default)s")
    parser.add_argument(
        "--select",
        choices=CHOICES,
        default="largest",
        help="which face speaks for a photo that has several; default: %(default)s",
    )
    parser.add_argument(
        "--threshold", type=float, metavar="X", help="least similarity; default: the card's"
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="written by facelake evaluate calibrate; default: the card's",
    )
    parser.add_argument(
        "--prior",
        type=float,
        metavar="X",
        help="how likely one person is before looking; default: that of the calibration",
    )
    add_weights_options(parser)
    add_storage_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Compare and print."""
    # torch alone takes seconds: only the command that needs it pays
    from pipeline.models.cards.card import read_calibration
    from pipeline.models.weights.store import WeightStore
    from pipeline.search.verify import check, verify, verify_faces

    check(options.threshold, options.prior)
    calibration = read_calibration(options.calibration) if options.calibration else None
    storage = parse_options(options.storage_option)
    if options.lake is not None:
        if options.embedder is not None:
            raise ConfigError(
                "--embedder is for photos; with --lake the vectors of the lake are compared"
            )
        if options.select == "most-probable":
            raise ConfigError("With --lake, --select is largest or central")
        verdict = verify_faces(
            LakeStore(options.lake, storage),
            options.a,
            options.b,
            choice=options.select,
            threshold=options.threshold,
            prior=options.prior,
            calibration=calibration,
        )
    else:
        verdict = verify(
            options.a,
            options.b,
            options.embedder or DEFAULT_EMBEDDER,
            detector=options.detector,
            choice=options.select,
            threshold=options.threshold,
            prior=options.prior,
            calibration=calibration,
            store=WeightStore.at(options.weights_dir, options.weights_url),
            storage_options=storage,
        )
    if options.json:
        print(json.dumps(_told(verdict), indent=2))
    else:
        _show(verdict, options.select)
    return 0


def _told(verdict: Any) -> dict[str, Any]:
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
    told = _told(verdict)
    if verdict.probability is None:
        probability = "not calibrated"
    else:
        made = verdict.calibration
        probability = (
            f"{verdict.probability:.6f} at a prior of {verdict.prior:g} ({made.method}, from "
            f"{visible(made.labelled_set)})"
        )
    threshold = "none: give --threshold" if verdict.threshold is None else f"{verdict.threshold:g}"
    decision = {True: "one person", False: "two people", None: "none: there is no threshold"}
    table.add_row("similarity", f"{verdict.similarity:.4f}")
    table.add_row("probability", probability)
    table.add_row("threshold", threshold)
    table.add_row("decision", decision[verdict.same])
    model = told["model"]
    table.add_row("model", visible(model["revision"]))
    table.add_row("licence", model["licence"] or "not known here")
    table.add_row("accuracy", model["accuracy"] or "not known here")
    Console().print(table, markup=False)
    for side in (verdict.first, verdict.second):
        if side.faces > 1:
            what = f", box {', '.join(f'{v:.0f}' for v in side.box)}" if side.box else ""
            which = side.face_id or f"the {choice}"
            print(f"{visible(side.name)} has {side.faces} faces; compared was {which}{what}")
