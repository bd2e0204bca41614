"""`facelake serve` as a process: a known person, a stranger, two photos, and how it ends."""

import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline import Lake, classify, verify
from pipeline.models import load_detector, load_embedder
from tests.support.examples import labels
from tests.support.indexing import EXAMPLES
from tests.support.serve_process import running

pytest.importorskip("sklearn")
KNOWN, STRANGER = "obama-press-room.jpg", "collins-nasa-portrait.png"
SIDES = ("obama-2012-portrait.jpg", "biden-2011-office.jpg")


@pytest.fixture(scope="module")
def model(example_lake, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(example_lake, folder / "lake")
    labels(str(folder / "lake"), str(folder / "labels.csv"))
    options = {"min_images": 3, "bootstrap": 0}
    Lake(folder / "lake").train(folder / "model", folder / "labels.csv", **options)
    return folder / "model"


@pytest.fixture(scope="module")
def server(model):
    with running(model, "--workers", 1) as server:
        yield server


def data(name):
    return (EXAMPLES / name).read_bytes()


def test_it_tells_what_the_library_tells(server, model):
    names = sorted(path.name for path in EXAMPLES.iterdir() if path.suffix in (".jpg", ".png"))
    told = classify([str(EXAMPLES / name) for name in names], str(model))
    for name, expected in zip(names, told, strict=True):
        status, _, answer = server.recognise(data(name))
        assert status == 200
        assert [one["person"] for one in answer["faces"]] == [one.person for one in expected.faces]
        for one, face in zip(answer["faces"], expected.faces, strict=True):
            assert one["box"] == pytest.approx(face.box, abs=0.01)
            assert one["probability"] == pytest.approx(face.probability, abs=0.02)
    assert server.recognise(data(KNOWN))[2]["faces"][0]["person"] == "obama"
    assert server.recognise(data(STRANGER))[2]["faces"][0]["person"] is None
    assert server.recognise(data("cat-no-face.png"))[2]["faces"] == []


def test_it_compares_as_the_library_does(server):
    detector, embedder = load_detector(), load_embedder("sface")
    first = SIDES[0]
    for second, same in ((KNOWN, True), (SIDES[1], False)):
        paths = [str(EXAMPLES / name) for name in (first, second)]
        expected = verify(*paths, embedder, detector=detector)
        status, _, answer = server.verify(data(first), data(second))
        assert (status, answer["same"]) == (200, same)
        assert answer["similarity"] == pytest.approx(expected.similarity, abs=0.01)
        assert answer["boxes"]["a"] == pytest.approx(expected.first.box, abs=0.01)
    status, _, answer = server.verify(data(first), data("coffee-no-face.png"))
    assert (status, answer["error"]) == (422, "no_face")


def test_who_has_no_token_learns_nothing(server):
    assert server.ask("GET", "/v1/metrics", Authorization=None)[0] == 401
    assert server.ask("POST", "/v1/recognise", data(KNOWN), Authorization="Bearer x")[0] == 401
    assert server.ask("GET", "/v1/health", Host="evil.example")[0] == 421
    status, _, answer = server.ask("GET", "/v1/health", Authorization=None)
    assert (status, answer["ready"], answer["model"]["name"]) == (200, True, "model")
    assert "obama" not in str(answer)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_finishes_what_runs_and_ends(model, tmp_path, number):
    token = tmp_path / "token"
    token.write_text("a-token-of-this-test\n")
    with running(model, "--workers", 1, "--token-file", token) as server:
        assert token.read_text().strip() not in server.token
        server.token = token.read_text().strip()
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(server.recognise, data(KNOWN)) for _ in range(4)]
            while "facelake_queue 0.0" in server.ask("GET", "/v1/metrics")[2]:
                if any(one.done() for one in asked):
                    break
            server.process.send_signal(number)
            answers = [one.result() for one in asked]
        assert [status for status, _, _ in answers] == [200] * 4
        assert server.process.wait(60) == 0
        with pytest.raises(OSError, match="refused"):
            server.recognise(data(KNOWN))
    assert server.errors == []


def test_a_model_of_another_embedder_ends_it(model, tmp_path):
    import json

    other = shutil.copytree(model, tmp_path / "other")
    card = json.loads((other / "model.json").read_text())
    (other / "model.json").write_text(json.dumps(card | {"embedder": "sface@000000000000"}))
    command = [sys.executable, "-m", "pipeline.commands.main", "serve", "--model", str(other)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 4
    assert "The model was trained on vectors of sface@000000000000" in done.stderr
