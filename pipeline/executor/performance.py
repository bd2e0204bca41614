"""How busy a run's workers were, which stage held the others up, and what went between them.

A run has a steady state: it begins when all stages that compute have had their first image, and
ends when the first of them has had its last. Before and after, workers wait because there is
nothing yet, or nothing left; in between, the busiest should never wait. Small runs have none.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pipeline.timing import STAGES, TICK_S

COMPUTING = ("decode", "detect", "embed")
# Stages that take turns in one process on CPUs.
TOGETHER = ("decode", "detect")
# Above it, nothing but more cores makes a run faster.
CORES_BUSY = 0.9
MAX_TICKS = 20_000


class StageTimes:
    """What each stage has spent so far, and when, in a bounded amount of memory."""

    def __init__(self) -> None:
        self.stages: dict[str, Counter[str]] = {name: Counter() for name in STAGES}
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self.width = TICK_S
        self._finest = 1  # ticks of TICK_S in one of ours
        self._ticks: dict[str, Counter[int]] = {name: Counter() for name in STAGES}

    def add(self, timing: str) -> None:
        """Add what one part took, as Write reports it."""
        for name, one in json.loads(timing).items():
            for key in ("images", "seconds", "cpu_seconds", "bytes_out"):
                self.stages[name][key] += one[key]
            if one["images"]:
                self.first[name] = min(one["first"], self.first.get(name, one["first"]))
                self.last[name] = max(one["last"], self.last.get(name, one["last"]))
            for tick, seconds in one["ticks"]:
                self._ticks[name][tick // self._finest] += seconds
        while max(len(ticks) for ticks in self._ticks.values()) > MAX_TICKS:
            self._coarsen()

    def _coarsen(self) -> None:
        self._finest *= 2
        self.width *= 2
        for name, ticks in self._ticks.items():
            halved: Counter[int] = Counter()
            for tick, seconds in ticks.items():
                halved[tick // 2] += seconds
            self._ticks[name] = halved

    def seconds_between(self, name: str, start: float, end: float) -> float:
        """Return a stage's seconds of work from `start` to `end`, as fine as ticks are."""
        total = 0.0
        for tick, seconds in self._ticks[name].items():
            left, right = tick * self.width, (tick + 1) * self.width
            inside = min(right, end) - max(left, start)
            total += seconds * max(0.0, inside) / self.width
        return total

    def steady(self) -> tuple[float, float] | None:
        """Return when the steady state began and ended, None if there was none."""
        if not all(name in self.first for name in COMPUTING):
            return None
        start = max(self.first[name] for name in COMPUTING)
        end = min(self.last[name] for name in COMPUTING)
        return (start, end) if end - start > self.width else None


def measured(
    times: StageTimes,
    workers: Mapping[str, int],
    cores: float,
    *,
    apart: bool,
    marks: Mapping[str, float],
    end: float,
) -> dict[str, Any]:
    """Return a run's figures as its manifest has them.

    Args:
        times: what the stages have spent.
        workers: processes of each stage.
        apart: whether decoding has workers of its own; else detectors decode.
        cores: of the cluster.
        marks: when the run began, "start", and by name when each phase before the work ended;
            seconds since 1970, in order.
        end: of the run, likewise.
    """
    figures: dict[str, Any] = {"phases": phases(times, marks, end)}
    if not times.first:
        return figures | {"stages": {}}
    wall = max(times.last.values()) - min(times.first.values())
    stages = {
        name: _stage(times, name, workers[name], wall) for name in STAGES if name in times.first
    }
    cpu = sum(one["cpu_seconds"] for one in times.stages.values())
    cores_busy = share(cpu, cores, wall)
    if steady := times.steady():
        cores_busy = _cores_between(times, cores, *steady)
    sending = [name for name in STAGES[:-1] if apart or name != "decode"]
    put = sum(times.stages[name]["bytes_out"] for name in sending)
    return figures | {
        "stages": stages,
        "cores_busy": cores_busy,
        "bottleneck": bottleneck(stages, cores_busy, apart=apart),
        "store_bytes_per_image": round(put / max(1, times.stages["write"]["images"])),
    }


def _cores_between(times: StageTimes, cores: float, start: float, end: float) -> float:
    """Return the share of all cores that stages took, each at its mean CPU per second of work."""
    cpu = 0.0
    for name, spent in times.stages.items():
        if spent["seconds"]:
            rate = spent["cpu_seconds"] / spent["seconds"]
            cpu += rate * times.seconds_between(name, start, end)
    return share(cpu, cores, end - start)


def _stage(times: StageTimes, name: str, workers: int, wall: float) -> dict[str, Any]:
    """Return the figures of one stage; `wall` is from the first work of any stage to the last."""
    spent = times.stages[name]
    seconds, steady = spent["seconds"], times.steady()
    return {
        "workers": workers,
        "images": spent["images"],
        "seconds": round(seconds, 2),
        "cpu_seconds": round(spent["cpu_seconds"], 2),
        "busy": share(seconds, workers, wall),
        "busy_steady": share(times.seconds_between(name, *steady), workers, steady[1] - steady[0])
        if steady
        else None,
        "images_per_worker_second": round(spent["images"] / seconds, 2) if seconds else None,
        "handed_on_bytes_per_image": round(spent["bytes_out"] / spent["images"]),
    }


def phases(times: StageTimes, marks: Mapping[str, float], end: float) -> dict[str, float]:
    """Return the seconds of each phase, in order; together they are the whole run.

    `actors` is until the first image is decoded or searched, `finish` what is left after the last
    work. In between come `filling`, `steady` and `drain`, or `work` where nothing was steady.
    """
    moments = dict(marks)
    computing = [times.first[name] for name in COMPUTING if name in times.first]
    if computing:
        moments["actors"] = min(computing)
        steady = times.steady()
        if steady:
            moments["filling"], moments["steady"] = steady
        moments["drain" if steady else "work"] = max(times.last.values())
    moments["finish"] = end
    names, ends = list(moments), list(moments.values())
    return {
        name: round(max(0.0, after - before), 2)
        for name, before, after in zip(names[1:], ends[:-1], ends[1:], strict=True)
    }


def share(seconds: float, workers: float, wall: float) -> float:
    """Return how much of `wall` seconds so many workers were at work, from 0 to 1."""
    return round(min(1.0, seconds / (workers * wall)), 3) if workers and wall > 0 else 0.0


def bottleneck(
    stages: Mapping[str, Mapping[str, Any]], cores_busy: float, *, apart: bool
) -> str | None:
    """Return what held the run up: "cores", or the heaviest stage of the busiest workers."""
    if cores_busy >= CORES_BUSY:
        return "cores"
    groups = [[name] for name in stages if apart or name not in TOGETHER]
    if not apart:
        groups.append([name for name in TOGETHER if name in stages])

    def busy(group: list[str]) -> float:
        shares = (stages[name]["busy_steady"] for name in group)
        return sum(
            float(stages[name]["busy"] if share is None else share)
            for name, share in zip(group, shares, strict=True)
        )

    busiest = max(filter(None, groups), key=busy, default=None)
    return max(busiest, key=lambda name: float(stages[name]["seconds"])) if busiest else None
