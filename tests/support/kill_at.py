"""Kills a command before or after its n-th write, and tells what the next run makes of the lake.

    python -m tests.support.kill_at FOLDER COMMAND [N ...]

makes a small archive and its lake in FOLDER, once for each n, for every n without a choice. It
prints a line of JSON for each. Writes are what goes through `storage.folder`: every file of a lake.
"""

import io
import itertools
import json
import os
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.commands.main import main
from pipeline.config import DecodeConfig, IndexConfig
from pipeline.executor.index import prepare_models
from pipeline.executor.progress import Watch
from pipeline.lake import lock, schema
from pipeline.lake.store import LakeStore
from pipeline.library import Lake
from pipeline.stages.decode import Decode
from pipeline.storage.folder import Folder
from tests.support.builders import planned, put, read_all
from tests.support.review_lakes import jpeg
from tests.support.synthetic import Archive

PEOPLE, EACH = 4, 4
WRITES = ("publish", "publish_by", "create", "remove")
COMMANDS = {
    "index": ["index", "{folder}/p", "--output", "{folder}/lake", "--embedder", "sface", "--plain"],
    "cluster": ["cluster", "{folder}/lake", "--full"],
    "dedupe": ["dedupe", "{folder}/lake", "--full"],
    "report": ["report", "{folder}/lake"],
    "forget": ["forget", "{folder}/lake", "--person", "Ann", "--yes"],
    "check": ["check", "{folder}/lake", "--repair"],
    "prune": ["prune", "{folder}/lake"],
    "search-index": ["search-index", "{folder}/lake"],
}
TABLES = {
    "images": ["image_id", "uri", "sha256", "faces", "error"],
    "gone": ["image_id", "uri"],
    "faces": ["face_id", "uri", "box"],
    "clusters": ["face_id", "tier"],
    "people": ["name", "faces", "images"],
    "duplicates": ["image_id", "kind", "keep"],
}


def make(folder: Path) -> None:
    """Make an archive, its lake with people, a name and duplicates, and then change the archive."""
    names = [f"p/{person}/{k}.jpg" for person in range(PEOPLE) for k in range(EACH)]
    put(folder, {name: jpeg(k) for k, name in enumerate(names)})
    shutil.copy(folder / names[0], folder / "p" / "copy.jpg")
    config = IndexConfig(inputs=(f"{folder}/p",), output=f"{folder}/lake", embedder="sface")
    models, lake = prepare_models(config, Watch()), LakeStore(f"{folder}/lake")
    lake.claim(models)
    rows, _ = read_all(planned(folder / "p"))
    images = pa.concat_tables(Decode(DecodeConfig(), isolate=False)(rows)).to_pylist()
    label = np.arange(len(images)) // EACH % PEOPLE
    vectors = Archive(models.dimension, 0).faces(label)
    for start in range(0, len(images), 6):
        part = images[start : start + 6]
        table = pa.Table.from_pylist(
            [{k: v for k, v in row.items() if k in schema.IMAGES.names}
             | {"faces": 1, "run_id": "20200101T000000-a"} for row in part], schema.IMAGES,
        )  # fmt: skip
        faces = [
            {"face_id": f"{row['image_id']}-0", "image_id": row["image_id"], "uri": row["uri"],
             "box": [9.0, 9.0, 90.0, 90.0], "landmarks": [0.0] * 10, "score": 1.0, "size_px": 81.0,
             "embedding": vectors[start + k].tolist(), "detector": models.detector,
             "embedder": models.embedder, "run_id": "20200101T000000-a"}
            for k, row in enumerate(part)
        ]  # fmt: skip
        lake.publish_part(table, pa.Table.from_pylist(faces, schema.faces_schema(models.dimension)))
    opened = Lake(f"{folder}/lake")
    opened.cluster(ray="never")
    person = max(opened.people.to_arrow().to_pylist(), key=lambda row: row["faces"])
    opened.people.name(person["person_id"], "Ann")
    opened.dedupe(ray="never")
    _change(folder)


def _change(folder: Path) -> None:
    """Leave photos that are gone, one that will come back, moved ones, and half-written files."""
    archive, out = folder / "p", folder / "out.jpg"
    (archive / "0" / "1.jpg").rename(out)
    (archive / "1" / "1.jpg").unlink()
    _quiet(["index", f"{folder}/p", "--output", f"{folder}/lake", "--embedder", "sface"])
    out.rename(archive / "back.jpg")
    (archive / "2").rename(archive / "two")
    (archive / "3" / "2.jpg").unlink()
    half = folder / "lake" / "faces" / f".part-1.parquet.{'0' * 32}.tmp"
    half.write_bytes(b"half")


def _quiet(arguments: list[str]) -> int:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return main(arguments)


def state(folder: Path) -> dict[str, object]:
    """Return what a lake holds, and what is wrong with it."""
    lake = Lake(f"{folder}/lake")
    tables = {
        name: sorted(map(str, getattr(lake, name).to_arrow(columns).to_pylist()))
        for name, columns in TABLES.items()
    }
    wrong = sorted({finding.kind for finding in lake.check().findings})
    return {
        **tables,
        "wrong": wrong,
        "corrections": len(lake.store.folder.child("constraints").files()),
    }


def killing(number: int, after: bool) -> None:
    """Let this process end before or after its `number`-th write, counted from 0."""
    writes = itertools.count()

    def counted(method):
        def call(*arguments):
            mine = next(writes) == number
            if mine and not after:
                os._exit(9)
            result = method(*arguments)
            if mine:
                os._exit(9)
            return result

        return call

    for name in WRITES:
        setattr(Folder, name, counted(getattr(Folder, name)))


def in_child(work) -> tuple[int, object]:
    """Return how a child that does `work` ended, and what it returned."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            answer = json.dumps(work()).encode()
        except BaseException as error:  # told to the parent
            answer = json.dumps(f"{type(error).__name__}: {error}").encode()
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(answer)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), json.loads(answer) if answer else None


def run(root: Path, command: str, numbers: list[int] | None) -> None:
    """Kill the command at each write, run it again, and print what differs from an uncut run."""
    made = root / "made"
    lock.SETTLE_S = 0.01  # nobody else takes over the lock of a killed run
    # imported once: each child would take seconds for them
    import scipy.stats  # noqa: F401
    import torch  # noqa: F401

    def again(name: str) -> Path:
        """A path of the same length, for places stand in the tables."""
        shutil.rmtree(root / "case", ignore_errors=True)
        shutil.copytree(made, root / "case", symlinks=True)
        return root / "case"

    (root / "case").mkdir()
    in_child(lambda: make(root / "case"))
    shutil.move(root / "case", made)
    case = again("reference")
    arguments = [text.format(folder=case) for text in COMMANDS[command]]
    in_child(lambda: _quiet(arguments))
    _, wanted = in_child(lambda: state(case))
    for number in numbers if numbers is not None else range(10_000):
        for after in (False, True):
            again(str(number))
            ended, _ = in_child(lambda: (killing(number, after), _quiet(arguments)))  # noqa: B023
            in_child(lambda: _quiet(arguments))
            _, found = in_child(lambda: state(case))
            found = found if isinstance(found, dict) else {"error": found}
            line = {
                "command": command,
                "write": number,
                "after": after,
                "killed": ended == 9,
                "differs": [name for name in wanted if found.get(name) != wanted[name]],
            }
            print(json.dumps(line), flush=True)
        if ended != 9:
            return


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2], [int(text) for text in sys.argv[3:]] or None)
