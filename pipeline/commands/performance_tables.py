"""The tables of its own speed that `facelake index` prints at the end."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

NOT_KNOWN = "not known"


def show(console: Console, figures: Mapping[str, Any]) -> None:
    """Print how busy each stage's workers were, and what slowed the run down."""
    table = Table(box=SIMPLE, pad_edge=False)
    heads = ("stage", "workers", "seconds", "CPU", "busy", "steady", "images/s a worker")
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if i else "left")
    for name, one in figures["stages"].items():
        table.add_row(
            name,
            f"{one['workers']}",
            f"{one['seconds']:,.1f}",
            f"{one['cpu_seconds']:,.1f}",
            percent(one["busy"]),
            percent(one["busy_steady"]),
            f"{one['images_per_worker_second'] or 0:,.1f}",
        )
    phases = figures["phases"]
    lines = [", ".join(f"{name} {seconds:,.1f} s" for name, seconds in phases.items())]
    if figures.get("bottleneck"):
        cores = percent(figures["cores_busy"])
        lines.append(f"bottleneck: {figures['bottleneck']} (cores busy {cores})")
    if "ray" in phases:
        lines.append(
            f"object store: {size(figures.get('store_bytes_per_image'))} put an image, "
            f"peak {size(figures['store_peak_bytes'])}, spilled {size(figures['spilled_bytes'])}"
        )
    console.print(table, *lines, sep="\n", highlight=False, soft_wrap=True)


def percent(share: float | None) -> str:
    """Return a share in percent, empty for None."""
    return "" if share is None else f"{share:.0%}"


def size(count: int | None) -> str:
    """Return bytes in words."""
    if count is None:
        return NOT_KNOWN
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} KB"
