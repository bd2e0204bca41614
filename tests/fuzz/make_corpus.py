"""Writes the seeds that fuzzing starts from: `python -m tests.fuzz.make_corpus`.

One small file of each kind, so that every reader is reached. Inputs that once broke something are
kept beside them, named `found-...`, and are not made here.
"""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pillow_heif
import pyarrow as pa
from PIL import Image

from tests.support.builders import jpeg, parquet_bytes, tar_bytes, tar_entry, zip_bytes

CORPUS = Path(__file__).parent / "corpus"


def pictures():
    noise = np.random.default_rng(3).integers(0, 60, (12, 20, 3), np.uint8)
    image = Image.fromarray(noise + np.arange(20, dtype=np.uint8)[:, np.newaxis] * 8)
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = {
        "plain.jpg": (image, "JPEG", {"exif": exif}),
        "progressive.jpg": (image, "JPEG", {"progressive": True}),
        "grey.jpg": (image.convert("L"), "JPEG", {}),
        "cmyk.jpg": (image.convert("CMYK"), "JPEG", {}),
        "two.mpo": (image, "MPO", {"save_all": True, "append_images": [image]}),
        "rgb.png": (image, "PNG", {"exif": exif}),
        "alpha.png": (image.convert("RGBA"), "PNG", {}),
        "palette.png": (image.quantize(16), "PNG", {"transparency": 3}),
        "sixteen.png": (Image.fromarray(noise[..., 0].astype(np.uint16) * 900), "PNG", {}),
        "moving.png": (image, "PNG", {"save_all": True, "append_images": [image.rotate(180)]}),
        "lossy.webp": (image, "WEBP", {"exif": exif}),
        "lossless.webp": (image.convert("RGBA"), "WEBP", {"lossless": True}),
        "moving.webp": (image, "WEBP", {"save_all": True, "append_images": [image.rotate(180)]}),
        "plain.tif": (image, "TIFF", {"exif": exif}),
        "lzw.tif": (image, "TIFF", {"compression": "tiff_lzw"}),
        "jpeg.tif": (image, "TIFF", {"compression": "jpeg"}),
        "deflate.tif": (image, "TIFF", {"compression": "tiff_adobe_deflate"}),
        "fax.tif": (image.convert("1"), "TIFF", {"compression": "group4"}),
        "float.tif": (Image.fromarray(noise[..., 0].astype(np.float32)), "TIFF", {}),
        "plain.bmp": (image, "BMP", {}),
        "palette.bmp": (image.quantize(16), "BMP", {}),
        "plain.gif": (image.quantize(16), "GIF", {}),
        "moving.gif": (image, "GIF", {"save_all": True, "append_images": [image.rotate(180)]}),
        "plain.avif": (image, "AVIF", {"exif": exif}),
        "plain.jp2": (image, "JPEG2000", {}),
        "plain.ppm": (image, "PPM", {}),
    }
    for name, (picture, kind, options) in kinds.items():
        out = io.BytesIO()
        picture.save(out, kind, **options)
        yield name, out.getvalue()
    yield "bits.pbm", b"P1\n# a comment\n3 2\n1 0 1\n0 1 0\n"
    yield "text.pgm", b"P2\n3 2\n9\n1 2 3\n4 5 9\n"
    yield "float.pfm", b"Pf\n2 1\n-1.0\n" + np.array([0.5, 2], "<f4").tobytes()
    out = io.BytesIO()
    pillow_heif.from_pillow(image).save(out, exif=exif.tobytes())
    yield "plain.heic", out.getvalue()


def archives():
    members = [("a/1.jpg", jpeg(1, 8, 8)), ("known.jpg", b"x"), ("read.me", b"x"), ("b.tar", b"x")]
    links = [(tar_entry("link.jpg", tarfile.SYMTYPE, "/etc/passwd"), None)]
    for mode in ("", "gz", "bz2", "xz"):
        yield "tar", f"plain.tar{mode and '.' + mode}", tar_bytes(members + links, f"w:{mode}")
    long = [("long/" * 40 + "1.jpg", b"x"), ("1.jpg", b"x"), ("1.jpg", b"y"), ("../1.jpg", b"x")]
    yield "tar", "names.tar", tar_bytes(long)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("ä" * 120 + ".jpg")
        info.size, info.pax_headers = 3, {"comment": "x"}
        archive.addfile(info, io.BytesIO(b"xyz"))
    yield "tar", "pax.tar", out.getvalue()
    for kind in ("STORED", "DEFLATED", "BZIP2", "LZMA"):
        packed = zip_bytes(members, getattr(zipfile, f"ZIP_{kind}"))
        yield "zip", f"{kind.lower()}.zip", packed
    images = [name_and_data[1] for name_and_data in members]
    for name, column in {
        "plain": pa.array(images, pa.binary()),
        "struct": pa.array([{"bytes": data, "path": "p"} for data in images]),
        "dictionary": pa.array(images, pa.binary()).dictionary_encode(),
        "text": pa.array(["x"] * 4),
    }.items():
        keys = [name_and_data[0] for name_and_data in members]
        yield "parquet", f"{name}.parquet", parquet_bytes(image=column, key=keys)


def main():
    seeds = [("decode", *picture) for picture in pictures()] + list(archives())
    for target, name, data in seeds:
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        (CORPUS / target / name).write_bytes(data)


if __name__ == "__main__":
    main()
