"""Builds small photos, shards and lakes for the tests."""

import io
import tarfile
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from pipeline.config import ReadConfig
from pipeline.lake.ledger import Ledger
from pipeline.sources.members import Report
from pipeline.sources.plan import plan
from pipeline.sources.read import ENCODED, read
from pipeline.sources.reconcile import Reconciler

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"


def jpeg(seed=0, width=16, height=12):
    """Encode a small picture; another seed gives other bytes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG")
    return out.getvalue()


def tar_bytes(members, mode="w"):
    """Pack (name or TarInfo, data) pairs; surrogates in names are kept."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=tarfile.GNU_FORMAT) as archive:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            if data is not None:
                info.size = len(data)
            archive.addfile(info, None if data is None else io.BytesIO(data))
    return out.getvalue()


def tar_entry(name, kind, linkname=""):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = linkname
    return info


def zip_bytes(members, compression=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def parquet_bytes(**columns):
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def put(root, files):
    """Write files {relative name: bytes or text}; None makes a folder."""
    for name, data in files.items():
        path = Path(root) / name
        if data is None:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return Path(root)


def planned(*inputs, output="", ledger=None, options=None, parallelism=1, shards=None):
    return plan(
        [str(i) for i in inputs],
        output=str(output),
        ledger=Ledger.empty() if ledger is None else ledger,
        options=options or {},
        parallelism=parallelism,
        shards=shards,
    )


def read_all(to_read, ledger=None, config=None):
    """Read every unit of a plan; return all rows as one table, and the report."""
    report = Report()
    checked_ledger = (
        Ledger.empty() if ledger is None else ledger
    )  # an empty one may know what to refuse
    tables = [
        table
        for unit in to_read.units
        for table in read(unit, checked_ledger, config or ReadConfig(), report)
    ]
    return pa.concat_tables([ENCODED.empty_table(), *tables]), report


class Archive:
    """A lake's ledger alone: what a run over inputs would add or change, without decoding.

    `rows` are those that are there, `gone` those that are not; `change` is of the last run.
    """

    def __init__(self):
        self.rows = self.gone = ENCODED.empty_table()
        self.shards = {}

    @property
    def ledger(self):
        return Ledger.from_tables([self.rows], gone=[self.gone])

    def run(self, *inputs, config=None, **options):
        """Index the inputs; return the rows added, and the report of plan and reading."""
        to_read = planned(*inputs, ledger=self.ledger, shards=self.shards, **options)
        self.change = Reconciler(to_read, self.ledger, self.uris, {}).run(config or ReadConfig())
        self.follow(self.change)
        self.change.take_from(to_read)
        added, report = read_all(to_read, self.ledger, config)
        report.already_in_lake += to_read.already_in_lake
        report.skipped.update(to_read.skipped)
        again = pc.is_in(self.rows["image_id"], added["image_id"].combine_chunks())
        self.rows = pa.concat_tables([self.rows.filter(pc.invert(again)), added])
        return added, report

    def uris(self, image_ids):
        rows = self.rows.to_pylist()
        return {row["image_id"]: row["uri"] for row in rows if row["image_id"] in image_ids}

    def follow(self, change):
        here, away = ({r["image_id"]: r for r in t.to_pylist()} for t in (self.rows, self.gone))
        for image, place in change.places.items():
            here[image].update(asdict(place))
        here |= {image: away.pop(image) | asdict(place) for image, place in change.back.items()}
        away |= {image: here.pop(image) for image in change.gone}
        self.rows, self.gone = (
            pa.Table.from_pylist(list(rows.values()), ENCODED) for rows in (here, away)
        )
        self.shards |= change.whole
