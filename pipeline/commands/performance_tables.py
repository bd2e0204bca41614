"""What `facelake index` tells of its own speed, in its manifest and at the end."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from pipeline.executor.performance import StageTimes, measured
from pipeline.executor.resources import Sizing

if TYPE_CHECKING:
    from pipeline.executor.cluster import StoreWatch

NOT_KNOWN = "not known"


def performance(
    work: StageTimes, sizing: Sizing, store: "StoreWatch", marks: Mapping[str, float]
) -> dict[str, Any]:
    """Return the figures of a run that ends now; `marks` are of `measured`."""
    figures = measured(
        work,
        sizing.workers(),
        sizing.cpus,
        apart=sizing.decode_apart,
        marks=marks,
        end=time.time(),
    )
    return figures | {"store_peak_bytes": store.peak, "spilled_bytes": store.spilled}


def show(console: Console, figures: Mapping[str, Any]) -> None:
    """Print how busy each stage's workers were, and what held the run up."""
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
    lines.append(
        f"object store: {size(figures.get('store_bytes_per_image'))} put an image, "
        f"peak {size(figures['store_peak_bytes'])}, spilled {size(figures['spilled_bytes'])}"
    )
    console.print(table, *lines, sep="\n", highlight=False, markup=False, soft_wrap=True)


def percent(share: float | None) -> str:
    """Return a share as people read it; nothing for one that there is not."""
    return "" if share is None else f"{share:.0%}"


def size(count: int | None) -> str:
    """Return bytes as people read them."""
    if count is None:
        return NOT_KNOWN
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} KB"
