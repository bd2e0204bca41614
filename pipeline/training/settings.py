"""The settings of training, which are the options of `facelake train`."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pipeline.lake.lookup import Which
from pipeline.options import Option, check_bounds, require
from pipeline.training.algorithms.heads import Kind

NetworkName = Literal["mobileface", "iresnet18", "iresnet50", "inception-resnet-v1"]
Objective = Literal["softmax", "arcface", "cosface", "adaface", "triplet", "none"]
Level = Literal["none", "flip", "standard", "strong"]


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """How a network is trained; see docs/training.md."""

    # fmt: off
    network: Annotated[NetworkName | None, Option("train this network on the photos, and the head "
        "on its vectors", unset="none, the head learns the vectors of the lake")] = None
    init: Annotated[str | None, Option("weights to begin with: folder of a model that was trained "
        "here, or facenet-vggface2 or facenet-casia-webface for inception-resnet-v1",
        "MODEL", unset="drawn at random")] = None
    freeze: Annotated[int, Option("stages, from the photo on, that keep their weights", "N",
        least=0)] = 0
    objective: Annotated[Objective, Option("what is made small; none: only the distance to "
        "--teacher")] = "arcface"
    margin: Annotated[float | None, Option("between people", "X", least=0,
        unset="0.5 arcface, 0.35 cosface, 0.4 adaface, 0.2 triplet")] = None
    scale: Annotated[float, Option("of the cosines, for arcface, cosface and adaface", "X",
        above=0)] = 32.0
    smoothing: Annotated[float, Option("of labels", "X", least=0, below=1)] = 0.0
    centre: Annotated[float, Option("weight of the centre loss", "X", least=0)] = 0.0
    rate: Annotated[float, Option("share of the people whom a step compares with (Partial FC)",
        "X", above=0, most=1)] = 1.0
    teacher: Annotated[str | None, Option("embedder to learn from, name or path; lake: the "
        "vectors that the lake has", "MODEL", unset="none")] = None
    distillation: Annotated[float, Option("weight of the distance to the teacher", "X",
        above=0)] = 1.0
    relations: Annotated[float, Option("weight of the distance between the teacher's likenesses "
        "of faces and the network's", "X", least=0)] = 1.0
    epochs: Annotated[int, Option("how often each face is seen", "N", least=1)] = 20
    batch: Annotated[int, Option("faces of a step, on all workers together", "N", least=2)] = 64
    chunk: Annotated[int, Option("faces that go through the network at once", "N",
        least=2)] = 64
    images_per_person: Annotated[int | None, Option("faces of each person in a chunk, people "
        "alike", "K", least=2, unset="faces as they come, 4 for triplet")] = None
    optimiser: Annotated[Literal["sgd", "adamw"], Option("sgd has a momentum of 0.9")] = "sgd"
    learning_rate: Annotated[float | None, Option("at its highest", "X", above=0,
        unset="0.1 a batch of 256 for sgd, 0.001 for adamw")] = None
    weight_decay: Annotated[float, Option("of weights, not of biases and norms", "X",
        least=0)] = 5e-4
    schedule: Annotated[Literal["cosine", "step", "constant"], Option("step: a tenth after a half, "
        "three quarters and nine tenths of the steps")] = "cosine"
    warmup: Annotated[float, Option("epochs until the rate is at its highest", "X",
        least=0)] = 1.0
    clip: Annotated[float, Option("longest gradient, 0: any", "X", least=0)] = 5.0
    ema: Annotated[float, Option("decay a step of the mean of the weights that is kept, 0: the "
        "last ones", "X", least=0, below=1)] = 0.0
    augment: Annotated[Level, Option("how faces are changed at random")] = "standard"
    train_precision: Annotated[Literal["float32", "bfloat16", "float16"], Option(
        "of the network while it is trained; float16 on a GPU only")] = "float32"
    compile: Annotated[bool, Option("compile the network by torch.compile")] = False
    held_out: Annotated[float, Option("of the people, who are never trained on: half of them "
        "choose the best epoch and the threshold, half are strangers of the test", "X", above=0,
        most=0.5)] = 0.1
    patience: Annotated[int | None, Option("stop after so many epochs that were no better", "N",
        least=1, unset="never")] = None
    checkpoint_steps: Annotated[int, Option("steps between checkpoints, beside those of each "
        "epoch", "N", least=1)] = 500
    workers: Annotated[int, Option("processes that train together, on Ray", "N", least=1)] = 1
    train_device: Annotated[Literal["auto", "cpu", "cuda"], Option("where they train")] = "auto"
    licence: Annotated[str, Option("of the model's card: what the photos allow", "TEXT")] = (
        "not stated")
    crops: Annotated[str | None, Option("folder that keeps the faces that were cut out, for "
        "further trainings", "DIR", unset="beside the model, removed in the end")] = None
    tensorboard: Annotated[str | None, Option("folder for TensorBoard", "DIR",
        unset="none")] = None
    # fmt: on

    def __post_init__(self) -> None:
        """Check ranges, and what does not go together."""
        check_bounds(self)
        require(
            self.objective != "none" or self.teacher is not None,
            "With --objective none there is nothing to learn from; name a --teacher",
        )
        require(
            self.network is not None or self.teacher is None,
            "A --teacher teaches a network; name one with --network",
        )


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How people are learnt and measured; see docs/training.md."""

    # fmt: off
    head: Annotated[Kind, Option("logistic: multinomial regression; svm: linear, one against the "
        "rest; centroid: the mean of each person; knn: the nearest faces")] = "logistic"
    face: Annotated[Which, Option("which face of an image a label of --labels belongs to")] = (
        "largest")
    min_images: Annotated[int, Option("people with fewer images are not learnt; they serve as "
        "strangers", "N", least=3, why="two to learn from, one to test")] = 5
    test_share: Annotated[float, Option("of each person's images, at least one", "X", above=0,
        most=0.5)] = 0.25
    false_alarms: Annotated[float, Option("share of strangers who may be taken for somebody, for "
        "the threshold", "X", above=0, below=1)] = 0.01
    cost: Annotated[float, Option("of an error, for logistic and svm; more fits closer", "C",
        above=0)] = 10.0
    neighbours: Annotated[int, Option("faces of a person that are compared, for knn", "K",
        least=1)] = 3
    bootstrap: Annotated[int, Option("samples of the bootstrap intervals, 0 for none", "N",
        least=0)] = 1000
    seed: Annotated[int, Option("of everything that is drawn", "N", least=0)] = 0
    network: Annotated[NetworkConfig, "network"] = field(default_factory=NetworkConfig)
    # fmt: on

    def __post_init__(self) -> None:
        """Check ranges."""
        check_bounds(self)
