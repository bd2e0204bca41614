import os
import subprocess
import sys

import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.models import load_detector, runtime

SMALL = ["collins-nasa-portrait.png", "cat-no-face.png", "obama-and-biden-composite.jpg"]


def run(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_signals_are_survived_when_networks_go():
    """Ctrl-C after the last detector is gone must reach Python; see `runtime.core`."""
    code = """
import gc, signal, time
import numpy as np
from pipeline.models import load_detector, load_embedder
detector, embedder = load_detector(), load_embedder("sface")
detector.detect(np.zeros((64, 64, 3), np.uint8))
embedder.embed(np.ones((3, 112, 112, 3), np.uint8))
del detector, embedder
gc.collect()
signal.signal(signal.SIGALRM, lambda *_: print("heard"))
signal.setitimer(signal.ITIMER_REAL, 0.05)
time.sleep(0.5)
"""
    assert run(code) == (0, "heard\n", "")


@pytest.fixture
def as_if_anew(monkeypatch):
    """What the runtime finds out is kept for the life of a process; forget it around a test."""
    for function in (runtime.openvino, runtime.has_bfloat16):
        function.cache_clear()
    yield monkeypatch
    for function in (runtime.openvino, runtime.has_bfloat16):
        function.cache_clear()


def test_nothing_is_reported_to_anybody():
    """OpenVINO tells its makers of every import, unless its package for that is not found."""
    code = """
import socket, sys
class Refused(socket.socket):
    def connect(self, *_): raise SystemExit("a connection was tried")
socket.socket = Refused
from pipeline.models.runtime import openvino
assert openvino() is not None
assert sys.modules["openvino_telemetry"] is None
from pipeline.models import load_detector
import numpy as np
load_detector().detect(np.zeros((30, 30, 3), np.uint8))
"""
    code_, out, err = run(code)
    assert (code_, out, err) == (0, "", "")


def test_without_openvino_torch_finds_the_same(as_if_anew, photo_pixels, detector):
    wanted = detector.detect([photo_pixels[name] for name in SMALL])
    as_if_anew.setenv(runtime.VARIABLE, "torch")
    assert runtime.openvino() is None
    assert not runtime.has_bfloat16()
    other = load_detector()
    assert other._mtcnn.networks.propose_first is None
    found = other.detect([photo_pixels[name] for name in SMALL])
    for mine, theirs in zip(found, wanted, strict=True):
        assert len(mine) == len(theirs)
        assert np.abs(mine.boxes - theirs.boxes).max(initial=0) < 1e-2
        assert np.abs(mine.landmarks - theirs.landmarks).max(initial=0) < 1e-2
        assert np.abs(mine.scores - theirs.scores).max(initial=0) < 1e-4


def test_an_unknown_runtime_is_refused(as_if_anew):
    as_if_anew.setenv(runtime.VARIABLE, "tensorflow")
    with pytest.raises(ConfigError, match="choose from auto, openvino, torch"):
        runtime.openvino()


def test_a_runtime_that_is_not_installed(as_if_anew):
    as_if_anew.setitem(sys.modules, "openvino", None)
    assert runtime.openvino() is None
    runtime.openvino.cache_clear()
    as_if_anew.setenv(runtime.VARIABLE, "openvino")
    with pytest.raises(ConfigError, match="pip install openvino"):
        runtime.openvino()


def test_less_exact_networks_find_the_same(photo_pixels, detector):
    """What bfloat16 looks at first; a CPU without it stands in with float32 and noise."""
    networks = detector._mtcnn.networks
    random = np.random.default_rng(0)

    def noisy(network):
        def run(x):
            answer = network(x).copy()
            answer[:, 0] += random.uniform(-0.2, 0.2, answer[:, 0].shape)
            answer[:, 1:] = np.nan  # nothing else of it may be used
            return answer

        return run

    wanted = detector.detect(photo_pixels[SMALL[2]])
    other = load_detector()
    changes = {"propose_first": noisy(networks.propose), "refine_first": noisy(networks.refine)}
    fields = {name: getattr(networks, name) for name in networks.__dataclass_fields__} | changes
    other._mtcnn.networks = type(networks)(**fields)
    found = other.detect(photo_pixels[SMALL[2]])
    assert np.abs(found.boxes - wanted.boxes).max() < 1e-3
    assert np.abs(found.scores - wanted.scores).max() < 1e-5
