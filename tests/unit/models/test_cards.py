import argparse
import json
import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.commands import weights as command
from pipeline.errors import ConfigError
from pipeline.models.cards.card import ModelCard, card_of, find_card, known_cards, load_card
from pipeline.models.embedder import load_embedder
from pipeline.models.weights.store import DATA, WeightStore

GOOD = {
    "file": '"model.onnx"',
    "input_size": "112",
    "alignment": '"arcface5"',
    "colour": '"BGR"',
    "mean": "127.5",
    "std": "[127.5, 127.5, 128]",
    "dimension": "512",
}
CALIBRATED = {
    "[calibration]\nmethod": '"logistic"',
    "prior": "0.5",
    "labelled_set": '"mine"',
    "slope": "1",
    "intercept": "0",
}


def write(folder: Path, **changes: str | None) -> Path:
    path = folder / "model.toml"
    lines = {key: value for key, value in (GOOD | changes).items() if value is not None}
    path.write_text("".join(f"{key} = {value}\n" for key, value in lines.items()))
    return path


def test_known_cards_are_whole() -> None:
    cards = known_cards()
    assert set(cards) == {
        "mtcnn", "facenet-vggface2", "facenet-casia-webface", "sface", "auraface", "sscd"
    }  # fmt: skip
    for name, card in cards.items():
        assert card.name == name
        assert card.licence != "not stated"
        for file in card.files:
            assert card.bundled != bool(file.url) or name == "sscd"  # TorchScript, to be exported
            if card.bundled:
                assert (DATA / file.name).stat().st_size == file.size
    assert cards["facenet-vggface2"].size == 111_898_327
    assert cards["facenet-casia-webface"].files[0].sha256 is None
    assert cards["facenet-vggface2"].margin_px == 14
    assert cards["sface"].thresholds["verify"] == 0.333
    assert [file.name for file in cards["mtcnn"].files] == ["pnet.pt", "rnet.pt", "onet.pt"]


def test_what_was_measured_of_one_view_is_not_said_of_others(tmp_path: Path) -> None:
    sface = known_cards()["sface"]
    assert sface.calibration is not None
    assert card_of(sface.calibration.embedder) == sface
    both = card_of(f"{sface.calibration.embedder}+flip")
    assert both is not None
    assert both.calibration is not None
    assert both.calibration.embedder == f"{sface.calibration.embedder}+flip"
    assert both.thresholds == sface.thresholds
    own = load_card(write(tmp_path, **CALIBRATED | {"embedder": '"model@1"'}))
    assert own.seen("one") == own
    assert own.seen("flip") == replace(own, calibration=None)
    thresholds = replace(own, calibration=None, thresholds={"verify": 0.4})
    assert thresholds.seen("flip").thresholds == {}
    here = load_card(write(tmp_path, **CALIBRATED | {"embedder": '"model@1+flip"'}))
    assert here.seen("flip") == here
    assert card_of("stranger@1") is None


def test_cards_travel_to_workers() -> None:
    card = find_card("sface")
    assert pickle.loads(pickle.dumps(card)) == card
    assert hash(card) == hash(find_card("sface"))


def test_a_users_card(tmp_path: Path) -> None:
    card = load_card(write(tmp_path, thresholds="{ verify = 0.3 }"))
    assert (card.name, card.kind, card.runtime) == ("model", "embedder", "onnx")
    assert card.mean == (127.5, 127.5, 127.5)
    assert card.std == (127.5, 127.5, 128.0)
    assert card.thresholds == {"verify": 0.3}
    assert card.folder == tmp_path
    assert card.licence == "not stated"


def test_cards_are_found_by_either_path(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"x")
    by_toml: ModelCard = find_card(str(path))
    assert by_toml == find_card(str(tmp_path / "model.onnx"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_size": None}, "`input_size` is missing; it is an integer from 16 to 1024"),
        ({"input_size": "true"}, "`input_size` is True"),
        ({"alignment": '"eyes"'}, '`alignment` is \'eyes\'; it must be one of "box", "arcface5"'),
        ({"colour": '"rgb"'}, '"RGB", "BGR"'),
        ({"std": "0"}, "`std` is 0; it must be one number, or a list of three, all above 0"),
        ({"mean": "[1, 2]"}, "`mean` is"),
        ({"mean": "nan"}, "`mean` is"),
        ({"dimension": '"512"'}, "`dimension` is '512'"),
        ({"margin_px": "5"}, "`margin_px` is only for"),
        ({"alignment": '"box"', "margin_px": "112"}, "must be below input_size"),
        ({"color": '"RGB"'}, "`color` is not a key; the keys are"),
        ({"sha256": '"abc"'}, "`files.sha256` is 'abc'; it must be 64 hex digits"),
        ({"file": None}, "`file` is missing"),
        ({"metric": '"l2"'}, '"cosine"'),
        ({"runtime": '"tflite"'}, '"torch-inception-resnet-v1", "onnx"'),
        ({"thresholds": "{ verify = 3 }"}, "`thresholds.verify` is 3"),
        ({"name": '"a b"'}, "`name` is 'a b'"),
        ({"bundled": "true"}, "not for your own cards"),
        ({"input_size": "]"}, "is not TOML"),
    ],
)
def test_wrong_cards_say_what_is_wrong(
    tmp_path: Path, changes: dict[str, str | None], message: str
) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(ConfigError) as caught:
        load_card(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_unknown_names_list_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="facenet-casia-webface, facenet-vggface2, mtcnn, sface"):
        find_card("arcface")
    with pytest.raises(ConfigError, match="does not exist"):
        find_card(str(tmp_path / "a.onnx"))
    (tmp_path / "a.onnx").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"a\.toml"):
        find_card(str(tmp_path / "a.onnx"))
    with pytest.raises(ConfigError, match=r"of kind detector.* facenet-vggface2, sface$"):
        load_embedder("mtcnn")


def call(*words: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["weights", *words])
    code: int = args.func(args)
    return code


def test_the_command_lists_and_verifies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    where = ("--weights-dir", str(tmp_path))
    assert call("list", *where) == 0
    assert "facenet-vggface2" in capsys.readouterr().out
    assert call("list", "--json", *where) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["sface"]["state"] == "bundled"
    assert rows["facenet-vggface2"]["state"] == "missing"
    assert call("verify", *where) == 0
    capsys.readouterr()
    (tmp_path / "20180402-114759-vggface2.pt").write_bytes(b"not the weights")
    assert WeightStore(tmp_path).state(find_card("facenet-vggface2")) == "cached"
    assert call("verify", *where) == 6
    assert "WRONG: SHA-256" in capsys.readouterr().out


def test_the_command_fetches_from_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mirror").mkdir()
    name = find_card("facenet-casia-webface").files[0].name
    (tmp_path / "mirror" / name).write_bytes(b"weights")
    cache = tmp_path / "cache"
    options = ("--weights-dir", str(cache), "--weights-url", str(tmp_path / "mirror"))
    assert call("fetch", "facenet-casia-webface", "sface", *options) == 0
    assert str(cache / name) in capsys.readouterr().out
    assert (cache / name).read_bytes() == b"weights"
    with pytest.raises(ConfigError, match="--all"):
        call("fetch", *options)


@pytest.mark.parametrize(
    "text",
    ["a = " + "[" * 200_000, "a = " + "9" * 5_000, "# " + "x" * (1 << 20), "a." * 20_000 + "b = 1",
     "['a b' . " + '"c"  .  ' * 20_000 + "d]"],
    ids=["lists", "digits", "size", "keys", "quoted"],
)  # fmt: skip
def test_bombs_are_refused_before_they_grow(tmp_path: Path, text: str) -> None:
    card = tmp_path / "card.toml"
    card.write_text(text)
    tracemalloc.start()
    with pytest.raises(ConfigError, match=r"card\.toml (is not TOML|has)"):
        load_card(card)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 64 << 20
