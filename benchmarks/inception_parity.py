"""Our InceptionResnetV1 against facenet-pytorch's: same random weights, same input.

    python -m benchmarks.inception_parity [--wheel facenet_pytorch-2.6.0-py3-none-any.whl]

Exits with 1 when a difference is above 1e-5.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import nn

from benchmarks.reference import import_reference
from pipeline.models.facenet.inception_resnet_v1 import InceptionResnetV1, load_weights

TARGET = 1e-5


def randomise(network: nn.Module) -> None:
    """Give batch norms statistics and slopes of their own: the defaults hide wiring errors."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.05, 0.5)
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.normal_(module.bias, 0, 0.2)


@torch.inference_mode()
def compare(reference_class: type[nn.Module], classes: int, faces: int) -> tuple[float, float]:
    """Return the largest difference of unit vectors, and of logits relative to the largest."""
    reference = reference_class(pretrained=None, classify=True, num_classes=classes).eval()
    randomise(reference)
    ours = InceptionResnetV1(classify=True, num_classes=classes).eval()
    load_weights(ours, reference.state_dict())
    x = torch.rand(faces, 3, 160, 160) * 2 - 1
    expected = reference(x)
    logits = (ours(x) - expected).abs().max() / expected.abs().max()
    reference.classify = ours.classify = False  # type: ignore[assignment]
    vectors = (ours(x) - reference(x)).abs().max()
    return vectors.item(), logits.item()


def main() -> int:
    """Print the differences for both published class counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, help=".whl or unpacked folder; default: pip download")
    parser.add_argument("--faces", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    reference_class = import_reference(options.wheel).InceptionResnetV1
    worst = 0.0
    for classes in (8631, 10575):
        vectors, logits = compare(reference_class, classes, options.faces)
        print(f"{classes} classes: unit vectors {vectors:.1e}, logits {logits:.1e} (relative)")
        worst = max(worst, vectors, logits)
    print(f"torch {torch.__version__}, {options.faces} faces, target {TARGET:.0e}")
    return int(worst > TARGET)


if __name__ == "__main__":
    sys.exit(main())
