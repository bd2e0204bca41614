"""Decode: encoded bytes in, upright RGB pixels and what the file says of itself out."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pyarrow as pa

from pipeline.arrays import Pixels
from pipeline.config import DecodeConfig
from pipeline.errors import ImageError
from pipeline.imaging import MAX_PIXELS, Decoded, Sandbox, decode
from pipeline.imaging.fingerprint import Fingerprint, fingerprint
from pipeline.imaging.sandbox import MEMORY_BYTES, TIMEOUT_S
from pipeline.lake.columns import binary_views, pixels_column
from pipeline.stages.records import DECODED
from pipeline.timing import Stopwatch


class Decode:
    """Decodes images; a bad one becomes a row with an error code.

    Args:
        max_pixels: more than that is `too_large`, known before memory is taken.
        table_pixels: pixels in a table handed on, so that a batch of huge photos is handed on
            in pieces.
        timeout_s: wall time of one image; more is `timeout`.
        memory_bytes: what decoding one image may take; more is `out_of_memory`.
        side: as of `decode`: JPEGs are decoded no larger than that asks for.
        isolate: whether images are decoded in a child process, without which neither of the two
            limits holds and a crash in a native decoder is this process's own.
    """

    def __init__(
        self,
        max_pixels: int = MAX_PIXELS,
        table_pixels: int = 16_000_000,
        timeout_s: float = TIMEOUT_S,
        memory_bytes: int = MEMORY_BYTES,
        side: int | None = None,
        isolate: bool = True,
    ) -> None:
        self.max_pixels = max_pixels
        self.table_pixels = table_pixels
        self.timeout_s = timeout_s
        self.memory_bytes = memory_bytes
        self.side = side
        self.isolate = isolate

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Yield tables of schema `DECODED`, together one row for each row of `batch`."""
        images: list[Pixels | None] = []
        facts: list[dict[str, object]] = []
        start = total = 0
        rows = zip(binary_views(batch["data"]), batch["error"].to_pylist(), strict=True)
        watch = Stopwatch(lambda: self.child_pid)
        for i, (data, error) in enumerate(rows):
            watch.restart()
            pixels, known = self._decode(data) if error is None else (None, {})
            known["decode_work"] = watch.spent() | {"handed": 0 if pixels is None else pixels.size}
            images.append(pixels)
            facts.append(known)
            total += 0 if pixels is None else pixels.size // 3
            del pixels  # a huge photo would live on here while it is searched
            if total >= self.table_pixels:
                yield _table(batch.slice(start, i + 1 - start), images, facts)
                images, facts, start, total = [], [], i + 1, 0
        if images or not len(batch):
            yield _table(batch.slice(start), images, facts)

    @property
    def child_pid(self) -> int | None:
        """The id of the process that decodes, None where there is none yet."""
        if not self.isolate:
            return None
        return self._child().pid

    def _decode(
        self, data: np.ndarray[tuple[int], np.dtype[np.uint8]] | None
    ) -> tuple[Pixels | None, dict[str, object]]:
        view = memoryview(b"") if data is None else data.data
        try:
            image, marks = self._decoded(view)
        except ImageError as error:
            return None, {"error": error.code.value, "error_detail": error.detail}
        return image.pixels, {
            "width": image.width,
            "height": image.height,
            "reduced": image.reduced,
            "format": image.format,
            "orientation": image.orientation,
            "taken_at": image.taken_at,
            "camera": image.camera,
            "holds_more": image.holds_more,
            "phash": marks.phash,
            "phash_quality": marks.quality,
            "phash_inner": marks.inner,
            "phash_turnable": marks.turnable,
            "pixels_sha256": marks.pixels,
            "sharpness": marks.sharpness,
        }

    def _child(self) -> Sandbox:
        return _sandbox(self.max_pixels, self.timeout_s, self.memory_bytes, self.side)

    def _decoded(self, data: memoryview) -> tuple[Decoded, Fingerprint]:
        if self.isolate:
            return self._child().decode(data)
        image = decode(data.tobytes(), self.max_pixels, self.side)
        return image, fingerprint(image.pixels, (image.height, image.width))


def decode_stage(config: DecodeConfig) -> Decode:
    """Return the stage that decodes within the limits of `config`."""
    return Decode(
        config.max_pixels,
        timeout_s=config.timeout_s,
        memory_bytes=config.memory_bytes,
        side=config.side,
    )


# Ray makes a new `Decode` for every task; the child must outlive it.
@lru_cache(maxsize=4)
def _sandbox(max_pixels: int, timeout_s: float, memory_bytes: int, side: int | None) -> Sandbox:
    return Sandbox(max_pixels, timeout_s, memory_bytes, side)


def _table(
    batch: pa.Table, images: list[Pixels | None], facts: list[dict[str, object]]
) -> pa.Table:
    """Join what is known of the images to their rows; `images` is emptied, so as to free them."""
    known = pa.Table.from_pylist(facts, schema=pa.schema([DECODED.field(n) for n in _LEARNED]))
    columns = {name: known[name] for name in _LEARNED}
    for name in ("error", "error_detail"):
        before = batch[name].to_pylist()
        columns[name] = pa.array(
            [old or new.get(name) for old, new in zip(before, facts, strict=True)], pa.string()
        )
    columns["pixels"] = pixels_column(images)
    images.clear()
    return pa.table(
        [columns[f.name] if f.name in columns else batch[f.name] for f in DECODED], schema=DECODED
    )


_LEARNED = [
    "width", "height", "reduced", "format", "orientation", "taken_at", "camera", "holds_more",
    "phash", "phash_quality", "phash_inner", "phash_turnable", "pixels_sha256", "sharpness",
    "decode_work",
]  # fmt: skip
