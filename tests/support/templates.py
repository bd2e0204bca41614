"""Different pictures on one template, as archives have them: alike, but no copies of each other.

Each maker draws the `number`-th picture of a series. What all share follows from the seed of the
series, what tells one from the others from its number. Faces are given: small RGB pictures.
"""

import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Picture = Image.Image
FIRST = [
    "Ada",
    "Alan",
    "Grace",
    "Edsger",
    "Barbara",
    "Donald",
    "Frances",
    "Ken",
    "Lynn",
    "Dennis",
    "Radia",
    "Tony",
    "Mary",
    "Niklaus",
]
LAST = [
    "Lovelace",
    "Turing",
    "Hopper",
    "Dijkstra",
    "Liskov",
    "Knuth",
    "Allen",
    "Perlman",
    "Conway",
    "Ritchie",
    "Hoare",
    "Wirth",
]
WORDS = [
    "the",
    "of",
    "and",
    "annual",
    "report",
    "meeting",
    "volunteers",
    "spring",
    "river",
    "station",
    "archive",
    "letter",
    "market",
    "garden",
    "council",
    "winter",
    "school",
    "bridge",
    "museum",
    "harvest",
    "committee",
    "orchestra",
    "village",
    "summer",
]
INK, PAPER = (28, 28, 34), (252, 251, 246)


def font(size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(max(6, size))


def name(number: int) -> str:
    """Return the name of a number; they differ for 4,368 of them, some in the initial alone."""
    first, last, initial = number % 14, number // 14 % 12, number // 168 % 26
    return f"{FIRST[first]} {chr(65 + initial)}. {LAST[last]}"


def sentence(random: np.random.Generator, words: int) -> str:
    return " ".join(random.choice(WORDS, words)).capitalize()


def money(random: np.random.Generator) -> str:
    return f"{random.integers(1, 400)}.{random.integers(100):02}"


def face_of(faces: Sequence[Picture], number: int, size: tuple[int, int]) -> Picture:
    return faces[number % len(faces)].convert("RGB").resize(size, Image.Resampling.LANCZOS)


def certificate(
    series: np.random.Generator, own: np.random.Generator, number: int, _: object
) -> Picture:
    """A certificate: only the name differs, in letters of 3 % of the height."""
    width, height = 1000, 700
    colour = tuple(series.integers(40, 140, 3).tolist())
    page = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(page)
    for inset in (18, 26, 40):
        draw.rectangle((inset, inset, width - inset, height - inset), outline=colour, width=3)
    draw.text((width / 2, 120), "Certificate of Merit", colour, font(64), anchor="mm")
    draw.text((width / 2, 220), "This is to certify that", INK, font(24), anchor="mm")
    draw.text((width / 2, 300), name(number), INK, font(0.03 * height * 1.4), anchor="mm")
    for row in range(5):
        draw.text((width / 2, 380 + 34 * row), sentence(series, 9), INK, font(22), anchor="mm")
    draw.ellipse((760, 540, 880, 660), fill=colour)
    draw.line((140, 620, 420, 620), INK, 2)
    draw.text((280, 640), "Director", INK, font(18), anchor="mm")
    return page


def staff_card(
    series: np.random.Generator, own: np.random.Generator, number: int, faces: Sequence[Picture]
) -> Picture:
    """A staff card: portrait, name and number differ."""
    page = Image.new("RGB", (640, 400), (244, 246, 250))
    draw = ImageDraw.Draw(page)
    colour = tuple(series.integers(20, 160, 3).tolist())
    draw.rectangle((0, 0, 640, 84), fill=colour)
    draw.text((24, 42), sentence(series, 3).upper(), "white", font(34), anchor="lm")
    draw.rectangle((0, 360, 640, 400), fill=colour)
    page.paste(face_of(faces, number, (104, 130)), (48, 150))
    draw.text((230, 140), name(number), INK, font(32))
    draw.text((230, 190), sentence(series, 2), INK, font(24))
    draw.text((230, 230), f"No. {own.integers(10_000, 99_999)}", INK, font(24))
    draw.text((230, 270), "Valid until 12/2031", INK, font(24))
    for x in range(230, 600, 7):
        draw.line((x, 312, x, 348), INK, int(series.integers(1, 5)))
    return page


def camera_frame(
    series: np.random.Generator, own: np.random.Generator, number: int, faces: Sequence[Picture]
) -> Picture:
    """A frame of a fixed camera: the same room, another person in it, in another light."""
    width, height = 960, 540
    room = Image.new("RGB", (width, height), tuple(series.integers(110, 190, 3).tolist()))
    draw = ImageDraw.Draw(room)
    for _ in range(24):
        x, y, w, h = (series.integers(0, [width, height, 260, 200])).tolist()
        draw.rectangle((x, y, x + w, y + h), tuple(series.integers(30, 235, 3).tolist()))
    draw.rectangle((0, 430, width, height), tuple(series.integers(60, 120, 3).tolist()))
    room = room.filter(ImageFilter.GaussianBlur(2))
    side = int(own.integers(44, 64))
    x, y = int(own.integers(380, 520)), int(own.integers(250, 300))
    draw = ImageDraw.Draw(room)
    draw.rounded_rectangle(
        (x - 0.3 * side, y + side, x + 1.3 * side, height), side / 3,
        tuple(own.integers(20, 220, 3).tolist()),
    )  # fmt: skip
    mask = Image.new("L", (side, side), 0)
    ImageDraw.Draw(mask).ellipse((4, 0, side - 4, side), fill=255)
    room.paste(
        face_of(faces, number, (side, side)), (x, y), mask.filter(ImageFilter.GaussianBlur(2))
    )
    pixels = np.asarray(room, np.float32) * own.uniform(0.95, 1.05)
    pixels += own.normal(0, 3, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def receipt(series: np.random.Generator, own: np.random.Generator, *_: object) -> Picture:
    """A form with the same fields and other entries."""
    page = Image.new("RGB", (620, 877), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((310, 60), sentence(series, 2).upper(), INK, font(40), anchor="mm")
    draw.text((310, 105), sentence(series, 4), INK, font(20), anchor="mm")
    for row in range(12):
        y = 160 + 50 * row
        draw.text((40, y), sentence(series, 2), INK, font(22))
        draw.line((40, y + 34, 580, y + 34), (150, 150, 150), 1)
        draw.text((570, y), money(own), INK, font(22), anchor="ra")
    draw.rectangle((380, 790, 590, 840), outline=INK, width=2)
    draw.text((400, 800), f"Total {money(own)}", INK, font(26))
    return page


def slide(series: np.random.Generator, own: np.random.Generator, *_: object) -> Picture:
    """A slide of one talk: another line of four."""
    page = Image.new("RGB", (960, 540), tuple(series.integers(0, 60, 3).tolist()))
    draw = ImageDraw.Draw(page)
    colour = tuple(series.integers(120, 250, 3).tolist())
    draw.rectangle((0, 0, 960, 14), fill=colour)
    draw.rectangle((0, 480, 960, 540), fill=colour)
    draw.ellipse((860, 490, 900, 530), fill="white")
    draw.text((60, 90), sentence(series, 2), "white", font(46))
    for row in range(4):
        line = sentence(own if row == 2 else series, 4)
        draw.text((80, 190 + 62 * row), f"- {line}", (225, 225, 225), font(28))
    return page


def album_page(
    series: np.random.Generator, own: np.random.Generator, number: int, faces: Sequence[Picture]
) -> Picture:
    """A page of an app or album: the same frame and text around another small picture."""
    page = Image.new("RGB", (720, 960), tuple(series.integers(180, 250, 3).tolist()))
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, 720, 70), fill=tuple(series.integers(20, 90, 3).tolist()))
    draw.text((30, 35), sentence(series, 3), "white", font(30), anchor="lm")
    for k in range(6):
        box = (40 + 220 * (k % 3), 110 + 260 * (k // 3))
        colours = series.integers(20, 230, (8, 8, 3)).astype(np.uint8)
        page.paste(Image.fromarray(colours).resize((200, 230), Image.Resampling.BICUBIC), box)
    page.paste(face_of(faces, number, (200, 230)), (40 + 220, 110 + 260))
    for row in range(6):
        draw.text((50, 680 + 38 * row), sentence(series, 8), INK, font(22))
    return page


Maker = Callable[[np.random.Generator, np.random.Generator, int, Sequence[Picture]], Picture]
KINDS: dict[str, Maker] = {
    "certificates": certificate,
    "staff cards": staff_card,
    "fixed camera": camera_frame,
    "receipts": receipt,
    "slides": slide,
    "album pages": album_page,
}


def series(kind: str, count: int, faces: Sequence[Picture], seed: int = 0) -> list[Picture]:
    """Return `count` different pictures on one template."""
    return drawn(KINDS[kind], count, faces, [seed, list(KINDS).index(kind)])


def drawn(make: Maker, count: int, faces: Sequence[Picture], key: list[int]) -> list[Picture]:
    """Return the pictures of one maker; what all share follows from the key."""
    random = np.random.default_rng
    return [make(random(key), random([*key, i]), i, faces) for i in range(count)]


def saved(picture: Picture, random: np.random.Generator) -> bytes:
    """Return the file of a picture: JPEG of quality 75 to 95."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=int(random.integers(75, 96)))
    return out.getvalue()
