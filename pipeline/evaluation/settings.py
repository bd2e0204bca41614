"""The settings of each evaluation, which are the options of `facelake evaluate`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pipeline.evaluation.measures.detection import IOU
from pipeline.evaluation.measures.identification import Template
from pipeline.evaluation.measures.verification import Metric
from pipeline.lake.lookup import Which
from pipeline.options import Option, check_bounds


@dataclass(frozen=True)
class EvaluationConfig:
    """What every evaluation can be told."""

    # fmt: off
    bootstrap: Annotated[int, Option("samples of the bootstrap intervals, 0 for none", "N",
        least=0)] = 1000
    # fmt: on

    def __post_init__(self) -> None:
        """Check ranges."""
        check_bounds(self)


@dataclass(frozen=True)
class LabelsConfig(EvaluationConfig):
    """How a file of labels is read."""

    # fmt: off
    face: Annotated[Which, Option("which face of an image its label belongs to")] = "largest"
    # fmt: on


@dataclass(frozen=True)
class ClusteringConfig(LabelsConfig):
    """How people are compared with labels."""

    # fmt: off
    groups: Annotated[str | None, Option(
        "column of the labels: rates for the people of each value, too",
        "COLUMN")] = None
    # fmt: on


@dataclass(frozen=True)
class IdentificationConfig(LabelsConfig):
    """How a gallery is made from labelled photos and searched."""

    # fmt: off
    template: Annotated[Template, Option(
        "a person scores as the mean of their vectors, or as the best of them")] = "mean"
    unknown_share: Annotated[float, Option(
        "of the people with one photo, the share that is searched for", "X", least=0,
        most=1)] = 1.0
    hold_out: Annotated[float, Option(
        "of the people with several photos, the share that is left out of the gallery and "
        "searched for as unknown", "X", least=0, most=1)] = 0.0
    seed: Annotated[int, Option("of what is drawn", "N", least=0)] = 0
    # fmt: on


@dataclass(frozen=True)
class DetectionConfig(EvaluationConfig):
    """How faces are matched to boxes."""

    # fmt: off
    iou: Annotated[float, Option("least overlap, intersection over union", "X", above=0,
        most=1)] = IOU
    # fmt: on


@dataclass(frozen=True)
class PairsConfig(EvaluationConfig):
    """How a file of pairs is read."""

    # fmt: off
    face: Annotated[Which | None, Option("which face speaks for a photo",
        unset="central for pairs.txt, else largest")] = None
    folds: Annotated[int, Option("drawn where the file has none", "N", least=2)] = 10
    # fmt: on


@dataclass(frozen=True)
class VerificationConfig(PairsConfig):
    """How pairs are rated."""

    # fmt: off
    groups: Annotated[str | None, Option(
        "CSV or Parquet with face_id or image, and columns that tell groups: rates for pairs "
        "inside each, at the threshold of all", "FILE")] = None
    metric: Annotated[Metric, Option(
        "cosine, or distance of unit vectors; thresholds are told in it")] = "cosine"
    subtract_mean: Annotated[bool, Option(
        "subtract the mean vector of the other folds from each")] = False
    flip: Annotated[bool, Option(
        "add the vector of the mirrored face, made from its thumbnail")] = False
    # fmt: on


@dataclass(frozen=True)
class CalibrationConfig(PairsConfig):
    """How similarity becomes probability."""

    # fmt: off
    method: Annotated[Literal["logistic", "isotonic"] | None, Option("what is fitted",
        unset="the one with the lower log loss on held-out folds")] = None
    labelled_set: Annotated[str | None, Option("what the pairs are", "TEXT",
        unset="the file's name")] = None
    output: Annotated[str | None, Option(
        "card (.toml) whose table [calibration] is replaced, or a new file with nothing else; "
        "for facelake verify --calibration", "FILE")] = None
    # fmt: on
