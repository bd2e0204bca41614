"""Lines and tables on the terminal, and the only way to it: all else in `commands` prints here.

Text from outside is never read as markup, and its control characters are shown by their codes:
escape codes can write to the clipboard, change the title, or hide lines (CWE-150).
"""

import logging
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from pipeline.storage.folder import visible


class Terminal(Console):
    """A console that shows text from outside as it is; see the top of this module."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield segments of text fit for a terminal, and rich's own codes."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(visible_lines(text), style)


class Lines(logging.Formatter):
    """Formats records, tracebacks too, as text fit for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record."""
        return visible_lines(super().format(record))


def visible_lines(text: str) -> str:
    """Return text fit for a terminal, with its line breaks."""
    return "\n".join(map(visible, text.split("\n")))


def tell(text: str, file: TextIO | None = None, end: str = "\n") -> None:
    """Print lines as they are, without a console; to standard output, unless `file` is given."""
    print(visible_lines(text), file=file or sys.stdout, end=end, flush=True)


def say(console: Console, text: str) -> None:
    """Print a line; a name may hold line breaks."""
    console.print(visible(text), highlight=False, soft_wrap=True)


def show_facts(console: Console, title: str, facts: Mapping[str, str]) -> None:
    """Print a table of names and values."""
    table = Table(title=Text(visible(title), style="table.title"), show_header=False)
    for name, value in facts.items():
        table.add_row(name, value)
    console.print(table)


def duration(seconds: float) -> str:
    """Return seconds in words: 42 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
