"""More different pictures on one template: alike, but no copies of each other (held out).

Each maker draws the `number`-th picture of a series (0 to 219). What all share follows from the
seed of the series, what tells one from the others from its number. Faces are small RGB pictures.
A maker draws from `series` always in the same order, whatever the number is.
"""

import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps

from tests.support.templates import Maker, Picture, drawn

Random = np.random.Generator
GIVEN = ["Nora", "Emil", "Clara", "Jonas", "Ines", "Pavel", "Marta", "Hugo", "Selma", "Tomas",
         "Leila", "Oskar", "Vera", "Bruno", "Agnes"]  # fmt: skip
FAMILY = ["Keller", "Novak", "Lindqvist", "Moreau", "Haas", "Castellan", "Berg", "Ferrari",
          "Okafor", "Duarte", "Sandoval", "Petrov", "Winkler", "Aalto", "Mendes"]  # fmt: skip
TERMS = ["harbour", "lantern", "copper", "maple", "window", "paper", "signal", "meadow", "anchor",
         "kettle", "pepper", "saddle", "violin", "marble", "ribbon", "cotton", "timber", "quarry",
         "orchard", "candle", "canvas", "pencil", "basket", "button", "mirror",
         "ladder"]  # fmt: skip
VERBS = ["Bring", "Take", "Sold", "Lost", "Found", "Need", "Saw", "Buy", "Forgot", "Fixed", "Keep",
         "Hide", "Paint", "Pack", "Sell"]  # fmt: skip
BLACK = (32, 32, 36)


@functools.cache
def font(size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(max(8, size))


def scrambled(number: int) -> int:
    """Return another number below 225: one to one, and neighbours lie apart."""
    return (number * 97 + 41) % 225


def person(number: int) -> tuple[str, str]:
    """Return a given and a family name; they differ for 225 numbers."""
    n = scrambled(number % 225)
    return GIVEN[n % 15], FAMILY[n // 15]


def phrase(random: Random, words: int) -> str:
    return " ".join(random.choice(TERMS, words)).capitalize()


def day(number: int) -> str:
    """Return a date; they differ for 336 numbers."""
    return f"{number % 28 + 1:02}.{number // 28 % 12 + 1:02}.2023"


def face_of(faces: Sequence[Picture], number: int, size: tuple[int, int]) -> Picture:
    face = faces[number % len(faces)].convert("RGB")
    if number // len(faces) % 2:
        face = ImageOps.mirror(face)
    return ImageOps.fit(face, size, Image.Resampling.BICUBIC)


def cloud(random: Random, size: tuple[int, int], cells: int) -> np.ndarray:
    """Return smooth noise, about -1 to 1, of shape (height, width, 1)."""
    width, height = size
    small = random.uniform(-1, 1, (max(2, cells * height // width), cells)).astype(np.float32)
    large = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(large)[..., None]


def grain(random: Random, size: tuple[int, int]) -> np.ndarray:
    """Return white noise of deviation 1, of shape (height, width, 1)."""
    return random.standard_normal((size[1], size[0], 1), np.float32)


def pixels(picture: Picture) -> np.ndarray:
    return np.asarray(picture.convert("RGB"), np.float32)


def picture_of(values: np.ndarray) -> Picture:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def noisy(picture: Picture, noise: np.ndarray, gain: float = 1) -> Picture:
    """Return a picture times a gain, plus grey noise of shape (height, width, 1)."""
    grey = Image.fromarray(np.clip(noise[..., 0] + 128, 0, 255).astype(np.uint8))
    levels = [min(255, round(gain * level)) for level in range(256)] * 3
    return ImageChops.add(picture.point(levels), Image.merge("RGB", [grey] * 3), 1, -128)


def identity_document(
    series: Random, own: Random, number: int, faces: Sequence[Picture]
) -> Picture:
    """A scanned identity card on guilloche: photo, names, number and date of birth differ."""
    size = width, height = 1000, 630
    x = np.arange(width, dtype=np.float32)[None, :]
    y = np.arange(height, dtype=np.float32)[:, None]
    first, second = series.uniform(150, 235, (2, 3)).astype(np.float32)
    corners = np.array([[first, (first + second) / 2], [(first + second) / 2, second]]) + 12
    back = picture_of(corners).resize(size, Image.Resampling.BILINEAR, (0.5, 0.5, 1.5, 1.5))
    a, b, _c = series.uniform(60, 140, 3).astype(np.float32)
    waves = np.sin((y + 26 * np.sin(x / a) + 14 * np.sin(x / b * 2.3)) / 2.1)
    rings = np.hypot(x - 690, y - 330)
    waves += np.sin((rings + 7 * np.sin(x / 17) + 7 * np.sin(y / 17)) / 2.6)
    lines = Image.fromarray(np.clip(waves * 127, 0, 255).astype(np.uint8))
    darker = picture_of(corners - series.uniform(12, 36, 3)).resize(size, Image.Resampling.BILINEAR)
    page = noisy(
        Image.composite(darker, back, lines),
        3 * cloud(series, size, 60) + 2.5 * grain(series, size),
    )
    draw = ImageDraw.Draw(page)
    dark = tuple((first * 0.3).astype(int).tolist())
    draw.text((40, 30), phrase(series, 2).upper(), dark, font(38))
    draw.text((960, 36), "IDENTITY CARD", dark, font(26), anchor="ra")
    draw.line((40, 84, 960, 84), dark, 3)
    for k in range(9):  # the emblem
        box = (720 + 9 * k, 190 + 14 * k, 940 - 9 * k, 410 - 6 * k)
        draw.arc(box, 40 * k, 40 * k + series.integers(120, 330), dark, 4)
    given, family = person(number)
    card = f"{chr(65 + number % 26)}{(number + 137) * 7919 % 1_000_003:07}"
    born = day(scrambled(number % 225)).replace("2023", str(own.integers(1950, 2004)))
    fields = [
        ("Surname", family),
        ("Given names", given),
        ("Nationality", "Sylvanian"),
        ("Date of birth", born),
        ("Date of expiry", "31.12.2031"),
        ("Card no.", card),
    ]
    for k, (label, value) in enumerate(fields):
        draw.text((330, 104 + 64 * k), label, dark, font(15))
        draw.text((330, 122 + 64 * k), value, BLACK, font(29))
    photo = ImageOps.grayscale(face_of(faces, number, (236, 300)))
    under = page.crop((50, 120, 286, 420))
    page.paste(Image.blend(photo.convert("RGB"), under, 0.22), (50, 120))
    draw.text((168, 448), f"{given[0]}. {family}", (40, 40, 110), font(26), anchor="mm")
    for row, line in enumerate([f"IDSYL{card}", f"{family}<<{given}".upper()]):
        line = (line + "<" * 40)[:34]
        for k, letter in enumerate(line):
            draw.text((52 + 26.8 * k, 528 + 44 * row), letter, BLACK, font(28), anchor="mm")
    page = page.filter(ImageFilter.BoxBlur(0.5))
    return noisy(page, 2.5 * grain(own, size), own.uniform(0.985, 1.015))


def invoice(series: Random, own: Random, number: int, _: object) -> Picture:
    """An invoice of a subscription: only invoice number, date and amount differ."""
    width, height = 1000, 1414
    page = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(page)
    brand = tuple(series.integers(20, 170, 3).tolist())
    draw.rounded_rectangle((70, 70, 150, 150), 18, fill=brand)
    draw.polygon([(85, 135), (110, 85), (135, 135)], fill="white")
    draw.text((170, 84), phrase(series, 2) + " Ltd", brand, font(40))
    for row in range(4):
        draw.text((930, 70 + 24 * row), phrase(series, 3), (110, 110, 110), font(17), anchor="ra")
        draw.text((70, 230 + 26 * row), phrase(series, 2), BLACK, font(20))
    draw.text((70, 400), "Invoice", BLACK, font(46))
    net = 900 + scrambled(number % 225) * 3 + int(own.integers(0, 3))
    cents = int(own.integers(0, 100))
    total = f"{net:,}.{cents:02}"
    for row, (label, value) in enumerate(
        [("Invoice no.", f"2023-{4100 + number}"), ("Date", day(number)), ("Customer", "C-20718")]
    ):
        draw.text((620, 392 + 28 * row), label, (110, 110, 110), font(20))
        draw.text((930, 392 + 28 * row), value, BLACK, font(20), anchor="ra")
    draw.rectangle((70, 510, 930, 552), fill=brand)
    for x, label in ((84, "Item"), (620, "Qty"), (760, "Unit"), (850, "Tariff")):
        draw.text((x, 531), label, "white", font(20), anchor="lm")
    for row in range(9):
        y = 575 + 46 * row
        draw.text((84, y), phrase(series, 4), BLACK, font(19))
        draw.text((640, y), str(series.integers(1, 40)), BLACK, font(19))
        draw.text((760, y), str(series.choice(["pcs", "h", "m", "kg"])), BLACK, font(19))
        draw.text((850, y), "ABC"[int(series.integers(3))], BLACK, font(19))
        draw.line((70, y + 34, 930, y + 34), (215, 215, 215), 1)
    draw.text((620, 1020), "VAT included 19 %", (110, 110, 110), font(19))
    draw.line((620, 1052, 930, 1052), BLACK, 2)
    draw.text((620, 1064), "Total EUR", BLACK, font(26))
    draw.text((930, 1064), total, BLACK, font(26), anchor="ra")
    for row in range(4):
        draw.text((70, 1150 + 28 * row), phrase(series, 9), (70, 70, 70), font(18))
    draw.line((70, 1310, 930, 1310), brand, 2)
    for column in range(3):
        draw.text((70 + 300 * column, 1326), phrase(series, 3), (120, 120, 120), font(15))
    return page


def broadcast(series: Random, own: Random, number: int, _: object) -> Picture:
    """A broadcast frame over the same frozen arena: points and clock in the overlay differ."""
    size = width, height = 960, 540
    crowd = series.integers(15, 90, (38, 160, 1)) + series.integers(0, 70, (38, 160, 3))
    crowd = (crowd * np.linspace(0.5, 1, 38)[:, None, None]).astype(np.uint8)
    arena = Image.new("RGB", size)
    arena.paste(Image.fromarray(crowd).resize((width, 228), Image.Resampling.BICUBIC), (0, 0))
    draw = ImageDraw.Draw(arena)
    wood = np.add(series.integers(-25, 25, 3), [196, 148, 92])
    draw.polygon([(0, 250), (width, 215), (width, height), (0, height)], tuple(wood.tolist()))
    for k in range(26):
        x = 40 * k - 20
        shade = tuple((wood - series.integers(0, 16, 3)).tolist())
        draw.line((480 + (x - 480) * 0.55, 226, 480 + (x - 480) * 1.7, height), shade, 4)
    draw.polygon([(0, 232), (width, 198), (width, 222), (0, 256)],
                 tuple(series.integers(10, 120, 3).tolist()))  # fmt: skip
    draw.ellipse((330, 290, 650, 420), outline=(240, 238, 230), width=5)
    draw.line((470, 238, 500, height), (240, 238, 230), 5)
    shirts = [tuple(c) for c in series.integers(20, 240, (2, 3)).tolist()]
    for k in range(10):
        x, foot = int(series.integers(60, 900)), int(series.integers(310, 500))
        tall = 0.24 * foot + 20
        skin = tuple((series.uniform(0.4, 1) * np.array([230, 185, 150])).astype(int).tolist())
        draw.ellipse((x - tall / 4, foot - 6, x + tall / 2, foot + 8), (130, 96, 60))
        for side in (-1, 1):
            draw.line((x, foot - tall * 0.45, x + side * tall * 0.13, foot), skin, int(tall / 10))
            reach = int(series.integers(-40, 20))
            draw.line((x, foot - tall * 0.8, x + side * tall * 0.3, foot - tall * 0.6 + reach),
                      skin, int(tall / 13))  # fmt: skip
        draw.rectangle((x - tall / 8, foot - tall * 0.82, x + tall / 8, foot - tall * 0.35),
                       shirts[k % 2])  # fmt: skip
        draw.ellipse((x - tall / 12, foot - tall, x + tall / 12, foot - tall * 0.82), skin)
    light = 1 + 0.12 * cloud(series, size, 5)
    still = pixels(arena.filter(ImageFilter.GaussianBlur(1.6))) * light + 4 * grain(series, size)
    frame = picture_of(still)
    draw = ImageDraw.Draw(frame)
    draw.rounded_rectangle((290, 462, 670, 510), 6, fill=(16, 20, 34))
    teams = ["".join(series.choice(list("ABCDEFGHKLMNPRSTV"), 3)) for _ in range(2)]
    clock = 2879 - 13 * number
    quarter, left = 4 - clock // 720, clock % 720
    home, away = (number + 1) // 2, number // 2
    for k, points in enumerate((home, away)):
        x = 300 + 136 * k
        draw.rectangle((x, 468, x + 6, 504), shirts[k])
        draw.text((x + 14, 486), teams[k], "white", font(25), anchor="lm")
        draw.text((x + 124, 486), str(points), (255, 214, 60), font(29), anchor="rm")
    draw.text((660, 477), f"Q{quarter}", (190, 196, 210), font(15), anchor="rm")
    draw.text((660, 495), f"{left // 60}:{left % 60:02}", "white", font(21), anchor="rm")
    draw.text((40, 40), "LIVE", "white", font(24))
    return frame


def chat(series: Random, own: Random, number: int, _: object) -> Picture:
    """A telephone's screen with a conversation: the same above, another last message."""
    width, height = 720, 1480
    tint = series.integers(215, 240, 3)
    page = Image.new("RGB", (width, height), tuple(tint.tolist()))
    draw = ImageDraw.Draw(page)
    for _ in range(160):
        x, y = series.integers(0, [width, height]).tolist()
        draw.ellipse((x, y, x + 16, y + 16), outline=tuple((tint - 9).tolist()), width=2)
    bar = tuple(series.integers(20, 110, 3).tolist())
    draw.rectangle((0, 0, width, 150), fill=bar)
    draw.text((30, 14), "12:48", "white", font(24))
    draw.rounded_rectangle((640, 18, 690, 38), 4, outline="white", width=2)
    draw.ellipse((80, 60, 156, 136), tuple(series.integers(90, 230, 3).tolist()))
    draw.text((176, 66), phrase(series, 2), "white", font(32))
    draw.text((176, 108), "online", (220, 225, 230), font(21))
    mine = tuple((np.array([150, 170, 150]) + series.integers(40, 80, 3)).tolist())

    def bubble(y: int, lines: list[str], right: bool, at: str) -> int:
        wide = max(draw.textlength(line, font(27)) for line in lines) + 120
        x = width - 24 - wide if right else 24
        tall = 38 * len(lines) + 26
        draw.rounded_rectangle((x, y, x + wide, y + tall), 18, mine if right else "white")
        for k, line in enumerate(lines):
            draw.text((x + 20, y + 12 + 38 * k), line, BLACK, font(27))
        draw.text((x + wide - 14, y + tall - 8), at, (120, 124, 128), font(17), anchor="rs")
        return y + tall + 16

    y, minute = 176, 1
    while y < 1130:
        lines = [phrase(series, int(series.integers(2, 4))) for _ in range(series.integers(1, 4))]
        minute += int(series.integers(1, 4))
        y = bubble(y, lines, bool(series.integers(2)), f"12:{minute:02}")
    n = scrambled(number % 225)
    text = f"{VERBS[n % 15]} the {TERMS[n // 15]}"
    bubble(min(y, 1290), [text + str(own.choice([".", "!", "?"]))], True, "12:47")
    draw.rectangle((0, 1380, width, height), (246, 246, 246))
    draw.rounded_rectangle((30, 1396, 600, 1462), 32, "white")
    draw.text((60, 1429), "Message", (160, 160, 160), font(26), anchor="lm")
    draw.ellipse((626, 1394, 696, 1464), bar)
    return page


def catalogue(  # noqa: PLR0915  # a drawing
    series: Random, own: Random, number: int, _: object
) -> Picture:
    """A catalogue photo in one studio and light: another vase of like colour and outline."""
    size = side, _side = 800, 800
    n = scrambled(number % 225)
    neck, belly, look = n % 5, n // 5 % 5, n // 25  # 5 x 5 x 9
    grey = series.uniform(150, 215, 3).astype(np.float32) * 0.4 + 115
    rows = np.arange(side, dtype=np.float32)[:, None, None]
    columns = np.arange(side, dtype=np.float32)[None, :, None]
    light = np.exp(-(((columns - 300) / 520) ** 2) - ((rows - 260) / 560) ** 2)
    table = 1 / (1 + np.exp(-(rows - 585) / 22))
    scene = grey * (0.62 + 0.42 * light + 0.1 * table) + 2 * cloud(series, size, 30)
    shadow = np.exp(-(((columns - 455) / 190) ** 2) - ((rows - 672) / 22) ** 2)
    scene = scene * (1 - 0.5 * shadow)
    top, foot = 170 + own.integers(-6, 7), 680
    height = foot - top
    outline_at = [0, 0.05, 0.22, 0.32 + 0.08 * belly, 0.88, 0.97, 1]
    lip = 38 + 13 * neck
    outline = [lip + 10, lip, lip - 6 + own.integers(-3, 4), 150 + own.integers(-12, 13),
               84 + own.integers(-10, 11), 78, 82]  # fmt: skip
    ys = np.arange(height, dtype=np.float32)
    control = np.interp(ys / height, outline_at, outline)
    kernel = np.hanning(121)
    padded = np.pad(control, 60, mode="edge")
    half = np.convolve(padded, kernel / kernel.sum(), "valid").astype(np.float32)[:, None]
    xs = np.arange(200, 600, dtype=np.float32)[None, :] - 400
    u = xs / half
    inside = np.clip(half - np.abs(xs), 0, 1)[..., None]
    facing = np.sqrt(np.clip(1 - u * u, 0, 1))
    shade = np.clip(0.22 + 0.62 * (0.82 * facing - 0.55 * u) + 0.06 * u * u, 0.1, 1.2)
    spark = np.exp(-(((u + 0.42) / 0.07) ** 2)) * np.exp(
        -((((ys[:, None] / height) - 0.42) / 0.2) ** 2)
    )
    glaze = series.uniform(60, 210, 3).astype(np.float32)
    band = np.broadcast_to(glaze * 0.55 + 20, (3,))
    colour = np.broadcast_to(glaze, (height, 400, 3)).copy()
    colour *= 1 + 0.08 * cloud(series, (400, height), 40)
    at = ys[:, None] / height - 0.5 + 0.012 * np.abs(u) ** 2
    turn = np.arcsin(np.clip(u, -1, 1))
    marks = np.zeros((height, 400), bool)
    if look in (1, 2, 3):  # one, two or three bands
        for k in range(look):
            marks |= np.abs(at - 0.09 * k + 0.05) < 0.018
    elif look == 4:  # the foot dipped in another glaze
        marks = at > 0.22 + 0.02 * np.sin(5 * turn)
    elif look == 5:  # the neck dipped
        marks = at < -0.2 + 0.02 * np.sin(5 * turn + 1)
    elif look == 6:  # flutes
        marks = (np.sin(turn * 14) > 0.6) & (np.abs(at) < 0.3)
    elif look == 7:  # a wave
        marks = np.abs(at - 0.05 * np.sin(turn * 6 + own.uniform(0, 6))) < 0.016
    elif look == 8:  # dots
        marks = (np.sin(turn * 12) > 0.55) & (np.sin(at * 70) > 0.55) & (np.abs(at) < 0.28)
    colour[marks] = band
    vase = colour * shade[..., None] * 1.15 + 120 * spark[..., None]
    part = scene[top:foot, 200:600]
    scene[top:foot, 200:600] = part * (1 - inside) + vase * inside
    photo = picture_of(scene).filter(ImageFilter.BoxBlur(0.7))
    return noisy(photo, 2.2 * grain(own, size), own.uniform(0.98, 1.02))


def school_portrait(series: Random, own: Random, number: int, faces: Sequence[Picture]) -> Picture:
    """A school portrait: backdrop, light, uniform and caption alike; head and name differ."""
    size = width, height = 720, 900
    base = series.uniform(70, 150, 3).astype(np.float32)
    rows = np.arange(height, dtype=np.float32)[:, None, None]
    columns = np.arange(width, dtype=np.float32)[None, :, None]
    glow = np.exp(-(((columns - 360) / 420) ** 2) - ((rows - 360) / 480) ** 2)
    back = base * (0.5 + 0.75 * glow) + 14 * cloud(series, size, 9) + 6 * cloud(series, size, 28)
    page = picture_of(back)
    dx, dy = own.integers(-8, 9), own.integers(-6, 7)
    wide = int(own.integers(262, 286))
    tall = int(wide * 1.24)
    x, y = 360 - wide // 2 + dx, 210 + dy
    face = ImageOps.colorize(
        ImageOps.grayscale(face_of(faces, number, (wide, tall))),
        (36, 20, 16),
        (255, 236, 222),
        tuple((own.integers(-14, 15) + np.array([186, 138, 112])).tolist()),
    )  # fmt: skip
    skin = np.asarray(face.resize((8, 8), Image.Resampling.BOX))[3:6, 2:6].mean((0, 1))
    draw = ImageDraw.Draw(page)
    hair = own.choice([[34, 26, 22], [56, 38, 26], [84, 58, 36], [128, 98, 60]])
    hair = tuple((hair + own.integers(-12, 13, 3)).tolist())
    grown = int(own.integers(10, 34))
    longer = int(own.choice([-150, -120, 10, 60]))
    draw.ellipse((x - grown, y - 26 - grown // 2, x + wide + grown, y + tall - 60), hair)
    if longer > -100:
        draw.rounded_rectangle((x - grown + 4, y + 120, x + wide + grown - 4, y + tall + longer),
                               60, hair)  # fmt: skip
    cloth = series.integers(15, 110, 3)
    draw.rounded_rectangle((300 + dx, y + tall - 110, 420 + dx, 720), 40,
                           tuple((skin * 0.8).astype(int).tolist()))  # fmt: skip
    draw.polygon([(40, 900), (78, 700), (150, 648), (290, 602), (360, 690), (430, 602),
                  (570, 648), (642, 700), (680, 900)], tuple(cloth.tolist()))  # fmt: skip
    draw.polygon([(282, 598), (306, 586), (360, 690), (414, 586), (438, 598), (396, 740),
                  (360, 700), (324, 740)], (236, 236, 240))  # fmt: skip
    tie = tuple(series.integers(60, 200, 3).tolist())
    draw.polygon([(342, 682), (378, 682), (392, 900), (328, 900)], tie)
    draw.line([(282, 606), (330, 760), (340, 900)], tuple((cloth * 0.6).astype(int).tolist()), 5)
    draw.line([(438, 606), (390, 760), (380, 900)], tuple((cloth * 0.6).astype(int).tolist()), 5)
    mask = Image.new("L", (wide, tall), 0)
    ImageDraw.Draw(mask).ellipse((8, 8, wide - 8, tall - 8), fill=255)
    page.paste(face, (int(x), int(y)), mask.filter(ImageFilter.BoxBlur(7)))
    page = page.filter(ImageFilter.BoxBlur(1))
    page = noisy(page, 2.6 * grain(own, size) - 26 * columns / width, own.uniform(0.97, 1.03))
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 846, width, height), "white")
    draw.text((24, 873), " ".join(person(number)), BLACK, font(27), anchor="lm")
    draw.text((696, 873), phrase(series, 2) + " School 2023", (110, 110, 110), font(20),
              anchor="rm")  # fmt: skip
    return page


def night_camera(series: Random, own: Random, number: int, _: object) -> Picture:
    """A night frame of one yard, dark and noisy: a person or car elsewhere, another time."""
    size = width, height = 1024, 576
    yard = Image.new("L", size, int(series.integers(14, 24)))
    draw = ImageDraw.Draw(yard)
    draw.polygon(
        [(0, 300), (width, 240), (width, height), (0, height)], int(series.integers(34, 46))
    )
    for _ in range(5):
        x, w, h = series.integers([0, 120, 90], [900, 260, 230]).tolist()
        draw.rectangle((x, 290 - h, x + w, 285), int(series.integers(18, 40)))
        for k in range(3):
            lit = int(series.integers(20, 62))
            draw.rectangle((x + 14 + 36 * k, 306 - h, x + 34 + 36 * k, 334 - h), lit)
    for k in range(9):
        draw.line((120 * k - 40, 330, 150 * k - 200, height), 62, 3)
    lamp = int(series.integers(200, 820))
    draw.line((lamp, 90, lamp, 330), 70, 6)
    rows = np.arange(height, dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)[None, :]
    n = scrambled(number % 225)  # 25 places across, 9 down
    foot = int(372 + 20 * (n // 25) + own.integers(-5, 6))
    x = int(50 + 37 * (n % 25) + own.integers(-9, 10))
    scale = foot / 480
    tone = int(own.choice([8, 58, 68]))
    if own.random() < 0.6:
        tall = 118 * scale
        step = own.uniform(0.08, 0.2) * tall
        draw.line((x, foot - tall * 0.45, x - step, foot), tone, int(tall / 8))
        draw.line((x, foot - tall * 0.45, x + step, foot), tone, int(tall / 8))
        draw.rounded_rectangle((x - tall / 7, foot - tall * 0.84, x + tall / 7, foot - tall * 0.4),
                               tall / 12, tone)  # fmt: skip
        draw.ellipse((x - tall / 13, foot - tall, x + tall / 13, foot - tall * 0.84), tone + 8)
    else:
        long, tall = 130 * scale, 62 * scale
        draw.rounded_rectangle((x - long, foot - tall, x + long, foot - 10), 14, tone)
        draw.polygon([(x - long * 0.6, foot - tall), (x - long * 0.35, foot - tall * 1.7),
                      (x + long * 0.4, foot - tall * 1.7), (x + long * 0.7, foot - tall)],
                     tone + 14)  # fmt: skip
        for side in (-0.6, 0.6):
            w = 17 * scale
            draw.ellipse(
                (x + side * long - w, foot - 24, x + side * long + w, foot + 2 * w - 24), 6
            )
    glow = 1.7 * np.exp(-(((columns - lamp) / 260) ** 2) - ((rows - 330) / 170) ** 2) + 0.65
    dark = np.asarray(yard.filter(ImageFilter.GaussianBlur(1.8)), np.float32) * glow
    dark += 9 * grain(own, (width // 2, height // 2))[..., 0].repeat(2, 0).repeat(2, 1)
    dark += 4 * grain(own, size)[..., 0]
    frame = Image.fromarray(np.clip(dark + 6, 0, 255).astype(np.uint8))
    frame = frame.filter(ImageFilter.BoxBlur(1)).convert("RGB")
    draw = ImageDraw.Draw(frame)
    second = 21 * 3600 + 7 * 60 + 131 * number  # one night of 8 hours
    stamp = f"{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}"
    draw.text((20, 16), f"2023-11-{14 + second // 86400} {stamp}", (225, 225, 225), font(24))
    draw.text(
        (1004, 560), f"CAM {series.integers(1, 16):02}", (225, 225, 225), font(24), anchor="rs"
    )
    return frame


def exam_sheet(series: Random, own: Random, number: int, _: object) -> Picture:
    """A scanned sheet of multiple choice: other crosses, most of them the right ones."""
    size = _width, _height = 900, 1240
    page = Image.new("RGB", size, (247, 246, 241))
    draw = ImageDraw.Draw(page)
    draw.text((60, 50), phrase(series, 3), BLACK, font(36))
    draw.text((60, 100), "Mark one answer to each question with a cross.", BLACK, font(19))
    draw.rectangle((600, 46, 840, 130), outline=BLACK, width=2)
    draw.text((612, 50), "Candidate", (90, 90, 90), font(15))
    pen = (34, 44, 120)
    for k, digit in enumerate(f"{2000 + number * 31}"):
        at = (640 + 44 * k + own.integers(-3, 4), 100 + own.integers(-3, 4))
        draw.text(at, digit, pen, font(36 + own.integers(-3, 4)), anchor="mm")
    right = series.integers(0, 4, 40)
    answers = np.where(own.random(40) < 0.25, own.integers(0, 4, 40), right)
    n = scrambled(number % 225)
    for k in range(4):  # together these four name the picture
        answers[7 + 9 * k] = (right[7 + 9 * k] + (n >> 2 * k)) % 4
    for question in range(40):
        x, y = 60 + 410 * (question // 20), 170 + 51 * (question % 20)
        draw.text((x + 30, y + 18), f"{question + 1}.", BLACK, font(20), anchor="rm")
        draw.text((x + 40, y + 18), phrase(series, 1), BLACK, font(17), anchor="lm")
        for choice in range(4):
            left = x + 150 + 58 * choice
            draw.text((left - 10, y + 18), "ABCD"[choice], BLACK, font(15), anchor="mm")
            draw.rectangle((left, y + 6, left + 24, y + 30), outline=BLACK, width=2)
            if choice == answers[question]:
                a, b, c, d = own.integers(-3, 4, (4, 2)).tolist()
                draw.line((left + 3 + a[0], y + 8 + a[1], left + 21 + b[0], y + 28 + b[1]), pen, 3)
                draw.line((left + 21 + c[0], y + 8 + c[1], left + 3 + d[0], y + 28 + d[1]), pen, 3)
    for corner in ((24, 24), (852, 24), (24, 1192), (852, 1192)):
        draw.rectangle((*corner, corner[0] + 24, corner[1] + 24), fill=BLACK)
    page = page.filter(ImageFilter.BoxBlur(0.6))
    return noisy(page, 3 * cloud(series, size, 5) + 3 * grain(own, size))


KINDS: dict[str, Maker] = {
    "identity documents": identity_document,
    "invoices": invoice,
    "broadcast frames": broadcast,
    "chats": chat,
    "catalogue photos": catalogue,
    "school portraits": school_portrait,
    "night cameras": night_camera,
    "exam sheets": exam_sheet,
}


def series(kind: str, count: int, faces: Sequence[Picture], seed: int = 0) -> list[Picture]:
    """Return `count` different pictures on one template."""
    return drawn(KINDS[kind], count, faces, [seed, 77, list(KINDS).index(kind)])
