import json
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.commands.amounts import count, size, time
from pipeline.commands.main import main
from pipeline.config import PoolConfig, ReadConfig
from pipeline.errors import ConfigError
from pipeline.executor.planning.fetch import fetch
from pipeline.executor.planning.figures import Figures, Memory, Sample, figures, interval
from pipeline.executor.planning.job import photo_numbers
from pipeline.executor.planning.needs import driver_bytes, driver_disk_bytes
from pipeline.executor.planning.prediction import (
    START_S,
    USABLE,
    GpuRate,
    Hardware,
    feeding,
    predict,
)
from pipeline.executor.planning.sampling import MAX_SHARDS, Reservoir, choose, spread
from pipeline.executor.planning.timing import Span, resident, shared_out
from pipeline.lake.ledger import Ledger
from pipeline.sources.members import Report
from pipeline.sources.plan import plan
from pipeline.sources.units import Plan, Unit, Units
from pipeline.timing import Stopwatch
from tests.support.builders import PHOTOS, jpeg, parquet_bytes, put, tar_bytes, zip_bytes

MB = 10**6
# 0.1 s of processor a photo: 0.09 of them decoding and searching
ONE = Figures(
    stages={
        "read": Span(0.001, 0.002),
        "decode": Span(0.02, 0.02),
        "detect": Span(0.07, 0.07),
        "embed": Span(0.008, 0.008),
        "write": Span(0.001, 0.001),
    },
    factor=(0.5, 2.0),
    bytes=2e6,
    faces=1.5,
    image_row_bytes=200,
    face_row_bytes=4000,
    part_bytes=20_000,
    memory=Memory(detect=700 * MB, embed=400 * MB, decoder=100 * MB, shared=300 * MB),
)
CLUSTER = Hardware(nodes=10, cpus=16, memory_bytes=64 * 10**9)
NONE = PoolConfig()


def rng(seed=0):
    return np.random.default_rng(seed)


def test_hours_core_hours_and_output_by_hand():
    result = predict(ONE, CLUSTER, 10**6, NONE, 0)
    rate = 160 * USABLE / 0.1
    assert result.images_per_s == pytest.approx(rate)
    assert result.bottleneck == "cores"
    assert result.hours == pytest.approx((START_S + 1e6 / rate) / 3600)
    assert result.core_hours == pytest.approx(result.hours * 160)
    assert result.images_per_s_interval == pytest.approx((rate / 2, rate * 2))
    assert result.hours_interval[0] < result.hours < result.hours_interval[1]
    assert result.parts == 489  # of 2,048 photos
    assert result.output_bytes == pytest.approx(1e6 * (200 + 1.5 * 4000) + 489 * 20_000)
    assert result.read_bytes_per_s == pytest.approx(rate * 2e6 / 10)
    assert result.write_bytes_per_s == pytest.approx(rate * result.output_bytes / 1e6 / 10)


def test_what_is_slowest_limits():
    slow = replace(ONE, stages={**ONE.stages, "read": Span(0.001, 5.0)})
    result = predict(slow, CLUSTER, 10**6, NONE, 0)
    assert result.bottleneck == "reading"
    assert result.images_per_s == pytest.approx(80 / 5.0)  # half of the cores read at once
    few = predict(ONE, CLUSTER, 10**6, PoolConfig(detect_actors=3), 0)
    assert (few.bottleneck, few.images_per_s) == ("detect actors", pytest.approx(3 / 0.09))


def test_memory_of_a_node_by_hand():
    result = predict(ONE, CLUSTER, 10**6, NONE, 0)
    sizing = result.sizing
    assert (sizing.detect_actors, sizing.embed_actors) == (160, 160)
    mib = 2**20
    tasks = (sizing.read_tasks + sizing.write_tasks) / 10 * 250 * mib
    expected = 512 * mib + 256 * mib + 16 * 128 * mib + 300 * MB + tasks
    expected += 16 * (700 * MB + 100 * MB + 400 * MB)
    assert result.node_bytes == pytest.approx(expected)
    assert predict(ONE, CLUSTER, 10**9, NONE, 0).node_bytes == pytest.approx(expected)


def test_memory_of_the_driver_by_hand():
    base = driver_bytes(0, 0)
    assert driver_bytes(320, 0) == base + 10 * 4 * 3072
    assert driver_bytes(320, 0.5) == driver_bytes(320, 0) + 160 * 500
    assert driver_bytes(10**12, 1) == driver_bytes(10**8, 1) < 1.5e9
    assert driver_disk_bytes(10**9, 0.5) == 93e9 + 50e9


def test_gpus_and_what_feeds_them():
    gpu = GpuRate(images_per_s=200, faces_per_s=300)  # 1/200 + 1.5/300 s a photo
    result = predict(ONE, replace(CLUSTER, gpus=1, gpu=gpu), 10**7, NONE, 0)
    assert result.limits["GPUs"] == pytest.approx(10 * 100)
    assert result.bottleneck == "GPUs"
    feed = feeding(ONE, gpu)
    assert feed.images_per_s == pytest.approx(100)
    assert feed.core_images_per_s == pytest.approx(USABLE / 0.02)
    assert feed.decode_cores == pytest.approx(100 * 0.02 / USABLE)
    assert feed.cores == pytest.approx(100 * 0.022 / USABLE + 1.9)
    narrow = predict(ONE, Hardware(1, 4, 64 * 10**9, 1, GpuRate(5000, 5000)), 10**7, NONE, 0)
    assert narrow.bottleneck == "decoding"
    assert narrow.images_per_s == pytest.approx(USABLE * (4 - 1.9) / 0.022)


def test_an_unknown_gpu_is_not_guessed():
    with_gpus = predict(ONE, replace(CLUSTER, gpus=4), 10**6, NONE, 0)
    assert with_gpus == predict(ONE, CLUSTER, 10**6, NONE, 0)
    feed = feeding(ONE, None)
    assert (feed.images_per_s, feed.decode_cores, feed.cores) == (None, None, None)


@given(st.integers(1, 500), st.integers(1, 20), st.integers(2, 128), st.integers(10**9, 10**11))
def test_time_is_linear_in_photos_and_inverse_in_nodes(nodes, times, cpus, photos):
    def seconds(nodes, photos):
        cluster = replace(CLUSTER, nodes=nodes, cpus=cpus)
        return predict(ONE, cluster, photos, NONE, 0).hours * 3600 - START_S

    one = seconds(nodes, photos)
    # photos enough for every actor that there may be
    assert seconds(nodes * times, photos) == pytest.approx(one / times)
    assert seconds(nodes, photos * times) == pytest.approx(one * times)


@given(st.integers(0, 10_000), st.integers(1, 200), st.integers(0, 2**32))
def test_spread_takes_one_from_each_part(total, wanted, seed):
    result = spread(total, wanted, rng(seed))
    assert result == spread(total, wanted, rng(seed))
    assert len(result) == min(total, wanted)
    assert result == sorted(set(result))
    for i, number in enumerate(result[: wanted if wanted < total else 0]):
        assert i * total // wanted <= number < (i + 1) * total // wanted


def units(*some):
    made = Units()
    for unit in some:
        made.append(unit)
    return made


def files(base, number):
    names = tuple(f"{i:05}.jpg" for i in range(number))
    return Unit("files", base, names=names, sizes=(1000,) * number)


def test_loose_files_come_from_everywhere_and_by_the_seed():
    to_read = Plan(
        units=units(files("/a/", 256), files("/a/", 256), files("/b/", 488)), image_bytes=1000
    )
    portions = choose(to_read, 50, rng(3))
    assert [portion.unit.base for portion in portions] == ["/a/", "/b/"]
    assert sum(portion.wanted for portion in portions) == 50
    assert sum(portion.holds for portion in portions) == pytest.approx(1000, abs=2)
    assert portions == choose(to_read, 50, rng(3))
    assert portions != choose(to_read, 50, rng(4))
    names = portions[1].unit.names
    assert max(names) > "00450.jpg"
    assert min(names) < "00050.jpg"


def test_shards_are_taken_by_size_and_not_too_many_are_opened():
    shards = [Unit("tar", f"/s{i}.tar", sizes=(10**6,)) for i in range(100)]
    portions = choose(Plan(units=units(*shards), image_bytes=1000), 200, rng())
    assert len(portions) == MAX_SHARDS
    assert sum(portion.wanted for portion in portions) == 200
    assert portions[0].stands_for == pytest.approx(100 / MAX_SHARDS)
    assert int(portions[-1].unit.base[2:-4]) > 90
    uneven = [Unit("tar", "/a.tar", sizes=(9 * 10**6,)), Unit("tar", "/b.tar", sizes=(10**6,))]
    portions = choose(Plan(units=units(*uneven), image_bytes=1000), 100, rng())
    assert [portion.wanted for portion in portions] == [90, 10]


def test_a_reservoir_is_fair():
    seen = Counter()
    for seed in range(2000):
        reservoir = Reservoir(2, 10**9, rng(seed))
        for i in range(8):
            if reservoir.draws():
                reservoir.keep({"i": i})
        seen.update(row["i"] for row in reservoir.kept)
    assert set(seen) == set(range(8))
    # 500 each are expected, with a standard deviation of 19
    assert all(400 < number < 600 for number in seen.values())


@pytest.mark.parametrize("kind", ["tar", "zip", "parquet"])
def test_photos_come_from_all_over_a_shard(tmp_path, kind):
    photos = [(f"{i:03}.jpg", jpeg(i)) for i in range(200)]
    packed = {
        "tar": lambda: tar_bytes(photos),
        "zip": lambda: zip_bytes(photos),
        "parquet": lambda: parquet_bytes(image=[data for _, data in photos]),
    }
    put(tmp_path, {f"s.{kind}": packed[kind]()})
    to_read = plan([str(tmp_path)], output="", ledger=Ledger.empty(), options={})
    report = Report()
    random = rng(1)
    (portion,) = choose(to_read, 20, random)
    (result,) = fetch(portion, ReadConfig(), report, 10**9, random)
    assert len(result.table) == 20
    assert result.weight * 20 == pytest.approx(200)  # the estimate by size would be wrong
    numbers = [
        int(uri.split("#")[1].removesuffix(".jpg")) for uri in result.table["uri"].to_pylist()
    ]
    assert len(set(numbers)) == 20
    assert min(numbers) < 60
    assert max(numbers) > 140
    assert report == Report()
    if kind != "zip":  # where nothing is passed over
        few = list(fetch(portion, ReadConfig(), report, 1, random))
        assert len(few[0].table) == 20
        assert report == Report()  # a shard that is left early is no damage


def sample(cpu_s, weights):
    n = len(cpu_s)
    zeros = np.zeros(n)
    spent = dict.fromkeys(("read", "decode", "embed", "write"), zeros) | {"detect": cpu_s}
    return Sample(
        spent, spent, weights, np.full(n, 1000.0), zeros + 4, np.arange(n, dtype=float), Counter(),
        100, 4000, 9000, Memory(1, 1, 1, 1), 1.0, "cpu",
    )  # fmt: skip


def test_means_are_over_the_inputs_not_the_sample():
    result = sample(np.array([1.0, 3.0]), np.array([30.0, 10.0]))
    assert result.archive == 40
    means = figures(result)
    assert means.stages["detect"].cpu_s == pytest.approx(1.5)
    assert means.faces == pytest.approx(0.25)
    assert result.percentile(result.cpu_s["detect"], 50) == 1.0
    low, high = means.factor
    assert low * 1.5 == pytest.approx(1.0)
    assert high * 1.5 == pytest.approx(3.0)


@settings(deadline=None)
@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=50), st.integers(0, 9))
def test_an_interval_holds_the_mean_and_is_seeded(values, seed):
    array = np.array(values)
    ones = np.ones(len(array))
    low, high = interval(array, ones, seed)
    assert (low, high) == interval(array, ones, seed)
    assert array.min() * (1 - 1e-9) <= low <= high <= array.max() * (1 + 1e-9)


@given(st.floats(0, 100), st.lists(st.floats(0, 1e6), max_size=20))
def test_sharing_out_keeps_the_sum(total, weights):
    result = shared_out(total, np.array(weights))
    assert len(result) == len(weights)
    assert result.sum() == pytest.approx(total if weights else 0)


def test_stopwatch_and_memory_see_this_process():
    watch = Stopwatch()
    sum(range(10**6))
    spent = Span.of(watch.spent())
    assert spent.cpu_s > 0
    assert spent.wall_s > 0
    assert 0 < resident().now <= resident().peak
    assert resident(2**22 + 1) == replace(resident(), now=0, peak=0, pixels=0, files=0)


def test_numbers_as_people_read_them():
    assert [count(n) for n in (0.4182, 53, 1512, 10**6, 123_456_789)] == [
        "0.42", "53", "1,512", "1e6", "1.23e8",
    ]  # fmt: skip
    assert [time(h) for h in (0.01, 0.5, 12.5, 48, 4800)] == [
        "36 s", "30 min", "12 h", "48 h", "200 d",
    ]  # fmt: skip
    assert [size(n) for n in (12, 5300, 74 * 10**6, 5.4e14)] == [
        "12 B",
        "5.3 KB",
        "74 MB",
        "540 TB",
    ]


def test_numbers_of_photos():
    assert photo_numbers(["1e6,2_000", "7"]) == [10**6, 2000, 7]
    for wrong in ("", "x", "0", "-5", "1.5", "nan", "inf", "1e13"):
        with pytest.raises(ConfigError, match="is no number of photos"):
            photo_numbers([wrong])


def run(capsys, *arguments):
    code = main(["plan", *(str(a) for a in arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_json_of_a_sample_of_the_examples(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # importing it fails: it must not be needed
    options = ("--embedder", "sface", "--sample", 4, "--json", "--photos", "1e6,1e9")
    code, out, err = run(capsys, PHOTOS, *options, "--nodes", 5, "--cpus", 8, "--memory-gb", 32)
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["sample"]["photos"] == 4
    assert result["archive_photos"] == 15
    assert result["loose_share"] == 1
    assert [one["photos"] for one in result["predictions"]] == [15, 10**6, 10**9]
    assert result["cluster"]["memory_bytes"] == 32 * 10**9
    stages = result["sample"]["stages"]
    assert sum(stage["cpu_s"] for stage in stages.values()) == pytest.approx(
        result["sample"]["cpu_s"]
    )
    for name in ("read", "decode", "detect", "embed", "write"):
        assert stages[name]["wall_s"] > 0
    assert result["sample"]["face_row_bytes"] > 128 * 4 * 0.9
    # what a worker adds is 0 in a process that has loaded it all before
    assert all(value >= 0 for value in result["sample"]["memory_bytes"].values())
    assert sum(result["sample"]["memory_bytes"].values()) > 0
    assert result["gpu"]["cores"] is None
    assert result["predictions"][-1]["driver_disk_bytes"] == pytest.approx(193e9)
    assert not any("driver" in text for text in result["warnings"])
    assert any("4 photos are a small sample" in text for text in result["warnings"])


def test_tables_of_a_mixed_input_fit_the_page(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    face = (PHOTOS / "obama-2012-portrait.jpg").read_bytes()
    put(tmp_path, {
        "in/a\x1b[31m.jpg": b"no picture", "in/b.jpg": face,
        "in/s.tar": tar_bytes([("c.jpg", face)]), "in/\x1b[2Jbad.zip": b"no zip",
    })  # fmt: skip
    options = ("--embedder", "sface", "--gpus", 1, "--photos", "1e9")
    code, out, err = run(capsys, tmp_path / "in", *options)
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    assert "bad.zip: not a readable zip" in out
    assert "1 corrupt" in out or "1 unsupported_format" in out
    assert "what a GPU does needs measuring" in out
    tables = [line for line in out.splitlines() if not line.startswith("! ")]
    assert max(map(len, tables)) <= 100
    assert "…" not in out
    more = ("--gpu-images-per-s", 400, "--gpu-faces-per-s", 3000)
    code, out, _ = run(capsys, tmp_path / "in", *options, *more)
    assert code == 0
    assert "cores decode for it" in out


def failed(capsys, *arguments):
    code, out, err = run(capsys, *arguments)
    assert out == "" or (out.startswith("measuring about ") and out.count("\n") == 1)
    assert err.startswith("facelake: ")
    assert err.count("\n") == 1
    return code, err


def test_what_cannot_be_planned_is_one_line_and_a_code(tmp_path, capsys):
    put(tmp_path, {"p/a\x1b.jpg": b"no picture", "empty/n.txt": "", "s.tar": tar_bytes([])})
    sface = ("--embedder", "sface")
    code, err = failed(capsys, tmp_path / "empty", *sface)
    assert (code, "No images under" in err) == (3, True)
    code, err = failed(capsys, tmp_path / "s.tar", *sface)
    assert (code, "The sample holds no photo" in err) == (3, True)
    code, err = failed(capsys, tmp_path / "p", *sface)
    assert code == 2
    assert "None of the 1 sampled photos can be used" in err
    assert "a\\x1b.jpg" in err
    (tmp_path / "p" / "a\x1b.jpg").unlink()
    (tmp_path / "gone.txt").write_text(f"{tmp_path}/gone.jpg\n")
    code, err = failed(capsys, tmp_path / "gone.txt", *sface)
    assert (code, "1 unreadable" in err) == (5, True)
    code, err = failed(capsys, PHOTOS, "--embedder", "nobody")
    assert (code, "nobody" in err) == (2, True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--photos", "many"], "is no number of photos"),
        (["--sample", "0"], "sample is 0; it must lie between 1 and 100,000"),
        (["--nodes", "0"], "nodes is 0; it must lie between 1 and 100,000"),
        (["--cpus", "-1"], "cpus is -1; it must lie between 1 and 4,096"),
        (["--memory-gb", "nan"], "memory_gb is nan; it must lie between 0.1 and 100,000"),
        (["--gpus", "-1"], "gpus is -1; it must lie between 0 and 64"),
        (["--gpu-images-per-s", "9"], "belong together"),
        (
            ["--gpu-images-per-s", "0", "--gpu-faces-per-s", "9"],
            "gpu_images_per_s is 0.0; it must lie between 0.001 and 1e+07",
        ),
        (["--gpus", "1", "--device", "cpu"], "--gpus with --device cpu"),
        (["--min-face-px", "0"], "min_face_px is 0"),
    ],
)
def test_nonsense_is_refused_before_anything_is_read(capsys, options, says):
    code, err = failed(capsys, PHOTOS, "--embedder", "sface", *options)
    assert (code, says in err) == (2, True)
