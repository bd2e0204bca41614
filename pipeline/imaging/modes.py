"""Every Pillow mode to 8-bit RGB, by rules that never clip or wrap.

| mode | rule |
|---|---|
| RGB | as it is |
| RGBX | the fourth channel is dropped |
| 1, L | the grey value in all three channels; 1 becomes 0 or 255 |
| P, PA | looked up in the palette |
| LA, RGBA, P and PA with transparency | composited over white: round((c a + 255 (255 - a)) / 255) |
| La, RGBa | premultiplied, so composited as c + 255 - a |
| 1, L, RGB, I;16 with a transparent colour | that colour becomes white |
| I;16, I;16L, I;16B, I;16N | round(255 v / full); full is 65535, or 4095 in a file of 12 bits |
| I | negatives become 0; full scale 255, 65535 or 2^31 - 1, the first that holds the maximum; \
65535 in PPM |
| F | NaN becomes 0; full scale 1, 255 or 65535, the first that holds the maximum; \
min to max where a value is negative or larger still |
| TIFF of more than 8 bits, signed or floating, or of rarer kinds | read by tifffile; whole \
numbers of b bits: full scale 2^b - 1, signed ones 2^(b-1) - 1 and negatives 0, \
of more than 16 bits 255 or 65535 if that holds the maximum; floating as F; \
white as zero is turned round; CMYK, Lab and mixed depths are \
`unsupported_format` |
| CMYK, YCbCr, HSV, LAB | Pillow's conversion; embedded colour profiles are not applied |

16-bit RGB(A) and grey-alpha PNG files arrive from Pillow as 8 bits already: the high byte of each.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.arrays import Pixels

# Rows are composited in bands of this many pixels, so that a huge picture needs no huge scratch.
BAND_PIXELS = 1 << 20
CONVERTED_MODES = ("CMYK", "YCbCr", "HSV", "LAB", "RGBX")


def to_rgb(image: Image.Image, full_scale: int | None = None) -> Pixels:
    """Return the loaded image's pixels as uint8 [H, W, 3], RGB.

    Args:
        image: of any mode in the table above.
        full_scale: the value of white in modes I and I;16, where the file says.

    Raises:
        ValueError: the mode has no rule.
    """
    mode = image.mode
    key = image.info.get("transparency")
    if mode == "RGB":
        return _keyed(np.array(image), key)
    if mode in ("1", "L"):
        return _keyed(_grey(np.asarray(image.convert("L"))), _grey_key(image, key))
    if mode == "PA" or (mode == "P" and (key is not None or _has_alpha_palette(image))):
        return over_white(np.asarray(image.convert("RGBA")))
    if mode in ("RGBA", "LA"):
        return over_white(np.asarray(image))
    if mode in ("RGBa", "La"):
        return over_white(np.asarray(_bands(image)), premultiplied=True)
    if mode == "P" or mode in CONVERTED_MODES:
        return np.array(image.convert("RGB"))
    return _deep(image, full_scale, key)


def _deep(image: Image.Image, full_scale: int | None, key: Any) -> Pixels:
    """Return an image of more than 8 bits a channel in 8."""
    if image.mode.startswith("I;16"):
        return _sixteen_bit(image, full_scale or 65535, key)
    if image.mode == "I":
        return _grey(_integers(np.asarray(image), full_scale))
    if image.mode == "F":
        return _grey(floats_to_levels(np.asarray(image)))
    raise ValueError(f"no rule for pixel mode {image.mode}")


def _grey(values: Pixels) -> Pixels:
    return np.repeat(values[:, :, np.newaxis], 3, axis=2)


def _grey_key(image: Image.Image, key: Any) -> Any:
    if not isinstance(key, int):
        return None
    return (key * 255 if image.mode == "1" and key == 1 else key,) * 3


def _keyed(pixels: Pixels, key: Any) -> Pixels:
    """Make the pixels of the transparent colour white, in place."""
    if isinstance(key, tuple) and len(key) == 3 and all(0 <= part <= 255 for part in key):
        pixels[(pixels == np.array(key, np.uint8)).all(axis=2)] = 255
    return pixels


def _has_alpha_palette(image: Image.Image) -> bool:
    return image.palette is not None and image.palette.mode in ("RGBA", "RGBa", "LA")


def _bands(image: Image.Image) -> Pixels:
    # Pillow offers no array of the premultiplied modes, only their bytes.
    return np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, image.width, -1)


def over_white(pixels: Pixels, premultiplied: bool = False) -> Pixels:
    """Composite [H, W, 2] grey-alpha or [H, W, 4] RGBA over white."""
    height, width, channels = pixels.shape
    result = np.empty((height, width, 3), np.uint8)
    step = max(1, BAND_PIXELS // max(1, width))
    for top in range(0, height, step):
        band = pixels[top : top + step]
        colour, alpha = band[:, :, : channels - 1], band[:, :, channels - 1 :]
        if not (alpha == 255).all():
            opacity, tint = alpha.astype(np.uint16), colour.astype(np.uint16)
            if premultiplied:
                colour = np.minimum(tint + (255 - opacity), 255).astype(np.uint8)
            else:
                # at most 255 * 255 + 127, which 16 bits hold
                mixed = tint * opacity + 255 * (255 - opacity) + 127
                colour = (mixed // 255).astype(np.uint8)
        result[top : top + step] = colour
    return result


def _sixteen_bit(image: Image.Image, full_scale: int, key: Any) -> Pixels:
    values = np.asarray(image)
    levels = np.minimum(np.arange(65536, dtype=np.int64), full_scale)
    table = ((levels * 255 + full_scale // 2) // full_scale).astype(np.uint8)
    if isinstance(key, int) and 0 <= key <= 65535:
        table[key] = 255
    return _grey(table[values])


def _integers(values: npt.NDArray[np.int32], full_scale: int | None) -> Pixels:
    if full_scale is None:
        top = int(values.max(initial=0))
        full_scale = next((full for full in (255, 65535) if top <= full), 2**31 - 1)
    scaled = np.clip(values, 0, full_scale) * (255.0 / full_scale)
    grey: Pixels = np.rint(scaled).astype(np.uint8)
    return grey


def floats_to_levels(values: npt.NDArray[np.generic]) -> Pixels:
    """Return floating samples of any shape as 0 to 255, by the rule of mode F."""
    wide = values.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    fitting = [full for full in (1.0, 255.0, 65535.0) if low >= 0 and high <= full]
    if fitting:
        low, high = 0.0, fitting[0]
    # infinities end at the ends of the scale; a single value makes a scale of no length
    span = (high - low) or 1.0
    scaled = (np.clip(wide, low, high) - low) * (255 / span)
    grey: Pixels = np.rint(np.nan_to_num(scaled, nan=0.0)).astype(np.uint8)
    return grey
