"""Image formats: recognised by their first 32 bytes, and the extensions that are read.

Names are Pillow's. Formats that Pillow runs other programs for (EPS), or that are documents rather
than pictures, are left out on purpose.
"""

import re

# Bytes that `probe` needs.
PROBE_BYTES = 32
# Bytes that it looks at when it has them: a few HEIF files list their telling brand late.
MAX_BRANDS_BYTES = 256

_EXTENSIONS = {
    "JPEG": "jpg jpeg jpe jfif jif",
    "MPO": "mpo",
    "PNG": "png apng",
    "WEBP": "webp",
    "TIFF": "tif tiff",
    "BMP": "bmp dib",
    "GIF": "gif",
    "HEIF": "heic heics heif heifs hif",
    "AVIF": "avif avifs",
    "JPEG2000": "jp2 j2k j2c jpc jpf jpx",
    "PPM": "ppm pgm pbm pnm pfm",
}
IMAGE_EXTENSIONS = frozenset(
    f".{extension}" for extensions in _EXTENSIONS.values() for extension in extensions.split()
)
# Photos that a person would miss if they were passed over in silence.
_UNDECODABLE = {
    "camera RAW": "3fr ari arw cr2 cr3 crw dcr dng erf fff iiq k25 kdc mef mos mrw nef nrw orf pef "
    "raf raw rw2 rwl sr2 srf srw x3f",
    "drawings": "psd psb xcf svg svgz ai eps",
    "other pictures": "jxl jxr wdp hdp hdr exr tga ico icns dcm qoi",
}
UNDECODABLE_IMAGE_EXTENSIONS = frozenset(
    f".{extension}" for extensions in _UNDECODABLE.values() for extension in extensions.split()
)

# Brands of ISO base media files (MP4RA's register).
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_AVIF_BRANDS = {b"avif", b"avis"}
_EITHER_BRANDS = {b"mif1", b"mif2", b"msf1", b"miaf"}

_DECODED_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
)
# Mark, white space, then the width or a comment: two letters alone begin many a text.
_PORTABLE_MAP = re.compile(rb"P[1-6f]\s+[\d#]")
_OTHER_MAGIC = (
    (b"IIRO", "camera RAW (Olympus ORF)"),
    (b"IIRS", "camera RAW (Olympus ORF)"),
    (b"MMOR", "camera RAW (Olympus ORF)"),
    (b"IIU\0", "camera RAW (Panasonic RW2)"),
    (b"FUJIFILMCCD-RAW", "camera RAW (Fujifilm RAF)"),
    (b"FOVb", "camera RAW (Sigma X3F)"),
    (b"\0MRM", "camera RAW (Minolta MRW)"),
    (b"II\x1a\0\0\0HEAPCCDR", "camera RAW (Canon CRW)"),
    (b"8BPS", "Photoshop document"),
    (b"gimp xcf", "GIMP document"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"%PDF", "PDF document"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"\x1a\x45\xdf\xa3", "video (Matroska or WebM)"),
    (b"\0\0\x01\xba", "video (MPEG)"),
    (b"\0\0\x01\xb3", "video (MPEG)"),
    (b"FLV\x01", "video (Flash)"),
    (b"0&\xb2u\x8ef\xcf\x11", "video (Windows Media)"),
    (b"\0\0\x01\0", "icon"),
    (b"icns", "icon"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"qoif", "QOI"),
    (b"PK\x03\x04", "ZIP archive"),
    (b"\x1f\x8b", "gzip data"),
)


def probe(data: bytes) -> str | None:
    """Return the name of the format that `data` (32 bytes suffice) begins as, if we decode it.

    A TIFF here may still turn out to be camera RAW; `decode` looks further.
    """
    head = data[:PROBE_BYTES]
    for magic, name in _DECODED_MAGIC:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        return _probe_brands(data[:MAX_BRANDS_BYTES])
    if head[:2] == b"BM" and _is_bitmap(head):
        return "BMP"
    if _PORTABLE_MAP.match(head):
        return "PPM"
    return None


def is_start_of_magic(data: bytes) -> bool:
    """Whether `data` is so short that it ends within the mark of a format that we decode."""
    return any(magic.startswith(data) for magic, _ in _DECODED_MAGIC) or b"RIFF".startswith(data)


def unsupported_kind(data: bytes) -> str:
    """Return what bytes that `probe` does not know are, for people."""
    head = data[:512]
    for magic, name in _OTHER_MAGIC:
        if head.startswith(magic):
            return name
    if head[4:8] == b"ftyp":
        return "camera RAW (Canon CR3)" if head[8:12] == b"crx " else "video (MPEG-4 or QuickTime)"
    if head[4:8] in (b"moov", b"mdat", b"wide"):
        return "video (QuickTime)"
    if head[:4] == b"RIFF":
        return "video (AVI)" if head[8:12] == b"AVI " else "RIFF data"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml")) and b"<svg" in data[:4096].lower():
        return "SVG"
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if not data.strip(b"\0"):
        return "nothing but zero bytes"
    return f"unknown data, beginning {head[:8].hex(' ')}"


def _probe_brands(head: bytes) -> str | None:
    size = int.from_bytes(head[:4], "big")
    major, rest = head[8:12], head[16 : max(16, size)]
    brands = [major, *(rest[at : at + 4] for at in range(0, len(rest), 4))]
    if major in _AVIF_BRANDS | _HEIF_BRANDS:
        return "AVIF" if major in _AVIF_BRANDS else "HEIF"
    if _AVIF_BRANDS & set(brands):
        return "AVIF"
    return "HEIF" if (_HEIF_BRANDS | _EITHER_BRANDS) & set(brands) else None


def _is_bitmap(head: bytes) -> bool:
    # "BM" alone begins many a text; the sizes of the header versions are a closed list
    return int.from_bytes(head[14:18], "little") in (12, 16, 40, 52, 56, 64, 108, 124)
