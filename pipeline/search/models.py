"""The detector and the embedder that made a lake, loaded when they are first needed."""

from functools import cached_property

from pipeline.errors import ConfigError, LakeMismatchError
from pipeline.lake.store import LakeStore
from pipeline.models.cards.card import find_card, views_of
from pipeline.models.detector import FaceDetector, load_detector
from pipeline.models.embedder import Embedder, load_embedder
from pipeline.models.weights.store import WeightStore


class LakeModels:
    """A lake's own models.

    Args:
        lake: that they made.
        embedder: path of the embedder, if Facelake does not know it by name.
        weights: where weights lie; None: the default store.
    """

    def __init__(
        self, lake: LakeStore, embedder: str | None = None, weights: WeightStore | None = None
    ) -> None:
        self.lake = lake
        self._embedder_path, self._weights = embedder, weights

    @cached_property
    def detector(self) -> FaceDetector:
        """The lake's detector."""
        name, _ = self.lake.existing_models().names
        return load_detector(name, store=self._weights)

    @cached_property
    def embedder(self) -> Embedder:
        """The lake's embedder.

        Raises:
            LakeMismatchError: the one on this machine has other weights.
            ConfigError: Facelake has no model of that name.
        """
        models = self.lake.existing_models()
        name = self._embedder_path or models.names[1]
        try:
            find_card(name, "embedder")
        except ConfigError as error:
            raise ConfigError(
                f"The lake {self.lake.folder.url} was made with {models.embedder}, which is "
                "not known here; give the path of its ONNX file or card with --embedder"
            ) from error
        embedder = load_embedder(name, store=self._weights, views=views_of(models.embedder))
        if embedder.revision != models.embedder:
            raise LakeMismatchError(
                f"The lake {self.lake.folder.url} has vectors of {models.embedder}, the model "
                f"here is {embedder.revision}; vectors of different models cannot be compared"
            )
        return embedder
