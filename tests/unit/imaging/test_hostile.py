"""Files that are made to harm: each costs its own row, and a stated amount of memory.

Images are decoded in a `Sandbox`, whose limit on memory is the bound: it is hard, and reaching it
would show as another code. Archives are read here, with every allocation of Python counted.
"""

import bz2
import contextlib
import functools
import gzip
import io
import itertools
import lzma
import struct
import tarfile
import time
import tracemalloc
import zipfile
import zlib

import numpy as np
import pillow_heif
import pyarrow as pa
import pytest
from PIL import Image

from pipeline.config import ReadConfig
from pipeline.errors import ImageError
from pipeline.sources.members import Report
from pipeline.sources.parquet import parquet_members
from pipeline.sources.tars import tar_members
from pipeline.sources.zips import zip_members
from tests.support.builders import jpeg, parquet_bytes, planned, put, read_all, tar_bytes, zip_bytes
from tests.support.decoding import decode
from tests.support.decoding import sandbox as sandbox_of

MAX_PIXELS = 20_000_000
MEMORY_BYTES = 256 * 2**20
TIMEOUT_S = 15
# Beyond the bytes of an image that is handed on.
READER_BYTES = 80 * 2**20  # four kilobytes of LZMA in a zip are 28 megabytes
MAX_BYTES = 1 << 20

ZEROS = 1 << 30


def packed_zeros(size=ZEROS):
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join(parts) + packer.flush()


@functools.cache
def bomb():
    """Return a megabyte."""
    return packed_zeros()


@functools.cache
def small_bomb():
    """Return two kilobytes, but more than Pillow unpacks."""
    return packed_zeros(2 << 20)


@pytest.fixture(scope="module")
def sandbox():
    with sandbox_of(max_pixels=MAX_PIXELS, timeout_s=TIMEOUT_S, memory_bytes=MEMORY_BYTES) as one:
        yield one


def verdict(sandbox, data):
    """Return the code, or the size of the picture."""
    try:
        image, _ = sandbox.decode(data)
    except ImageError as caught:
        error = caught
    else:
        return image.pixels.shape[1::-1]
    assert 0 < len(error.detail) <= 300
    return error.code.value


def encode(image, kind, **options):
    out = io.BytesIO()
    if kind == "HEIF":
        pillow_heif.from_pillow(image).save(out, **options)
    else:
        image.save(out, kind, **options)
    return out.getvalue()


SMALL = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width=4, height=4, extra=b"", pixels=None):
    if pixels is None:
        pixels = zlib.compress((b"\0" + bytes(width * 3)) * height)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


# What makes a file, and the verdict on it: made by its test alone, for some take seconds.
PNGS = {
    "size": (lambda: png(2**31 - 1, 2**31 - 1, pixels=b"x"), "too_large"),
    "width": (lambda: png(2**31 - 1, 1, pixels=b"x"), "too_large"),
    "as-large-as-allowed": (lambda: png(5000, 4000, pixels=zlib.compress(b"")), "truncated"),
    "pixels": (lambda: png(pixels=bomb()), (4, 4)),
    "profile": (lambda: png(extra=chunk(b"iCCP", b"x\0\0" + bomb())), (4, 4)),
    "zTXt": (lambda: png(extra=chunk(b"zTXt", b"x\0\0" + bomb())), (4, 4)),
    "iTXt": (lambda: png(extra=chunk(b"iTXt", b"x\0\1\0\0\0" + bomb())), (4, 4)),
    "exif": (lambda: png(extra=chunk(b"zTXt", b"Raw profile type exif\0\0" + bomb())), (4, 4)),
    "exif-2": (
        lambda: png(extra=chunk(b"zTXt", b"Raw profile type exif\0\0" + small_bomb())),
        "corrupt",
    ),
    "many-texts": (lambda: png(extra=chunk(b"zTXt", b"x\0\0" + small_bomb()) * 200), (4, 4)),
    "tiny-texts": (lambda: png(extra=chunk(b"tEXt", b"k\0v") * 50_000), (4, 4)),
    "long-text": (lambda: png(extra=chunk(b"tEXt", b"k\0" + bytes(70 << 20))), (4, 4)),
    "chunk-length": (
        lambda: png()[:33] + struct.pack(">I", 2**31 - 1) + b"tEXt" + bytes(99),
        "truncated",
    ),
    "frames": (lambda: png(extra=chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))), (4, 4)),
}


def tiff(width=4, height=4, following=0, data=b"", **changes):
    """Build a grey TIFF; changes are tags as t273=(type, count, value or bytes), None removes."""
    tags = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1)}
    tags |= {262: (3, 1, 1), 273: (4, 1, 8), 277: (3, 1, 1), 278: (4, 1, height)}
    tags |= {279: (4, 1, width * height % 2**32)}
    tags |= {int(name[1:]): value for name, value in changes.items()}
    tags = {tag: value for tag, value in sorted(tags.items()) if value is not None}
    body, extra = b"II*\0" + struct.pack("<IH", 8, len(tags)), b""
    base = 8 + 2 + 12 * len(tags) + 4
    for tag, (kind, count, value) in tags.items():
        if isinstance(value, bytes):
            value, extra = base + len(extra), extra + value
        body += struct.pack("<HHII", tag, kind, count, value)
    return body + struct.pack("<I", following) + extra + data


def tiled(width, height, side, count):
    offsets = (4, count, b"\x08\0\0\0" * count)
    strips = {"t273": None, "t278": None, "t279": None}
    tiles = {"t322": (4, 1, side), "t323": (4, 1, side), "t324": offsets, "t325": offsets}
    return tiff(width, height, t259=(3, 1, 8), **strips, **tiles)


WORDS = b"\x08\0\0\0"
LOOP = (4, 3, WORDS * 3)
TIFFS = {
    "size": (lambda: tiff(2**32 - 1, 2**32 - 1), "too_large"),
    "width": (lambda: tiff(2**31 - 1, 1), "too_large"),
    "strips": (
        lambda: tiff(4000, 4000, t273=(4, 2**31 - 1, 8), t279=(4, 2**31 - 1, 8)),
        "truncated",
    ),
    "real-strips": (
        lambda: tiff(
            4000,
            4000,
            t259=(3, 1, 5),
            t273=(4, 4000, WORDS * 4000),
            t279=(4, 4000, WORDS * 4000),
            t278=(4, 1, 1),
        ),
        "corrupt",
    ),
    "rows": (lambda: tiff(4000, 4000, t259=(3, 1, 5), t278=(4, 1, 2**32 - 1)), "truncated"),
    "bands": (lambda: tiff(400, 400, t277=(3, 1, 65535)), "truncated"),
    "bits": (lambda: tiff(400, 400, t258=(3, 2**30, 8)), "truncated"),
    "tiny-tiles": (lambda: tiled(4000, 4000, 1, 4000), "corrupt"),
    "tiles": (lambda: tiled(4000, 4000, 16, 62_500), "corrupt"),
    "huge-tile": (lambda: tiled(400, 400, 2**24, 1), "truncated"),
    "directory-loop": (lambda: tiff(following=8), (4, 4)),
    "sub-directory-loop": (lambda: tiff(following=8, t330=LOOP), (4, 4)),
    "exif-loop": (lambda: tiff(t34665=(4, 1, 8), t40965=(4, 1, 8)), (4, 4)),
    "deflate": (
        lambda: tiff(t259=(3, 1, 8), t273=(4, 1, 122), t279=(4, 1, len(bomb())), data=bomb()),
        (4, 4),
    ),
    "claimed-profile": (lambda: tiff(t34675=(7, 2**31 - 1, 8)), (4, 4)),
    "profile": (lambda: tiff(t34675=(7, 20 << 20, bytes(20 << 20))), (4, 4)),
    "entries": (
        lambda: (
            b"II*\0" + struct.pack("<IH", 8, 60_000) + struct.pack("<HHII", 1, 3, 1, 1) * 60_000
        ),
        "truncated",
    ),
}


def webp_with_canvas(data, width, height):
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + sides + data[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def lossless_webp(width, height):
    data = encode(SMALL, "WEBP", lossless=True)
    return data[:21] + struct.pack("<I", width - 1 | (height - 1) << 14) + data[25:]


FLAT = Image.new("RGB", (5000, 5000))
WEBPS = {
    "canvas": (lambda: webp_with_canvas(b"", 2**24, 2**24), "too_large"),
    "canvas-of-tiny-picture": (
        lambda: webp_with_canvas(encode(SMALL, "WEBP"), 2**24, 2),
        "too_large",
    ),
    "picture-of-tiny-canvas": (lambda: webp_with_canvas(encode(FLAT, "WEBP"), 4, 4), "corrupt"),
    "lossless": (lambda: lossless_webp(16384, 16384), "too_large"),
    "lossless-as-large-as-allowed": (lambda: lossless_webp(5000, 4000), "out_of_memory"),
}


def jpeg_2000(width, height, tile=None, container=True):
    data = bytearray(encode(SMALL, "JPEG2000", no_jp2=not container))
    size = data.index(b"\xff\x51")
    struct.pack_into(">II", data, size + 6, width, height)
    if tile:
        struct.pack_into(">II", data, size + 22, tile, tile)
    return bytes(data)


JPEG_2000S = {
    "size": (lambda: jpeg_2000(2**31 - 1, 2**31 - 1, container=False), "too_large"),
    "size-inside": (lambda: jpeg_2000(60_000, 60_000), "corrupt"),
    "one-tile-inside": (lambda: jpeg_2000(60_000, 60_000, 60_000), "corrupt"),
    "tiny-tiles": (lambda: jpeg_2000(4000, 4000, 1, container=False), "corrupt"),
    "tiny-tiles-inside": (lambda: jpeg_2000(4000, 4000, 1), "corrupt"),
    # a sound picture that takes 12 bytes a pixel: OpenJPEG calls it broken when it gets none
    "flat": (lambda: encode(FLAT.crop((0, 0, 4400, 4400)), "JPEG2000"), "out_of_memory"),
}


def gif(width, height, *blocks):
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return head + b"".join(blocks) + b";"


def gif_frame(width, height):
    return b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\2\2\x44\1\0"


GIFS = {
    "screen": (lambda: gif(65535, 65535, gif_frame(1, 1)), "too_large"),
    "frame": (lambda: gif(4, 4, gif_frame(65535, 65535)), "too_large"),
    "long-comment": (
        lambda: gif(4, 4, b"!\xfe", (b"\xff" + bytes(255)) * 50_000, b"\0"),
        "corrupt",
    ),
    "comments": (lambda: gif(4, 4, b"!\xfe\1x\0" * 100_000), "corrupt"),
    "frames": (lambda: gif(1, 1, gif_frame(1, 1) * 50_000), (1, 1)),
}


def bmp(width, height, bits=24, compression=0, colours=0, data=bytes(100)):
    start = 54 + (1024 if compression else 0)
    sizes = struct.pack("<IiiHH", 40, width, height, 1, bits)
    rest = struct.pack("<IIiiII", compression, 0, 0, 0, colours, 0)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + sizes + rest + data


BMPS = {
    "size": (lambda: bmp(2**31 - 1, 2**31 - 1), "too_large"),
    "negative": (lambda: bmp(-(2**31), -(2**31)), "too_large"),
    "negative-width": (lambda: bmp(-4, 4), "too_large"),
    "palette": (lambda: bmp(4, 4, bits=8, colours=2**32 - 1), "corrupt"),
    "skipping": (
        lambda: bmp(4000, 4000, 8, 1, 256, bytes(1024) + b"\0\2\xff\xff" * 9999),
        (4000, 4000),
    ),
}


def declared(data, width, height):
    at = data.index(b"ispe")
    return data[: at + 8] + struct.pack(">II", width, height) + data[at + 16 :]


FAST = {"preset": "ultrafast"}
HEIFS = {
    "heif-size": (lambda: declared(encode(SMALL, "HEIF"), 60_000, 60_000), "too_large"),
    "heif-lie": (lambda: declared(encode(FLAT, "HEIF", enc_params=FAST), 64, 64), "corrupt"),
    "heif-boxes": (lambda: encode(SMALL, "HEIF")[:12] + b"\0\0\0\x08free" * 100_000, "truncated"),
    "avif-size": (lambda: declared(encode(SMALL, "AVIF"), 60_000, 60_000), "too_large"),
}


def jpeg_of_size(width, height):
    data = bytearray(encode(SMALL, "JPEG"))
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, height, width)
    return bytes(data)


def with_segments(marker, body, count):
    body = body.ljust(65533, b"x")
    data = encode(SMALL, "JPEG")
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body
    return data[:2] + segment * count + data[2:]


def slow_jpeg(side, scans):
    """A progressive JPEG whose last scan comes again and again: each is a walk over the picture."""
    data = encode(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * scans + data[-2:]


LOOPING_ENTRY = b"\x69\x87\4\0\1\0\0\0\x08\0\0\0"
EXIF_OF_ITSELF = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + LOOPING_ENTRY * 5000
JPEGS = {
    "size": (lambda: jpeg_of_size(65500, 65500), "too_large"),
    "as-large-as-allowed": (lambda: jpeg_of_size(4400, 4400), "truncated"),
    "segments": (lambda: with_segments(0xE5, b"", 500), (64, 64)),
    "profile": (lambda: with_segments(0xE2, b"ICC_PROFILE\0\1\1", 255), (64, 64)),
    "profile-parts": (lambda: with_segments(0xE2, b"ICC_PROFILE\0\0\0", 300), (64, 64)),
    "exif": (lambda: with_segments(0xE1, b"Exif\0\0MM\0*" + bytes(60_000), 300), (64, 64)),
    "exif-entries": (lambda: with_segments(0xE1, EXIF_OF_ITSELF, 9), (64, 64)),
    "stray-bytes": (lambda: b"\xff\xd8\xff" + bytes(20 << 20), "truncated"),
    "filling-bytes": (lambda: b"\xff\xd8" + b"\xff" * (20 << 20), "truncated"),
    "filling-bytes-then-photo": (
        lambda: b"\xff\xd8" + b"\xff" * (1 << 20) + encode(SMALL, "JPEG")[2:],
        (64, 64),
    ),
}

PPMS = {
    "size": (lambda: b"P6\n1000000000 1000000000\n255\n", "too_large"),
    "digits": (lambda: b"P6 " + b"9" * (1 << 20) + b" 1 255\n", "corrupt"),
    "few": (lambda: b"P3\n4000 4000\n255\n" + b"1 " * 100, "corrupt"),
    "blanks": (lambda: b"P3\n4000 4000\n255\n" + b" " * (5 << 20), "corrupt"),
    "long-number": (lambda: b"P3\n4000 4000\n255\n" + b"1" * (5 << 20), "corrupt"),
    "comment": (lambda: b"P6\n#" + b"x" * (1 << 20), "corrupt"),
    "float": (lambda: b"Pf\n4400 4400\n-1\n" + b"x" * 100, "truncated"),
    "float-scale": (lambda: b"Pf\n4 4\nnan\n" + b"x" * 100, "corrupt"),
}

IMAGES = {
    f"{kind}-{name}": case
    for kind, cases in {
        "png": PNGS,
        "tiff": TIFFS,
        "webp": WEBPS,
        "jp2": JPEG_2000S,
        "gif": GIFS,
        "bmp": BMPS,
        "isobmff": HEIFS,
        "jpeg": JPEGS,
        "ppm": PPMS,
    }.items()
    for name, case in cases.items()
}


@pytest.mark.parametrize(("make", "expected"), IMAGES.values(), ids=IMAGES.keys())
def test_images(sandbox, make, expected):
    assert verdict(sandbox, make()) == expected


def test_a_slow_jpeg_is_cut_short():
    began = time.monotonic()
    with sandbox_of(max_pixels=MAX_PIXELS, timeout_s=1) as one:
        assert verdict(one, slow_jpeg(4000, 500)) == "timeout"
    assert time.monotonic() - began < 20


def test_texts_that_are_left_out_change_nothing_else():
    photo = encode(SMALL, "PNG")
    head = photo.index(b"IHDR") + 4 + 13 + 4
    exif = "\nexif\n      26\n" + (b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0").hex()
    texts = [
        chunk(b"iCCP", b"x\0\0" + small_bomb()),
        chunk(b"tEXt", b"Raw profile type exif\0" + exif.encode()),
        chunk(b"gAMA", struct.pack(">I", 45455)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + small_bomb()),
        chunk(b"zTXt", b"broken")[:-4] + b"crc?",
    ]
    got = decode(photo[:head] + b"".join(texts) + photo[head:])
    assert got.orientation == 6
    assert np.array_equal(got.pixels, np.rot90(np.asarray(SMALL), -1))


# --- archives ---


@contextlib.contextmanager
def bounded(limit):
    """Fail when Python or Arrow ever holds more than `limit` bytes more than before."""
    pool = pa.default_memory_pool()
    arrow = pool.bytes_allocated()
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
        assert pool.bytes_allocated() - arrow < limit
    finally:
        tracemalloc.stop()


def members_of(kind, data, max_bytes=MAX_BYTES):
    report = Report()
    file = io.BytesIO(data)
    limit = ReadConfig(max_bytes) if kind is parquet_members else max_bytes
    with bounded(READER_BYTES + max_bytes):
        found = {
            member.key: member.error or len(member.data)
            for member in kind(file, lambda key: True, limit, report)
        }
    for text in report.notices + report.damage:
        assert text.isprintable()
        assert len(text) < 1000
    return found, report


def tar_header(name, size, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


PACKERS = {
    "gz": lambda parts: packed(zlib.compressobj(9, zlib.DEFLATED, 31), parts),
    "bz2": lambda parts: packed(bz2.BZ2Compressor(), parts),
    "xz": lambda parts: packed(lzma.LZMACompressor(preset=0), parts),
}


def packed(packer, parts):
    return b"".join(map(packer.compress, parts)) + packer.flush()


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("what", ["image", "long name", "attributes"])
def test_packed_tars(kind, what):
    types = {"image": tarfile.REGTYPE, "long name": tarfile.GNUTYPE_LONGNAME, "attributes": b"x"}
    size = 100 << 20
    zeros = itertools.repeat(bytes(1 << 20), size >> 20)
    after = tar_bytes([("after.jpg", b"fine")])
    head = tar_header("a.jpg", size, types[what])
    found, report = members_of(tar_members, PACKERS[kind]([head, *zeros, after]))
    if what == "image":
        assert found == {"a.jpg": "too_large", "after.jpg": 4}
        assert report == Report()
    else:
        assert found == {}
        assert "a header claims to have 104857600 bytes" in report.damage[0]


@pytest.mark.parametrize("size", [8 << 30, 1 << 62, -1, -(1 << 40)])
def test_tars_that_claim_a_size(size):
    first = tar_bytes([("first.jpg", b"fine")])[:1024]
    if size >= 0:
        found, report = members_of(tar_members, first + tar_header("b.jpg", size) + bytes(2048))
        assert found == {"first.jpg": 4, "b.jpg": "too_large"}
    else:
        head = bytearray(tar_header("b.jpg", 0))
        head[124:136] = b"\xff" + size.to_bytes(11, "big", signed=True)
        head[148:156] = b"        "
        head[148:156] = b"%06o\0 " % sum(head)
        found, report = members_of(tar_members, first + bytes(head) + bytes(2048))
        assert found["first.jpg"] == 4
    assert report.damage


def test_a_sparse_tar_of_holes():
    info = tarfile.TarInfo("holes.jpg")
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.realsize": str(1 << 40),
        "GNU.sparse.name": "holes.jpg",
    }
    info.size = 512
    block = b"1\n0\n0\n".ljust(512, b"\0")
    data = info.tobuf(tarfile.PAX_FORMAT) + block + tar_bytes([("after.jpg", b"fine")])
    assert members_of(tar_members, data)[0] == {"holes.jpg": "too_large", "after.jpg": 4}


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, b"x", b"g"])
def test_a_tar_of_headers_of_headers(kind):
    head = tar_header("a.jpg", 512, kind) + b"9 path=x\n".ljust(512, b"\0")
    _, report = members_of(tar_members, head * 5000 + tar_bytes([("after.jpg", b"fine")]))
    assert report.damage


def zip_of(*members, compression=zipfile.ZIP_DEFLATED):
    """Pack (name, data, changes of its directory entry)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data, changes in members:
            archive.writestr(name, data)
            for field, value in changes.items():
                setattr(archive.getinfo(name), field, value)
    return out.getvalue()


METHODS = [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


@pytest.mark.parametrize("method", METHODS)
def test_zip_bombs(method):
    zeros = bytes(200 << 20)
    honest = zip_of(("a.jpg", zeros, {}), ("b.jpg", b"fine", {}), compression=method)
    assert members_of(zip_members, honest)[0] == {"a.jpg": "too_large", "b.jpg": 4}
    lying = zip_of(
        ("a.jpg", zeros, {"file_size": 1000}), ("b.jpg", b"fine", {}), compression=method
    )
    found, _ = members_of(zip_members, lying)
    assert found["b.jpg"] == 4
    assert found["a.jpg"] == "corrupt"


@pytest.mark.parametrize("method", METHODS)
def test_zip_members_shorter_than_they_claim(method):
    data = zip_of(("a.jpg", b"x" * 99, {"file_size": MAX_BYTES}), compression=method)
    assert members_of(zip_members, data)[0] == {"a.jpg": 99}
    data = zip_of(("a.jpg", b"x" * 99, {"compress_size": 1 << 40}), compression=method)
    assert members_of(zip_members, data)[0] == {"a.jpg": "too_large"}


def test_zip_members_that_overlap():
    data = zip_of(
        ("a.jpg", b"x" * 50_000, {"compress_size": 60_000}),
        ("b.jpg", b"y" * 50_000, {}),
        ("c.jpg", b"z" * 50_000, {}),
        compression=zipfile.ZIP_STORED,
    )
    expected = {"a.jpg": "unsafe_member", "b.jpg": 50_000, "c.jpg": 50_000}
    assert members_of(zip_members, data)[0] == expected


def test_archives_inside_archives_are_not_opened():
    inner = zip_of(*((f"{i}.jpg", bytes(1 << 20), {}) for i in range(10)))
    for level in range(5):
        inner = zip_of(*((f"{level}{i}.zip", inner, {}) for i in range(4)))
    found, report = members_of(zip_members, inner)
    assert found == {}
    assert report.skipped["archive inside an archive"] == 4


def test_parquet_of_huge_values():
    values = pa.array([bytes(8 << 20)] * 40)
    data = parquet_bytes(image=values)
    assert len(data) < 1 << 20
    found, _ = members_of(parquet_members, data, max_bytes=300 << 20)
    assert set(found.values()) == {8 << 20}


def test_parquet_keys_that_are_no_text():
    text = pa.array([b"\xff\xfe.jpg", None, b"c.jpg"]).view(pa.string())
    report = Report()
    data = parquet_bytes(image=[b"a", b"b", b"c"], key=text)
    config = ReadConfig(99, "image", "key")
    found = list(parquet_members(io.BytesIO(data), lambda key: True, config, report))
    assert [m.key for m in found] == ["\udcff\udcfe.jpg", "None", "c.jpg"]
    assert report == Report()
    far = pa.array([2**62], pa.timestamp("us"))
    data = parquet_bytes(image=[b"a"], key=far)
    assert not list(parquet_members(io.BytesIO(data), lambda key: True, config, report))
    assert report.damage


NAMES = [
    "line\nbreak.jpg",
    "bell\a.jpg",
    "\x1b[2J\x1b[31mred.jpg",
    "'quote\".jpg",
    "semi; rm -rf .jpg",
    "$(reboot).jpg",
    "\u202egpj.exe.jpg",
    "\u200bnothing.jpg",
    "a\u0301.jpg",
    "\U0001f600.jpg",
    "x" * 4000 + ".jpg",
    "d/" * 2000 + "x.jpg",
    "#%?*[].jpg",
    " .jpg",
    "a\tb.jpg",
    "\x7f.jpg",
    "not-utf-8-\udcff\udcfe.jpg",
]


@pytest.mark.parametrize("pack", [tar_bytes, zip_bytes])
def test_names(pack, tmp_path):
    names = [name for name in NAMES if pack is tar_bytes or "\udcff" not in name]
    shard = "s.tar" if pack is tar_bytes else "s.zip"
    put(tmp_path, {shard: pack([(name, jpeg(i)) for i, name in enumerate(names)])})
    rows, report = read_all(planned(tmp_path))
    assert not report.damage
    assert rows.num_rows == len(names) == len(set(rows["image_id"].to_pylist()))
    assert rows["error"].null_count == len(names)
    for uri in rows["uri"].to_pylist():
        uri.encode()
    again, _ = read_all(planned(tmp_path))
    assert again["image_id"].equals(rows["image_id"])


def test_names_of_files(tmp_path):
    names = [name for name in NAMES if "/" not in name and len(name) < 200]
    put(tmp_path, {name: jpeg(i) for i, name in enumerate(names)})
    rows, _ = read_all(planned(tmp_path))
    assert rows.num_rows == len(names) == len(set(rows["image_id"].to_pylist()))
    assert rows["error"].null_count == len(names)


def test_gzip_of_a_gzip_is_one_damaged_tar():
    data = gzip.compress(gzip.compress(tar_bytes([("a.jpg", b"x")])))
    found, report = members_of(tar_members, data)
    assert found == {}
    assert report.damage
