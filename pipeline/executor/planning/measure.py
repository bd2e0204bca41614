"""Measures what a sample of photos takes in each stage of a run, in this process."""

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Floats64
from pipeline.config import IndexConfig
from pipeline.errors import ConfigError, ErrorCode, NoImagesError, StorageError
from pipeline.executor.planning.batches import Batch
from pipeline.executor.planning.figures import STAGES, Memory, Sample
from pipeline.executor.planning.timing import forget_peak, resident, shared_out
from pipeline.imaging.memory import give_back
from pipeline.lake.store import LakeStore, Models, parquet_bytes
from pipeline.models.cards.card import find_card
from pipeline.models.weights.store import WeightStore
from pipeline.sources.members import Report
from pipeline.stages.decode import Decode
from pipeline.stages.detect import Detect
from pipeline.stages.embed import Embed
from pipeline.stages.write import Write
from pipeline.storage.folder import visible
from pipeline.timing import Stopwatch, summed

# Photos that are decoded and searched before the clock starts: first calls load and compile.
WARM_UP = 4


def measure(
    photos: Iterable[Batch],
    config: IndexConfig,
    models: Models,
    lake: LakeStore,
    report: Report,
    device: str = "cpu",
) -> Sample:
    """Read, decode, search, embed and write the photos of `batches`, in one thread.

    `lake` is a place that is thrown away; `report` has what was passed over.

    Raises:
        NoImagesError: there is no photo in the batches.
        StorageError: no photo could be read.
        ConfigError: no photo can be used.
    """
    import torch

    torch.set_num_threads(1)
    watch = Stopwatch()
    stages = _Stages(config, device)
    forget_peak()
    idle = resident()
    faces = stages.search(photos)
    searched = resident()
    if faces is None:
        raise NoImagesError(
            f"The sample holds no photo{_damage(report)}; check the inputs with facelake index "
            "--dry-run"
        )
    _refuse_useless(faces)
    give_back()
    forget_peak()
    before = resident()
    rows = stages.embed(faces)
    after = resident()
    write = Write(lake, models, "plan")
    stages.write(write, rows)
    memory = Memory(
        detect=searched.peak,
        embed=idle.now + max(0, after.peak - before.now),
        decoder=stages.decoder_bytes,
        shared=after.files,
    )
    return Sample(
        {name: np.concatenate(parts) for name, parts in stages.cpu_s.items()},
        {name: np.concatenate(parts) for name, parts in stages.wall_s.items()},
        np.concatenate(stages.weights),
        np.asarray(rows["bytes"].combine_chunks().fill_null(0), dtype=np.float64),
        _pixels(rows),
        _faces(rows),
        Counter(code for code in rows["error"].to_pylist() if code),
        *_row_bytes(write, rows),
        memory,
        watch.spent()["seconds"],
        device,
    )


class _Stages:
    """The stages of a run in this process; collects seconds by stage and photo.

    Attributes:
        decoder_bytes: peak memory of the process that decodes.
    """

    def __init__(self, config: IndexConfig, device: str) -> None:
        self.config = config
        self.device = device
        self.weights_store = WeightStore.at(config.weights_dir, config.weights_url, config.licences)
        self.cpu_s: dict[str, list[Floats64]] = {name: [] for name in STAGES}
        self.wall_s: dict[str, list[Floats64]] = {name: [] for name in STAGES}
        self.weights: list[Floats64] = []
        self.decoder_bytes = 0

    def _add(self, stage: str, spent: Mapping[str, float], weights: Floats64) -> None:
        self.cpu_s[stage].append(shared_out(spent["cpu_seconds"], weights))
        self.wall_s[stage].append(shared_out(spent["seconds"], weights))

    def search(self, photos: Iterable[Batch]) -> pa.Table | None:
        """Return the photos with their faces, None where there are no photos."""
        decode = Decode(self.config.decode)
        watch = Stopwatch(lambda: decode.child_pid)
        detect: Detect | None = None
        searched: list[pa.Table] = []
        for batch in photos:
            if detect is None:
                detect = self._detect()
                for part in decode(batch.table.slice(0, WARM_UP)):
                    detect(part)
            self.weights.append(batch.weights)
            self.cpu_s["read"].append(batch.read_cpu_s)
            self.wall_s["read"].append(batch.read_wall_s)
            watch.restart()
            for part in decode(batch.table):
                # The column lacks what making the table took: it only shares out the whole.
                each = pc.struct_field(part["decode_timing"], "seconds")
                self._add("decode", watch.spent(), np.asarray(each, dtype=np.float64))
                searched.append(detect(part))
                self._add("detect", summed(searched[-1]["detect_timing"]), _pixels(part))
                watch.restart()
            if pid := decode.child_pid:
                child = resident(pid)
                self.decoder_bytes = max(self.decoder_bytes, child.peak + child.pixels)
        return pa.concat_tables(searched) if searched else None

    def _detect(self) -> Detect:
        return Detect(
            find_card(self.config.embedder),
            self.config.detect,
            detector=self.config.detector,
            thumbnails=self.config.thumbnails,
            device=self.device,
            store=self.weights_store,
        )

    def embed(self, faces: pa.Table) -> pa.Table:
        """Return the photos with the vectors of their faces."""
        precision = None if self.config.precision == "auto" else self.config.precision
        embed = Embed(
            self.config.embedder,
            device=self.device,
            threads=1,
            store=self.weights_store,
            precision=precision,
            views=self.config.views,
        )
        embed(faces.slice(0, WARM_UP))
        embedded = []
        for start in range(0, len(faces), self.config.pools.embed_batch):
            part = faces.slice(start, self.config.pools.embed_batch)
            embedded.append(embed(part))
            self._add("embed", summed(embedded[-1]["embed_timing"]), _faces(part))
        return pa.concat_tables(embedded)

    def write(self, write: Write, rows: pa.Table) -> None:
        """Write one part."""
        watch = Stopwatch()
        write(rows)
        self._add("write", watch.spent(), np.ones(len(rows)))


def _damage(report: Report) -> str:
    return f": {visible(report.damage[0])}" if report.damage else ""


def _refuse_useless(photos: pa.Table) -> None:
    """Raise StorageError or ConfigError when every photo has an error."""
    errors = Counter(photos["error"].to_pylist())
    if errors[None]:
        return
    first = photos.slice(0, 1).to_pylist()[0]
    kinds = ", ".join(f"{n} {code}" for code, n in errors.most_common())
    kind = StorageError if set(errors) == {ErrorCode.UNREADABLE.value} else ConfigError
    raise kind(
        f"None of the {len(photos)} sampled photos can be used ({kinds}); the first is "
        f"{visible(first['uri'])}: {visible(first['error_detail'] or first['error'])}. Without one "
        "there is nothing to predict from: name inputs that hold photos, or a larger --sample"
    )


def _pixels(table: pa.Table) -> Floats64:
    width, height = (
        np.asarray(table[name].combine_chunks().fill_null(0), dtype=np.float64)
        for name in ("width", "height")
    )
    return width * height


def _faces(table: pa.Table) -> Floats64:
    return np.array([len(faces or ()) for faces in table["detections"]], dtype=np.float64)


def _row_bytes(write: Write, rows: pa.Table) -> tuple[float, float, float]:
    """Return Parquet bytes of a row of images, of a row of faces, and of a part beside its rows.

    A part of thousands of rows has the same schema and footers as one of a hundred: their size is
    what two halves take more than the whole.
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
