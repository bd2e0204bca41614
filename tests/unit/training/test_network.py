"""A network from photos to a model's folder, and what that folder is good for."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from pipeline import Lake
from pipeline.commands.main import main
from pipeline.errors import ConfigError, LakeMismatchError
from pipeline.models.cards.card import find_card
from pipeline.models.embedder import load_embedder
from pipeline.models.vectors import network_input
from pipeline.storage.folder import Folder
from pipeline.training import export
from pipeline.training.classify import Classifier
from pipeline.training.export import load_network, network_card
from pipeline.training.model import load_model
from pipeline.training.networks.build import INPUTS, build
from pipeline.training.settings import NetworkConfig
from tests.support.training_lakes import QUICK, training_lake

OPTIONS = QUICK | {"augment": "flip"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    training_lake(folder, 12, 5)
    return folder


@pytest.fixture(scope="module")
def trained(archive):
    torch.set_num_threads(1)
    lake = Lake(archive / "lake")
    return lake.train(archive / "the family", "folders", licence="ours", teacher="lake", **OPTIONS)


@pytest.fixture
def onnx_of_another(trained, monkeypatch):
    """Exporting to ONNX takes seconds; for tests that do not look at it, one network's will do."""
    (file,) = Path(trained.folder).glob("network-*.onnx")
    monkeypatch.setattr(export, "_onnx", lambda *_: file.read_bytes())
    monkeypatch.setattr(export, "_difference", lambda *_: 0.0)


def state(folder):
    from safetensors.numpy import load

    (file,) = Path(folder).glob("network-*.safetensors")
    return {name: torch.from_numpy(one) for name, one in load(file.read_bytes()).items()}


def test_people_are_divided_by_person_and_by_image(trained):
    card = trained.card
    assert card["classes"] == 8
    assert card["parts"] == {"train": 32, "test": 8, "stranger, validation": 10,
                             "stranger, test": 10}  # fmt: skip
    (file,) = Path(trained.folder).glob("samples-*.parquet")
    rows = pq.read_table(file).to_pylist()
    of = {}
    for row in rows:
        of.setdefault(row["label"], set()).add(row["part"])
    assert sorted(map(sorted, of.values())) == sorted(
        [["test", "train"]] * 8 + [["stranger, validation"]] * 2 + [["stranger, test"]] * 2
    )


def test_the_card_says_what_it_is(trained):
    card = find_card(trained.folder, "embedder")
    assert card.name == "the-family"
    assert card.licence == "ours"
    assert card.training_data == (
        "32 faces of 8 people, labels: folders of the photos, taught by lake"
    )
    assert card.accuracy.startswith("held-out people, balanced pairs: accuracy")
    assert set(card.thresholds) == {"verify", "impostor_mean", "impostor_sd"}
    assert card.calibration.embedder == trained.card["embedder"]
    assert (card.input_size, card.dimension, card.alignment) == (112, 512, "arcface5")
    assert trained.card["embedder"] == load_embedder(trained.folder).revision
    network = trained.card["network"]
    assert (network["name"], network["teacher"], network["best_epoch"]) == ("mobileface", "lake", 1)
    (history,) = Path(trained.folder).glob("history-*.parquet")
    assert pq.read_table(history)["step"].to_pylist() == [1, 2, 3, 4]


def test_onnx_and_safetensors_are_one_network(trained):
    embedder = load_embedder(trained.folder, precision="float32")
    faces = np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3), np.uint8)
    network = load_network("mobileface", state(trained.folder))
    with torch.inference_mode():
        features = network(torch.from_numpy(network_input(embedder.card, faces)))
    own = torch.nn.functional.normalize(features).numpy()
    assert np.abs(own - embedder.embed(faces)[0]).max() < 1e-4


def test_the_model_tells_people_by_its_own_network(trained, archive, monkeypatch):
    model = load_model(Folder(trained.folder))
    assert model.models.embedder.startswith("the-family@")
    classifier = Classifier(model)
    assert classifier.embedder.revision == model.models.embedder
    with pytest.raises(LakeMismatchError, match="trained on vectors of the-family"):
        Lake(archive / "lake").classify(trained.folder)


@pytest.mark.usefixtures("onnx_of_another")
def test_a_further_training_begins_with_it(trained, archive):
    lake = Lake(archive / "lake")
    options = OPTIONS | {"freeze": 5, "learning_rate": 1e-9, "objective": "softmax"}
    more = lake.train(archive / "more", "folders", init=trained.folder, **options)
    first, second = state(trained.folder), state(more.folder)
    frozen = [name for name in first if "running" not in name and "num_batches" not in name]
    assert all(torch.equal(first[name], second[name]) for name in frozen)


@pytest.mark.parametrize(
    ("network", "init", "match"),
    [
        ("iresnet18", "the family", "is mobileface, not iresnet18"),
        ("mobileface", "nothing", "There is no trained model"),
        ("mobileface", "head", "a head without a network"),
        ("mobileface", "facenet-vggface2", "is no mobileface"),
    ],
)
def test_weights_of_something_else_are_refused(trained, archive, network, init, match):
    lake = Lake(archive / "lake")
    if init == "head":
        lake.train(archive / "head", "folders", min_images=3, bootstrap=0)
    given = init if init.startswith("facenet") else str(archive / init)
    with pytest.raises(ConfigError, match=match):
        lake.train(archive / "m", "folders", **(OPTIONS | {"network": network, "init": given}))


@pytest.mark.usefixtures("onnx_of_another")
def test_without_labels_a_teacher_is_enough(archive, capsys):
    output = archive / "student"
    code = main([
        "train", str(archive / "lake"), "--output", str(output), "--labels", "none",
        "--network", "mobileface", "--objective", "none", "--teacher", "lake", "--epochs", "1",
        "--batch", "8", "--chunk", "8", "--augment", "none",
    ])  # fmt: skip
    out = capsys.readouterr().out
    assert code == 0
    assert "facelake index PHOTOS --embedder" in out
    assert "epoch 1 of 1, loss" in out
    card = json.loads((output / "model.json").read_bytes())
    assert card["kind"] == "network"
    assert card["parts"] == {"train": 54, "stranger, validation": 6}
    assert find_card(str(output)).dimension == 512
    with pytest.raises(ConfigError, match="without labels: it embeds, but knows nobody"):
        load_model(Folder(str(output)))


@pytest.mark.usefixtures("onnx_of_another")
def test_what_cannot_be_read_again_is_left_out(tmp_path):
    training_lake(tmp_path, 12, 5)
    shutil.rmtree(tmp_path / "photos" / "p03")
    (tmp_path / "photos" / "p04" / "1.jpg").write_bytes(b"another file")
    trained = Lake(tmp_path / "lake").train(tmp_path / "m", "folders", **OPTIONS)
    (file,) = (tmp_path / "m").glob("left_out-*.parquet")
    rows = pq.read_table(file).to_pylist()
    assert sum(row["count"] for row in rows if row["reason"].startswith("no crop")) == 6
    assert any("p04" in row["reason"] and "has changed" in row["reason"] for row in rows)
    assert sum(trained.card["parts"].values()) == 54
    assert trained.card["classes"] == 7
    shutil.rmtree(tmp_path / "photos")
    with pytest.raises(ConfigError, match="No photo can be read again"):
        Lake(tmp_path / "lake").train(tmp_path / "n", "folders", **OPTIONS)


def test_a_head_has_no_network_to_embed_with(archive):
    Lake(archive / "lake").train(archive / "head2", "folders", min_images=3, bootstrap=0)
    with pytest.raises(ConfigError, match="has no network of its own"):
        find_card(str(archive / "head2"))


def test_names_of_networks_and_cards():
    assert set(INPUTS) == {"mobileface", "iresnet18", "iresnet50", "inception-resnet-v1"}
    assert network_card("mobileface", "s3 Föld er!", {}).name == "s3-F-ld-er"
    assert network_card("mobileface", "...", {}).name == "network"
    with pytest.raises(ConfigError, match="network is 'vgg'"):
        NetworkConfig("vgg")
    assert build("mobileface").stages()
