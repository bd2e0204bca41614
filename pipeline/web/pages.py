"""What pages have in common: one look, and templates that escape whatever they are given."""

import base64
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from pipeline.storage.folder import visible

# Nothing is fetched and nothing runs, even if something slipped through the escaping.
STATIC_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
NAME_SHOWN = 400
# Not printable by themselves, but emoji and Persian names are made with them.
JOINERS = "\u200c\u200d"


def environment(package: str) -> jinja2.Environment:
    """Return the templates in the folder `templates` of a package; every value is escaped.

    Filters: `name` (text from outside: control characters shown, cut when endless), `data_uri`
    (JPEG bytes), `count` (1,234), `size` (bytes in words).
    """
    made = jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: Mapping[str, Any] = {
        "name": shown, "data_uri": data_uri, "count": count, "size": size
    }  # fmt: skip
    made.filters.update(filters)
    made.globals["base_css"] = css()
    return made


def css() -> str:
    """Return the style that all pages share."""
    return files(__package__).joinpath("base.css").read_text("utf-8")


def shown(text: object) -> str:
    """Return text from outside, fit for a page: visible, and not endless."""
    clear = str(text)[: NAME_SHOWN + 1]
    if not clear.isprintable():
        clear = "".join(c if c in JOINERS else visible(c) for c in clear)
    return clear if len(clear) <= NAME_SHOWN else f"{clear[:NAME_SHOWN]}…"


def data_uri(jpeg: bytes) -> Markup:
    """Return a JPEG as a data URI, which has nothing to escape."""
    return Markup(f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}")  # noqa: S704 base64


def count(number: float) -> str:
    """Return a whole number with thousands apart."""
    return f"{number:,.0f}"


def size(number: float) -> str:
    """Return a number of bytes in words."""
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
