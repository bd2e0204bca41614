import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.errors import ConfigError, ResourceError, WeightsError
from pipeline.facenet import InceptionResnetV1
from pipeline.models.facenet.inception_resnet_v1 import InceptionResnetV1 as Network
from pipeline.models.weights.store import WeightStore
from tests.support.facenet import random_weights

EXAMPLES = Path(__file__).parents[3] / "examples" / "facenet"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder with what looks like the published files."""
    folder = tmp_path_factory.mktemp("published")
    random_weights(folder / "20180408-102900-casia-webface.pt")
    (folder / "20180402-114759-vggface2.pt").write_bytes(b"not the weights")
    return folder


@pytest.fixture
def mirror(published, tmp_path, monkeypatch):
    monkeypatch.setenv("FACELAKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FACELAKE_WEIGHTS_URL", str(published))
    return published


@torch.inference_mode()
def test_pretrained_weights_come_from_the_store(mirror) -> None:
    resnet = InceptionResnetV1(pretrained="casia-webface").eval()
    state = torch.load(mirror / "20180408-102900-casia-webface.pt")
    assert resnet.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in resnet.state_dict().items())
    assert len(list(WeightStore().directory.glob("*.pt.sha256"))) == 1  # pinned from now on
    x = torch.rand(1, 3, 160, 160) * 2 - 1
    vector = resnet(x)
    assert vector.shape == (1, 512)
    torch.testing.assert_close(vector.norm(dim=1), torch.ones(1))
    resnet.classify = True
    assert resnet(x).shape == (1, 10575)
    # the pickled file loads by hand as well, its head too
    other = InceptionResnetV1(classify=True, num_classes=10575).eval()
    other.load_state_dict(state)
    assert torch.equal(other(x), resnet(x))


def test_a_fresh_head_for_people_of_your_own(mirror) -> None:
    resnet = InceptionResnetV1(pretrained="casia-webface", classify=True, num_classes=3)
    state = torch.load(mirror / "20180408-102900-casia-webface.pt")
    assert resnet.logits.weight.shape == (3, 512)
    assert torch.equal(resnet.last_linear.weight, state["last_linear.weight"])
    assert (resnet.pretrained, resnet.num_classes) == ("casia-webface", 3)


def test_weights_that_are_not_there_or_wrong(mirror, monkeypatch) -> None:
    with pytest.raises(WeightsError, match="has 15 bytes, not 111,898,327"):
        InceptionResnetV1(pretrained="vggface2")
    monkeypatch.setenv("FACELAKE_WEIGHTS_URL", str(mirror / "elsewhere"))
    with pytest.raises(WeightsError, match="Without internet, put the file 20180402-114759"):
        InceptionResnetV1(pretrained="vggface2")


def test_arguments_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="choose from vggface2, casia-webface"):
        InceptionResnetV1(pretrained="vggface")
    with pytest.raises(ConfigError, match="needs num_classes"):
        InceptionResnetV1(classify=True)
    with pytest.raises(ResourceError, match="Cannot use the device 'cuda:99'"):
        InceptionResnetV1(device="cuda:99")


@torch.inference_mode()
def test_state_dicts_go_both_ways_and_change_no_vector() -> None:
    plain = Network(classify=True, num_classes=5).eval()
    ours = InceptionResnetV1(classify=True, num_classes=5, dropout_prob=0.1).eval()
    assert ours.dropout.p == 0.1
    ours.load_state_dict(plain.state_dict())
    plain.load_state_dict(ours.state_dict())
    x = torch.rand(2, 3, 160, 160) * 2 - 1
    torch.testing.assert_close(ours(x), plain(x), rtol=0, atol=1e-5)
    ours.classify = plain.classify = False
    torch.testing.assert_close(ours(x), plain(x), rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.double()(x.double()).float(), plain(x), rtol=0, atol=1e-5)
    half = ours.half()(x.half())
    assert half.dtype == torch.float16
    assert torch.nn.functional.cosine_similarity(half.float(), plain(x)).min() > 0.99


def test_a_network_without_a_head_says_what_to_do() -> None:
    resnet = InceptionResnetV1(num_classes=4).eval()  # as there: no head without classify
    assert len(resnet.state_dict()) == 714
    resnet.classify = True
    with pytest.raises(ConfigError, match=r"network\.logits"):
        resnet(torch.rand(1, 3, 160, 160))
    resnet.logits = torch.nn.Linear(512, 4)
    assert resnet(torch.rand(1, 3, 160, 160)).shape == (1, 4)


def run(name: str, *arguments: object):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"](*arguments)


@pytest.fixture
def people(photos, tmp_path):
    """Photos in a folder a person, and pairs of them in the format of LFW."""
    names = {
        "Barack_Obama": ["obama-2012-closeup.jpg", "obama-2009-speech.jpg", "obama-blue-room.jpg",
                         "obama-2012-portrait.jpg"],
        "Joe_Biden": ["biden-official-portrait.jpg", "biden-2011-office.jpg"],
        "Nobody": ["cat-no-face.png", "coffee-no-face.png"],
    }  # fmt: skip
    for person, files in names.items():
        (tmp_path / "people" / person).mkdir(parents=True)
        for i, file in enumerate(files, start=1):
            with Image.open(photos / file) as photo:
                small = photo.convert("RGB").reduce(max(1, max(photo.size) // 400))
            small.save(tmp_path / "people" / person / f"{person}_{i:04}.jpg", quality=95)
    (tmp_path / "pairs.txt").write_text(
        "2\t2\nBarack_Obama\t1\t2\nNobody\t1\t2\nBarack_Obama\t1\tJoe_Biden\t1\n"
        "Barack_Obama\t2\tJoe_Biden\t2\nBarack_Obama\t3\t4\nJoe_Biden\t1\t2\n"
        "Barack_Obama\t3\tJoe_Biden\t2\nBarack_Obama\t4\tJoe_Biden\t1\n"
    )
    return tmp_path


def test_steps_of_the_inference_notebook(mirror, people, capsys) -> None:
    folder = people / "all"
    folder.mkdir()
    for path in (people / "people").glob("*/*.jpg"):
        shutil.copy(path, folder)
    distances = run("inference", folder, "casia-webface")
    assert capsys.readouterr().out.count("no face") == 2
    assert list(distances.columns) == list(distances.index)
    assert distances.shape == (6, 6)
    np.testing.assert_array_equal(np.diag(distances), 0)
    assert (distances.to_numpy()[~np.eye(6, dtype=bool)] > 0).all()


def test_steps_of_the_finetuning_notebook(mirror, people) -> None:
    torch.manual_seed(0)
    losses = run("finetune", people / "people", people / "crops", "casia-webface", 4)
    assert sorted(path.name for path in (people / "crops").glob("*/*")) == [
        *(f"Barack_Obama_000{i}.png" for i in range(1, 5)),
        *(f"Joe_Biden_000{i}.png" for i in (1, 2)),
    ]
    assert losses[-1] < losses[0]


def test_steps_of_the_lfw_notebook(mirror, people) -> None:
    folds = run("lfw", people / "people", people / "pairs.txt", "casia-webface")
    assert folds.accuracies.shape == (2,)
    assert (folds.accuracies <= [0.75, 1]).all()  # the pair of the first fold without faces


def test_steps_of_the_tracking_notebook(photo_pixels, tmp_path) -> None:
    photo = Image.fromarray(photo_pixels["obama-2012-closeup.jpg"])
    width, height = photo.size
    frames = [photo.crop((shift, 0, width - 40 + shift, height)) for shift in range(0, 40, 10)]
    frames.append(Image.new("RGB", frames[0].size))
    video, output = tmp_path / "video.webp", tmp_path / "faces.webp"
    frames[0].save(video, save_all=True, append_images=frames[1:], lossless=True, duration=40)
    boxes = run("track", video, output)
    assert [len(found) for found in boxes] == [1, 1, 1, 1, 0]
    left = [found[0][0] for found in boxes[:4]]
    np.testing.assert_allclose(np.diff(left), -10, atol=3)
    with Image.open(output) as drawn:
        assert drawn.n_frames == 5
        x, y = (round(value) for value in boxes[0][0][:2])
        red, green, blue = drawn.convert("RGB").getpixel((x + 2, y + 40))
        assert red > green + 80
        assert red > blue + 80
