"""Imports facenet-pytorch 2.6.0, the reference, without installing it or torchvision.

It stays out of the project's dependencies: its pins are too old, and there is no CPU build of
torchvision for some machines. A stub offers the two functions that the reference takes from it,
another tqdm, which only its downloads use.
"""

import importlib
import importlib.util
import subprocess
import sys
import tempfile
import types
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def import_reference(wheel: Path | None = None) -> types.ModuleType:
    """Import `facenet_pytorch` from a .whl, an unpacked folder, or (None) from PyPI."""
    folder = _unpacked(wheel)
    _install_torchvision_stub()
    _install_tqdm_stub()
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("facenet_pytorch")
    finally:
        sys.path.remove(str(folder))


def _unpacked(wheel: Path | None) -> Path:
    if wheel is not None and wheel.is_dir():
        return wheel
    folder = Path(tempfile.mkdtemp(prefix="facenet-pytorch-"))
    if wheel is None:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run(
            [*command, "--dest", str(folder), "facenet-pytorch==2.6.0"],
            check=True,
        )
        wheel = next(folder.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Like torchvision.ops.nms: indices kept, best score first; ties in their first order."""
    order = scores.sort(descending=True, stable=True).indices
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    alive = torch.ones(len(order), dtype=torch.bool, device=boxes.device)
    ranked, ranked_area = boxes[order], area[order]
    kept = []
    for rank in range(len(order)):
        if not alive[rank]:
            continue
        kept.append(rank)
        corner = torch.maximum(ranked[rank, :2], ranked[rank + 1 :, :2])
        end = torch.minimum(ranked[rank, 2:], ranked[rank + 1 :, 2:])
        overlap = (end - corner).clamp(min=0).prod(1)
        iou = overlap / (ranked_area[rank] + ranked_area[rank + 1 :] - overlap)
        alive[rank + 1 :] &= ~(iou > iou_threshold)
    return order[torch.tensor(kept, dtype=torch.long, device=boxes.device)]


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """Like torchvision.ops.boxes.batched_nms, with its two ways of keeping groups apart."""
    if boxes.numel() == 0:
        return torch.empty(0, dtype=torch.long, device=boxes.device)
    if boxes.numel() > 4000:  # torchvision's own switch on CPU: group by group, no offsets
        keep = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
        for group in torch.unique(idxs):
            members = torch.where(idxs == group)[0]
            keep[members[nms(boxes[members], scores[members], iou_threshold)]] = True
        kept = torch.where(keep)[0]
        return kept[scores[kept].sort(descending=True).indices]
    offsets = idxs.to(boxes) * (boxes.max() + torch.tensor(1).to(boxes))
    return nms(boxes + offsets[:, None], scores, iou_threshold)


def to_tensor(image: object) -> Tensor:
    """Like torchvision.transforms.functional.to_tensor for what the reference gives it."""
    pixels = np.array(image)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    tensor = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
    return tensor.float().div(255) if tensor.dtype == torch.uint8 else tensor


def _install_torchvision_stub() -> None:
    names = ["transforms", "transforms.functional", "ops", "ops.boxes"]
    modules = {name: types.ModuleType(f"torchvision.{name}") for name in names}
    modules["transforms.functional"].to_tensor = to_tensor  # type: ignore[attr-defined]
    modules["transforms"].functional = modules["transforms.functional"]  # type: ignore[attr-defined]
    modules["ops.boxes"].batched_nms = batched_nms  # type: ignore[attr-defined]
    modules["ops"].boxes = modules["ops.boxes"]  # type: ignore[attr-defined]
    root = types.ModuleType("torchvision")
    root.transforms = modules["transforms"]  # type: ignore[attr-defined]
    root.ops = modules["ops"]  # type: ignore[attr-defined]
    sys.modules.setdefault("torchvision", root)
    for name, module in modules.items():
        sys.modules.setdefault(f"torchvision.{name}", module)


def _install_tqdm_stub() -> None:
    if "tqdm" not in sys.modules and importlib.util.find_spec("tqdm") is None:
        stub = types.ModuleType("tqdm")
        stub.tqdm = iter  # type: ignore[attr-defined]
        sys.modules["tqdm"] = stub
