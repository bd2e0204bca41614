"""The same assertions on every cascade: the CPU's, and torch's on every device that there is."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.config import DetectConfig
from pipeline.errors import ResourceError
from pipeline.models.cards.card import find_card
from pipeline.models.detector import cascade
from pipeline.models.mtcnn.cpu import MTCNN
from pipeline.models.mtcnn.gpu.chunk import Sheet, chunks_on
from pipeline.models.mtcnn.gpu.detector import CPU, CUDA, DeviceMTCNN
from pipeline.models.mtcnn.gpu.sums import DeviceTables
from pipeline.models.weights.checkpoint import read_arrays
from pipeline.models.weights.store import WeightStore
from tests.support.detections import assert_same
from tests.support.devices import DEVICES

SMALL = ["collins-nasa-portrait.png", "obama-2012-closeup.jpg", "cat-no-face.png"]
TWO = "obama-and-biden-composite.jpg"
# everything in many small parts, and the first looks in half precision
TINY = replace(CPU, sheet=Sheet(24, 40, 4), cells=7, refine=5, decide=3)
BUDGETS = {"default": None, "half": replace(CPU, first=torch.bfloat16), "tiny": TINY}
LOOPS = ("cpu-loops", None)
KINDS = [pytest.param(LOOPS, id="cpu-loops")] + [
    pytest.param((getattr(device, "values", [device])[0], name),
                 marks=getattr(device, "marks", ()),
                 id=f"{getattr(device, 'values', [device])[0]}-{name}")
    for device in DEVICES for name in BUDGETS if name != "tiny"
]  # fmt: skip


@pytest.fixture(scope="module")
def weights():
    paths = WeightStore().paths(find_card("mtcnn", "detector"))
    return {path.stem: read_arrays(path) for path in paths}


@pytest.fixture(scope="module")
def build(weights):
    def make(kind, **options):
        device, budget = kind
        config = DetectConfig(**{"detection_side": None} | options)
        if device == "cpu-loops":
            return MTCNN(weights, config)
        return DeviceMTCNN(weights, config, device, BUDGETS[budget])

    return make


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def mtcnn(build, kind):
    return build(kind)


@pytest.fixture(scope="module")
def wanted(detector, photo_pixels):
    """What the detector on a CPU finds in every example photo, one at a time."""
    return {name: detector.detect(pixels) for name, pixels in photo_pixels.items()}


def test_example_photos_in_one_mixed_batch(mtcnn, photo_pixels, wanted):
    tiny = np.zeros((3, 3, 3), np.uint8)
    found = mtcnn.detect([tiny, *photo_pixels.values(), tiny])
    assert len(found) == len(photo_pixels) + 2
    assert len(found[0]) == len(found[-1]) == 0
    for mine, name in zip(found[1:-1], photo_pixels, strict=True):
        assert_same(mine, wanted[name])
        assert mine.boxes.dtype == mine.scores.dtype == mine.landmarks.dtype == np.float32
        assert mine.landmarks.shape == (len(mine), 5, 2)
        assert mine.boxes.flags.owndata  # a face does not hold the memory of its whole chunk


def test_one_at_a_time_and_in_read_only_pixels(mtcnn, photo_pixels, wanted):
    for name in [*SMALL, TWO]:
        pixels = photo_pixels[name].copy()
        pixels.setflags(write=False)
        assert_same(mtcnn.detect([pixels])[0], wanted[name])


def test_neighbours_in_a_batch_do_not_affect_each_other(mtcnn, photo_pixels, wanted):
    pixels = photo_pixels[SMALL[0]]
    mirrored = pixels[:, ::-1]
    batch = mtcnn.detect([pixels, mirrored, pixels, np.zeros_like(pixels), photo_pixels[TWO]])
    for found in (batch[0], batch[2]):
        assert_same(found, wanted[SMALL[0]])
        assert_same(found, mtcnn.detect([pixels])[0], 1e-3, 1e-5)
    assert_same(batch[1], mtcnn.detect([mirrored])[0], 1e-3, 1e-5)
    assert len(batch[3]) == 0
    assert_same(batch[4], wanted[TWO])


def test_small_batch_pixels_only_split_the_work(build, kind, photo_pixels, wanted):
    lean = build(kind, batch_pixels=1)
    for name, found in zip(SMALL, lean.detect([photo_pixels[n] for n in SMALL]), strict=True):
        assert_same(found, wanted[name])


def test_no_images(mtcnn):
    assert mtcnn.detect([]) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (11, 11), (19, 400), (12, 12)])
def test_images_smaller_than_a_face_have_none(mtcnn, shape):
    (found,) = mtcnn.detect([np.full((*shape, 3), 120, np.uint8)])
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == (0,)
    assert found.landmarks.shape == (0, 5, 2)


@pytest.mark.parametrize("shape", [(20, 20), (21, 333), (64, 64)])
def test_noise_and_flat_images_have_no_face(mtcnn, shape):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert [len(f) for f in mtcnn.detect([noise, np.zeros_like(noise)])] == [0, 0]


@pytest.mark.parametrize("cut", [(0, 1), (1, 0), (1, 1), (2, 3)])
def test_odd_sizes(build, kind, photo_pixels, cut):
    pixels = photo_pixels[SMALL[1]]
    pixels = pixels[: pixels.shape[0] - cut[0], : pixels.shape[1] - cut[1]]
    expected = build(LOOPS, factor=0.8).detect([pixels])[0]
    assert len(expected) == 1
    assert_same(build(kind, factor=0.8).detect([pixels])[0], expected)


def test_a_huge_narrow_image(build, mtcnn, photo_pixels, wanted):
    """Levels wider and taller than any sheet, and a face at their end."""
    photo = photo_pixels[SMALL[0]][:300]
    wide = np.full((300, 6000, 3), 90, np.uint8)
    wide[:, -photo.shape[1] :] = photo
    thin = np.full((30_000, 21, 3), 90, np.uint8)
    found = mtcnn.detect([wide, thin])
    assert [len(f) for f in found] == [1, 0]
    offset = wide.shape[1] - photo.shape[1]
    near = found[0].boxes[0] - [offset, 0, offset, 0]
    # other levels begin elsewhere in a cell, so it is not the same to a pixel
    assert np.abs(near - wanted[SMALL[0]].boxes[0]).max() < 12
    assert_same(found[0], build(LOOPS).detect([wide])[0])


def test_thresholds_and_min_face_px(build, kind, photo_pixels):
    pixels = photo_pixels[TWO]
    for impossible in ((1, 0.7, 0.7), (0.6, 1, 0.7), (0.6, 0.7, 1)):
        assert len(build(kind, thresholds=impossible).detect([pixels])[0]) == 0
    assert len(build(kind, min_face_px=100).detect([pixels])[0]) == 2
    assert len(build(kind, min_face_px=500).detect([pixels])[0]) == 0


def test_everything_passes_a_threshold_of_zero(build, kind, photo_pixels):
    """As many candidates as cells, and boxes that have left their image."""
    pixels = photo_pixels[SMALL[1]][:96, :80]
    open_ = build(kind, thresholds=(0, 0, 0), min_face_px=30)
    loops = build(LOOPS, thresholds=(0, 0, 0), min_face_px=30)
    expected = loops.detect([pixels])[0]
    assert len(expected) > 5
    assert_same(open_.detect([pixels])[0], expected)


@pytest.mark.parametrize("device", DEVICES)
def test_the_smallest_parts_give_the_same(weights, device, photo_pixels, wanted):
    tiny = DeviceMTCNN(weights, None, device, TINY)
    found = tiny.detect([photo_pixels[name] for name in SMALL])
    for mine, name in zip(found, SMALL, strict=True):
        assert_same(mine, wanted[name])


@pytest.mark.parametrize("device", DEVICES)
def test_candidates_do_not_depend_on_neighbours(build, device, photo_pixels):
    """Which the later networks would only hide."""
    mtcnn = build((device, "default"))
    pixels = photo_pixels[SMALL[0]]
    images = [pixels, np.ascontiguousarray(pixels[:, ::-1]), np.zeros_like(pixels)]
    together = proposed(mtcnn, images)
    alone = [len(proposed(mtcnn, [one]).boxes) for one in images]
    assert torch.bincount(together.owner, minlength=3).tolist() == alone


@torch.inference_mode()
def proposed(mtcnn, images):
    (chunk,) = chunks_on(mtcnn.device, [images], mtcnn.config, mtcnn.budget.sheet)
    return mtcnn._propose(DeviceTables.of(chunk.pixels, chunk.plan.runs, chunk.images), chunk)


@pytest.mark.parametrize("device", DEVICES)
def test_only_float32_answers_count(build, device, photo_pixels, wanted):
    """Half precision stands in as noise within the guard, and nothing else of it is used."""
    mtcnn = build((device, "half"))
    networks = mtcnn.networks
    random = torch.Generator().manual_seed(0)

    def off(x):
        return (torch.rand(x.shape, generator=random) * 0.4 - 0.2).to(x.device)

    look, refine = networks.propose_first, networks.refine

    def noisy_look(pixels, past, threshold):
        logits, least = look(pixels, past, threshold)
        return logits + off(logits), least

    def noisy_glance(crops, threshold):
        logits = refine(crops)[:, 0]
        return logits + off(logits) >= np.log(threshold / (1 - threshold)) - 0.5

    networks.propose_first, networks.refine_first = noisy_look, noisy_glance
    assert_same(mtcnn.detect([photo_pixels[TWO]])[0], wanted[TWO])


@pytest.mark.parametrize("device", DEVICES)
def test_more_images_are_not_more_launches(weights, device, photo_pixels):
    """Nor does the host wait more often."""
    mtcnn = DeviceMTCNN(weights, None, device, replace(CUDA, first=torch.float32))
    pixels = photo_pixels[SMALL[0]][30:210, 150:300]
    assert len(mtcnn.detect([pixels])[0]) == 1
    few, many = Launches(), Launches()
    with few:
        mtcnn.detect([pixels] * 2)
    with many:
        mtcnn.detect([pixels] * 20)
    assert few.counts == many.counts
    waits = sum(many.counts[name] for name in ("nonzero", "bincount", "equal", "_to_copy"))
    assert waits < 25


class Launches(TorchDispatchMode):
    """Counts what torch is asked to do, by name."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.counts[function.overloadpacket.__name__] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there(weights):
    with pytest.raises(ResourceError, match="Cannot use the device 'cuda'"):
        DeviceMTCNN(weights, None, "cuda")


def test_a_gpu_looks_in_half_precision_first_and_a_cpu_does_not():
    assert CUDA.first in (torch.float16, torch.bfloat16)
    assert CPU.first == torch.float32


def test_the_detector_picks_by_device(weights):
    assert isinstance(cascade(weights, DetectConfig(), "cpu"), MTCNN)
    # "meta" holds no numbers, so it shows the choice without a GPU
    assert isinstance(cascade(weights, DetectConfig(), "meta"), DeviceMTCNN)
