"""The library as its documents show it: every snippet and the notebook run as they stand."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from pipeline import index

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT / "examples" / "photos"
NEEDS = {"lance": "pylance", "onnx": None}
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# What the documents suppose: labels and scores to measure, a lake of Lance, weights of FaceNet and
# SSCD, for which a small network stands in.
BEFORE = {
    "duplicates.md": "import torch\n"
    "network = torch.nn.Sequential(torch.nn.AvgPool2d(80), torch.nn.Flatten())\n"
    "traced = torch.jit.trace(network, torch.zeros(1, 3, 320, 320))\n"
    "traced.save('sscd_disc_mixup.torchscript.pt')\n",
    "facenet.md": "from pathlib import Path\nfrom tests.support.facenet import stand_in\n"
    "stand_in(Path())\n",
    "evaluation.md": "open('truth.csv', 'w').write('image,label\\nobama-blue-room,Obama\\n"
    "obama-2009-speech,Obama\\nbiden-official-portrait,Biden\\n')\n"
    "import numpy as np\nscores = np.array([.9, .8, .3, .1])\n"
    "same = np.array([True, True, False, False])\n",
    "training.md": "from pipeline import index\nfrom tests.support.examples import labels\n"
    "index('photos', 'family-lake', embedder='sface')\nlabels('family-lake', 'who.csv')\n",
    "search.md": "import pytest\npytest.importorskip('lance')\n"
    "from pipeline import Lake\nLake('demo-lake').export_vectors('faces.lance')\n",
}


def snippets(document: Path) -> list[str]:
    found = re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL)
    return [dedent(code) for code in found]  # some stand in lists


def run(code: str, folder: Path, cluster) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"RAY_ADDRESS": cluster.address, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def demo(cluster, tmp_path_factory):
    """A folder with all that the documents name: photos, a lake with duplicates."""
    folder = tmp_path_factory.mktemp("documents")
    shutil.copytree(PHOTOS, folder / "photos")
    for name, photo in {
        "photo.jpg": "obama-2012-closeup.jpg",
        "a.jpg": "obama-2009-speech.jpg",
        "b.jpg": "obama-blue-room.jpg",
        "b.png": "obama-2009-speech-rgba.png",
    }.items():
        shutil.copy(PHOTOS / photo, folder / name)
    lake = index(folder / "photos", folder / "demo-lake", embedder="sface")
    lake.dedupe(ray="never")
    return folder


@pytest.mark.parametrize(
    "document", [d for d in DOCUMENTS if snippets(d)], ids=lambda path: path.name
)
def test_every_snippet_runs(document, demo, cluster) -> None:
    if "import lance" in "".join(snippets(document)):
        pytest.importorskip("lance", reason="pylance is not installed (facelake[lance])")
    if not (demo / "lake").exists() and document.name != "README.md":
        shutil.copytree(demo / "demo-lake", demo / "lake")
    code = BEFORE.get(document.name, "") + "\n".join(snippets(document))
    done = run(code, demo, cluster)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_notebook_runs(cluster, tmp_path) -> None:
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "photos").symlink_to(PHOTOS)
    cells = json.loads((ROOT / "examples" / "photos_to_people.ipynb").read_text())["cells"]
    assert all(not cell.get("outputs") for cell in cells)
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    done = run("\n".join(code), tmp_path, cluster)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "15 photos, 15 faces" in done.stdout
    assert "Barack Obama 1.0" in done.stdout
    assert "is a copy of" in done.stdout
    page = (tmp_path / "notebook-lake" / "report" / "people.html").read_text()
    assert "Barack Obama" in page
