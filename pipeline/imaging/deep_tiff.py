"""Reads TIFF files of more than 8 bits a sample, or of signed or floating samples, by tifffile.

Pillow reads some of these wrongly without an error: planes, white as zero, foreign byte order. The
library is loaded when the first such file comes.
"""

from io import BytesIO

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Pixels
from pipeline.errors import ErrorCode, ImageError
from pipeline.imaging.modes import floats_to_levels, over_white
from pipeline.imaging.pillow import check_size
from pipeline.imaging.tiff import (
    BITS,
    EXTRA,
    FORMAT,
    HEIGHT,
    PHOTOMETRIC,
    PLANES,
    SAMPLES,
    SEPARATE,
    WIDTH,
    Directory,
    Header,
    integer,
    integers,
    read_directory,
    read_header,
)
from pipeline.imaging.truncation import ends_early

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
UNSIGNED, SIGNED, FLOATING, UNDEFINED = 1, 2, 3, 4
ASSOCIATED, UNASSOCIATED = 1, 2


def is_deep(data: bytes) -> bool:
    """Whether the first picture is of a kind that Pillow reads wrongly, or not at all.

    That is one with samples of other kinds than whole numbers up to 8 bits, colours of less than 8,
    and further samples in planes or beside grey whose zero is white.
    """
    header = read_header(data)
    if header is None:
        return False
    tags, _ = read_directory(data, header, header.first)
    depths, formats = (integers(tags, tag, header) for tag in (BITS, FORMAT))
    if any(depth > 8 for depth in depths) or any(
        kind not in (UNSIGNED, UNDEFINED) for kind in formats
    ):
        return True
    photometric, samples, planes = (
        _first(tags, tag, header, 1) for tag in (PHOTOMETRIC, SAMPLES, PLANES)
    )
    if photometric == RGB:
        return min(depths, default=8) < 8 or (samples > 3 and planes == SEPARATE)
    return photometric == WHITE_IS_ZERO and samples > 1


def decode_deep(data: bytes, max_pixels: int) -> Pixels:
    """Return the first picture, uint8 [H, W, 3], as it is stored, not yet upright.

    Raises:
        ImageError: UNSUPPORTED_FORMAT, TOO_LARGE.
        Exception: whatever tifffile raises for data that it rejects.
    """
    header = read_header(data)
    if header is None:
        raise ValueError("no header")
    tags, _ = read_directory(data, header, header.first)
    width, height = (_first(tags, tag, header, 0) for tag in (WIDTH, HEIGHT))
    check_size(width, height, max_pixels)
    depths, kinds = (
        set(integers(tags, BITS, header)),
        set(integers(tags, FORMAT, header)) or {UNSIGNED},
    )
    photometric = _first(tags, PHOTOMETRIC, header, -1)
    known = photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)
    if not known or len(depths) != 1 or len(kinds) != 1 or max(kinds) > UNDEFINED:
        raise ImageError(
            ErrorCode.UNSUPPORTED_FORMAT,
            f"TIFF of photometric {photometric} with samples of {sorted(depths)} bits",
        )
    if ends_early("TIFF", data):
        raise ValueError("TIFF: truncated")
    values = _samples(data, tags, header, (height, width))
    levels = _levels(values, depths.pop(), kinds.pop())
    colours = 3 if photometric == RGB else 1
    if levels.shape[2] < colours:
        raise ValueError("fewer samples than colours")
    if photometric == WHITE_IS_ZERO:
        levels[:, :, 0] = 255 - levels[:, :, 0]
    extra = _first(tags, EXTRA, header, 0) if levels.shape[2] > colours else 0
    if extra in (ASSOCIATED, UNASSOCIATED):
        return over_white(levels[:, :, : colours + 1], premultiplied=extra == ASSOCIATED)
    return np.repeat(levels[:, :, :1], 3, axis=2) if colours == 1 else levels[:, :, :3].copy()


def _first(tags: Directory, tag: int, header: Header, otherwise: int) -> int:
    found = integer(tags, tag, header)
    return otherwise if found is None else found


def _samples(
    data: bytes, tags: Directory, header: Header, size: tuple[int, int]
) -> npt.NDArray[np.generic]:
    """Return the samples [H, W, S] of the first picture.

    Raises:
        ValueError: they are not of the size that the directory names.
    """
    import tifffile  # a tenth of a second, and only these files need it

    with tifffile.TiffFile(BytesIO(data)) as file:
        values: npt.NDArray[np.generic] = file.pages.first.asarray(maxworkers=1)
    if values.ndim == 2:
        values = values[:, :, np.newaxis]
    elif _first(tags, PLANES, header, 1) == SEPARATE:
        values = np.moveaxis(values, 0, -1)
    if values.ndim != 3 or values.shape[:2] != size:
        raise ValueError(f"samples of shape {values.shape}")
    return values


def _levels(values: npt.NDArray[np.generic], bits: int, kind: int) -> Pixels:
    """Return samples as 0 to 255, by the rules of `modes`."""
    if kind == FLOATING:
        return floats_to_levels(values)
    top = int(values.max(initial=0))
    full = 2**bits - 1 if kind != SIGNED else 2 ** (bits - 1) - 1
    if bits > 16:  # many hold 8 or 16 bits in 32
        full = next((one for one in (255, 65535) if top <= one), full)
    scaled = np.clip(values, 0, full) * (255.0 / full)
    levels: Pixels = np.rint(scaled).astype(np.uint8)
    return levels
