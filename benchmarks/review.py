"""The review page of a large lake: seconds to start, to open each page and to correct, and memory.

    python -m benchmarks.review [--faces 100000] [--suggestions 5000] [--folder DIR] [--browser]

Faces are synthetic (tests/support/synthetic.py), with thumbnails of the usual 3 KB, and grouped as
they were drawn; nothing is clustered, and there are no photos. The server is the real one, a
process of its own; it is asked over loopback as a browser asks, pictures included, each page by
itself and twice. `--browser` opens it in a real Chromium as well, see benchmarks/review_browser.py.
"""

import argparse
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
from PIL import Image

from benchmarks import review_browser
from pipeline.lake import schema
from pipeline.lake.store import LakeStore
from pipeline.people.log import Statement, append
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


def dates(count):
    """Return when photos were taken: over ten years."""
    seconds = np.random.default_rng(2).integers(0, 10 * 365 * 86_400, count)
    return np.datetime64("2014-01-01", "ms") + seconds.astype("timedelta64[s]")


def make(folder, count, suggested):
    """Write a lake of faces whose people are those that were drawn; every tenth has a name."""
    archive, pictures = Archive(DIMENSION), thumbnails()
    person = archive.long_tail(count)
    vectors = archive.faces(person)
    write_lake(folder, vectors, [f"{i}.jpg" for i in range(count)], part=PART,
               thumbnail=lambda i: pictures[i % THUMBNAILS], taken_at=dates(count))  # fmt: skip
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
    append(store, [Statement("name", row["exemplars"], (), row["person_id"], row["name"])
                   for row in people.to_pylist() if row["name"]], "made")  # fmt: skip
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
    for picture in re.findall(r'src="(/thumbs/[^"]+)"', page.text):
        assert client.get(picture).status_code == 200
    return took, time.perf_counter() - start - took, page.text


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--suggestions", type=int, default=5_000)
    parser.add_argument("--folder", help="keep the lake here, use it if it is there")
    parser.add_argument("--browser", action="store_true", help="in a real Chromium as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(options.folder or aside) / "lake"
        if not folder.exists():
            make(folder, options.faces, options.suggestions)
        for file in sorted((folder / "constraints").iterdir())[1:]:  # of a run before
            file.unlink()
        with running(folder) as (client, address, pid):
            ask(client)
            tell_memory(pid)
        if options.browser:
            with running(folder) as (_, address, pid):
                review_browser.look(address)
                tell_memory(pid)


@contextmanager
def running(folder):
    """Start the server on a lake; give a client, the address with the token, and its process."""
    words = [sys.executable, "-m", "pipeline.commands.main", "review", str(folder), "--no-browser"]
    start = time.perf_counter()
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ)
    try:
        server.stdout.readline()
        address = server.stdout.readline().strip()
        base, token = address.split("/?token=")
        client = httpx.Client(base_url=base, follow_redirects=True, timeout=60)
        client.get(f"/?token={token}")
        print(f"start until the first page: {time.perf_counter() - start:.1f} s")
        tell_memory(server.pid)
        yield client, address, server.pid
    finally:
        server.terminate()
        server.wait(20)


def tell_memory(pid):
    """Print what a server holds."""
    now, most = memory_mb(pid, "VmRSS"), memory_mb(pid, "VmHWM")
    print(f"memory of the server: {now:.0f} MB, peak {most:.0f} MB")


def ask(client):
    """Open every page twice, and correct."""
    front = client.get("/").text
    person, other = re.findall(r'href="(/people/[0-9a-f]{16})"', front)[:2]
    face = re.search(r'data-id="([0-9a-f]{32}-[0-9]+)"', client.get(f"{person}?view=faces").text)[1]
    print(f"{'page':28} {'first':>8} {'again':>8} {'pictures':>8} {'again':>8}   seconds")
    for name, path in (
        ("people", "/"), ("people, page 200", "/?page=200"), ("people, by name", "/?q=person 77"),
        ("people, order of names", "/?sort=name"), ("people, latest", "/?sort=recent"),
        ("people without a name", "/?show=unnamed"),
        ("largest person, photos", person), ("largest person, faces", f"{person}?view=faces"),
        ("largest person, page 20", f"{person}?view=faces&page=20"),
        ("photos", "/photos"), ("photos, page 500", "/photos?page=500"),
        ("photos of two", f"/photos?with={person[8:]}&without={other[8:]}"),
        ("photo", f"/photos/{face[:32]}"),
        ("photo of somebody", f"/photos/{face[:32]}?with={person[8:]}"),
        ("face", f"/faces/{face}"), ("questions", "/questions"),
        ("same person?", "/questions?kind=same"), ("who is this?", "/questions?kind=who"),
        ("which of these?", "/questions?kind=batch"),
        ("search by face", f"/search?face={face}"), ("rejected", "/rejected"),
        ("copies", "/duplicates"), ("history", "/history"), ("changes", "/changes?since=x@y"),
    ):  # fmt: skip
        first, again = opened(client, path), opened(client, path)
        print(f"{name:28} {first[0]:8.3f} {again[0]:8.3f} {first[1]:8.3f} {again[1]:8.3f}")
    act(client, person)


def act(client, person):
    """Correct, and time each answer: the answer to a form is the page that shows it."""
    csrf = re.search(r'name="csrf" value="([0-9a-f]+)"', client.get("/").text)[1]

    def sent(path, **fields):
        start = time.perf_counter()
        page = client.post(path, data={"csrf": csrf, **fields})
        took = time.perf_counter() - start
        assert page.status_code == 200, page.text[-400:]
        return took, page.text

    def tell(what, took):
        print(f"{what}: median {np.median(took):.3f} s, longest {max(took):.3f} s")

    tell("a name, until its page", [
        sent(f"{person}/name", next=person, name=f"Somebody {number}")[0] for number in range(20)
    ])  # fmt: skip
    ids = re.findall(r'href="/people/([0-9a-f]{16})"', client.get("/?show=unnamed&page=3").text)
    merged, undone = [], []
    for number in range(0, 30, 3):
        took, page = sent("/merge", next="/", person=ids[number : number + 3])
        merged.append(took)
        undone.append(sent("/undo", next="/", id=re.search(r'name="id" value="(\w+)"', page)[1])[0])
    tell("three merged, until the list", merged)
    tell("that undone, until the list", undone)
    faces = re.findall(r'data-id="([0-9a-f]{32}-[0-9]+)"', client.get(f"{person}?view=faces").text)
    tell("three faces confirmed, until the page", [
        sent(f"{person}/faces", next=f"{person}?view=faces", face=faces[at : at + 3],
             do="confirm")[0] for at in range(0, 30, 3)
    ])  # fmt: skip
    page = client.get("/questions").text
    took = []
    for number in range(20):
        wanted = re.search(
            r'name="id" value="([0-9a-f]+)"', page[page.index('action="/questions"') :]
        )[1]
        fields = {"answer": "no" if number % 2 else "yes"}
        if 'name="into"' in page:
            fields = {"into": re.search(r'name="into" value="([^"]+)"', page)[1]}
        if 'type="checkbox"' in page:
            fields["person"] = re.findall(r'name="person" value="([^"]+)"[^>]* checked', page)
            fields["answer"] = "yes" if fields["person"] else "no"
        one, page = sent("/questions", next="/questions", id=wanted, **fields)
        took.append(one)
    tell("an answer, until the next question", took)
    for name, path in (("people", "/"), ("largest person", person), ("history", "/history")):
        print(f"{name} after all that: {opened(client, path)[0]:.3f} s")


if __name__ == "__main__":
    main()
