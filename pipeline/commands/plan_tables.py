"""What `facelake plan` prints: tables for people, JSON for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from pipeline.commands.amounts import count, size, time
from pipeline.commands.output import say
from pipeline.executor.planning.figures import INTERVAL_PERCENT, STAGES, Figures, Sample
from pipeline.executor.planning.job import Outcome
from pipeline.executor.planning.prediction import (
    START_S,
    USABLE,
    Prediction,
    feeding,
    leading_stage,
)

PERCENTILES = (50, 95)
# The rest of a node's memory is for the system, and for peaks that the sample did not show.
MEMORY_SHARE = 0.9
# With fewer photos, an interval from resampling them says little.
FEW_PHOTOS = 30


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return everything for JSON, seconds and bytes unrounded."""
    sample, figures = outcome.sample, outcome.figures
    return {
        "archive_photos": sample.archive,
        "loose_share": outcome.loose_share,
        "sample": {
            "photos": len(sample),
            "errors": dict(sample.errors),
            "seconds": sample.sample_s,
            "device": sample.device,
            "stages": {name: _stage(sample, name) for name in STAGES},
            "cpu_s": figures.cpu_s(),
            "cpu_s_interval": [figures.cpu_s() * factor for factor in figures.factor],
            "bytes": figures.bytes,
            "faces": figures.faces,
            "pixels": sample.mean(sample.pixels),
            "largest_pixels": float(sample.pixels.max()),
            "image_row_bytes": figures.image_row_bytes,
            "face_row_bytes": figures.face_row_bytes,
            "part_bytes": figures.part_bytes,
            "memory_bytes": asdict(figures.memory),
        },
        "assumed": {"usable_share": USABLE, "start_s": START_S},
        "cluster": asdict(outcome.hardware),
        "predictions": [prediction.as_dict() for prediction in outcome.predictions],
        "gpu": asdict(feeding(figures, outcome.hardware.gpu)),
        "warnings": warnings(outcome),
        "damaged": outcome.report.damage,
    }


def _stage(sample: Sample, name: str) -> dict[str, float]:
    cpu_s = sample.cpu_s[name]
    return {
        "cpu_s": sample.mean(cpu_s),
        "wall_s": sample.mean(sample.wall_s[name]),
        **{f"cpu_s_p{q}": sample.percentile(cpu_s, q) for q in PERCENTILES},
    }


def warnings(outcome: Outcome) -> list[str]:
    """Return warnings about the numbers."""
    sample, hardware = outcome.sample, outcome.hardware
    lines = []
    if len(sample) < FEW_PHOTOS:
        lines.append(f"{len(sample)} photos are a small sample: intervals are too narrow")
    if hardware.gpus and hardware.gpu is None:
        lines.append(
            "what a GPU does needs measuring: run this on a node with one, or give "
            "--gpu-images-per-s and --gpu-faces-per-s; hours are those of the CPUs alone"
        )
    fits = hardware.memory_bytes * MEMORY_SHARE
    for one in outcome.predictions:
        photos = count(one.photos)
        if one.node_bytes > fits:
            lines.append(
                f"{photos} photos: a node needs {size(one.node_bytes)} and has "
                f"{size(hardware.memory_bytes)}; fewer --detect-actors, or nodes with more memory"
            )
        elif one.node_bytes + one.driver_bytes > fits:
            lines.append(
                f"{photos} photos: the driver needs {size(one.driver_bytes)}, beside the workers "
                f"of its node too much for {size(hardware.memory_bytes)}; fewer --detect-actors, "
                "or a node of its own for the driver"
            )
    return lines


def show(outcome: Outcome, console: Console) -> None:
    """Print the measurements, the predictions, and the warnings."""
    sample, figures, hardware = outcome.sample, outcome.figures, outcome.hardware
    console.print(measured(sample, figures))
    errors = ", ".join(f"{n} {code}" for code, n in sorted(sample.errors.items()))
    low, high = (figures.cpu_s() * factor for factor in figures.factor)
    memory = figures.memory
    megapixels = (sample.mean(sample.pixels) / 1e6, sample.pixels.max() / 1e6)
    for line in (
        f"a photo: {size(figures.bytes)}, {megapixels[0]:.1f} megapixels (largest "
        f"{megapixels[1]:.1f}), {figures.faces:.2f} faces; {errors or 'no errors'}",
        f"{1 / figures.cpu_s():.2f} photos/s a core, {INTERVAL_PERCENT} % interval "
        f"{1 / high:.2f} to {1 / low:.2f}",
        f"output: {size(figures.image_row_bytes)} a photo, {size(figures.face_row_bytes)} a face",
        f"memory: {size(memory.detect)} a detect actor, {size(memory.decoder)} its decoder, "
        f"{size(memory.embed)} an embed actor",
    ):
        say(console, line)
    console.print(times(outcome.predictions))
    console.print(needs(outcome.predictions))
    say(console, "driver disk: of its temporary folder, when so many photos are in the lake")
    gpus = f", {_plural(hardware.gpus, 'GPU')}" if hardware.gpus else ""
    nodes, cores = _plural(hardware.nodes, "node"), _plural(hardware.cpus, "core")
    say(
        console,
        f"{nodes} of {cores}{gpus}, {size(hardware.memory_bytes)} each; {USABLE:.0%} of a core "
        "is taken to do the work",
    )
    say(console, f"the inputs hold about {count(sample.archive)} photos")
    last = outcome.predictions[-1]
    stage, share = leading_stage(figures)
    most = f", {stage} takes {share:.0%} of them" if last.bottleneck == "cores" else ""
    say(console, f"bottleneck: {last.bottleneck}{most}")
    feed = feeding(figures, hardware.gpu)
    line = f"one core decodes {feed.core_images_per_s:.1f} photos/s"
    if feed.cores is not None:
        line += (
            f"; a GPU takes {feed.images_per_s:.1f}: {feed.decode_cores:.1f} cores decode for it, "
            f"{feed.cores:.1f} with all that stands beside"
        )
    say(console, line)
    for text in (*outcome.report.damage, *warnings(outcome)):
        say(console, f"! {text}")


def measured(sample: Sample, figures: Figures) -> Table:
    """Return the table of the time that a photo takes in each stage."""
    table = _table(
        f"{len(sample)} photos in one thread, milliseconds a photo",
        ("stage", "CPU", "half below", "95 % below", "share", "clock"),
    )
    for name in STAGES:
        row = _stage(sample, name)
        times = [row[key] for key in ("cpu_s", "cpu_s_p50", "cpu_s_p95")]
        share = row["cpu_s"] / max(figures.cpu_s(), 1e-12)
        table.add_row(
            name, *(f"{1e3 * t:.2f}" for t in times), f"{share:.0%}", f"{1e3 * row['wall_s']:.2f}"
        )
    return table


def times(predictions: Sequence[Prediction]) -> Table:
    """Return the table of predicted times."""
    table = _table(
        "predicted time",
        ("photos", "time", f"{INTERVAL_PERCENT} % interval", "core hours", "photos/s", "limit"),
    )
    for one in predictions:
        table.add_row(
            count(one.photos),
            time(one.hours),
            " to ".join(time(hours) for hours in one.hours_interval),
            count(one.core_hours),
            count(one.images_per_s),
            one.bottleneck,
        )
    return table


def needs(predictions: Sequence[Prediction]) -> Table:
    """Return the table of predicted output and memory."""
    table = _table(
        "predicted output and memory",
        ("photos", "output", "files", "node reads", "node", "driver", "driver disk"),
    )
    for one in predictions:
        table.add_row(
            count(one.photos),
            size(one.output_bytes),
            count(2 * one.parts),
            f"{size(one.read_bytes_per_s)}/s",
            size(one.node_bytes),
            size(one.driver_bytes),
            size(one.driver_disk_bytes),
        )
    return table


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, box=SIMPLE, title_justify="left", padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _plural(number: int, what: str) -> str:
    return f"{number:,} {what}" + "s" * (number != 1)
