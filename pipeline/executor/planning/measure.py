"""Takes a sample through the stages of a run, in this process, and measures."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import IndexConfig
from pipeline.errors import ConfigError, ErrorCode, NoImagesError, StorageError
from pipeline.executor.planning.batches import Batch, batches
from pipeline.executor.planning.figures import STAGES, Memory, Sample
from pipeline.executor.planning.sampling import Portion
from pipeline.executor.planning.timing import Floats, Meter, Span, forget_peak, resident, shared_out
from pipeline.lake.store import LakeStore, Models, parquet_bytes
from pipeline.memory import give_back
from pipeline.models.cards.card import find_card
from pipeline.models.weights.store import WeightStore
from pipeline.sources.members import Report
from pipeline.stages.decode import Decode
from pipeline.stages.detect import Detect
from pipeline.stages.embed import Embed
from pipeline.stages.write import Write
from pipeline.storage.folder import visible

# Photos that are decoded and searched before the clock starts: first calls load and compile.
WARM_UP = 4


class _Spent:
    """Collects seconds by stage and photo."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, list[Floats]] = {name: [] for name in STAGES}
        self.wall_s: dict[str, list[Floats]] = {name: [] for name in STAGES}
        self.weights: list[Floats] = []

    def add(self, stage: str, span: Span, weights: Floats) -> None:
        self.cpu_s[stage].append(shared_out(span.cpu_s, weights))
        self.wall_s[stage].append(shared_out(span.wall_s, weights))


def measure(
    portions: Sequence[Portion],
    config: IndexConfig,
    models: Models,
    lake: LakeStore,
    report: Report,
    *,
    device: str = "cpu",
    rng: np.random.Generator,
) -> Sample:
    """Read, decode, search, embed and write the photos of `portions`, in one thread.

    `lake` is a place that is thrown away; `report` gets what was passed over.

    Raises:
        NoImagesError: there is no photo in the portions.
        StorageError: no photo could be read.
        ConfigError: no photo can be used.
    """
    import torch

    torch.set_num_threads(1)
    limits = config.decode
    decode = Decode(limits)
    meter, spent = Meter(lambda: decode.child_pid), _Spent()
    began = meter.now()
    store = WeightStore.at(config.weights_dir, config.weights_url)
    forget_peak()
    idle = resident()
    read = batches(portions, config, report, meter, rng)
    found, decoder_bytes = _searched(read, config, decode, meter, spent, store, device)
    searched = resident()
    _refuse_useless(found, report)
    give_back()
    forget_peak()
    before = resident()
    precision = None if config.precision == "auto" else config.precision
    embed = Embed(config.embedder, device=device, threads=1, store=store, precision=precision)
    rows = _embedded(embed, found, config.pools.embed_batch, meter, spent)
    after = resident()
    write = Write(lake, models, "plan")
    start = meter.now()
    write(rows)
    spent.add("write", meter.now() - start, np.ones(len(rows)))
    row_bytes = _row_bytes(write, rows)
    memory = Memory(
        detect=searched.peak,
        embed=idle.now + max(0, after.peak - before.now),
        decoder=decoder_bytes,
        shared=after.files,
    )
    return Sample(
        {name: np.concatenate(parts) for name, parts in spent.cpu_s.items()},
        {name: np.concatenate(parts) for name, parts in spent.wall_s.items()},
        np.concatenate(spent.weights),
        np.asarray(rows["bytes"].combine_chunks().fill_null(0), dtype=np.float64),
        _pixels(rows),
        _faces(rows),
        Counter(code for code in rows["error"].to_pylist() if code),
        *row_bytes,
        memory,
        (meter.now() - began).wall_s,
        device,
    )


def _searched(
    read: Iterable[Batch],
    config: IndexConfig,
    decode: Decode,
    meter: Meter,
    spent: _Spent,
    store: WeightStore,
    device: str,
) -> tuple[pa.Table | None, int]:
    """Return the photos with their faces, and the peak of the process that decodes."""
    detect: Detect | None = None
    found: list[pa.Table] = []
    decoder_bytes = 0
    for batch in read:
        if detect is None:
            detect = Detect(
                find_card(config.embedder),
                config.detect,
                detector=config.detector,
                thumbnails=config.thumbnails,
                device=device,
                store=store,
            )
            for part in decode(batch.table.slice(0, WARM_UP)):
                detect(part)
        spent.weights.append(batch.weights)
        spent.cpu_s["read"].append(batch.read_cpu_s)
        spent.wall_s["read"].append(batch.read_wall_s)
        start = meter.now()
        for part in decode(batch.table):
            decoded = meter.now()
            each = pc.struct_field(part["decode_timing"], "seconds")
            spent.add("decode", decoded - start, np.asarray(each, dtype=np.float64))
            found.append(detect(part))
            start = meter.now()
            spent.add("detect", start - decoded, _pixels(part))
        if pid := decode.child_pid:
            child = resident(pid)
            decoder_bytes = max(decoder_bytes, child.peak + child.pixels)
    return (pa.concat_tables(found) if found else None), decoder_bytes


def _embedded(embed: Embed, found: pa.Table, size: int, meter: Meter, spent: _Spent) -> pa.Table:
    embed(found.slice(0, WARM_UP))
    done = []
    for start in range(0, len(found), size):
        part = found.slice(start, size)
        began = meter.now()
        done.append(embed(part))
        spent.add("embed", meter.now() - began, _faces(part))
    return pa.concat_tables(done)


def _refuse_useless(found: pa.Table | None, report: Report) -> None:
    damage = f": {visible(report.damage[0])}" if report.damage else ""
    if found is None:
        raise NoImagesError(
            f"The sample holds no photo{damage}; check the inputs with facelake index --dry-run"
        )
    errors = Counter(found["error"].to_pylist())
    if errors[None]:
        return
    first = found.slice(0, 1).to_pylist()[0]
    kinds = ", ".join(f"{n} {code}" for code, n in errors.most_common())
    kind = StorageError if set(errors) == {ErrorCode.UNREADABLE.value} else ConfigError
    raise kind(
        f"None of the {len(found)} sampled photos can be used ({kinds}); the first is "
        f"{visible(first['uri'])}: {visible(first['error_detail'] or first['error'])}. Without one "
        "there is nothing to predict from: name inputs that hold photos, or a larger --sample"
    )


def _pixels(table: pa.Table) -> Floats:
    width, height = (
        np.asarray(table[name].combine_chunks().fill_null(0), dtype=np.float64)
        for name in ("width", "height")
    )
    return width * height


def _faces(table: pa.Table) -> Floats:
    return np.array([len(mine or ()) for mine in table["detections"]], dtype=np.float64)


def _row_bytes(write: Write, rows: pa.Table) -> tuple[float, float, float]:
    """Return Parquet bytes of a row of images, of a row of faces, and of a part beside its rows.

    A part of thousands of rows has the same schema and footers as one of a hundred: what two
    halves take more than the whole is theirs.
    """
    fixed, each = [], []
    for table in write.tables(rows):
        whole, half = len(parquet_bytes(table)), len(table) // 2
        pieces = (table.slice(0, half), table.slice(half))
        twice = sum(len(parquet_bytes(piece)) for piece in pieces)
        beside = (
            min(whole, max(0, twice - whole)) if half else len(parquet_bytes(table.slice(0, 0)))
        )
        fixed.append(beside)
        each.append(max(0, whole - beside) / max(1, len(table)))
    return each[0], each[1], float(sum(fixed))
