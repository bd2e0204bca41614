"""Times what stages spend on images, in columns that travel with them from stage to stage.

Every stage adds a column `<stage>_timing` of structs `TIMING`. Write sums up those of its part by
stage, with `summed`; the driver adds these sums.
"""

import resource
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.arrays import Floats64

STAGES = ("read", "decode", "detect", "embed", "write")
# began: seconds since 1970; bytes_out: given to the next stage
TIMING = pa.struct(
    [
        ("began", pa.float64()),
        ("seconds", pa.float64()),
        ("cpu_seconds", pa.float64()),
        ("bytes_out", pa.int64()),
    ]
)
TICK_S = 0.1
# CPUCLOCK_SCHED of Linux, include/linux/posix-timers.h: nanoseconds that a process has run. /proc
# counts hundredths of a second, as long as decoding a photo takes.
_PROCESS_CLOCK = 2


def cpu_seconds(child: int | None = None) -> float:
    """Return what this process, its ended children and a running one took of the processor."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = time.process_time() + ended.ru_utime + ended.ru_stime
    if child is not None:
        with suppress(OSError):
            spent += time.clock_gettime((~child << 3) | _PROCESS_CLOCK)
    return spent


class Stopwatch:
    """Measures what a stage spends, from its creation or the last `restart`.

    Args:
        child: returns the id of a process that works for this one, None where there is none.
    """

    def __init__(self, child: Callable[[], int | None] = lambda: None) -> None:
        self._child = child
        self.restart()

    def restart(self) -> None:
        """Begin anew."""
        self._at = time.time()
        self._began = time.perf_counter()
        self._cpu = cpu_seconds(self._child())

    def spent(self) -> dict[str, float]:
        """Return what was spent as one of `TIMING`, without `bytes_out`."""
        return {
            "began": self._at,
            "seconds": time.perf_counter() - self._began,
            # a child that started meanwhile had a clock of its own
            "cpu_seconds": max(0.0, cpu_seconds(self._child()) - self._cpu),
        }

    def shares(self, count: int, bytes_out: int) -> pa.Array:
        """Return what was spent and given on as equal shares of `count` images, `TIMING`."""
        spent = self.spent()
        each = {name: spent[name] / max(1, count) for name in ("seconds", "cpu_seconds")}
        sizes = np.diff(np.linspace(0, bytes_out, count + 1).astype(np.int64))
        return pa.StructArray.from_arrays(
            [
                pa.array(spent["began"] + each["seconds"] * np.arange(count)),
                pa.array(np.full(count, each["seconds"])),
                pa.array(np.full(count, each["cpu_seconds"])),
                pa.array(sizes),
            ],
            fields=list(TIMING),
        )


def summed(timings: Sequence[dict[str, Any]] | pa.ChunkedArray) -> dict[str, Any]:
    """Return the sums of a column of `TIMING`, and seconds of work by tick since 1970.

    Nulls are images that the stage had nothing to do with.
    """
    array = (
        timings.combine_chunks()
        if isinstance(timings, pa.ChunkedArray)
        else pa.array(timings, TIMING)
    )
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    began, seconds, cpu, bytes_out = (
        np.asarray(array.drop_null().field(f.name), dtype=np.float64) for f in TIMING
    )
    return {
        "images": len(began),
        "seconds": float(seconds.sum()),
        "cpu_seconds": float(cpu.sum()),
        "bytes_out": int(bytes_out.sum()),
        "first": float(began.min()) if len(began) else None,
        "last": float((began + seconds).max()) if len(began) else None,
        "ticks": ticks(began, seconds),
    }


def ticks(began: Floats64, seconds: Floats64, width: float = TICK_S) -> list[tuple[int, float]]:
    """Return seconds of work in each tick of `width` that has any, by number of the tick."""
    if not len(began):
        return []
    first = int(began.min() // width)
    last = int((began + seconds).max() // width) + 1
    edges: Floats64 = np.multiply(np.arange(last - first + 1), width, dtype=np.float64)
    starts: Floats64 = began - first * width
    stops: Floats64 = starts + seconds
    worked = np.diff(_passed(starts, edges) - _passed(stops, edges))
    return [(first + int(i), float(worked[i])) for i in np.nonzero(worked > 1e-9)[0]]


def _passed(moments: Floats64, edges: Floats64) -> Floats64:
    """Return for each edge the time that has passed since each earlier moment, in sum."""
    ordered = np.sort(moments)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    count = np.searchsorted(ordered, edges)
    return np.asarray(count * edges - sums[count], np.float64)
