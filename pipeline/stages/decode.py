"""Decode: encoded bytes in, upright RGB pixels and the columns of `imaging.record` out."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pyarrow as pa

from pipeline.arrays import Pixels
from pipeline.config import DecodeConfig
from pipeline.errors import ImageError
from pipeline.imaging.decode import decode
from pipeline.imaging.fingerprint import fingerprint
from pipeline.imaging.record import Decoded, Fingerprint, columns, values
from pipeline.imaging.sandbox import Sandbox
from pipeline.lake.columns import binary_views, pixels_column
from pipeline.stages.records import DECODED
from pipeline.timing import Stopwatch

# Pixels in a table handed on: a batch of huge photos is handed on in several.
TABLE_PIXELS = 16_000_000


class Decode:
    """Decodes images; a bad one becomes a row with an error code.

    Args:
        config: what one image may cost.
        isolate: whether images are decoded in a child process. Without one, time and memory have
            no limit, and a crash in a native decoder ends this process.
    """

    def __init__(self, config: DecodeConfig, isolate: bool = True) -> None:
        self.config = config
        self.isolate = isolate

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Yield tables of schema `DECODED`, together one row for each row of `batch`."""
        images: list[Pixels | None] = []
        decoded: list[dict[str, Any]] = []
        start = total = 0
        rows = zip(binary_views(batch["data"]), batch["error"].to_pylist(), strict=True)
        watch = Stopwatch(lambda: self.child_pid)
        for i, (data, error) in enumerate(rows):
            watch.restart()
            pixels, row = self._decode(data) if error is None else (None, {})
            size = 0 if pixels is None else pixels.size
            images.append(pixels)
            decoded.append(row | {"decode_timing": watch.spent() | {"bytes_out": size}})
            total += size // 3
            del pixels  # otherwise a huge photo would stay in memory while it is searched
            if total >= TABLE_PIXELS:
                yield _table(batch.slice(start, i + 1 - start), images, decoded)
                images, decoded, start, total = [], [], i + 1, 0
        if images or not len(batch):
            yield _table(batch.slice(start), images, decoded)

    @property
    def child_pid(self) -> int | None:
        """The id of the process that decodes, None where there is none yet."""
        return _sandbox(self.config).pid if self.isolate else None

    def _decode(self, data: Pixels | None) -> tuple[Pixels | None, dict[str, Any]]:
        """Return the pixels of an image, and its columns."""
        view = memoryview(b"") if data is None else data.data
        try:
            image, marks = self._decoded(view)
        except ImageError as error:
            return None, {"error": error.code.value, "error_detail": error.detail}
        return image.pixels, values(image, marks)

    def _decoded(self, data: memoryview) -> tuple[Decoded, Fingerprint]:
        if self.isolate:
            return _sandbox(self.config).decode(data)
        image = decode(data.tobytes(), self.config.max_pixels, self.config.side)
        return image, fingerprint(image.pixels, (image.height, image.width))


# Ray makes a new `Decode` for every task; the child must outlive it.
@lru_cache(maxsize=4)
def _sandbox(config: DecodeConfig) -> Sandbox:
    return Sandbox(config)


def _table(batch: pa.Table, images: list[Pixels | None], decoded: list[dict[str, Any]]) -> pa.Table:
    """Add the columns of the decoded images to their rows; empties `images` to free memory."""
    names = [*columns(), "decode_timing"]
    fields = pa.schema([DECODED.field(name) for name in names])
    filled = dict(zip(names, pa.Table.from_pylist(decoded, schema=fields).columns, strict=True))
    for name in ("error", "error_detail"):
        before = batch[name].to_pylist()
        filled[name] = pa.array(
            [old or new.get(name) for old, new in zip(before, decoded, strict=True)], pa.string()
        )
    filled["pixels"] = pixels_column(images)
    images.clear()
    return pa.table(
        [filled[f.name] if f.name in filled else batch[f.name] for f in DECODED], schema=DECODED
    )
