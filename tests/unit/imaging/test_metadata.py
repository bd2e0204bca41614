"""Orientation and dates, wherever in a file they stand."""

import io
import re

import numpy as np
import pillow_heif
import pytest
from PIL import Image, PngImagePlugin

from pipeline.imaging.xmp import read_xmp
from tests.support.decoding import decode


def scene(width=96, height=64):
    """A smooth picture whose eight orientations differ."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 200 // width, y * 200 // height, (x + y) * 100 // (width + height)], -1)
    pixels[: height // 4, : width // 4] = 250
    return pixels.astype(np.uint8)


# How a camera stores a picture so that the orientation brings it back.
STORED = {1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1],
          4: lambda p: p[::-1], 5: lambda p: p.swapaxes(0, 1), 6: np.rot90,
          7: lambda p: p[::-1, ::-1].swapaxes(0, 1), 8: lambda p: np.rot90(p, -1)}  # fmt: skip

TIFF_SPACE = "http://ns.adobe.com/tiff/1.0/"


def packet(inner="", attributes="", spaces=""):
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'xmlns:tiff="{TIFF_SPACE}" xmlns:exif="http://ns.adobe.com/exif/1.0/" '
        'xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        f'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" {spaces} {attributes}>{inner}'
        '</rdf:Description></rdf:RDF></x:xmpmeta>\n   \n<?xpacket end="w"?>'
    ).encode()


def heif(image, xmp, exif):
    """Return a HEIF whose container has no turn: the encoder makes one of every orientation."""
    mark = exif.get(0x0112)
    if mark is not None:
        exif[0x0112] = 1
    upright = re.sub(rb"(tiff:Orientation..?)\d", rb"\g<1>1", xmp or b"")
    out, whole = io.BytesIO(), pillow_heif.from_pillow(image)
    whole.info["exif"], whole.info["xmp"] = exif.tobytes(), upright
    whole.save(out, quality=95, chroma=444)
    data = out.getvalue()
    assert b"irot" not in data
    assert b"imir" not in data
    one, other = (b"\x01\x12\0\3\0\0\0\1\0" + bytes([value]) for value in (1, mark or 1))
    assert mark is None or data.count(one) == 1
    assert not xmp or data.count(upright) == 1
    return data.replace(one, other).replace(upright or b"none", xmp or b"none")


def encode(pixels, kind, xmp=None, exif=None):
    """Return a file of `kind` with the blocks."""
    out, image = io.BytesIO(), Image.fromarray(np.ascontiguousarray(pixels))
    exif = exif or Image.Exif()
    if kind == "HEIF":
        return heif(image, xmp, exif)
    options = {"exif": exif} if len(exif) else {}
    if kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        if xmp:
            options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode(), zip=True)
    elif kind == "TIFF":
        exif[700] = xmp or b" "
        options["exif"] = exif
    elif xmp:
        options["xmp"] = xmp
    options |= {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(kind, {})
    image.save(out, kind, **options)
    return out.getvalue()


def exif_with(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def check_upright(data, orientation):
    got = decode(data)
    assert got.orientation == orientation
    assert (got.width, got.height) == (96, 64)
    assert np.abs(got.pixels.astype(int) - scene()).mean() < 4


KINDS = ["JPEG", "HEIF", "PNG", "TIFF", "WEBP"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_heif_whose_container_says_nothing(orientation):
    stored = STORED[orientation](scene())
    check_upright(encode(stored, "HEIF", exif=exif_with(orientation)), orientation)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_in_xmp_alone(kind, orientation):
    stored = STORED[orientation](scene())
    attribute = packet(attributes=f'tiff:Orientation="{orientation}"')
    check_upright(encode(stored, kind, attribute), orientation)


@pytest.mark.parametrize("kind", KINDS)
def test_exif_rules_over_xmp_and_nonsense_in_it_does_not(kind):
    xmp = packet("<tiff:Orientation>6</tiff:Orientation>")
    check_upright(encode(scene(), kind, xmp, exif_with(1)), 1)
    check_upright(encode(STORED[3](scene()), kind, xmp, exif_with(3)), 3)
    check_upright(encode(STORED[6](scene()), kind, xmp, exif_with(9)), 6)


def test_the_container_of_a_heif_rules():
    out = io.BytesIO()
    image = pillow_heif.from_pillow(Image.fromarray(STORED[6](scene()).copy()))
    image.info["exif"] = exif_with(6).tobytes()
    image.info["xmp"] = packet(attributes='tiff:Orientation="8"')
    image.save(out, quality=95)
    data = out.getvalue()
    assert b"irot" in data
    check_upright(data, 6)


XMP_FORMS = {
    "another prefix": packet("<t:Orientation>6</t:Orientation>", "", f'xmlns:t="{TIFF_SPACE}"'),
    "blanks": packet("<tiff:Orientation> 6\n</tiff:Orientation>"),
    "UTF-16": packet(attributes='tiff:Orientation="6"').decode().encode("utf-16"),
    "cut": packet(attributes='tiff:Orientation="6"', inner="<xmp:Label>").split(b"Label")[0],
    "no wrapper": packet(attributes='tiff:Orientation="6"').split(b"?>")[1].split(b"<?")[0],
    "NULs behind": packet(attributes='tiff:Orientation="6"') + bytes(100),
}  # fmt: skip


@pytest.mark.parametrize("xmp", XMP_FORMS.values(), ids=XMP_FORMS)
def test_forms_of_xmp(xmp):
    assert read_xmp(xmp)["tiff:Orientation"] == "6"


NOT_OURS = {
    "of an ingredient": packet(
        '<xmp:Pantry><rdf:Bag><rdf:li><rdf:Description tiff:Orientation="6"/></rdf:li></rdf:Bag>'
        "</xmp:Pantry>"
    ),
    "another space": packet('<t:Orientation xmlns:t="urn:x">6</t:Orientation>'),
    "ten": packet(attributes='tiff:Orientation="10"'),
    "words": packet(attributes='tiff:Orientation="Rotate 90 CW"'),
    "entity": b'<!DOCTYPE x [<!ENTITY o "6">]>'
    + packet("<tiff:Orientation>&o;</tiff:Orientation>").partition(b"?>")[2],
    "no XML": b"tiff:Orientation=6",
    "unknown encoding": b'<?xml version="1.0" encoding="klingon"?><x/>',
    "deep": b"<a>" * 100_000,
}


@pytest.mark.parametrize("xmp", NOT_OURS.values(), ids=NOT_OURS)
def test_what_is_no_orientation(xmp):
    image = io.BytesIO()
    Image.fromarray(scene()).save(image, "WEBP", lossless=True, xmp=xmp)
    check_upright(image.getvalue(), 1)
