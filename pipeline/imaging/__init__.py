"""The decode room: bytes of image files to upright RGB pixels, or an `ImageError` that says why."""

from pipeline.imaging.decode import MAX_PIXELS, Decoded, decode
from pipeline.imaging.formats import IMAGE_EXTENSIONS, UNDECODABLE_IMAGE_EXTENSIONS, probe
from pipeline.imaging.sandbox import Sandbox

__all__ = [
    "IMAGE_EXTENSIONS",
    "MAX_PIXELS",
    "UNDECODABLE_IMAGE_EXTENSIONS",
    "Decoded",
    "Sandbox",
    "decode",
    "probe",
]
