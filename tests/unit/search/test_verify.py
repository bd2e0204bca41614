import json

import numpy as np
import pytest
from PIL import Image

from pipeline.commands.main import main
from pipeline.errors import ConfigError, NoFaceError, StorageError
from pipeline.lake.store import LakeStore
from pipeline.models.cards.calibration import Calibration
from pipeline.models.drift import probe_faces
from pipeline.models.embedder import load_embedder
from pipeline.search.models import LakeModels
from pipeline.search.verify import verify, verify_faces
from tests.support.builders import PHOTOS
from tests.support.photo_lakes import face, image_id, photo_lake

SPEECH, PORTRAIT = PHOTOS / "obama-2009-speech.jpg", PHOTOS / "obama-2012-portrait.jpg"
BIDEN, BOTH = PHOTOS / "biden-official-portrait.jpg", PHOTOS / "obama-and-biden-composite.jpg"


@pytest.fixture(scope="module")
def sface():
    return load_embedder("sface")


@pytest.fixture
def compare(sface, detector):
    return lambda *photos, **options: verify(*photos, sface, detector=detector, **options)


def test_one_person_and_two(compare):
    same, other = compare(SPEECH, str(PORTRAIT)), compare(SPEECH, BIDEN)
    assert same.same
    assert same.similarity > 0.5
    assert same.probability > 0.99
    assert same.threshold == 0.333
    assert (same.first.faces, same.first.face_id) == (1, None)
    assert not other.same
    assert other.probability < 0.5 < same.probability
    rare = compare(SPEECH, PORTRAIT, prior=1e-4)
    assert rare.probability < same.probability
    assert rare.prior == 1e-4
    assert compare(SPEECH, BIDEN, threshold=-1).same


def test_pictures_that_are_open_already(compare, photo_pixels):
    same = compare(Image.open(SPEECH), photo_pixels[PORTRAIT.name])
    assert same.similarity == pytest.approx(compare(SPEECH, PORTRAIT).similarity, abs=0.02)


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def test_several_faces(compare):
    by_size, by_place = compare(BOTH, BIDEN), compare(BOTH, BIDEN, select="central")
    assert by_size.first.faces == by_place.first.faces == 2
    assert area(by_size.first.box) >= area(by_place.first.box)


def test_what_cannot_be_compared(compare, tmp_path):
    with pytest.raises(NoFaceError, match=r"No face was found in .*cat-no-face\.png"):
        compare(SPEECH, PHOTOS / "cat-no-face.png")
    (tmp_path / "text.jpg").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match=r"text\.jpg cannot be used: unsupported_format"):
        compare(tmp_path / "text.jpg", SPEECH)
    with pytest.raises(StorageError, match="does not exist"):
        compare(tmp_path / "nothing.jpg", SPEECH)
    with pytest.raises(ConfigError, match="threshold is 2"):
        compare(SPEECH, SPEECH, threshold=2)
    with pytest.raises(ConfigError, match="prior is 1"):
        compare(SPEECH, SPEECH, prior=1)
    with pytest.raises(ConfigError, match="was made for other@1"):
        compare(SPEECH, SPEECH, calibration=Calibration("logistic", 0.5, "x", 1, "other@1", 1.0))


# --- faces of a lake


def made(tmp_path, embedder):
    photos = {
        "a.jpg": [face((1, 0, 0, 0)), face((0, 1, 0, 0), box=(0, 0, 10, 10))],
        "b.jpg": [face((0.8, 0.6, 0, 0))],
        "none.jpg": [],
    }
    return photo_lake(tmp_path / "lake", photos, embedder)


def test_faces_of_a_lake(tmp_path):
    lake = made(tmp_path, "sface@fb143eea0783")
    verdict = verify_faces(lake, "a.jpg", f"{image_id('b.jpg')}-0")
    assert verdict.similarity == pytest.approx(0.8)
    assert verdict.same
    assert verdict.probability > 0.99
    assert (verdict.first.faces, verdict.first.face_id) == (2, f"{image_id('a.jpg')}-0")
    with pytest.raises(NoFaceError, match="none has no face"):
        verify_faces(lake, "a", "none")
    with pytest.raises(ConfigError, match="no face or photo called c"):
        verify_faces(lake, "a", "c")
    lacking = type(lake)(str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="There is no lake"):
        verify_faces(lacking, "a", "b")


def test_models_without_calibration_or_threshold(tmp_path):
    # other weights of that name: the threshold is the card's, the calibration is not for them
    verdict = verify_faces(made(tmp_path / "1", "sface@other"), "a", "b")
    assert (verdict.probability, verdict.threshold, verdict.same) == (None, 0.333, True)
    facenet = made(tmp_path / "2", "facenet-vggface2@1")
    verdict = verify_faces(facenet, "a", "b")
    assert (verdict.probability, verdict.prior, verdict.threshold, verdict.same) == (None,) * 4
    own = Calibration("logistic", 0.5, "mine", slope=10, intercept=-5)
    assert verify_faces(facenet, "a", "b", calibration=own).same
    unknown = verify_faces(made(tmp_path / "3", "mine@1"), "a", "b")
    assert unknown.card is None
    assert unknown.revision == "mine@1"


def test_the_command_on_a_lake(tmp_path, capsys):
    lake = made(tmp_path, "facenet-vggface2@1")
    words = ["verify", "a", "b", "--lake", lake.folder.url]
    assert main(words) == 0
    shown = capsys.readouterr().out
    for part in ("0.8000", "not calibrated", "none: give --threshold", "there is no threshold",
                 "facenet-vggface2@1", "MIT code", "a has 2 faces; compared was"):  # fmt: skip
        assert part in shown
    assert main([*words, "--json", "--threshold", "0.9"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["same"], answer["probability"]) == (False, None)
    assert answer["model"]["licence"] == "MIT code, research-data weights"
    for more, message in (
        (["--embedder", "sface"], "--embedder is for photos"),
        (["--select", "most-probable"], "largest or central"),
        (["--threshold", "7"], "threshold is 7"),
        (["--calibration", str(tmp_path / "no.toml")], "Cannot read"),
    ):
        assert main([*words, *more]) == ConfigError.exit_code
        assert message in capsys.readouterr().err


def test_the_command_on_photos(capsys):
    assert main(["verify", str(SPEECH), str(BOTH), "--embedder", "sface"]) == 0
    shown = capsys.readouterr().out
    for part in ("sface@", "Apache-2.0", "LFW 0.9932", "has 2 faces; compared was the largest"):
        assert part in shown
    words = ["verify", str(SPEECH), str(PHOTOS / "coffee-no-face.png"), "--embedder", "sface"]
    assert main(words) == NoFaceError.exit_code
    assert "No face was found in" in capsys.readouterr().err


def test_the_embedder_of_a_lake(tmp_path, sface):
    def embedder_of(name, revision):
        return LakeModels(made(tmp_path / name, revision)).embedder

    assert embedder_of("1", sface.revision).revision == sface.revision
    both = embedder_of("flip", f"{sface.revision}+flip")  # as its lake was made, by itself
    assert both.revision == f"{sface.revision}+flip"
    faces = probe_faces(112)
    assert np.allclose(both.embed(faces)[0], both.embed(faces[:, :, ::-1])[0], atol=1e-6)
    assert not np.allclose(sface.embed(faces)[0], sface.embed(faces[:, :, ::-1])[0], atol=0.01)
    with pytest.raises(ConfigError, match="has vectors of sface@other, the model here is"):
        embedder_of("2", "sface@other")
    with pytest.raises(ConfigError, match="mine@1, which is not known here; give the path"):
        embedder_of("3", "mine@1")
    with pytest.raises(ConfigError, match="There is no lake"):
        _ = LakeModels(LakeStore(str(tmp_path / "5"))).embedder
    assert np.isclose(np.linalg.norm(sface.embed(np.zeros((1, 112, 112, 3), np.uint8))[0]), 1)


def test_weights_are_cached_where_the_option_says(capsys, tmp_path):
    photo = str(PHOTOS / "obama-2012-closeup.jpg")
    options = ["--embedder", "sface", "--weights-dir", str(tmp_path / "weights"), "--json"]
    assert main(["verify", photo, photo, *options]) == 0
    assert json.loads(capsys.readouterr().out)["similarity"] == pytest.approx(1, abs=1e-5)
