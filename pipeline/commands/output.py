"""Lines and tables on the terminal; text from outside is never read as markup."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.storage.folder import visible


def say(console: Console, text: str) -> None:
    """Print a line; a name may look like markup, or hold control characters."""
    console.print(visible(text), highlight=False, markup=False, soft_wrap=True)


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
