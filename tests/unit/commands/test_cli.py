import argparse
import os
import subprocess
import sys

import pytest

from pipeline.commands.index import index_config
from pipeline.commands.main import main, parser
from pipeline.config import DecodeConfig
from pipeline.lake.store import LakeStore, Models
from tests.support.builders import jpeg, put, tar_bytes


def subcommands(node, path=()):
    for action in node._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield (*path, name)
                yield from subcommands(child, (*path, name))
        elif not action.option_strings:  # what comes before the next word, such as LAKE
            path = (*path, action.metavar)


COMMANDS = [" ".join(path) for path in subcommands(parser())]


@pytest.fixture
def no_ray(monkeypatch):
    """Make `import ray` fail: what is tested here must not need it."""
    for name in [n for n in sys.modules if n == "pipeline.executor.dataset"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)


def run(capsys, *arguments):
    code = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def failed(capsys, *arguments):
    """Run, and return the exit code and the one line of the message."""
    code, _, err = run(capsys, *arguments)
    assert err.startswith("facelake: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return code, err


def test_there_are_commands():
    assert {"index", "weights", "weights list", "weights fetch", "schema"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([*command.split(), "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: facelake {command}")


def test_every_option_of_index_has_help_or_is_plain():
    root = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    for action in root.choices["index"]._actions:
        assert action.help or action.metavar, action.option_strings


def test_version_and_no_command(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2


def test_options_become_the_config():
    text = """index a b --output l --embedder sface --min-face-px 30 --thresholds .1 .2 .3
        --select largest --detection-side 800 --max-pixels 5 --max-bytes 6 --image-column i
        --key-column k --storage-option anon=true --detect-actors 2 --embed-gpus .5
        --no-thumbnails --device cpu --weights-dir w --image-timeout 7.5 --image-memory 99000000"""
    options = parser().parse_args(text.split())
    config = index_config(options, options.output)
    assert config.inputs == ("a", "b")
    assert config.detect.thresholds == (0.1, 0.2, 0.3)
    assert (config.detect.min_face_px, config.detect.selection) == (30, "largest")
    assert config.detect.detection_side == 800
    assert config.decode == DecodeConfig(max_pixels=5, timeout_s=7.5, memory_bytes=99_000_000)
    assert (config.read.max_bytes, config.read.image_column, config.read.key_column) == (
        6,
        "i",
        "k",
    )
    assert (config.pools.detect_actors, config.pools.embed_gpus) == (2, 0.5)
    assert (config.thumbnails, config.device, config.weights_dir) == (False, "cpu", "w")
    assert config.storage_options == {"anon": True}


def test_schema(capsys):
    code, out, _ = run(capsys, "schema", "--dimension", 7)
    assert code == 0
    assert "| image_id | string |" in out
    assert "[7]" in out


def test_dry_run_lists_what_would_be_read(tmp_path, capsys, no_ray):
    put(tmp_path, {"p/a.jpg": jpeg(), "p/s.tar": tar_bytes([]), "p/n.txt": "", "p/[b]/c.jpg": b""})
    put(tmp_path, {os.fsdecode(b"p/caf\xe9.jpg"): jpeg()})
    code, out, err = run(capsys, "index", tmp_path / "p", "--output", tmp_path / "l", "--dry-run")
    assert (code, err) == (0, "")
    assert f"{tmp_path}/p/a.jpg\n" in out
    assert f"{tmp_path}/p/[b]/c.jpg\n" in out
    assert f"{tmp_path}/p/s.tar\n" in out
    assert "caf" in out
    assert "Would read 3 loose images; 1 shards" in out
    assert "1 not an image (.txt)" in out
    assert not (tmp_path / "l").exists()


def test_what_cannot_be_used_is_one_line_and_a_code(tmp_path, capsys, no_ray):
    put(tmp_path, {"p/a.jpg": jpeg(), "empty/n.txt": ""})
    photos, lake = tmp_path / "p", tmp_path / "lake"
    for more in ([], ["--dry-run"]):
        code, err = failed(capsys, "index", tmp_path / "empty", "--output", lake, *more)
        assert (code, "No images under" in err) == (3, True)
        code, err = failed(capsys, "index", photos, "--output", photos / "lake", *more)
        assert (code, "lies inside the input" in err) == (2, True)
        code, err = failed(capsys, "index", tmp_path / "no", "--output", lake, *more)
        assert (code, "does not exist; check the path" in err) == (5, True)
        code, err = failed(capsys, "index", "", "--output", lake, *more)
        assert (code, "input is empty" in err) == (2, True)
        code, err = failed(
            capsys, "index", photos, "--output", lake, "--storage-option", "x", *more
        )
        assert (code, "not key=value" in err) == (2, True)
    assert not lake.exists()


def test_an_unknown_embedder_lists_the_known_ones(tmp_path, capsys, no_ray):
    put(tmp_path, {"p/a.jpg": jpeg()})
    arguments = ["index", tmp_path / "p", "--output", tmp_path / "lake"]
    code, err = failed(capsys, *arguments, "--embedder", "arcface")
    assert code == 2
    for name in ("facenet-vggface2", "facenet-casia-webface", "sface", "arcface"):
        assert name in err
    code, err = failed(capsys, *arguments, "--embedder", "mtcnn")
    assert (code, "kind detector" in err) == (2, True)
    code, err = failed(capsys, *arguments, "--detector", "sface")
    assert (code, "mtcnn" in err) == (2, True)
    code, err = failed(capsys, *arguments, "--embedder", tmp_path / "no.onnx")
    assert (code, "does not exist" in err) == (2, True)
    assert not (tmp_path / "lake").exists()


def test_a_lake_of_other_models_is_refused_before_anything_starts(tmp_path, capsys, no_ray):
    from tests.unit.lake.test_lake import rows

    put(tmp_path, {"p/a.jpg": jpeg()})
    lake = LakeStore(str(tmp_path / "lake"))
    lake.claim(Models("mtcnn@1", "other@2", 4))
    lake.publish_part(*rows(1))
    code, err = failed(
        capsys, "index", tmp_path / "p", "--output", tmp_path / "lake", "--embedder", "sface"
    )
    assert code == 4
    assert "made by mtcnn@1 and other@2" in err
    assert "--embedder" not in err


def test_an_output_that_is_a_file(tmp_path, capsys, no_ray):
    put(tmp_path, {"p/a.jpg": jpeg(), "lake": "a file"})
    code, _ = failed(
        capsys, "index", tmp_path / "p", "--output", tmp_path / "lake", "--embedder", "sface"
    )
    assert code == 5
    assert (tmp_path / "lake").read_text() == "a file"


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    put(tmp_path, {f"p/{i:05}-{'x' * 150}.jpg": b"" for i in range(700)})
    command = f"{sys.executable} -m pipeline.commands.main index {tmp_path}/p --output"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} {tmp_path}/l --dry-run | head -1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.endswith(".jpg\n")
    assert done.stderr == ""
