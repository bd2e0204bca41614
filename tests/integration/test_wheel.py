"""The wheel works without the repository: built, installed, and tried in an empty folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = ("pipeline", "examples", "jobs", "pyproject.toml", "README.md", "LICENSE", "NOTICE")


def done(*words: object, folder: Path) -> str:
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "RAY_ADDRESS")}
    got = subprocess.run([str(word) for word in words], cwd=folder, env=kept, timeout=300,
                         capture_output=True, text=True)  # fmt: skip
    assert got.returncode == 0, got.stdout + got.stderr
    return got.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, as a build leaves folders behind; without a download."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in NEEDED:
        one, copy = ROOT / name, folder / "source" / name
        copy.parent.mkdir(exist_ok=True)
        shutil.copytree(one, copy, symlinks=True) if one.is_dir() else shutil.copy(one, copy)
    done(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation",
         "--wheel-dir", folder, folder / "source", folder=folder)  # fmt: skip
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a new environment with the wheel, which sees the packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    done(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder)
    packages = sysconfig.get_path("purelib", vars={"base": str(folder)})
    Path(packages, "these.pth").write_text(sysconfig.get_path("purelib") + "\n")
    done(sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install",
         "--no-deps", "--no-index", wheel, folder=folder)  # fmt: skip
    return folder / "bin"


def test_demo_in_an_empty_folder(scripts, tmp_path) -> None:
    told = done(scripts / "facelake", "demo", folder=tmp_path)
    page = tmp_path / "demo-lake" / "report" / "index.html"
    assert told.rstrip().endswith(f"Open {page}")
    assert page.is_file()
    assert str(ROOT) not in told
    assert [path.name for path in tmp_path.iterdir()] == ["demo-lake"]


def test_credits_and_licences_travel_along(scripts) -> None:
    about = "from importlib.metadata import files; print(*files('facelake'), sep='\\n')"
    names = done(scripts / "python", "-c", about, folder=scripts)
    assert names.count("photos/CREDITS.md") == 2  # beside the photos, and among the licences
    for name in ("licenses/NOTICE", "licenses/LICENSE", "LICENSE-mtcnn.txt", "LICENSE-sface.txt"):
        assert name in names


def test_what_a_cluster_runs(scripts, tmp_path) -> None:
    job = "pipeline.commands.main"
    assert "--output LAKE" in done(scripts / "python", "-m", job, "index", "-h", folder=tmp_path)
