"""Photos for benchmarks: the examples, and the research sets under FACELAKE_DATA."""

import os
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.support.decoding import decode

EXAMPLES = Path(__file__).parents[2] / "examples" / "photos"


def data_folder() -> Path:
    """Return FACELAKE_DATA, or end with a message."""
    folder = os.environ.get("FACELAKE_DATA", "")
    if not folder or not Path(folder).is_dir():
        sys.exit("Set FACELAKE_DATA to the folder that holds lfw-dev/ and wild-dev/")
    return Path(folder)


def examples() -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and pixels of the example photos."""
    for path in sorted(EXAMPLES.iterdir()):
        if path.suffix in {".jpg", ".png"}:
            yield path.name, decode(path.read_bytes()).pixels


def shards(name: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield key and pixels of every photo in the tars of `lfw-dev` or `wild-dev`."""
    for key, data in shard_files(name):
        yield key, decode(data).pixels


def shard_files(name: str) -> Iterator[tuple[str, bytes]]:
    """Yield key and bytes of every photo in the tars of `lfw-dev` or `wild-dev`."""
    for path in sorted((data_folder() / name).glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                if member.name.endswith(".jpg"):
                    yield member.name.removesuffix(".jpg"), archive.extractfile(member).read()
