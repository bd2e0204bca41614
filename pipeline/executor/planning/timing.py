"""Seconds as planning counts them, and the memory of this process and of the decoding one."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.arrays import Floats64


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds of processor and of the clock on the wall."""

    cpu_s: float = 0.0
    wall_s: float = 0.0

    @classmethod
    def of(cls, spent: Mapping[str, float], images: int = 1) -> "Span":
        """Return the share of each of `images` in what `pipeline.timing` says was spent."""
        return cls(spent["cpu_seconds"] / images, spent["seconds"] / images)


def shared_out(total: float, weights: Floats64) -> Floats64:
    """Share a call's cost among its photos in proportion to `weights`, equally if all are 0."""
    if not len(weights):
        return np.zeros(0)
    whole = float(weights.sum())
    return total * (weights / whole) if whole > 0 else np.full(len(weights), total / len(weights))


@dataclass(frozen=True, slots=True)
class Resident:
    """Memory of a process in bytes, its mapped files and shared memory left out.

    Attributes:
        now, peak: of its own pages.
        pixels: shared memory, through which a decoder hands on.
        files: mapped files, mostly libraries, which processes of a node share.
    """

    now: int
    peak: int
    pixels: int
    files: int


def resident(pid: int | None = None) -> Resident:
    """Return the memory of a process, this one when no id is given; zeros where none can tell."""
    sizes = {"VmRSS": 0, "VmHWM": 0, "RssFile": 0, "RssShmem": 0}
    with suppress(OSError):
        for line in Path(f"/proc/{pid or 'self'}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in sizes:
                sizes[name] = int(value.split()[0]) * 1024
    shared = sizes["RssFile"] + sizes["RssShmem"]
    return Resident(
        now=max(0, sizes["VmRSS"] - shared),
        peak=max(0, sizes["VmHWM"] - shared),
        pixels=sizes["RssShmem"],
        files=sizes["RssFile"],
    )


def forget_peak() -> None:
    """Let the peak of this process begin anew; without effect where Linux does not allow it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
