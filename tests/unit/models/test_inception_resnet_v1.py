import numpy as np
import pytest
import torch

from pipeline.errors import WeightsError
from pipeline.models.cards.card import find_card
from pipeline.models.drift import lowest_cosine, probe_faces
from pipeline.models.facenet.embedder import FaceNetEmbedder
from pipeline.models.facenet.inception_resnet_v1 import InceptionResnetV1, load_weights
from pipeline.models.facenet.openvino import facenet_embedder
from pipeline.models.openvino import embedder as openvino_embedder
from pipeline.models.runtime import has_bfloat16


@pytest.fixture(scope="module")
def network() -> InceptionResnetV1:
    torch.manual_seed(0)
    return InceptionResnetV1().eval()


def upstream_state(network: InceptionResnetV1, classes: int) -> dict[str, torch.Tensor]:
    head = {"logits.weight": torch.ones(classes, 512), "logits.bias": torch.zeros(classes)}
    return dict(network.state_dict()) | head


def test_parameters_are_those_of_the_published_files(network: InceptionResnetV1) -> None:
    state = network.state_dict()
    assert len(state) == 714  # 716 with the two of the classifier, as upstream's files have
    assert len(InceptionResnetV1(num_classes=3).state_dict()) == 716
    assert sum(p.numel() for p in network.parameters()) == 23_482_624
    norms = [
        m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d)
    ]
    assert len(norms) == 112
    assert {norm.eps for norm in norms} == {1e-3}
    for key in (
        "conv2d_1a.conv.weight",
        "repeat_1.4.branch2.2.bn.running_var",
        "repeat_2.9.branch1.1.conv.weight",
        "repeat_3.0.conv2d.bias",
        "mixed_6a.branch0.conv.weight",
        "mixed_7a.branch2.2.conv.weight",
        "block8.branch0.conv.weight",
        "last_linear.weight",
        "last_bn.num_batches_tracked",
    ):
        assert key in state


@torch.inference_mode()
def test_forward_gives_unit_vectors_and_embed_their_norms(network: InceptionResnetV1) -> None:
    x = torch.rand(2, 3, 160, 160) * 2 - 1
    vectors = network(x)
    unit, norms = network.embed(x)
    assert vectors.shape == (2, 512)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(unit, vectors)
    torch.testing.assert_close(unit * norms[:, None], network.features(x))


@pytest.mark.parametrize("classes", [8631, 10575])
def test_upstream_files_load_without_and_with_their_classifier(
    network: InceptionResnetV1, classes: int
) -> None:
    state = upstream_state(network, classes)
    bare = InceptionResnetV1()
    load_weights(bare, state)
    torch.testing.assert_close(bare.block8.conv2d.weight, network.block8.conv2d.weight)
    full = InceptionResnetV1(classify=True, num_classes=classes).eval()
    load_weights(full, state)
    assert (full.logits.weight == 1).all()
    with torch.inference_mode():
        assert full(torch.zeros(1, 3, 160, 160)).shape == (1, classes)


def test_a_head_of_another_size_stays_fresh(network: InceptionResnetV1) -> None:
    fresh = InceptionResnetV1(classify=True, num_classes=5)
    before = fresh.logits.weight.clone()
    load_weights(fresh, upstream_state(network, 8631))
    torch.testing.assert_close(fresh.logits.weight, before)
    # and a file without a head is no obstacle to a new one
    load_weights(fresh, network.state_dict())


def test_dropout_works_in_training_only(network: InceptionResnetV1) -> None:
    torch.manual_seed(1)
    x = torch.rand(2, 3, 160, 160)
    with torch.inference_mode():
        assert torch.equal(network(x), network(x))
        network.dropout.train()
        assert not torch.equal(network(x), network(x))
        network.eval()
    assert InceptionResnetV1(dropout_prob=0.25).dropout.p == 0.25


def test_wrong_files_are_refused_with_the_names(network: InceptionResnetV1) -> None:
    state = upstream_state(network, 8631)
    del state["last_linear.weight"]
    state["extra.weight"] = torch.zeros(1)
    state["last_bn.weight"] = torch.zeros(128)
    with pytest.raises(WeightsError) as caught:
        load_weights(InceptionResnetV1(), state, "a.pt")
    message = str(caught.value)
    assert "a.pt is not an Inception-ResNet-v1" in message
    assert "1 missing (last_linear.weight)" in message
    assert "1 unexpected (extra.weight)" in message
    assert "last_bn.weight [128], not [512]" in message


def test_many_wrong_names_are_summed_up() -> None:
    with pytest.raises(WeightsError, match=r"714 missing \(.* and 709 more\)"):
        load_weights(InceptionResnetV1(), {})


def test_classify_needs_the_number_of_classes() -> None:
    with pytest.raises(ValueError, match="num_classes"):
        InceptionResnetV1(classify=True)


@pytest.mark.parametrize("kind", ["torch", "float32", "bfloat16"])
def test_embedder_equals_the_network(network: InceptionResnetV1, tmp_path, kind: str) -> None:
    path = tmp_path / "weights.pt"
    torch.save(upstream_state(network, 8631), path)
    card = find_card("facenet-vggface2")
    if kind == "bfloat16" and not has_bfloat16():
        pytest.skip("this CPU has no bfloat16")
    embedder = (
        FaceNetEmbedder(card, path) if kind == "torch" else facenet_embedder(card, path, 1, kind)
    )
    crops = np.random.default_rng(0).integers(0, 256, (3, 160, 160, 3), dtype=np.uint8)
    crops.setflags(write=False)  # as views of Arrow columns are
    vectors, norms = embedder.embed(crops)
    with torch.inference_mode():
        x = (torch.tensor(crops).permute(0, 3, 1, 2).float() - 127.5) / 128
        unit, expected = network.embed(x)
    if kind == "bfloat16":
        assert (vectors * unit.numpy()).sum(1).min() >= 0.9999
        np.testing.assert_allclose(norms, expected.numpy(), rtol=1e-2)
    else:
        np.testing.assert_allclose(vectors, unit.numpy(), atol=1e-5)
        np.testing.assert_allclose(norms, expected.numpy(), rtol=1e-4)
    assert embedder.embed(crops[:0])[0].shape == (0, 512)
    assert embedder.revision.startswith("facenet-vggface2@")


@pytest.mark.skipif(not has_bfloat16(), reason="this CPU has no bfloat16")
@pytest.mark.parametrize("keeps", [True, False])
def test_bfloat16_is_taken_only_if_real_faces_keep_their_vectors(
    network: InceptionResnetV1, tmp_path, monkeypatch: pytest.MonkeyPatch, keeps: bool
) -> None:
    path = tmp_path / "weights.pt"
    torch.save(upstream_state(network, 8631), path)
    if not keeps:
        monkeypatch.setattr(openvino_embedder, "LEAST_COSINE", 1.0)
    embedder = facenet_embedder(find_card("facenet-vggface2"), path)
    assert embedder.precision == ("bfloat16" if keeps else "float32")
    faces = probe_faces(160)
    exact = facenet_embedder(embedder.card, path, precision="float32").embed(faces)[0]
    assert lowest_cosine(exact, embedder.embed(faces)[0]) >= (0.9999 if keeps else 1 - 1e-6)


def test_probe_faces_are_faces(detector) -> None:
    assert len(probe_faces(160)) == 8
    for face in probe_faces(160):
        assert len(detector.detect(np.pad(face, ((40, 40), (40, 40), (0, 0)), mode="edge"))) == 1


def test_lowest_cosine() -> None:
    assert lowest_cosine(np.ones((2, 3)), np.array([[1, 1, 1], [0, np.nan, 1]])) == -1
    assert lowest_cosine(np.eye(2), np.array([[3.0, 0], [1, 1]])) == pytest.approx(0.5**0.5)
