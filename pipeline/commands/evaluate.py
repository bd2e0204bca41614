"""`facelake evaluate`: how well a lake's tables agree with what people say is true."""

from typing import Any

from pipeline.commands.evaluation import (
    calibrate,
    clustering,
    detection,
    identification,
    verification,
)


def add_parser(commands: Any) -> None:
    """Add the command and what can be evaluated."""
    summary = "measure results against labels"
    parser = commands.add_parser("evaluate", help=summary, description=summary)
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="SUBJECT")
    for subject in (clustering, verification, identification, detection, calibrate):
        subject.add_parser(subjects)
