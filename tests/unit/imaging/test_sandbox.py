import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config import DecodeConfig
from pipeline.errors import ErrorCode, ImageError, ResourceError
from pipeline.imaging.fingerprint import fingerprint
from pipeline.imaging.sandbox import Sandbox
from pipeline.sources.read import ENCODED
from pipeline.stages import decode as stage
from pipeline.stages.decode import Decode
from tests.support.builders import PHOTOS, jpeg
from tests.support.decoding import decode, limits
from tests.support.decoding import sandbox as sandbox_of
from tests.support.poison import poison

PHOTO_FILES = sorted(p for p in PHOTOS.iterdir() if p.suffix in (".jpg", ".png"))
# Enough for a start on a machine that does other things, too little to wait for in a test.
TIMEOUT_S, PATIENT_S = 2.0, 20.0
MEMORY_BYTES = 256 * 2**20


class Poisoned(Sandbox):
    module = "tests.support.poison"


@pytest.fixture(scope="module")
def sandbox():
    with sandbox_of() as one:
        yield one


@pytest.fixture
def poisoned():
    with Poisoned(limits(timeout_s=TIMEOUT_S, memory_bytes=MEMORY_BYTES)) as one:
        yield one


def failure(sandbox, data):
    with pytest.raises(ImageError) as caught:
        sandbox.decode(data)
    return caught.value


def same(got, data):
    image, marks = got
    expected = decode(data)
    assert np.array_equal(image.pixels, expected.pixels)
    assert image.pixels.flags.c_contiguous
    assert image.pixels.flags.writeable
    assert (image.format, image.orientation, image.taken_at, image.camera) == (
        expected.format,
        expected.orientation,
        expected.taken_at,
        expected.camera,
    )
    assert marks == fingerprint(expected.pixels)


@pytest.mark.parametrize("path", PHOTO_FILES, ids=lambda path: path.name)
def test_gives_what_decoding_here_gives(sandbox, path):
    data = path.read_bytes()
    same(sandbox.decode(data), data)
    same(sandbox.decode(memoryview(data)), data)


def test_the_child_is_started_once_and_when_needed(sandbox):
    with sandbox_of() as one:
        assert one._child is None
        one.decode(jpeg())
        first = one._child.process.pid
        one.decode(jpeg(1))
        assert one._child.process.pid == first
    assert one._child is None
    one.decode(jpeg())  # closed is not the end
    one.close()
    one.close()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", ErrorCode.EMPTY),
        (b"no picture at all", ErrorCode.UNSUPPORTED_FORMAT),
        (jpeg()[:-40], ErrorCode.TRUNCATED),
        (b"P6 2 2 0 " + b"x" * 99, ErrorCode.CORRUPT),
    ],
)
def test_errors_are_those_of_decoding_here(sandbox, data, code):
    error = failure(sandbox, data)
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert (error.code, error.detail) == (code, caught.value.detail)
    pid = sandbox._child.process.pid
    sandbox.decode(jpeg())
    assert sandbox._child.process.pid == pid


def test_the_limit_on_pixels_is_passed_on():
    with sandbox_of(max_pixels=16 * 12 - 1) as one:
        assert failure(one, jpeg()).code == ErrorCode.TOO_LARGE
    with sandbox_of(max_pixels=16 * 12) as one:
        one.decode(jpeg())


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE"])
def test_crash(poisoned, name):
    error = failure(poisoned, poison(f"signal {name}"))
    assert (error.code, error.detail) == (ErrorCode.CRASHED, f"the decoder was ended by {name}")
    same(poisoned.decode(jpeg()), jpeg())


def test_exit(poisoned):
    error = failure(poisoned, poison("exit 3"))
    assert (error.code, error.detail) == (ErrorCode.CRASHED, "the decoder ended with status 3")


@pytest.mark.parametrize("how", ["hang", "deaf"])
def test_hang(poisoned, how):
    poisoned.decode(jpeg())
    child = poisoned._child.process
    began = time.monotonic()
    error = failure(poisoned, poison(how))
    assert (error.code, error.detail) == (ErrorCode.TIMEOUT, "decoding took more than 2 s")
    assert time.monotonic() - began >= TIMEOUT_S
    assert child.returncode == -signal.SIGKILL
    same(poisoned.decode(jpeg()), jpeg())


def test_hog():
    # on a busy machine it takes seconds until the memory is taken
    with Poisoned(limits(timeout_s=PATIENT_S, memory_bytes=MEMORY_BYTES)) as poisoned:
        error = failure(poisoned, poison("hog"))
        assert error.code == ErrorCode.OUT_OF_MEMORY
        same(poisoned.decode(jpeg()), jpeg())


def test_killed_from_outside_is_taken_for_want_of_memory(poisoned):
    error = failure(poisoned, poison("signal SIGKILL"))
    assert error.code == ErrorCode.OUT_OF_MEMORY
    assert "SIGKILL" in error.detail


def test_memory_is_limited_for_real_decoders_too():
    photo = jpeg(width=4000, height=3000)
    with sandbox_of(memory_bytes=8 * 2**20) as one:
        assert failure(one, photo).code == ErrorCode.OUT_OF_MEMORY
        one.decode(jpeg())


def test_time_is_limited_for_real_decoders_too():
    with sandbox_of(timeout_s=0.02) as one:
        assert failure(one, jpeg(width=6000, height=4000)).code == ErrorCode.TIMEOUT


def test_a_child_that_dies_between_images_is_replaced(poisoned):
    poisoned.decode(jpeg())
    os.kill(poisoned._child.process.pid, signal.SIGSEGV)
    poisoned._child.process.wait()
    same(poisoned.decode(jpeg()), jpeg())


def test_only_an_image_in_a_child_of_its_own_is_to_blame(poisoned, tmp_path):
    trap = poison(f"flaky {tmp_path / 'been-here'}")
    poisoned.decode(jpeg())
    assert (failure(poisoned, trap).code) == ErrorCode.CORRUPT  # the second answer


def test_fifty_crashes_leave_nothing_behind(poisoned):
    poisoned.decode(jpeg())
    before = set(os.listdir("/proc/self/fd"))
    threads = threading.active_count()
    for _ in range(50):
        assert failure(poisoned, poison("signal SIGSEGV")).code == ErrorCode.CRASHED
    same(poisoned.decode(jpeg()), jpeg())
    assert set(os.listdir("/proc/self/fd")) == before
    assert threading.active_count() == threads
    assert children() == {poisoned._child.process.pid}


def children():
    """Children of this process, zombies included, that run the poisoned worker or ended."""
    found = set()
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/stat") as stat, open(f"/proc/{name}/cmdline") as command:
                parent = int(stat.read().rpartition(")")[2].split()[1])
                line = command.read()
        except (OSError, ValueError):
            continue
        if parent == os.getpid() and ("tests.support.poison" in line or not line):
            found.add(int(name))
    return found


def test_what_libraries_print_stays_out_of_the_protocol(poisoned):
    assert failure(poisoned, poison("print")).detail == "printed"


GOOD = {
    "height": 2,
    "width": 3,
    "reduced": 1,
    "format": "PNG",
    "orientation": 1,
    "taken_at": None,
    "taken_from": None,
    "taken_offset_min": None,
    "camera": None,
    "holds_more": False,
    "damaged_rows": 0,
    "phash": "00" * 32,
    "phash_quality": 0,
    "phash_inner": None,
    "phash_turnable": "00" * 32,
    "pixels_sha256": "00" * 32,
    "sharpness": 0.0,
}


def framed(body):
    return struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    "reply",
    [
        b"\xff\xff\xff\xff" + b"x" * 50,
        framed(b"{") + b"more",
        framed(b"no json"),
        framed(b"[" * 5000),
        framed(b"[]"),
        framed(b"{}"),
        framed(b"\xff\xfe"),
        *(
            framed(json.dumps(GOOD | change).encode())
            for change in (
                {"height": 50_000, "width": 50_000},
                {"height": 0},
                {"height": -2, "width": -3},
                {"height": True},
                {"width": 3.0},
                {"reduced": 0},
                {"reduced": 3},
                {"reduced": "2"},
                {"height": 1000, "width": 1000},  # more than the shared file holds
                {"format": "EXE"},
                {"format": None},
                {"format": []},
                {"orientation": 9},
                {"phash_quality": 101},
                {"phash_quality": None},
                {"phash": "00"},
                {"phash": "zz" * 32},
                {"phash": 5},
                {"phash_inner": "00"},
                {"phash_turnable": None},
                {"pixels_sha256": "00" * 31},
                {"sharpness": -1.0},
                {"sharpness": float("nan")},
                {"sharpness": 1},
                {"camera": 5},
                {"holds_more": None},
                {"damaged_rows": None},
                {"damaged_rows": -1},
                {"camera": "x" * 500},
                {"taken_at": "yesterday"},
                {"taken_at": 5},
                {"taken_from": 5},
                {"taken_from": "x" * 99},
                {"taken_offset_min": 5000},
                {"error": "no such code", "detail": ""},
                {"error": "corrupt"},
                {"error": "corrupt", "detail": 5},
                {"error": "corrupt", "detail": "x" * 301},
                {"error": ["corrupt"], "detail": ""},
            )
        ),
    ],
)
def test_a_child_that_lies_is_not_believed(reply):
    with Poisoned(limits(timeout_s=20)) as one:
        error = failure(one, poison("say " + reply.hex()))
        assert (error.code, error.detail) == (
            ErrorCode.CRASHED,
            "the decoder's process answered nonsense",
        )


def test_half_a_message_is_a_timeout(poisoned):
    assert failure(poisoned, poison("say ff00")).code == ErrorCode.TIMEOUT


def test_ctrl_c_leaves_no_answer_for_the_next_image(poisoned):
    poisoned.decode(jpeg())

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            poisoned.decode(poison("hang"))
    finally:
        signal.signal(signal.SIGALRM, before)
    same(poisoned.decode(jpeg()), jpeg())


def test_threads_take_turns(sandbox):
    photos = [jpeg(seed, 40 + seed, 30) for seed in range(8)]
    right = []

    def work(data):
        expected = decode(data).pixels
        right.extend(np.array_equal(sandbox.decode(data)[0].pixels, expected) for _ in range(20))

    threads = [threading.Thread(target=work, args=(data,)) for data in photos]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 160


PARENT = """
import os, sys
from tests.support.builders import jpeg
from tests.support.decoding import sandbox
one = sandbox()
one.decode(jpeg())
print(one._child.process.pid, flush=True)
{ending}
"""


@pytest.mark.parametrize(
    "ending",
    [
        "os.kill(os.getpid(), 9)",
        "os._exit(0)",
        "",
        "sys.exit(1)",
        # a fork must neither use nor end the child of its parent
        """
pid = os.fork()
if pid == 0:
    mine = one.decode(jpeg(3))
    other = one._child.process.pid
    one.close()
    os._exit(int(other == os.getppid()))
assert os.waitpid(pid, 0)[1] == 0
before = one._child.process.pid
one.decode(jpeg())
assert one._child.process.pid == before
""",
    ],
)
def test_the_child_ends_with_its_parent(ending):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", PARENT.format(ending=ending)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert not done.stderr
    pid = int(done.stdout)
    for _ in range(100):
        if not os.path.exists(f"/proc/{pid}"):
            return
        time.sleep(0.05)
    raise AssertionError("the child lives on")


def test_no_child_can_be_started(monkeypatch):
    monkeypatch.setattr("pipeline.imaging.sandbox.START_ATTEMPTS", 2)
    one = sandbox_of()
    one.module = "no.such.module"
    with pytest.raises(ResourceError, match=r"ended with status 1.*check that"):
        one.decode(jpeg())


def batch(images):
    rows = [
        {
            "image_id": f"{i:032x}",
            "uri": f"{i}.jpg",
            "shard": "s",
            "sha256": "0" * 64,
            "bytes": len(data),
            "data": data,
        }
        for i, data in enumerate(images)
    ]
    return pa.Table.from_pylist(rows, schema=ENCODED)


def test_poison_among_good_images_costs_its_own_rows_only(monkeypatch):
    monkeypatch.setattr(Sandbox, "module", "tests.support.poison")
    culprits = {
        3: (poison("signal SIGSEGV"), "crashed"),
        4: (poison("hog"), "out_of_memory"),
        9: (poison("hang"), "timeout"),
        11: (poison("exit 0"), "crashed"),
    }
    images = [culprits[i][0] if i in culprits else jpeg(i, 20 + i, 30) for i in range(14)]
    monkeypatch.setattr(stage, "TABLE_PIXELS", 2000)
    decoding = Decode(DecodeConfig(timeout_s=PATIENT_S / 2, memory_bytes=MEMORY_BYTES))
    tables = list(pickle.loads(pickle.dumps(decoding))(batch(images)))
    assert len(tables) > 2
    rows = pa.concat_tables(tables).to_pylist()
    assert [row["uri"] for row in rows] == [f"{i}.jpg" for i in range(14)]
    for i, row in enumerate(rows):
        if i in culprits:
            assert row["error"] == culprits[i][1]
            assert row["error_detail"]
            assert row["pixels"] is row["width"] is row["phash"] is None
        else:
            assert row["error"] is None
            assert row["pixels"] == decode(images[i]).pixels.tobytes()
            assert (row["width"], row["height"]) == (20 + i, 30)
    stage._sandbox.cache_clear()


def test_the_stage_decodes_the_same_without_a_child():
    images = [jpeg(1), b"", jpeg(2)[:50], jpeg(3)]
    here, there = (
        pa.concat_tables(Decode(DecodeConfig(), isolate)(batch(images))).drop(["decode_timing"])
        for isolate in (False, True)
    )
    assert here.equals(there)


def test_one_child_serves_every_task_of_a_process():
    config = DecodeConfig(timeout_s=31)
    for _ in range(2):
        list(Decode(config)(batch([jpeg()])))
    assert stage._sandbox.cache_info().hits
    assert stage._sandbox(config)._child is not None
