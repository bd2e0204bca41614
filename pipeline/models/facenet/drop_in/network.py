"""InceptionResnetV1 as facenet-pytorch's users call it, with weights from our store."""

import torch

from pipeline.errors import ConfigError
from pipeline.models.cards.card import find_card
from pipeline.models.device import usable
from pipeline.models.facenet import inception_resnet_v1
from pipeline.models.weights.checkpoint import read_checkpoint
from pipeline.models.weights.store import WeightStore

CLASSES = {"vggface2": 8631, "casia-webface": 10575}  # people in each training set


class InceptionResnetV1(inception_resnet_v1.InceptionResnetV1):
    """Maps standardised faces [N, 3, 160, 160] to unit vectors [N, 512], or to class logits.

    Args:
        pretrained: "vggface2" or "casia-webface": weights from the store, see docs/models.md;
            None: fresh ones.
        classify: return logits; an attribute that may be changed later.
        num_classes: size of a fresh head for `classify`; by default that of the weights.
        dropout_prob: probability of dropping a feature before the embedding, in training mode.
        device: as torch names it.

    Raises:
        ConfigError: no such weights, or `classify` with neither weights nor `num_classes`.
        WeightsError: the weights are not there and cannot be fetched, or are damaged.
        ResourceError: the device is not there.
    """

    def __init__(
        self,
        pretrained: str | None = None,
        classify: bool = False,
        num_classes: int | None = None,
        dropout_prob: float = 0.6,
        device: str | torch.device | None = None,
    ) -> None:
        if pretrained is not None and pretrained not in CLASSES:
            raise ConfigError(
                f"pretrained is {pretrained!r}; choose from {', '.join(CLASSES)}, or None and "
                "load_state_dict() for weights of your own"
            )
        if classify and pretrained is None and num_classes is None:
            raise ConfigError("classify=True needs num_classes, or pretrained weights with theirs")
        published = None if pretrained is None else CLASSES[pretrained]
        # as there: without `classify`, a network without weights has no head
        head = num_classes if classify and num_classes is not None else published
        super().__init__(classify, head, dropout_prob)
        self.pretrained = pretrained
        self.num_classes = num_classes
        if pretrained is not None:
            store, card = WeightStore(), find_card(f"facenet-{pretrained}", "embedder")
            path = store.path(card)
            inception_resnet_v1.load_weights(self, read_checkpoint(path), str(path))
            store.trust(card)
        # 1.2 times as fast on a CPU as channels first (measured); torch's stubs lack the keyword
        self.to(usable(device or "cpu")).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.parameters()).device
