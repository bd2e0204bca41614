"""Measures runs over an archive that did not change, and over one that moved as a whole.

    FACELAKE_DATA=... python -m benchmarks.moving WORK

unpacks LFW into WORK, indexes and clusters it once, names the twenty largest people, and prints
what the next runs take and change: nothing new, all moved to another folder, all touched, a third
gone, and back again.
"""

import argparse
import json
import tarfile
import time
from pathlib import Path

import pyarrow.parquet as parquet

from pipeline import Lake, index
from tests.support.data import data_folder

NAMED = 20


def archive(work: Path) -> Path:
    """Return the folder of the photos; they are unpacked when they are not there yet."""
    folder = work / "archive"
    if not folder.exists():
        for shard in sorted((data_folder() / "lfw-dev").glob("*.tar")):
            with tarfile.open(shard) as photos:
                photos.extractall(folder, filter="data")
    return folder


def people(lake: Lake) -> set[tuple[str | None, int]]:
    """Return names and numbers of photos."""
    rows = lake.people.to_arrow(["name", "images", "person_id"]).to_pylist()
    return {(row["name"] or row["person_id"], row["images"]) for row in rows}


def timed(what: str, photos: Path, lake: Path) -> None:
    """Index, and print what it took and did."""
    before = {path.name for path in (lake / "runs").glob("*.json")}
    began = time.monotonic()
    index(photos, lake, embedder="sface")
    seconds = time.monotonic() - began
    (made,) = {path.name for path in (lake / "runs").glob("2*.json")} - before
    facts = json.loads((lake / "runs" / made).read_text())
    rows = sum(parquet.read_metadata(part).num_rows for part in (lake / "images").glob("*.parquet"))
    print(
        f"| {what} | {seconds:.1f} | {facts['images']} | {facts['moved']} | {facts['gone']} | "
        f"{facts['come_back']} | {rows:,} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    work = parser.parse_args().work
    photos, where = archive(work), work / "lake"
    index(photos, where, embedder="sface")  # in a used folder they lay elsewhere in the end
    lake = Lake(where)
    lake.cluster(full=True)
    largest = sorted(lake.people.to_arrow().to_pylist(), key=lambda row: -row["faces"])[:NAMED]
    for number, row in enumerate(largest):
        lake.people.name(row["person_id"], f"Person {number}")
    lake.cluster()
    lake.dedupe()
    named, copies = people(lake), len(lake.copies())
    print("| archive | seconds | decoded | moved | gone | back | rows |\n" + "|---" * 7 + "|")
    timed("unchanged", photos, where)
    photos = photos.rename(work / "moved")
    timed("moved as a whole", photos, where)
    print(f"people and names kept: {people(lake) == named}")
    print(f"copies kept: {len(lake.copies()) == copies}")
    for path in photos.rglob("*.jpg"):
        path.touch()
    timed("all files touched", photos, where)
    away = sorted(path for path in photos.iterdir())[::3]
    (work / "away").mkdir()
    for path in away:
        path.rename(work / "away" / path.name)
    timed("a third of the folders taken away", photos, where)
    for path in away:
        (work / "away" / path.name).rename(path)
    (work / "away").rmdir()
    timed("and put back", photos, where)
    lake.cluster()
    names = {f"Person {number}" for number in range(NAMED)}
    print(f"names kept: {names <= {name for name, _ in people(lake)}}")
    photos.rename(work / "archive")


if __name__ == "__main__":
    main()
