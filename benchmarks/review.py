"""The review page of a large lake: seconds to start, to open each page and to correct, and memory.

    python -m benchmarks.review [--faces 100000] [--suggestions 5000] [--folder DIR]

Faces are synthetic (benchmarks/synthetic.py), with thumbnails of the usual 3 KB, and grouped as
they were drawn; nothing is clustered. The server is the real one, a process of its own; it is asked
over loopback as a browser asks, pictures included, each page by itself and twice.
"""

import argparse
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.lake import schema
from pipeline.lake.store import LakeStore
from pipeline.people.store import People
from tests.support.synthetic import Archive, write_lake

DIMENSION, PART = 128, 1024
THUMBNAILS = 200


def thumbnails():
    """Return JPEGs of about 3 KB."""
    random = np.random.default_rng(0)
    made = []
    for _ in range(THUMBNAILS):
        small = random.integers(0, 255, (28, 28, 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(small).resize((112, 112), 3).save(out, "JPEG", quality=80)
        made.append(out.getvalue())
    return made


def make(folder, count, suggested):
    """Write a lake of faces whose people are those that were drawn; every tenth has a name."""
    archive, pictures = Archive(DIMENSION), thumbnails()
    person = archive.long_tail(count)
    vectors = archive.faces(person)
    write_lake(folder, vectors, [f"{i}.jpg" for i in range(count)], part=PART,
               thumbnail=lambda i: pictures[i % THUMBNAILS])  # fmt: skip
    store = People(LakeStore(str(folder)))
    table = store.lake.read("faces", ["face_id", "image_id", "uri"])
    number = np.array([int(uri[10:-4]) for uri in table["uri"].to_pylist()])
    owner, faces = person[number], table["face_id"].to_pylist()
    ids = [f"{one:016x}" for one in range(int(person.max()) + 1)]
    nulls = {f.name: pa.nulls(count, f.type) for f in schema.CLUSTERS}
    clusters = nulls | {
        "face_id": table["face_id"], "image_id": table["image_id"],
        "person_id": pa.array([ids[one] for one in owner]), "tier": pa.array(["core"] * count),
        "confidence": pa.array(np.full(count, 0.9, np.float32)),
        "similarity": pa.array(np.full(count, 0.7, np.float32)),
        "confirmed": pa.array([False] * count), "run_id": pa.array(["made"] * count),
    }  # fmt: skip
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(len(ids) + 1))
    rows = []
    for one, name in enumerate(ids):
        own_rows = order[starts[one] : starts[one + 1]]
        some = [faces[at] for at in own_rows[:8]]
        rows.append({
            "person_id": name, "name": f"Person {one}" if one % 10 == 0 else None, "hidden": False,
            "faces": len(own_rows), "core_faces": len(own_rows), "images": len(own_rows),
            "cover_face_id": some[0], "exemplars": some, "confidence": 0.9, "run_id": "made",
            "mean": vectors[number[own_rows]].mean(axis=0).tolist(),
        })  # fmt: skip
    people = pa.Table.from_pylist(rows, schema.people_schema(DIMENSION))
    random = np.random.default_rng(1)
    pairs = random.choice(len(ids), (suggested, 2))
    doubtful = [
        {"person_a": ids[a], "person_b": ids[b], "face_a": rows[a]["cover_face_id"],
         "face_b": rows[b]["cover_face_id"], "kind": "apart", "similarity": 0.4, "threshold": 0.4,
         "doubt": 0.5, "run_id": "made"}
        for a, b in pairs.tolist() if a != b
    ]  # fmt: skip
    whole = pa.table({f.name: clusters[f.name] for f in schema.CLUSTERS}, schema=schema.CLUSTERS)
    rows = pa.Table.from_pylist(doubtful, schema.SUGGESTIONS)
    store.publish("made", [whole], [people], rows, {"threshold": {}})
    print(f"{count:,} faces of {len(ids):,} people on {len(store.lake.parts())} parts")


def memory_mb(pid, what):
    """Return VmRSS or VmHWM of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) / 1024


def opened(client, path):
    """Return seconds for a page, for its pictures, and the page."""
    start = time.perf_counter()
    page = client.get(path)
    assert page.status_code == 200, (path, page.text[-400:])
    took = time.perf_counter() - start
    pictures = re.findall(r'src="(/thumbs/[^"]+)"', page.text)
    for picture in pictures:
        assert client.get(picture).status_code == 200
    return took, time.perf_counter() - start - took, page.text


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--suggestions", type=int, default=5_000)
    parser.add_argument("--folder", help="keep the lake here, use it if it is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(options.folder or aside) / "lake"
        if not folder.exists():
            make(folder, options.faces, options.suggestions)
        measure(folder)


def measure(folder):
    """Start the server on a lake and ask it."""
    words = [sys.executable, "-m", "pipeline.commands.main", "review", str(folder), "--no-browser"]
    start = time.perf_counter()
    running = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ)
    try:
        running.stdout.readline()
        address = running.stdout.readline().strip()
        base, token = address.split("/?token=")
        client = httpx.Client(base_url=base, follow_redirects=True, timeout=60)
        client.get(f"/?token={token}")
        print(f"start until the first page: {time.perf_counter() - start:.1f} s, "
              f"{memory_mb(running.pid, 'VmRSS'):.0f} MB")  # fmt: skip
        ask(client)
        print(f"memory: {memory_mb(running.pid, 'VmRSS'):.0f} MB, peak "
              f"{memory_mb(running.pid, 'VmHWM'):.0f} MB")  # fmt: skip
    finally:
        running.terminate()
        running.wait(20)


def ask(client):
    """Open every page twice, and correct."""
    front = client.get("/").text
    person = re.search(r'href="(/people/[0-9a-f]{16})"', front)[1]
    face = re.search(r'href="(/faces/[0-9a-f-]+)"', client.get(person).text)[1]
    csrf = re.search(r'name="csrf" value="([0-9a-f]+)"', front)[1]
    print(f"{'page':24} {'first':>8} {'again':>8} {'pictures':>8} {'again':>8}   seconds")
    for name, path in (
        ("people", "/"), ("people, page 200", "/?page=200"), ("people, by name", "/?q=person 77"),
        ("largest person", person), ("face", face), ("photo", f"/photos/{face[7:39]}"),
        ("questions", "/questions"), ("who is this", "/questions?kind=who"),
        ("search by face", f"/search?face={face[7:]}"), ("history", "/history"),
    ):  # fmt: skip
        first, again = opened(client, path), opened(client, path)
        print(f"{name:24} {first[0]:8.3f} {again[0]:8.3f} {first[1]:8.3f} {again[1]:8.3f}")
    # The form's answer is the page that shows it.
    took = []
    for number in range(20):
        start = time.perf_counter()
        data = {"csrf": csrf, "next": person, "name": f"Somebody {number}"}
        assert client.post(f"{person}/name", data=data).status_code == 200
        took.append(time.perf_counter() - start)
    print(f"a name, until its page: median {np.median(took):.3f} s, longest {max(took):.3f} s")
    start = time.perf_counter()
    opened(client, "/questions")
    print(f"questions after that: {time.perf_counter() - start:.3f} s")


if __name__ == "__main__":
    main()
