"""Orientation and dates, wherever in a file they stand."""

import io
import re
import struct
from datetime import datetime

import numpy as np
import pillow_heif
import pytest
from PIL import Image, PngImagePlugin

from pipeline.imaging.dates import read_moment
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
    exif = Image.Exif() if exif is None else exif
    if kind == "HEIF":
        return heif(image, xmp, exif)
    options = {"exif": exif}
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
    "billion laughs": "".join(
        [
            '<!DOCTYPE x [<!ENTITY a0 "6666666666">',
            *(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(9)),
            "]><x>&a9;</x>",
        ]
    ).encode(),
    "no XML": b"tiff:Orientation=6",
    "unknown encoding": b'<?xml version="1.0" encoding="klingon"?><x/>',
    "deep": b"<a>" * 100_000,
}


@pytest.mark.parametrize("xmp", NOT_OURS.values(), ids=NOT_OURS)
def test_what_is_no_orientation(xmp):
    image = io.BytesIO()
    Image.fromarray(scene()).save(image, "WEBP", lossless=True, xmp=xmp)
    check_upright(image.getvalue(), 1)


# ---- dates

WHEN = datetime(2004, 5, 6, 7, 8, 9)
TEXTS = {
    "2004:05:06 07:08:09": (WHEN, False, None),
    "2004/05/06 07:08:09": (WHEN, False, None),
    "2004-05-06 07:08:09": (WHEN, False, None),
    "2004.05.06 07.08.09": (WHEN, False, None),
    "2004-05-06T07:08:09": (WHEN, False, None),
    "2004-05-06T07:08:09Z": (WHEN, False, 0),
    "2004-05-06T07:08:09+02:00": (WHEN, False, 120),
    "2004-05-06T07:08:09.250-03:30": (WHEN.replace(microsecond=250_000), False, -210),
    "2004:05:06 07:08:09+0530": (WHEN, False, 330),
    "2004-5-6 7:08:09": (WHEN, False, None),
    "2004-05-06T07:08": (WHEN.replace(second=0), False, None),
    "2004-05-06T07:08-05:00": (WHEN.replace(second=0), False, -300),
    "2004:05:06 07:08:09 PM": (WHEN.replace(hour=19), False, None),
    "20040506T070809Z": (WHEN, False, 0),
    "20040506070809": (WHEN, False, None),
    "20040506 070809+0200": (WHEN, False, 120),
    "Thu, 06 May 2004 07:08:09 +0200": (WHEN, False, 120),
    "Thu May  6 07:08:09 2004": (WHEN, False, None),
    "2004:05:06 24:00:00": (datetime(2004, 5, 7), False, None),
    "2004:05:06 07:08:60": (WHEN.replace(second=59), False, None),
    "2004:05:06 07:08:09\0junk": (WHEN, False, None),
    "2004/05/06": (datetime(2004, 5, 6), True, None),
    "2004-05-06": (datetime(2004, 5, 6), True, None),
    "20040506": (datetime(2004, 5, 6), True, None),
    "2004:05:06   :  :  ": (datetime(2004, 5, 6), True, None),
    **dict.fromkeys(
        ["", "yesterday", "2004", "2004-05", "06/05/2004", "0000:00:00 00:00:00", "2004:13:06",
         "2004-02-30T07:08:09", "2004:05:06 25:00:00", "2004:05:06 07:61:00", "200405061",
         "2004:05:06 13:00:00 PM", "12004:05:06", "99999999", "2004-05/06", "    :  :     :  :  "]
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), TEXTS.items(), ids=range(len(TEXTS)))
def test_forms_of_dates(text, expected):
    assert read_moment(text) == expected


def test_exif_in_every_form():
    for text, expected in TEXTS.items():
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9003] = text
        got = decode(encode(scene(), "JPEG", exif=exif))
        name = "EXIF DateTimeOriginal"
        if expected is None:
            assert (got.taken_at, got.taken_from, got.taken_offset_min) == (None, None, None)
            continue
        time, date_only, offset = expected
        source = name + ", date only" if date_only else name
        assert (got.taken_at, got.taken_from, got.taken_offset_min) == (time, source, offset)


def taken(data):
    got = decode(data)
    return got.taken_at, got.taken_from, got.taken_offset_min


def test_fraction_and_offset_of_exif_stand_in_tags_of_their_own():
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x9003: "2004:05:06 07:08:09", 0x9291: "05", 0x9011: "+09:00"})
    moment = WHEN.replace(microsecond=50_000)
    assert taken(encode(scene(), "JPEG", exif=exif)) == (moment, "EXIF DateTimeOriginal", 540)


def test_gps_time_is_utc_and_better_than_that_of_the_last_change():
    exif = Image.Exif()
    exif[0x0132] = "2020:01:01 00:00:00"
    exif[0x8825] = {0x1D: "2004:05:06", 0x07: (7.0, 8.0, 9.5)}
    moment = WHEN.replace(microsecond=500_000)
    assert taken(encode(scene(), "JPEG", exif=exif)) == (moment, "EXIF GPSDateStamp", 0)
    exif[0x8825] = {0x1D: "2004:05:06", 0x07: (99.0, 8.0, 9.0)}
    assert taken(encode(scene(), "JPEG", exif=exif))[1] == "EXIF DateTime"


XMP_DATES = ["exif:DateTimeOriginal", "photoshop:DateCreated", "exif:DateTimeDigitized",
             "xmp:CreateDate", "xmp:ModifyDate"]  # fmt: skip


@pytest.mark.parametrize("name", XMP_DATES)
@pytest.mark.parametrize("kind", [*KINDS, "AVIF"])
def test_dates_of_xmp(kind, name):
    xmp = packet(f"<{name}>2004-05-06T07:08:09+02:00</{name}>")
    assert taken(encode(scene(), kind, xmp)) == (WHEN, f"XMP {name}", 120)


def iptc(day=b"20040506", time=b"070809+0200"):
    sets = ((2, 5, b"title"), (2, 55, day), (2, 60, time))
    body = b"".join(struct.pack(">BBBH", 28, a, b, len(c)) + c for a, b, c in sets if c)
    resources = [(0x03ED, b"\0" * 3), (0x0404, body)]
    return b"".join(
        b"8BIM" + struct.pack(">HHI", number, 0, len(one)) + one + b"\0" * (len(one) % 2)
        for number, one in resources
    )


def jpeg_with(marker, payload):
    data = encode(scene(), "JPEG")
    return data[:2] + struct.pack(">BBH", 255, marker, len(payload) + 2) + payload + data[2:]


def test_dates_of_iptc():
    def found(block):
        return taken(jpeg_with(0xED, b"Photoshop 3.0\0" + block))

    assert found(iptc()) == (WHEN, "IPTC DateCreated", 120)
    assert found(iptc(time=b"")) == (datetime(2004, 5, 6), "IPTC DateCreated, date only", None)
    assert found(iptc(time=b"991199")) == (
        datetime(2004, 5, 6),
        "IPTC DateCreated, date only",
        None,
    )
    assert found(iptc(day=b"20040000")) == (None, None, None)
    for end in range(len(iptc())):
        found(iptc()[:end])


@pytest.mark.parametrize("tag", [33723, 34377])
def test_dates_of_iptc_in_a_tiff(tag):
    out = io.BytesIO()
    block = iptc() if tag == 34377 else iptc()[iptc().index(b"\x1c\2\5") :]
    Image.fromarray(scene()).save(out, "TIFF", tiffinfo={tag: block})
    assert taken(out.getvalue()) == (WHEN, "IPTC DateCreated", 120)


def png_with(**texts):
    info, out = PngImagePlugin.PngInfo(), io.BytesIO()
    for key, text in texts.items():
        if key == "tIME":
            info.add(b"tIME", text)
        else:
            info.add_text(key.replace("_", " "), text, zip="Raw" in key)
    Image.fromarray(scene()).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def test_dates_of_png():
    time = struct.pack(">H5B", 2004, 5, 6, 7, 8, 9)
    assert taken(png_with(tIME=time)) == (WHEN, "PNG tIME", 0)
    mail = "Thu, 06 May 2004 07:08:09 +0200"
    later = struct.pack(">H5B", 2020, 5, 6, 7, 8, 9)
    assert taken(png_with(tIME=later, Creation_Time=mail)) == (WHEN, "PNG Creation Time", 120)
    assert taken(png_with(Creation_Time="2004:05:06 07:08:09"))[0] == WHEN
    profile = f"\niptc\n{len(iptc()):8}\n{iptc().hex()}\n"
    assert taken(png_with(Raw_profile_type_iptc=profile))[1] == "IPTC DateCreated"
    assert taken(png_with(tIME=bytes(7))) == (None, None, None)


def test_the_date_of_taking_comes_before_those_of_scanning_and_changing():
    exif = Image.Exif()
    exif[0x0132] = "2020:01:01 00:00:00"
    exif.get_ifd(0x8769)[0x9004] = "2019:01:01 00:00:00"
    xmp = packet(attributes='photoshop:DateCreated="2004-05-06" xmp:CreateDate="2018-01-01"')
    assert taken(encode(scene(), "JPEG", xmp, exif)) == (
        datetime(2004, 5, 6), "XMP photoshop:DateCreated, date only", None)  # fmt: skip
    exif.get_ifd(0x8769)[0x9003] = "2004:05:06 07:08:09"
    assert taken(encode(scene(), "JPEG", xmp, exif)) == (WHEN, "EXIF DateTimeOriginal", None)
