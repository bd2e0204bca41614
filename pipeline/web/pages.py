"""What all pages share: one style, and templates in which every value is escaped."""

import base64
from importlib.resources import files

import jinja2
from markupsafe import Markup

from pipeline.storage.folder import visible

# Nothing is fetched and nothing runs, even if something slipped through the escaping.
# The policy's default does not cover the last two.
STATIC_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)
NAME_SHOWN = 400
# Not printable by themselves, but parts of emoji and of Persian names.
JOINERS = "\u200c\u200d"
LARGEST_PICTURE = 1 << 20
JPEG = b"\xff\xd8\xff"


def environment(package: str) -> jinja2.Environment:
    """Return the templates of a package, and those that all pages share; every value is escaped.

    Filters: `name` (text from outside: control characters shown, cut when endless), `data_uri`
    (JPEG bytes), `count` (1,234), `size` (bytes in words).
    """
    templates = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(p) for p in (package, __package__)]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"name": shown, "data_uri": data_uri, "count": count, "size": size}
    templates.globals["base_css"] = css()
    return templates


def css() -> str:
    """Return the style that all pages share."""
    return files(__package__).joinpath("base.css").read_text("utf-8")


def shown(text: object) -> str:
    """Return text from outside, fit for a page: visible, and not endless."""
    clear = str(text)[: NAME_SHOWN + 1]
    if not clear.isprintable():
        clear = "".join(c if c in JOINERS else visible(c) for c in clear)
    return clear if len(clear) <= NAME_SHOWN else f"{clear[:NAME_SHOWN]}…"


def is_picture(data: bytes | None, largest: int = LARGEST_PICTURE) -> bool:
    """Return whether bytes of a table may be shown: nothing but a small JPEG is."""
    return data is not None and data.startswith(JPEG) and len(data) < largest


def data_uri(jpeg: bytes) -> Markup:
    """Return a JPEG as a data URI, which has nothing to escape."""
    return Markup(f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}")  # noqa: S704 base64


def count(number: float) -> str:
    """Return a whole number with thousands apart."""
    return f"{number:,.0f}"


def plural(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def size(number: float) -> str:
    """Return a number of bytes in words."""
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
