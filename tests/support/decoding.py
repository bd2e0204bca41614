"""Decoding within the limits that `index` has by default, or within those of a test."""

from types import SimpleNamespace

from pipeline.config import DecodeConfig
from pipeline.imaging import decode as decoding
from pipeline.imaging.sandbox import Sandbox

DEFAULT = DecodeConfig()


def decode(data, max_pixels=DEFAULT.max_pixels, side=None):
    return decoding.decode(data, max_pixels, side)


def limits(
    max_pixels=DEFAULT.max_pixels,
    timeout_s=DEFAULT.timeout_s,
    memory_bytes=DEFAULT.memory_bytes,
    side=None,
):
    """Return limits of any size: those of a `DecodeConfig` cannot be too small to be of use."""
    return SimpleNamespace(
        max_pixels=max_pixels, timeout_s=timeout_s, memory_bytes=memory_bytes, side=side
    )


def sandbox(**changed):
    return Sandbox(limits(**changed))
