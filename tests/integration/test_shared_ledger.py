"""Read tasks answer the same, however the ledger reaches them."""

from dataclasses import replace

import pytest
import ray

from pipeline.config import ReadConfig
from pipeline.executor.dataset import epochs
from pipeline.executor.shared_ledger import Whole, share
from pipeline.lake.ledger import Ledger
from pipeline.sources.members import Report
from pipeline.sources.read import read
from tests.support.builders import jpeg, planned, put, tar_bytes


@pytest.fixture
def changed(tmp_path, archive):
    """An archive that was indexed, and the plan of what changed in it since."""
    old = [(f"{n}.jpg", jpeg(n)) for n in range(8)]
    put(tmp_path / "p", {"t.tar": tar_bytes(old[:4]), **{f"in/{name}": d for name, d in old[4:]}})
    # The same places below another root: their ids are taken.
    put(tmp_path / "q", {"in/4.jpg": jpeg(90), "t.tar": tar_bytes([("0.jpg", jpeg(91))])})
    archive.run(tmp_path / "p")
    put(tmp_path / "p", {"in/5.jpg": jpeg(80), "new.jpg": jpeg(81)})
    put(tmp_path / "p", {"t.tar": tar_bytes([("0.jpg", jpeg(82)), *old[1:4], ("9.jpg", jpeg(9))])})
    return archive, [tmp_path / "p", tmp_path / "q"]


def test_a_ledger_in_files_near_and_far(cluster, changed):
    archive, inputs = changed
    small = archive.ledger
    large = Ledger.from_tables([archive.rows], held_rows=2)
    near = share(large)
    far = replace(near, folder="/not/on/this/node")
    read_by = []
    for shared in (share(small), near, far):
        report = Report()
        rows = [
            {name: value for name, value in row.items() if not name.endswith("timing")}
            for unit in planned(*inputs, ledger=small).units
            for table in read(unit, shared.of(unit), ReadConfig(), report)
            for row in table.to_pylist()
        ]
        read_by.append((rows, report.already_in_lake))
    assert isinstance(share(small), Whole)
    assert len(read_by[0][0]) == 6
    assert read_by[1] == read_by[0]
    assert read_by[2] == read_by[0]
    ids = [row["image_id"] for row in read_by[0][0]]
    known = small.has(ids).tolist()
    assert known.count(True) == 2  # what was changed keeps its id, what is new has another
    ray.kill(near.keeper)


def test_a_plan_is_cut_into_epochs(tmp_path):
    put(tmp_path, {f"{n}.jpg": jpeg(n) for n in range(7)})
    plan = planned(tmp_path)
    whole = [unit.names for unit in plan.units]
    assert [len(units) for units in epochs(plan, 2**20, 3)] == [3, 1]
    assert [len(units) for units in epochs(plan, plan.bytes // 6, 3)] == [2, 2]
    assert [unit.names for units in epochs(plan, 2**20, 3) for unit in units] == whole
    assert len(list(epochs(plan, 2**20))) == 1
