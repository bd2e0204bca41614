import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from pipeline.config import DetectConfig
from pipeline.models.mtcnn.gpu.atlas import answers_of, cells_of, fill, patches
from pipeline.models.mtcnn.gpu.chunk import Sheet, ahead, chunks_on, plan, upload
from pipeline.models.mtcnn.gpu.networks import difference, propose
from pipeline.models.mtcnn.gpu.sums import DeviceTables
from pipeline.models.mtcnn.networks import PNet
from tests.support.devices import DEVICES

SMALL = Sheet(40, 64, 8)


def image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def send(images, device, sheet=SMALL, **options):
    device = torch.device(device)
    chunk = upload(images, plan(images, DetectConfig(**options), sheet), device)
    return chunk, DeviceTables.of(chunk.pixels, chunk.plan.runs, chunk.images)


def averaged(pixels, height, width):
    """Torch's area interpolation, normalised, [1, 3, H, W]."""
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None].double()
    return ((interpolate(planes, (height, width), mode="area") - 127.5) * 0.0078125).float()


@pytest.mark.parametrize("device", DEVICES)
def test_tables_hold_every_sum_whatever_the_order_of_sizes(device):
    images = [image(37, 23), image(5, 90), image(37, 23, 1), image(1, 1), image(5, 90, 2)]
    chunk, tables = send(images, device)
    assert sorted(count for count, *_ in chunk.plan.runs) == [1, 2, 2]
    assert tables.sums.dtype == torch.int32
    for i, pixels in enumerate(images):
        height, width = pixels.shape[:2]
        assert (int(tables.height[i]), int(tables.width[i])) == (height, width)
        table = tables.sums[tables.start[i] :][: 3 * (height + 1) * (width + 1)]
        table = table.view(3, height + 1, width + 1).numpy(force=True)
        assert not table[:, 0].any()
        assert not table[:, :, 0].any()
        wanted = pixels.astype(np.int64).cumsum(0).cumsum(1).transpose(2, 0, 1)
        assert np.array_equal(table[:, 1:, 1:], wanted)


@pytest.mark.parametrize("device", DEVICES)
def test_read_only_and_strided_pixels_are_accepted(device):
    pixels = image(8, 9)
    pixels.setflags(write=False)
    mirrored = pixels[:, ::-1]
    _, tables = send([pixels, mirrored], device)
    _, copied = send([pixels.copy(), mirrored.copy()], device)
    assert torch.equal(tables.sums, copied.sums)


@pytest.mark.parametrize("device", DEVICES)
def test_sums_past_32_bits_wrap_around_and_crops_stay_exact(device):
    """4100 x 4200 white pixels sum to more than 2^32."""
    _, tables = send([np.full((4100, 4200, 3), 255, np.uint8)], device, min_face_px=4000)
    corners = torch.tensor([[4000, 4000, 4200, 4100], [0, 0, 4200, 4100]], device=device)
    crops = tables.crops(torch.zeros(2, dtype=torch.int64, device=device), corners, 24)
    assert (crops == (255 - 127.5) * 0.0078125).all()


@pytest.mark.parametrize("device", DEVICES)
def test_a_cell_is_exact_below_8_million_pixels(device):
    _, tables = send([np.full((2800, 2900, 3), 255, np.uint8)], device, min_face_px=2000)
    corners = torch.tensor([[0, 0, 2900, 2800]], device=device)
    mean = tables.crops(torch.zeros(1, dtype=torch.int64, device=device), corners, 1)
    assert (mean - (255 - 127.5) * 0.0078125).abs().max() < 1e-6


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("side", [24, 48])
def test_crops_are_torchs_area_interpolation_of_the_slice(device, side):
    images = [image(211, 173, 0), image(300, 200, 1), image(211, 173, 2)]
    random = np.random.default_rng(3)
    low = random.integers(0, 150, (40, 2))
    high = np.minimum(low + random.integers(1, 200, (40, 2)), [173, 211])
    corners = np.concatenate([low, high], axis=1)
    corners[:2] = [[0, 0, 173, 211], [172, 210, 173, 211]]
    owner = random.integers(0, 3, 40)
    _, tables = send(images, device)
    crops = tables.crops(*(torch.from_numpy(x).to(device) for x in (owner, corners)), side)
    for mine, (x1, y1, x2, y2), crop in zip(owner, corners, crops.cpu(), strict=True):
        wanted = averaged(images[mine][y1:y2, x1:x2], side, side)[0]
        assert (crop - wanted).abs().max() < 1e-6


@pytest.fixture(scope="module")
def pnet():
    torch.manual_seed(1)
    network = PNet().eval().requires_grad_(False)
    network.prelu1.weight.copy_(torch.linspace(-1.2, 1, 10))  # the trained slopes have both signs
    return network


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("sizes", "min_face_px"),
    [
        ([(90, 61), (90, 60), (89, 61), (91, 62), (90, 61)], 20),
        ([(30, 20), (12, 12), (12, 13), (13, 12), (13, 13)], 12),  # levels of every parity
        ([(20, 700), (700, 21)], 20),  # wider and taller than a sheet
        ([(30, 20)], 5),  # a face smaller than 12 pixels: levels larger than the image
        ([(300, 280), (12, 300), (3, 3)], 20),
    ],
)
def test_an_atlas_gives_what_p_net_gives_on_each_level(pnet, device, sizes, min_face_px):
    images = [image(*size, seed) for seed, size in enumerate(sizes)]
    chunk, tables = send(images, device, min_face_px=min_face_px)
    network = pnet.to(device)
    found, begin = [], 0
    for rows, count in chunk.plan.atlases:
        assert rows <= SMALL.rows
        tiles, planned = (t[begin : begin + count] for t in (chunk.tiles, chunk.plan.tiles))
        begin += count
        pixels, past = fill(tables, tiles, planned, rows, SMALL.columns)
        assert pixels.shape == (1, 3, 2 * rows, 2 * SMALL.columns)
        faces, _ = propose(network, pixels, past)
        assert faces.isfinite().all()  # between tiles as well
        found.append(answers_of(difference(faces)[0], tiles, planned))
    found = torch.cat(found)
    level, y, x = cells_of(torch.arange(len(found), device=device), chunk.tiles)

    # single cells
    where = tuple(chunk.levels[level, k] for k in range(3))
    faces, shift = propose(network, *patches(tables, where, y, x))
    assert shift.shape == (len(found), 4, 1, 1)
    assert (difference(faces)[:, 0, 0] - found).abs().max() < 1e-5

    # whole levels
    number = chunk.levels[level, 3] + y * ((chunk.levels[level, 2] - 9) // 2) + x
    assert sorted(number.tolist()) == list(range(len(found)))
    found = torch.empty_like(found).scatter_(0, number, found).cpu()
    network = pnet.cpu()
    for mine, height, width, first in chunk.plan.levels.tolist():
        level_ = averaged(images[mine], height, width)
        wanted = difference(network.later(network.pool1(network.prelu1(network.conv1(level_))))[0])
        part = found[first : first + wanted.numel()].view(wanted.shape[1:])
        assert (part - wanted[0]).abs().max() < 2e-5


def test_nothing_but_faceless_images_needs_no_atlas():
    chunk, tables = send([image(3, 3), image(11, 500)], "cpu")
    assert chunk.plan.atlases == []
    assert chunk.tiles.shape == (0, 10)
    assert chunk.levels.shape == (0, 4)
    assert len(tables.sums) == 3 * (16 + 12 * 501)


def test_the_next_is_made_while_this_one_is_used():
    made = []

    def make(item):
        made.append(item)
        return -item

    for result in ahead(make, range(5)):
        assert -result in made
    assert made == list(range(5))
    assert list(ahead(make, [])) == []


def test_what_fails_ahead_is_raised():
    def make(item):
        raise ValueError(item)

    with pytest.raises(ValueError, match="7"):
        list(ahead(make, [7]))


@pytest.mark.parametrize("device", DEVICES)
def test_chunks_arrive_in_order(device):
    parts = [[image(9, 7, k), image(4, 5, k)] for k in range(6)]
    for part, chunk in zip(
        parts, chunks_on(torch.device(device), parts, DetectConfig(), SMALL), strict=True
    ):
        wanted = np.concatenate([part[1].ravel(), part[0].ravel()])  # by size
        assert np.array_equal(chunk.pixels.numpy(force=True), wanted)
