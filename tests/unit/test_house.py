"""The plan of the code: few rooms, short functions, every room in docs/architecture.md."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOUSE = ROOT / "pipeline"
MOST_LINES, MOST_PARAMETERS = 60, 6
# Signatures of facenet-pytorch, whose users call them by place and by name.
PUBLISHED = {
    "pipeline/models/facenet/drop_in/mtcnn.py:__init__",
    "pipeline/models/facenet/drop_in/mtcnn.py:select_boxes",
    "pipeline/models/facenet/drop_in/training.py:pass_epoch",
}


def entries():
    names = [path for path in HOUSE.iterdir() if not path.name.startswith(("__pycache__", "."))]
    folders = {path.name for path in names if path.is_dir() and any(path.glob("*.py"))}
    return folders, {path.name for path in names if path.suffix == ".py"}


def test_the_hall_is_not_crowded():
    folders, files = entries()
    assert len(folders) <= 16
    assert len(files) <= 8


def test_every_room_is_described():
    folders, files = entries()
    text = (ROOT / "docs" / "architecture.md").read_text()
    for name in (*(f"{folder}/" for folder in folders), *(files - {"__init__.py"})):
        assert f"`{name}`" in text, f"docs/architecture.md does not say what {name} is"
    for place in ("jobs/", "tests/", "benchmarks/"):
        assert f"`{place}`" in text


def test_tests_mirror_the_rooms():
    folders, _ = entries()
    mirrored = {path.name for path in (ROOT / "tests" / "unit").iterdir() if path.is_dir()}
    assert mirrored - {"__pycache__"} <= folders
    assert folders - mirrored <= {"jobs"}


def functions():
    for path in sorted(HOUSE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(ROOT)}:{node.name}", node


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    spelled = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return len([one for one in spelled if one.arg not in ("self", "cls")])


def test_functions_are_short():
    lines = [name for name, node in functions() if node.end_lineno - node.lineno >= MOST_LINES]
    assert lines == []


def test_functions_take_few_parameters():
    assert {name for name, node in functions() if parameters(node) > MOST_PARAMETERS} == PUBLISHED
