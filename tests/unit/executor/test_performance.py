"""Busy shares, phases and bottlenecks, by numbers worked out by hand."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config import PoolConfig
from pipeline.executor import performance
from pipeline.executor.performance import StageTimes, bottleneck, measured, phases, share
from pipeline.executor.resources import size
from pipeline.timing import TIMING, Stopwatch, cpu_seconds, summed, ticks


def spans(*pairs: tuple[float, float], cpu: float = 0.5, bytes_out: int = 10) -> list[dict]:
    """Work on one image each, from a begin to an end; `cpu` of it on the processor."""
    return [
        {"began": a, "seconds": b - a, "cpu_seconds": cpu * (b - a), "bytes_out": bytes_out}
        for a, b in pairs
    ]


def times_of(**stages: list[dict]) -> StageTimes:
    times = StageTimes()
    times.add(json.dumps({name: summed(rows) for name, rows in stages.items()}))
    return times


WORKERS = {"read": 1, "decode": 2, "detect": 2, "embed": 1, "write": 1}


def ten_seconds() -> StageTimes:
    """Two detectors from 10 to 20, one idle for the middle half; embedding from 12 to 21."""
    return times_of(
        read=spans((9, 10)),
        decode=spans((10, 11), (10, 11)),
        detect=spans((11, 20), (11, 13), (18, 20)),
        embed=spans((12, 14), (14, 18), (20, 21)),
        write=spans((21, 22), (21.5, 22), (21.5, 21.75)),
    )


def test_ticks_share_out_what_overlaps_them():
    sums = ticks(np.array([10.05, 10.1]), np.array([0.1, 0.25]), width=0.1)
    assert [tick for tick, _ in sums] == [100, 101, 102, 103]
    assert [seconds for _, seconds in sums] == pytest.approx([0.05, 0.15, 0.1, 0.05], abs=1e-9)


def test_ticks_of_today_keep_their_sum():
    rng = np.random.default_rng(0)
    began, seconds = 1.8e9 + rng.uniform(0, 100, 1000), rng.uniform(0, 3, 1000)
    assert sum(s for _, s in ticks(began, seconds)) == pytest.approx(seconds.sum(), rel=1e-6)
    assert ticks(began[:0], seconds[:0]) == []


def test_a_stage_is_folded_into_sums_and_nulls_are_left_out():
    rows = pa.chunked_array(
        [pa.array([*spans((1, 3)), None], TIMING), pa.array(spans((5, 6)), TIMING)]
    )
    sums = summed(rows)
    assert (sums["images"], sums["seconds"], sums["cpu_seconds"]) == (2, 3, 1.5)
    assert (sums["first"], sums["last"], sums["bytes_out"]) == (1, 6, 20)
    assert json.loads(json.dumps(summed([])))["first"] is None


def test_busy_shares_of_a_whole_run_and_of_its_steady_state():
    figures = measured(
        ten_seconds(), WORKERS, 2, apart=False, marks={"start": 4, "prepare": 5, "ray": 8}, end=23
    )
    stages = figures["stages"]
    # from 9 to 22 there is work; steady is from 12 (first face embedded) to 11 (last decoded): none
    assert stages["detect"]["seconds"] == 13
    assert stages["detect"]["busy"] == pytest.approx(13 / (2 * 13))
    assert stages["read"]["busy"] == pytest.approx(1 / 13, abs=1e-3)
    assert stages["embed"]["images_per_worker_second"] == pytest.approx(3 / 7, abs=0.01)
    assert stages["detect"]["busy_steady"] is None
    assert figures["phases"] == {
        "prepare": 1, "ray": 3, "actors": 2, "work": 12, "finish": 1,
    }  # fmt: skip
    assert figures["cores_busy"] == pytest.approx(
        0.5 * (1 + 2 + 13 + 7 + 1.75) / (2 * 13), abs=1e-3
    )


def test_the_steady_state_is_told_from_filling_and_drain():
    times = ten_seconds()
    times.add(json.dumps({"decode": summed(spans((17, 19)))}))
    assert times.steady() == (12, 19)
    figures = measured(times, WORKERS, 2, apart=False, marks={"start": 8}, end=22)
    assert figures["phases"] == {
        "actors": 2, "filling": 2, "steady": 7, "drain": 3, "finish": 0,
    }  # fmt: skip
    # detect from 12 to 19: 7 + 1 + 1 of two workers; decode 2; embed 2 + 4 of one
    assert figures["stages"]["detect"]["busy_steady"] == pytest.approx(9 / 14, abs=1e-3)
    assert figures["stages"]["decode"]["busy_steady"] == pytest.approx(2 / 14, abs=1e-3)
    assert figures["stages"]["embed"]["busy_steady"] == pytest.approx(6 / 7, abs=1e-3)
    # 0.5 of (9 + 2 + 6) seconds on 2 cores in 7 seconds
    assert figures["cores_busy"] == pytest.approx(8.5 / 14, abs=1e-3)
    # embedders 6/7, detectors that decode as well 11/14
    assert figures["bottleneck"] == "embed"


def test_pixels_count_as_handed_on_only_where_decoding_is_apart():
    together = measured(ten_seconds(), WORKERS, 2, apart=False, marks={"start": 0}, end=22)
    apart = measured(ten_seconds(), WORKERS, 2, apart=True, marks={"start": 0}, end=22)
    # 10 bytes each of 1 read, 3 detect and 3 embed for 3 images written; 2 more of decode
    assert together["store_bytes_per_image"] == round(70 / 3)
    assert apart["store_bytes_per_image"] == round(90 / 3)


def test_the_bottleneck_is_the_busiest_pool_and_its_heaviest_stage():
    def stage(busy: float, seconds: float) -> dict:
        return {"busy": busy, "busy_steady": None, "seconds": seconds}

    stages = {"decode": stage(0.5, 5), "detect": stage(0.4, 4), "embed": stage(0.8, 8)}
    assert bottleneck(stages, 0.5, apart=False) == "decode"
    assert bottleneck(stages, 0.5, apart=True) == "embed"
    assert bottleneck(stages, 0.95, apart=False) == "cores"
    assert bottleneck({}, 0.0, apart=False) is None


def test_a_long_run_keeps_few_ticks_and_the_same_shares(monkeypatch):
    fine = StageTimes()
    monkeypatch.setattr(performance, "MAX_TICKS", 50)
    coarse = StageTimes()
    for start in range(0, 1000, 10):
        one = json.dumps({"detect": summed(spans((start, start + 4)))})
        coarse.add(one)
    monkeypatch.undo()
    for start in range(0, 1000, 10):
        fine.add(json.dumps({"detect": summed(spans((start, start + 4)))}))
    assert coarse.width > 10
    assert len(coarse._ticks["detect"]) <= 50
    assert fine.seconds_between("detect", 0, 500) == pytest.approx(200)
    assert coarse.seconds_between("detect", 0, 500) == pytest.approx(200, rel=0.05)


def test_a_share_stays_within_0_and_1():
    assert share(5, 2, 10) == 0.25
    assert share(30, 2, 10) == 1
    assert share(1, 0, 10) == share(1, 2, 0) == 0


def test_a_run_without_work_has_phases_only():
    figures = measured(StageTimes(), WORKERS, 2, apart=False, marks={"start": 1, "ray": 3}, end=4)
    assert figures == {"phases": {"ray": 2, "finish": 1}, "stages": {}}
    assert phases(StageTimes(), {"start": 1}, 2) == {"finish": 1}


def test_a_stopwatch_shares_out_what_was_spent_and_handed_on():
    watch = Stopwatch()
    before = time.time()
    total = sum(i * i for i in range(200_000))
    assert total
    rows = watch.shares(3, 100).to_pylist()
    assert sum(row["bytes_out"] for row in rows) == 100
    assert rows[0]["seconds"] == rows[2]["seconds"] > 0
    assert rows[0]["cpu_seconds"] > 0
    assert abs(rows[0]["began"] - before) < 1
    assert rows[1]["began"] == pytest.approx(rows[0]["began"] + rows[0]["seconds"], abs=1e-6)
    assert watch.shares(0, 0).to_pylist() == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell of a child")
def test_a_running_childs_processor_time_counts():
    code = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        assert cpu_seconds(child.pid) - cpu_seconds() > 0.25
        child.stdin.close()
    assert cpu_seconds(2**22 + 1) > 0  # there is no such process


def test_workers_of_each_stage():
    on_cpus = size(8, 0, PoolConfig(), device="auto", images=10**6, image_bytes=10**5)
    assert on_cpus.workers()["decode"] == on_cpus.workers()["detect"] == on_cpus.detect_actors
    on_gpu = size(16, 1, PoolConfig(), device="auto", images=10**6, image_bytes=10**5)
    # 16 cores less 2 x 0.6, 2 x 0.2 and the two of 0.05
    assert on_gpu.workers()["decode"] == 14


@pytest.mark.parametrize(
    "module", ["pipeline.commands.main", "pipeline.executor.dataset", "pipeline.stages.detect"]
)
def test_torch_is_imported_by_nobody_who_does_not_need_it(module):
    code = f"import sys, {module}; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "False"


def test_sface_is_embedded_without_torch():
    pytest.importorskip("openvino")
    code = (
        "import sys; from pipeline.stages.embed import Embed; Embed('sface', threads=1); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
