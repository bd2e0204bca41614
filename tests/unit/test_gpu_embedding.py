import numpy as np
import pytest
import torch

from pipeline.models import gpu_embedding
from pipeline.models.gpu_embedding import embed_half, in_full, in_half, may_be_half, pictures
from pipeline.models.inception_resnet_v1 import InceptionResnetV1
from tests.devices import DEVICES


def network(device):
    torch.manual_seed(0)
    return InceptionResnetV1().eval().requires_grad_(False).to(device)


def ready(device, count=4):
    x = torch.from_numpy(pictures(160)[:count]).to(device).float()
    return ((x - 127.5) / 128).permute(0, 3, 1, 2)


def test_pictures_are_always_the_same_and_differ_from_each_other():
    made = pictures(64)
    assert made.shape == (16, 64, 64, 3)
    assert made.dtype == np.uint8
    assert np.array_equal(made, pictures(64))
    assert len({picture.tobytes() for picture in made}) == 16


@pytest.mark.parametrize("device", DEVICES)
@torch.inference_mode()
def test_half_precision_is_measured_before_it_is_used(device, monkeypatch):
    features, x = network(device).features, ready(device)
    assert may_be_half(features, x)
    monkeypatch.setattr(gpu_embedding, "LEAST_COSINE", 1.1)
    assert not may_be_half(features, x)


def test_what_overflows_may_not_be_half():
    def features(x):
        return x.flatten(1) * (torch.inf if torch.is_autocast_enabled("cpu") else 1)

    assert not may_be_half(features, torch.rand(3, 1, 2, 2))


def test_a_batch_that_overflows_is_done_in_float32():
    def features(x):
        if torch.is_autocast_enabled("cpu"):
            return (x.flatten(1) * 1e4).half()
        return x.flatten(1) * 1e4

    small, large = torch.ones(2, 1, 1, 3), torch.full((2, 1, 1, 3), 9.0)
    assert torch.equal(embed_half(features, small), in_half(features, small))
    assert torch.equal(embed_half(features, large), in_full(features, large))


@pytest.mark.parametrize("device", DEVICES)
def test_read_only_and_mirrored_crops_are_uploaded(device):
    crops = pictures(32)[:3]
    crops.setflags(write=False)
    there = gpu_embedding.upload(crops[..., ::-1], torch.device(device))
    assert np.array_equal(there.numpy(force=True), crops[..., ::-1])
