"""Prints what an evaluation measured: a table of measures, further tables, notes."""

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from pipeline.commands.output import Terminal, tell
from pipeline.evaluation.report import Cell, Report
from pipeline.storage.folder import visible


def show(report: Report) -> None:
    """Print measures, further tables and notes."""
    console = Terminal()
    table = plain_table("", ("measure", "value", "95 % interval"))
    table.add_column("meaning")
    intervals = report.result.get("intervals", {})
    for name, meaning in report.meanings.items():
        bounds = intervals.get(name)
        interval = f"{bounds[0]:.4f} to {bounds[1]:.4f}" if bounds else ""
        table.add_row(name.replace("_", " "), cell(report.result[name]), interval, meaning)
    console.print(table)
    for more in report.tables:
        if more.rows:
            printed = plain_table(visible(more.title), list(map(visible, more.headings)))
            for row in more.rows:
                printed.add_row(*map(cell, row))
            console.print(printed)
    for note in report.notes:
        tell(note)


def cell(value: Cell) -> str:
    """Return a value as tables show it: counts with commas, rates with four decimals."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return visible(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def plain_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]] = ()) -> Table:
    """Return a table for the terminal, of cells that are text already."""
    table = Table(title=title or None, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for k, heading in enumerate(headings):
        side: Any = "right" if k and heading not in ("95 % interval", "meaning") else "left"
        whole = heading in ("measure", "value", "95 % interval")
        table.add_column(heading, justify=side, no_wrap=whole, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
