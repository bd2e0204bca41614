"""Networks: sizes as published, shapes, and stages that stay as they are."""

import pytest
import torch
from torch import nn

from pipeline.errors import ConfigError
from pipeline.models.cards.card import find_card
from pipeline.models.facenet.inception_resnet_v1 import InceptionResnetV1, load_weights
from pipeline.training.networks.build import DIMENSION, INPUTS, NAMES, build, freeze

# Weights in millions: MobileFaceNet 0.99 with 128 numbers, +0.2 with 512; insightface's IResNets.
MILLIONS = {"mobileface": 1.20, "iresnet18": 24.02, "iresnet50": 43.59, "inception-resnet-v1": 23.5}


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return {name: build(name).eval() for name in NAMES}


def faces(name, count):
    side = INPUTS[name].size
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("name", NAMES)
def test_size_is_that_of_the_paper(networks, name):
    millions = sum(p.numel() for p in networks[name].parameters()) / 1e6
    assert millions == pytest.approx(MILLIONS[name], rel=0.005)


def test_mobileface_takes_a_fifth_of_a_giga_multiply_add(networks):
    total = 0

    def count(module, inputs, output):
        nonlocal total
        total += module.weight[0].numel() * output[0].numel()

    modules = networks["mobileface"].modules()
    hooks = [m.register_forward_hook(count) for m in modules if isinstance(m, nn.Conv2d)]
    networks["mobileface"](faces("mobileface", 1))
    for hook in hooks:
        hook.remove()
    assert total == pytest.approx(0.221e9, rel=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_a_face_has_the_same_features_alone_in_any_batch_and_memory_format(networks, name):
    network, batch = networks[name], faces(name, 3)
    with torch.inference_mode():
        features = network(batch)
        alone = network(batch[:1])
        last = network(batch.to(memory_format=torch.channels_last))
    assert features.shape == (3, DIMENSION)
    assert features.isfinite().all()
    assert features.std(dim=0).min() > 0
    scale = features.abs().max()
    assert (alone - features[:1]).abs().max() < 1e-4 * scale
    assert (last - features).abs().max() < 1e-4 * scale


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_in_one_stage(networks, name):
    network = networks[name]
    stages = [[p for m in stage for p in m.parameters()] for stage in network.stages()]
    assert all(stages)
    listed = [id(p) for stage in stages for p in stage]
    assert sorted(listed) == sorted(id(p) for p in network.parameters())
    assert listed == [id(p) for p in network.parameters()]  # from the input to the output


def state_of(network):
    return {key: value.clone() for key, value in network.state_dict().items()}


@pytest.mark.parametrize("name", ["mobileface", "inception-resnet-v1"])
def test_frozen_stages_stay_as_they_are(name):
    torch.manual_seed(0)
    network = build(name)
    stages = len(network.stages())
    freeze(network, stages - 1)
    network.eval()
    network.train()
    before = state_of(network)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=0.1)
    network(faces(name, 2)).square().mean().backward()
    optimiser.step()
    changed = {key for key, value in network.state_dict().items() if not value.equal(before[key])}
    learning = {id(t) for m in network.stages()[-1] for t in (*m.parameters(), *m.buffers())}
    named = network.state_dict(keep_vars=True)
    assert {id(named[key]) for key in changed} <= learning
    assert any("running_mean" in key for key in changed)
    assert any(key.endswith("weight") for key in changed)


def test_freezing_can_be_undone_and_knows_its_limits(networks):
    network = build("mobileface")
    freeze(network, 5)
    assert not any(p.requires_grad for p in network.parameters())
    assert not any(m.training for m in network.modules() if not list(m.children()))
    freeze(network, 0)
    assert all(p.requires_grad for p in network.parameters())
    assert all(m.training for m in network.modules())
    for stages in (6, -1):
        with pytest.raises(ConfigError, match="the network has 5"):
            freeze(network, stages)


def test_inputs_are_those_of_the_cards_and_published_files_load():
    card, one = find_card("facenet-vggface2"), INPUTS["inception-resnet-v1"]
    assert (one.size, one.alignment, one.margin_px) == (
        card.input_size, card.alignment, card.margin_px
    )  # fmt: skip
    assert (one.colour, one.mean, one.std) == (card.colour, card.mean, card.std)
    published = InceptionResnetV1(num_classes=4).eval()
    network = build("inception-resnet-v1").eval()
    load_weights(network, published.state_dict())
    with torch.inference_mode():
        batch = faces("inception-resnet-v1", 1)
        assert network(batch).equal(published.features(batch))


def test_an_unknown_network_is_refused():
    with pytest.raises(ConfigError, match="choose from mobileface, iresnet18"):
        build("resnet")


def test_one_graph_without_breaks():
    network = build("mobileface").eval()
    batch = faces("mobileface", 1)
    with torch.inference_mode():
        compiled = torch.compile(network, backend="eager", fullgraph=True)
        assert compiled(batch).allclose(network(batch))
