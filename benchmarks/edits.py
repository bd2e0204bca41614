"""What people and programs do to the pixels of a photo: PIL RGB image to PIL RGB image."""

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

Picture = Image.Image
Random = np.random.Generator

BARS = [(0, 0, 0), (255, 255, 255), (128, 128, 128), (24, 44, 92), (196, 180, 140)]


def scale(image: Picture, x: float, y: float) -> Picture:
    """Resize by a factor along each axis."""
    size = max(1, round(image.width * x)), max(1, round(image.height * y))
    return image.resize(size, Image.Resampling.LANCZOS)


def curve(image: Picture, gamma: float) -> Picture:
    """Raise all three channels to a power; above 1 darkens."""
    table = [round(255 * (value / 255) ** gamma) for value in range(256)]
    return image.point(table * 3)


def tint(image: Picture, strength: float) -> Picture:
    """Warm the picture: more red and less blue, by shares."""
    factors = 1 + strength, 1.0, 1 - strength
    return image.point([min(255, round(value * f)) for f in factors for value in range(256)])


def grey(image: Picture, kind: str) -> Picture:
    """Make it black and white: `plain`, `sepia` or `harsh` (with the contrast of a copier)."""
    plain = ImageOps.grayscale(image)
    if kind == "sepia":
        return ImageOps.colorize(plain, (25, 15, 5), (255, 240, 200))
    if kind == "harsh":
        plain = ImageEnhance.Contrast(plain).enhance(1.8)
    return plain.convert("RGB")


def noise(image: Picture, deviation: float, random: Random) -> Picture:
    """Add a sensor's noise, of one deviation in all channels."""
    pixels = np.asarray(image, np.float32)
    noisy = pixels + random.normal(0, deviation, pixels.shape)
    return Image.fromarray(np.clip(np.round(noisy), 0, 255).astype(np.uint8))


def blur(image: Picture, share: float) -> Picture:
    """Blur by a Gaussian whose radius is a share of the longer side."""
    return image.filter(ImageFilter.GaussianBlur(share * max(image.size)))


def sharpen(image: Picture, percent: int) -> Picture:
    """Sharpen by an unsharp mask."""
    return image.filter(ImageFilter.UnsharpMask(radius=2, percent=percent, threshold=0))


def watermark(image: Picture, share: float, random: Random) -> Picture:
    """Write a half transparent name somewhere, as wide as a share of the picture."""
    layer = Image.new("RGBA", image.size)
    text = "© Facelake Press"
    font = _font(text, share * image.width)
    left, top, right, bottom = font.getbbox(text)
    x = random.uniform(0, max(1, image.width - (right - left)))
    y = random.uniform(0, max(1, image.height - (bottom - top)))
    ImageDraw.Draw(layer).text((x - left, y - top), text, (255, 255, 255, 130), font)
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def caption(image: Picture, share: float) -> Picture:
    """Cover a share of the height, at the foot, with a caption on a plain strip."""
    out = image.copy()
    top = round(image.height * (1 - share))
    draw = ImageDraw.Draw(out)
    draw.rectangle((0, top, image.width, image.height), (250, 250, 250))
    text = "when you see it"
    font = _font(text, min(0.9 * image.width, 5 * share * image.height))
    draw.text((image.width / 2, (top + image.height) / 2), text, (10, 10, 10), font, anchor="mm")
    return out


def letterbox(image: Picture, share: float, random: Random) -> Picture:
    """Add bars, each a share of the side: above and below, left and right, or all around."""
    colour = BARS[random.integers(len(BARS))]
    sides = random.integers(3)
    x = round(image.width * share) if sides != 0 else 0
    y = round(image.height * share) if sides != 1 else 0
    return ImageOps.expand(image, (x, y), colour)


def crop(image: Picture, share: float, random: Random) -> Picture:
    """Cut away a share of the area, keeping the proportions, not centred."""
    side = (1 - share) ** 0.5
    width, height = round(image.width * side), round(image.height * side)
    x = random.integers(image.width - width + 1)
    y = random.integers(image.height - height + 1)
    return image.crop((x, y, x + width, y + height))


def tilt(image: Picture, degrees: float, random: Random) -> Picture:
    """Turn by a few degrees, either way, and cut to what has no empty corners."""
    angle = degrees * random.choice([-1, 1])
    turned = image.rotate(float(angle), Image.Resampling.BICUBIC)
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    # the picture of the same proportions that fits inside the turned one
    long, short = max(image.size), min(image.size)
    keep = short / (long * sine + short * cosine)
    x, y = image.width * (1 - keep) / 2, image.height * (1 - keep) / 2
    return turned.crop((round(x), round(y), round(image.width - x), round(image.height - y)))


def screenshot(image: Picture, share: float) -> Picture:
    """Show the picture in an app: a share of the canvas' width, bars and lines of text around."""
    width = round(image.width / share)
    height = round(image.height / share + 0.25 * width)
    canvas = Image.new("RGB", (width, height), (242, 242, 247))
    draw = ImageDraw.Draw(canvas)
    bar = round(0.06 * width)
    draw.rectangle((0, 0, width, bar), (32, 33, 36))
    draw.rectangle((0, height - bar, width, height), (255, 255, 255))
    for k in range(5):
        x = width * (k + 0.5) / 5
        draw.ellipse(
            (x - bar / 4, height - 0.75 * bar, x + bar / 4, height - bar / 4), (90, 90, 95)
        )
    text = "9:41   Photos   100 %"
    draw.text((bar / 2, bar / 4), text, (255, 255, 255), _font(text, 0.3 * width))
    canvas.paste(image, ((width - image.width) // 2, round(1.5 * bar)))
    return canvas


def _font(text: str, width: float) -> ImageFont.FreeTypeFont:
    size = 20
    length = ImageFont.load_default(size).getlength(text)
    return ImageFont.load_default(max(6, size * width / length))
