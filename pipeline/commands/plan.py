"""`facelake plan`: what indexing an archive will take, from a sample of it."""

import argparse
import json
import math
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console

from pipeline import memory
from pipeline.commands.index import prepare, say
from pipeline.commands.options import add_inputs, add_work_options, index_config
from pipeline.commands.plan_tables import Outcome, as_json, show
from pipeline.config import IndexConfig
from pipeline.errors import ConfigError
from pipeline.executor.planning.figures import Figures, figures
from pipeline.executor.planning.prediction import GpuRate, Hardware, predict
from pipeline.executor.planning.sampling import choose
from pipeline.lake.ledger import Ledger
from pipeline.lake.store import LakeStore
from pipeline.sources.members import Report
from pipeline.sources.plan import check_columns, plan

PHOTOS = "1e6,1e8,1e9"
MAX_PHOTOS = 10**12
# Numbers beyond these are slips.
MAX_NODES, MAX_CPUS, MAX_GPUS, MAX_MEMORY_GB, MAX_SAMPLE = 100_000, 4096, 64, 100_000, 100_000


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "plan",
        help="predict hours, memory and output size from a sample",
        description="Take a sample of the photos through the stages of `facelake index`, in one "
        "thread, and predict the hours, memory and output of whole archives on a cluster, and how "
        "many cores feed one GPU. Starts no Ray and writes no lake.",
    )
    add_inputs(parser)
    ask = parser.add_argument_group("what is predicted")
    ask.add_argument(
        "--photos",
        action="append",
        metavar="N",
        help=f"sizes of archives, joined by commas, may be repeated; default: {PHOTOS}; that of "
        "the inputs is always added",
    )
    ask.add_argument(
        "--sample",
        type=int,
        default=100,
        metavar="N",
        help="photos to measure, from all over the inputs; default: %(default)s",
    )
    ask.add_argument(
        "--seed", type=int, default=0, metavar="N", help="chooses them; default: %(default)s"
    )
    ask.add_argument("--json", action="store_true", help="print JSON")
    ask.add_argument("--verbose", action="store_true", help="show details")
    cluster = parser.add_argument_group("the cluster (this machine, where not given)")
    cluster.add_argument("--nodes", type=int, default=1, metavar="N", help="default: %(default)s")
    cluster.add_argument("--cpus", type=int, metavar="N", help="cores of a node, as fast as here")
    cluster.add_argument("--memory-gb", type=float, metavar="GB", help="of a node")
    cluster.add_argument("--gpus", type=int, metavar="N", help="of a node")
    cluster.add_argument(
        "--gpu-images-per-s",
        type=float,
        metavar="X",
        help="photos that one GPU was measured to search a second; without it a GPU of this "
        "machine is measured",
    )
    cluster.add_argument(
        "--gpu-faces-per-s",
        type=float,
        metavar="X",
        help="faces that one GPU was measured to embed a second",
    )
    add_work_options(parser)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Measure a sample, print predictions and return the exit code."""
    from pipeline.executor.planning.batches import batches
    from pipeline.executor.planning.measure import measure  # with all models and stages

    with tempfile.TemporaryDirectory(prefix="facelake-plan-") as folder:
        options.output = f"{folder}/lake"  # of the sample
        config = index_config(options)
        asked = photo_numbers(options.photos or [PHOTOS])
        within("--sample", options.sample, MAX_SAMPLE)
        within("--seed", options.seed, 2**63, 0)
        here = hardware(options, config)
        work = plan(config.inputs, output="", ledger=Ledger.empty(), options=config.storage_options)
        check_columns(work, config.read.image_column, config.read.key_column)
        models = prepare(config)
        rng = np.random.default_rng(options.seed)
        portions = choose(work, options.sample, rng)
        if not options.json:
            number = sum(portion.wanted for portion in portions)
            say(Console(), f"measuring about {number} photos")
        memory.tune()
        # Where GPUs are asked for and nobody says what one does, one of this machine is asked.
        on_gpu = here.gpus > 0 and here.gpu is None and config.device != "cpu" and local_gpus() > 0
        lake, report = LakeStore(config.output), Report()
        device = "cuda" if on_gpu else "cpu"
        batched = batches(portions, config, report, rng)
        sample = measure(batched, config, models, lake, report, device)
    means = figures(sample, options.seed)
    if on_gpu:
        here = with_gpu(here, means)
    loose_share = min(1.0, work.images / sample.archive)
    predictions = [
        predict(means, here, photos, config.pools, loose_share)
        for photos in sorted({sample.archive, *asked})
    ]
    outcome = Outcome(sample, means, here, predictions, loose_share, report)
    if options.json:
        print(json.dumps(as_json(outcome), indent=2))
    else:
        show(outcome, Console())
    return 0


def photo_numbers(texts: Sequence[str]) -> list[int]:
    """Return the numbers of photos that `--photos` names.

    Raises:
        ConfigError: one that is no number of photos.
    """
    numbers = []
    for word in ",".join(texts).replace("_", "").split(","):
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not 1 <= value <= MAX_PHOTOS or value != int(value):
            raise ConfigError(
                f"--photos {word!r} is no number of photos; give whole ones from 1 to 1e12, such "
                f"as {PHOTOS}"
            )
        numbers.append(int(value))
    return numbers


def within(name: str, value: float, most: float, least: float = 1) -> None:
    """Raise ConfigError unless an option's number makes sense."""
    if not least <= value <= most:  # nor does NaN
        raise ConfigError(f"{name} is {value:g}; give a number from {least:g} to {most:g}")


def hardware(options: argparse.Namespace, config: IndexConfig) -> Hardware:
    """Return the cluster that the options describe; what they leave out is this machine's.

    Raises:
        ConfigError: numbers that no cluster has.
    """
    # Python knows nothing of memory; Linux does.
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    cpus = len(os.sched_getaffinity(0)) if options.cpus is None else options.cpus
    memory_gb = memory_gb if options.memory_gb is None else options.memory_gb
    rates = (options.gpu_images_per_s, options.gpu_faces_per_s)
    gpus = options.gpus
    if gpus is None:
        gpus = 0 if config.device == "cpu" else max(local_gpus(), rates != (None, None))
    within("--nodes", options.nodes, MAX_NODES)
    within("--cpus", cpus, MAX_CPUS)
    within("--memory-gb", memory_gb, MAX_MEMORY_GB, 0.1)
    within("--gpus", gpus, MAX_GPUS, 0)
    if gpus and config.device == "cpu":
        raise ConfigError("--gpus with --device cpu: leave one of them out")
    gpu = None
    if rates != (None, None):
        if None in rates:
            raise ConfigError(
                "--gpu-images-per-s and --gpu-faces-per-s belong together: a GPU does both"
            )
        for name, rate in zip(("--gpu-images-per-s", "--gpu-faces-per-s"), rates, strict=True):
            within(name, rate, 1e7, 1e-3)
        gpu = GpuRate(*rates)
    return Hardware(options.nodes, cpus, int(memory_gb * 1e9), gpus, gpu)


def local_gpus() -> int:
    """Return how many GPUs this process can use."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def with_gpu(here: Hardware, means: Figures) -> Hardware:
    """Return the hardware with the rates of the GPU that the sample was measured on."""
    detect_s, embed_s = (means.stages[name].wall_s for name in ("detect", "embed"))
    # Without a face in the sample nothing was embedded, and the rate does not matter.
    faces_per_s = means.faces / embed_s if means.faces and embed_s > 0 else 1e7
    gpu = GpuRate(1 / max(detect_s, 1e-9), faces_per_s)
    return Hardware(here.nodes, here.cpus, here.memory_bytes, here.gpus, gpu)
