"""What a torch embedder does on a GPU; its methods are asked directly where there is none."""

import numpy as np
import pytest
import torch

from pipeline.models.cards.card import find_card
from pipeline.models.drift import lowest_cosine, probe_faces
from pipeline.models.facenet import embedder as torch_embedder
from pipeline.models.facenet import gpu as gpu_embedding
from pipeline.models.facenet.embedder import FaceNetEmbedder
from pipeline.models.facenet.inception_resnet_v1 import InceptionResnetV1
from tests.support.devices import DEVICES


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "facenet.pt"
    torch.save(InceptionResnetV1().state_dict(), path)
    return path


@pytest.fixture(scope="module", params=DEVICES)
def embedder(request, weights):
    return FaceNetEmbedder(find_card("facenet-vggface2"), weights, request.param)


def test_every_precision_keeps_the_vectors(embedder, weights):
    on_cpu = FaceNetEmbedder(embedder.card, weights)
    assert on_cpu.precision == "float32"
    faces = probe_faces(160)
    wanted = on_cpu.embed(faces)[0]
    assert lowest_cosine(wanted, embedder._on_gpu(faces, "float32")) > 1 - 1e-6
    assert lowest_cosine(wanted, embedder._on_gpu(faces, "bfloat16")) > 0.9999
    assert lowest_cosine(wanted, embedder.embed(faces)[0]) > 0.9999


def test_bfloat16_is_taken_only_if_real_faces_keep_their_vectors(embedder, monkeypatch):
    assert embedder._fastest() == "bfloat16"
    monkeypatch.setattr(torch_embedder, "LEAST_COSINE", 1.0)
    assert embedder._fastest() == "float32"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", None])
def test_the_precision_of_a_gpu_can_be_chosen(weights, precision):
    card = find_card("facenet-vggface2")
    assert FaceNetEmbedder(card, weights, "cuda", None, precision).precision == (
        precision or "bfloat16"
    )


@pytest.mark.parametrize("device", DEVICES)
def test_read_only_and_mirrored_crops_are_uploaded(device):
    crops = probe_faces(32)[:3]
    assert not crops.flags.writeable
    there = gpu_embedding.upload(crops[..., ::-1], torch.device(device))
    assert np.array_equal(there.numpy(force=True), crops[..., ::-1])
