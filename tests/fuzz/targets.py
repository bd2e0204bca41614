"""What is fuzzed: each target takes any bytes, and raises only where a promise is broken."""

import io
import struct
import zlib

import numpy as np

from pipeline.config import ReadConfig
from pipeline.errors import ErrorCode, ImageError
from pipeline.imaging.decode import decode as decode_image
from pipeline.imaging.fingerprint import fingerprint
from pipeline.imaging.phash import HASH_BYTES
from pipeline.sources.members import Report
from pipeline.sources.parquet import parquet_members
from pipeline.sources.tars import tar_members
from pipeline.sources.zips import zip_members

# Small, so that no input may take much memory or time.
MAX_PIXELS = 1_000_000
MAX_BYTES = 1 << 20
# More members than this in an input of a few kilobytes would be a bomb of its own.
MAX_MEMBERS = 100_000

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def decode(data: bytes) -> None:
    """Any bytes are an image of the promised shape, or an `ImageError`."""
    if data.startswith(PNG_MAGIC):
        data = with_checksums(data)
    try:
        image = decode_image(data, MAX_PIXELS, None)
    except ImageError as caught:
        error = caught
    else:
        check_image(image)
        return
    assert isinstance(error.code, ErrorCode)
    assert error.detail


def check_image(image) -> None:
    height, width, channels = image.pixels.shape
    assert (image.pixels.dtype, channels) == (np.uint8, 3)
    assert 1 <= height * width <= MAX_PIXELS
    assert image.pixels.flags.c_contiguous
    assert 1 <= image.orientation <= 8
    assert image.taken_at is None or image.taken_at.tzinfo is None
    marks = fingerprint(image.pixels)
    assert len(marks.phash) == HASH_BYTES
    assert 0 <= marks.phash_quality <= 100
    assert marks.sharpness >= 0
    assert image.camera is None or image.camera.isprintable()


def with_checksums(png: bytes) -> bytes:
    """Mend the checksums of a PNG's chunks, or hardly any change would reach the decoder."""
    out, at = bytearray(png[:8]), 8
    while at + 12 <= len(png):
        size = struct.unpack_from(">I", png, at)[0]
        body = png[at + 4 : at + 8 + size]
        if at + 12 + size > len(png):
            break
        out += struct.pack(">I", size) + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + size
    return bytes(out + png[at:])


def tar(data: bytes) -> None:
    """Any bytes are members and a report."""
    report = Report()
    check(tar_members(io.BytesIO(data), wanted, MAX_BYTES, report), report)


def zip(data: bytes) -> None:
    """Any bytes are members and a report."""
    report = Report()
    check(zip_members(io.BytesIO(data), wanted, MAX_BYTES, report), report)


def parquet(data: bytes) -> None:
    """Any bytes are members and a report."""
    report, config = Report(), ReadConfig(MAX_BYTES, "image", "key")
    members = parquet_members(io.BytesIO(data), wanted, config, report)
    check(members, report)


def wanted(key: str) -> bool:
    """Want all but those that a ledger might hold."""
    return not key.endswith("known.jpg")


def check(members, report) -> None:
    keys = set()
    for member in members:
        assert member.key not in keys
        keys.add(member.key)
        assert len(keys) <= MAX_MEMBERS
        assert (member.data is None) == (member.error is not None)
        assert member.data is None or len(member.data) <= MAX_BYTES
        assert member.error is None or member.detail
        assert len(member.detail) < 2000
    for text in report.notices + report.damage:
        assert text.isprintable()
        assert len(text) < 2000


TARGETS = {target.__name__: target for target in (decode, tar, zip, parquet)}
