"""Opens and loads images with Pillow's plugins, without changing Pillow for others.

Plugins are called by themselves rather than through `Image.open`: the format is known from its
magic, no plugin outside the closed list can run, and nothing needs to be registered.
"""

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO

from pi_heif import HeifImageFile, open_heif
from PIL import Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from pipeline.errors import ErrorCode, ImageError

PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "AVIF": AvifImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
    "HEIF": HeifImageFile,
    "JPEG2000": Jpeg2KImageFile,
    "PNG": PngImageFile,
    "PPM": PpmImageFile,
    "TIFF": TiffImageFile,
    "WEBP": WebPImageFile,
}

_lock = threading.Lock()
_inside = 0
_restore = ExitStack()


@contextmanager
def quiet_pillow(max_pixels: int) -> Iterator[None]:
    """Keep Pillow's warnings, bomb limit and leniency out of a decode, and put them back after.

    Pillow's settings and Python's warning filters belong to the process. The first thread in
    changes them and the last one out restores them, so threads that overlap neither see a half
    restored state nor leave one behind. Meanwhile Pillow's bomb limit, which some plugins check
    before they take memory in passing (canvas, tile), is the largest `max_pixels` inside.
    """
    global _inside
    with _lock:
        if _inside == 0:
            _change_settings()
        _inside += 1
        # Pillow raises above twice its limit; check_size is exact where this is one too many
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, (max_pixels + 1) // 2)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _restore.close()


def _change_settings() -> None:
    limit, lenient = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES

    def put_back() -> None:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limit, lenient

    _restore.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")
    _restore.callback(put_back)
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = 0, False


def open_with(plugin: type[ImageFile.ImageFile], data: bytes) -> ImageFile.ImageFile:
    """Return the image opened by `plugin`: its header is read, its pixels are not."""
    return plugin(BytesIO(data))


def heif_metadata(data: bytes) -> tuple[bytes, bytes]:
    """Return the EXIF block and the XMP packet of a HEIF file as they lie in it, or b""."""
    info = open_heif(BytesIO(data)).info
    exif, xmp = info.get("exif"), info.get("xmp")
    return exif or b"", xmp or b""


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise ImageError TOO_LARGE when width x height is over the limit."""
    if width * height > max_pixels:
        raise ImageError(
            ErrorCode.TOO_LARGE, f"{width} x {height} pixels are over the limit of {max_pixels:,}"
        )
