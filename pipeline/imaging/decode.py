"""Decodes the bytes of an image file, of any format, to upright RGB pixels."""

import struct
from contextlib import suppress
from dataclasses import replace
from functools import partial

from PIL import Image, ImageFile

from pipeline.arrays import Pixels
from pipeline.errors import ErrorCode, ImageError
from pipeline.imaging import boxes
from pipeline.imaging.damage import is_broken_off, rescue, with_grey
from pipeline.imaging.deep_tiff import decode_deep, is_deep
from pipeline.imaging.exif import TURNED, UNDONE_BY, read_exif, upright
from pipeline.imaging.extent import holds_more
from pipeline.imaging.formats import is_start_of_magic, probe, unsupported_kind
from pipeline.imaging.jpeg import decode_jpeg, read_header_of
from pipeline.imaging.metadata import Blocks, read_metadata
from pipeline.imaging.modes import to_rgb
from pipeline.imaging.pillow import PLUGINS, check_size, heif_metadata, open_with, quiet_pillow
from pipeline.imaging.png import of_hex, read_blocks, without_texts
from pipeline.imaging.record import Decoded
from pipeline.imaging.tiff import BITS, XMP, raw_kind, read_iptc_tags, read_tag
from pipeline.imaging.truncation import ends_early, says_truncated

MAX_DETAIL_CHARACTERS = 300


def decode(data: bytes, max_pixels: int, side: int | None) -> Decoded:
    """Decode an image file: its first frame or page, its primary picture.

    Args:
        data: the whole file.
        max_pixels: limit on width x height, checked before pixel memory is taken.
        side: a JPEG is decoded at a half, a quarter or an eighth of its size while its longer side
            keeps this many pixels; None: always whole. Its DCT gives these for less than a
            decoding and a reduction take.

    Raises:
        ImageError: and nothing else, whatever the bytes are.
    """
    if not data:
        raise ImageError(ErrorCode.EMPTY, "the file has no bytes")
    name = probe(data)
    if name is None:
        if is_start_of_magic(data):
            raise ImageError(ErrorCode.TRUNCATED, f"only {len(data)} bytes")
        raise ImageError(ErrorCode.UNSUPPORTED_FORMAT, unsupported_kind(data))
    try:
        image = _decode_or_rescue(name, data, max_pixels, side)
        return replace(image, holds_more=holds_more(image.format, data))
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(ErrorCode.OUT_OF_MEMORY, f"{name}: not enough memory") from error
    except Image.DecompressionBombError as error:
        raise ImageError(ErrorCode.TOO_LARGE, f"over the limit of {max_pixels:,} pixels") from error
    except Exception as error:
        # Native decoders meet strangers' bytes: they raise OSError, SyntaxError, ValueError,
        # struct.error, RuntimeError, EOFError ... with no list to rely on.
        early = says_truncated(error) or ends_early(name, data)
        code = ErrorCode.TRUNCATED if early else ErrorCode.CORRUPT
        raise ImageError(code, f"{name}: {error}"[:MAX_DETAIL_CHARACTERS]) from error


def _decode_or_rescue(name: str, data: bytes, max_pixels: int, side: int | None) -> Decoded:
    try:
        if name == "WEBP" and is_broken_off(data, partial(_stored, name, max_pixels)):
            return _rescued(name, data, max_pixels)
        return _decode(name, data, max_pixels, side)
    except (ImageError, MemoryError, Image.DecompressionBombError):
        raise
    except Exception as error:
        if not (says_truncated(error) or ends_early(name, data)):
            raise
        with suppress(OSError, SyntaxError, ValueError, EOFError, struct.error):
            return _rescued(name, data, max_pixels)
        raise


def _stored(name: str, max_pixels: int, data: bytes) -> Pixels:
    """Return the pixels of a file as they lie in it."""
    image = _decode(name, data, max_pixels, None)
    return upright(image.pixels, UNDONE_BY[image.orientation])


def _rescued(name: str, data: bytes, max_pixels: int) -> Decoded:
    """Decode what is there of a file whose end is lost.

    Raises:
        ImageError: TRUNCATED, too little is.
        Exception: nothing can be had of it.
    """
    found = rescue(name, data, max_pixels, partial(_stored, name, max_pixels))
    if found is None:
        raise ValueError("nothing can be had of it")
    whole, rows, height = found
    image = _decode(name, whole, max_pixels, None)
    pixels = upright(image.pixels, UNDONE_BY[image.orientation])
    check_size(pixels.shape[1], height, max_pixels)
    pixels = upright(with_grey(pixels, rows, height), image.orientation)
    return replace(image, pixels=pixels, width=0, height=0, damaged_rows=height - rows)


def _decode(name: str, data: bytes, max_pixels: int, side: int | None) -> Decoded:
    if name == "JPEG":
        header = read_header_of(data)
        pixels, reduced, lost = decode_jpeg(data, header, max_pixels, side)
        facts = read_metadata(header.blocks)
        pixels = upright(pixels, facts.orientation)
        whole = Decoded(pixels, header.format, **facts._asdict(), damaged_rows=lost)
        if reduced == 1:
            return whole
        turned = facts.orientation >= TURNED
        width, height = (header.height, header.width) if turned else (header.width, header.height)
        return replace(whole, reduced=reduced, width=width, height=height)
    if name == "TIFF" and (raw := raw_kind(data)):
        raise ImageError(ErrorCode.UNSUPPORTED_FORMAT, f"camera RAW ({raw})")
    if name in ("HEIF", "AVIF") and boxes.declared_pixels(data) > max_pixels:
        raise ImageError(ErrorCode.TOO_LARGE, f"over the limit of {max_pixels:,} pixels")
    if name == "HEIF" and not boxes.item_types_are_text(data):
        raise ImageError(ErrorCode.CORRUPT, f"{name}: the list of items is damaged")
    if name == "WEBP":
        check_size(*_webp_canvas(data), max_pixels)
    if name == "TIFF" and is_deep(data):
        return _decode_deep_tiff(data, max_pixels)
    with quiet_pillow(max_pixels):
        image = open_with(PLUGINS[name], without_texts(data) if name == "PNG" else data)
        check_size(*image.size, max_pixels)
        blocks = _blocks(name, data, image)
        image.load()
        check_size(*image.size, max_pixels)  # HEIF: the coded picture may differ from its header
        _correct_colour_key(name, data, image)
        pixels = to_rgb(image, _full_scale(name, image))
    _add_exif(name, data, image, blocks)
    facts = read_metadata(blocks)
    if not _is_turned_already(name, blocks):
        pixels = upright(pixels, facts.orientation)
    return Decoded(pixels, name, **facts._asdict())


def _decode_deep_tiff(data: bytes, max_pixels: int) -> Decoded:
    pixels = decode_deep(data, max_pixels)
    facts = read_metadata(Blocks(data, read_tag(data, XMP), read_iptc_tags(data)))
    return Decoded(upright(pixels, facts.orientation), "TIFF", **facts._asdict())


def _blocks(name: str, data: bytes, image: ImageFile.ImageFile) -> Blocks:
    """Return the metadata of an opened image, all but EXIF, which PNG may have behind its pixels.

    Pillow's TIFF plugin turns the picture as some XMP packets say, and does not tell: it must not
    see them.
    """
    if name == "PNG":
        return read_blocks(data)
    xmp = image.info.pop("xmp", None) if name == "TIFF" else image.info.get("xmp")
    return Blocks(xmp=xmp if isinstance(xmp, bytes) else b"")


def _add_exif(name: str, data: bytes, image: ImageFile.ImageFile, blocks: Blocks) -> None:
    """Add EXIF and what goes with it, after the pixels were loaded."""
    if name == "TIFF":
        blocks.exif, blocks.iptc = data, read_iptc_tags(data)
        return
    block = image.info.get("exif")
    if block is None and name == "PNG":
        block = of_hex(image.info.get("Raw profile type exif"))
    blocks.exif = block if isinstance(block, bytes) else b""
    if name == "HEIF":
        blocks.turn = boxes.orientation(data)
        if blocks.turn is None:  # the plugin has overwritten what EXIF and XMP say of it
            blocks.exif, blocks.xmp = heif_metadata(data)
    elif name == "AVIF":  # Pillow has put the turns of the container in EXIF's place
        blocks.turn = read_exif(blocks.exif).orientation or 1


def _is_turned_already(name: str, blocks: Blocks) -> bool:
    """Whether the decoder has turned the picture: libheif, and Pillow's TIFF plugin by EXIF."""
    if name == "HEIF":
        return blocks.turn is not None
    return name == "TIFF" and read_exif(blocks.exif).orientation is not None


def _full_scale(name: str, image: ImageFile.ImageFile) -> int | None:
    if name == "PPM":
        return 65535  # Pillow scales whatever maximum the file names to this
    if name == "TIFF" and getattr(image, "tag_v2", {}).get(BITS) == (12,):
        return 4095
    return None


def _correct_colour_key(name: str, data: bytes, image: ImageFile.ImageFile) -> None:
    """Bring PNG's transparent colour, given in the file's bits, to the bits of the pixels."""
    key = image.info.get("transparency")
    if name != "PNG" or key is None or len(data) < 25:
        return
    bits = data[24]  # of IHDR, which comes first
    if bits == 16 and image.mode == "RGB":
        del image.info["transparency"]  # the low bytes that it needs are gone
    elif bits in (2, 4) and image.mode == "L" and isinstance(key, int):
        image.info["transparency"] = key * 255 // (2**bits - 1)


def _webp_canvas(data: bytes) -> tuple[int, int]:
    """Return width and height from a WebP header (RFC 9649); (0, 0) when it is cut short."""
    if len(data) < 30:
        return 0, 0
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    bits = int.from_bytes(data[21:25], "little")
    if kind == b"VP8L":
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    size = int.from_bytes(data[26:30], "little")
    return size & 0x3FFF, size >> 16 & 0x3FFF
