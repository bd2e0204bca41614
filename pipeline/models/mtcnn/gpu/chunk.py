"""Brings a chunk of images to a device: what is where is planned first, then copied at once.

The plan needs sizes only, so everything of a known size is allocated and launched without asking
the device. Plan and pixels travel in one buffer, the plan in front.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.arrays import Ints, Pixels
from pipeline.config import DetectConfig
from pipeline.models.mtcnn import atlas
from pipeline.models.mtcnn.cascade import pyramid, smallest_face
from pipeline.models.mtcnn.gpu.sums import table_size

T = TypeVar("T")
R = TypeVar("R")

# Behind a tile, in pooled cells of two pixels: the last cell reads two pixels more than it pools.
BORDER = 1


@dataclass(frozen=True, slots=True)
class Sheet:
    """Shape of the arrays of pixels that P-net is given, whatever the photos are.

    Attributes:
        rows, columns: of a whole one, in pooled cells of two by two pixels.
        step: a sheet that is not full has a multiple of so many rows. Few shapes: a runtime
            prepares for each, and could record each as a graph.
    """

    rows: int
    columns: int
    step: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is where, known before a pixel is read.

    Attributes:
        order: int64 [images], how they lie in the buffer: equal sizes together.
        runs: (count, height, width) of images of one size.
        images: int64 [images, 3], by image: start of its table, height, width.
        levels: int64 [levels, 4], of all pyramids: image, height, width, number of the first
            answer when those of all levels are numbered.
        scales: float64 [levels].
        atlases: rows and number of tiles of each.
        tiles: int64 [tiles, 10], those of the first atlas first; see `atlas.TILE_FIELDS`.
    """

    order: Ints
    runs: list[tuple[int, int, int]]
    images: Ints
    levels: Ints
    scales: npt.NDArray[np.float64]
    atlases: list[tuple[int, int]]
    tiles: Ints


@dataclass(frozen=True, slots=True)
class Chunk:
    """Images of any sizes on a device.

    Attributes:
        plan: as the host knows it.
        pixels: uint8, image after image in the order of the plan.
        images, levels, tiles: int64, those of the plan on the device.
        scales: float32 [levels].
    """

    plan: Plan
    pixels: Tensor
    images: Tensor
    levels: Tensor
    tiles: Tensor
    scales: Tensor


def plan(images: Sequence[Pixels], config: DetectConfig, sheet: Sheet) -> Plan:
    """Plan tables, pyramids and atlases of images uint8 [H, W, 3]."""
    sizes = np.array([image.shape[:2] for image in images], np.int64)
    order = np.lexsort((sizes[:, 1], sizes[:, 0]))
    lengths = np.array([table_size(*sizes[i].tolist()) for i in order], np.int64)
    start = np.empty(len(images), np.int64)
    start[order] = lengths.cumsum() - lengths
    runs = Counter(tuple(sizes[i].tolist()) for i in order)

    most = (sheet.rows - BORDER, sheet.columns - BORDER)
    levels: list[tuple[int, ...]] = []
    scales: list[float] = []
    tiles: list[tuple[int, ...]] = []
    answers = 0
    for image, (height, width) in enumerate(sizes.tolist()):
        smallest = smallest_face(height, width, config)
        for scale, *size in pyramid(height, width, smallest, config.factor):
            tiles += atlas.tiles_of(image, len(levels), *size, most=most)
            levels.append((image, *size, answers))
            scales.append(scale)
            answers += (atlas.pooled(size[0]) - 4) * (atlas.pooled(size[1]) - 4)
    packed = list(atlas.pack(tiles, (sheet.rows, sheet.columns), sheet.step, BORDER))
    return Plan(
        order,
        [(count, *size) for size, count in runs.items()],
        np.column_stack([start, sizes]),
        np.array(levels, np.int64).reshape(-1, 4),
        np.array(scales, np.float64),
        [(rows, len(placed)) for rows, placed in packed],
        np.concatenate([np.zeros((0, 10), np.int64), *(placed for _, placed in packed)]),
    )


def upload(images: Sequence[Pixels], planned: Plan, device: torch.device) -> Chunk:
    """Copy a chunk to the device: one transfer, from pinned memory where that is faster."""
    tables = (planned.images, planned.levels, planned.tiles, planned.scales)
    ends = np.cumsum([table.size for table in tables]).tolist()
    length = ends[-1] * 8 + sum(image.size for image in images)
    # torch keeps pinned memory for the next chunk, and not before the copy is over
    buffer = torch.empty(length, dtype=torch.uint8, pin_memory=device.type == "cuda")
    flat = buffer.numpy()
    words = flat[: ends[-1] * 8].view(np.int64)
    for table, end in zip(tables, ends, strict=True):
        words[end - table.size : end] = np.ascontiguousarray(table).view(np.int64).ravel()
    at = ends[-1] * 8
    for i in planned.order.tolist():
        target = flat[at : at + images[i].size].reshape(images[i].shape)
        np.copyto(target, images[i])
        at += images[i].size
    on_device = buffer.to(device, non_blocking=True)
    numbers = on_device[: ends[-1] * 8].view(torch.int64)
    return Chunk(
        planned,
        on_device[ends[-1] * 8 :],
        numbers[: ends[0]].view(-1, 3),
        numbers[ends[0] : ends[1]].view(-1, 4),
        numbers[ends[1] : ends[2]].view(-1, 10),
        numbers[ends[2] :].view(torch.float64).float(),
    )


def ahead(make: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield `make(item)` of each item; a thread makes the next one meanwhile."""
    with ThreadPoolExecutor(1) as thread:
        waiting = None
        for item in items:
            following = thread.submit(make, item)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def chunks_on(
    device: torch.device,
    chunks: Iterable[list[Pixels]],
    config: DetectConfig,
    sheet: Sheet,
) -> Iterator[Chunk]:
    """Yield chunks on the device; on a GPU the next one travels while this one is searched."""
    if device.type != "cuda":
        for images in chunks:
            yield upload(images, plan(images, config, sheet), device)
        return
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's stubs

    def send(images: list[Pixels]) -> tuple[Chunk, torch.cuda.Event]:
        planned = plan(images, config, sheet)
        with torch.cuda.device(device), torch.cuda.stream(side):
            chunk = upload(images, planned, device)
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch's stubs
            arrived.record(side)
        return chunk, arrived

    for chunk, arrived in ahead(send, chunks):
        current = torch.cuda.current_stream(device)
        current.wait_event(arrived)
        for tensor in (chunk.pixels, chunk.scales):
            tensor.record_stream(current)  # its memory is not to be reused by the side stream
        yield chunk
