"""A lake with everything that a report shows, and with names that try to break its pages."""

import hashlib
import json
from datetime import datetime
from pathlib import Path

import pyarrow as pa
from PIL import Image

from pipeline.dedupe.duplicates import TABLE, Duplicates
from pipeline.lake import schema
from pipeline.lake.store import LakeStore, Models
from pipeline.people import People, actions
from tests.support.photo_lakes import thumbnail
from tests.support.pictures import encoded

SCRIPT = "<script>alert(1)</script>"
HOSTILE = [
    SCRIPT,
    '"><img src=x onerror=alert(2)>',
    "' onmouseover='alert(3)",
    "../../etc/passwd",
    "javascript:alert(4)",
    "x" * 4000,
    "مرحبا \u202e gpj.exe",
    "👩‍👩‍👧 party",
    "{{ 7 * 7 }}{% raw %}",
    "line\nfeed\x00null",
    "</title></style></main>",
    "&lt;b&gt;",
]
ANN, BOB, HIDDEN, ALONE = (
    "aaaa1111aaaa1111",
    "bbbb2222bbbb2222",
    "cccc3333cccc3333",
    "dddd4444dddd4444",
)
# A person id that would leave the folder, were it taken for a name.
ESCAPE = "../../outside"
# Who the second faces of the first photos are.
OTHERS = [BOB, BOB, BOB, HIDDEN, HIDDEN, ALONE, ESCAPE, ESCAPE, None]


def ids(names):
    return [hashlib.blake2b(name.encode(), digest_size=16).hexdigest() for name in names]


def lake_of(folder, thumbnails=True, clusters=True, photos=True):
    """Write a lake: a face of Ann on each photo, and of Bob on the first three; two errors."""
    lake = LakeStore(str(folder))
    lake.claim(Models("mtcnn@1", f"hostile{SCRIPT}@1", 4))
    source = f"{folder}-photos" if photos else "/gone"
    names = [f"{name}-{number}.jpg" for number, name in enumerate(HOSTILE)]
    data = encoded(Image.new("RGB", (320, 240), (90, 120, 200)))
    if photos:
        Path(source).mkdir(parents=True, exist_ok=True)
        (Path(source) / "fine.jpg").write_bytes(data)
        names.append("fine.jpg")
    images = [
        {"image_id": i, "uri": f"{source}/{name}", "shard": source, "bytes": len(data),
         "width": 320, "height": 240, "format": "JPEG", "camera": HOSTILE[n % 3], "run_id": "r",
         "taken_at": datetime(2001 + n, 5, 1) if n % 3 else None, "faces": 1,
         "sha256": hashlib.sha256(data).hexdigest()}
        for n, (i, name) in enumerate(zip(ids(names), names, strict=True))
    ]  # fmt: skip
    bad = [
        {"image_id": i, "uri": f"{source}/bad{name}", "shard": source, "bytes": 3, "run_id": "r",
         "error": "corrupt", "error_detail": f"not a JPEG: {name}"}
        for i, name in zip(ids(["bad1", "bad2"]), HOSTILE[:2], strict=True)
    ]  # fmt: skip
    faces = [
        {"face_id": f"{row['image_id']}-{k}", "image_id": row["image_id"], "uri": row["uri"],
         "box": [100, 50, 160, 120], "landmarks": [0.0] * 10, "score": 0.9 + n / 1000,
         "size_px": 60.0 + n, "quality": 0.5, "sharpness": 10.0 + n, "embedding": [1, 0, 0, 0],
         "thumbnail": thumbnail(n) if thumbnails else None, "detector": "mtcnn@1",
         "embedder": "hostile@1", "run_id": "r"}
        for n, row in enumerate(images) for k in range(2 if n < 9 else 1)
    ]  # fmt: skip
    lake.publish_part(
        pa.Table.from_pylist(images + bad, schema.IMAGES),
        pa.Table.from_pylist(faces, schema.faces_schema(4)),
    )
    lake.publish_json("runs/r.json", RUN)
    lake.folder.publish("runs/broken.json", b"{")
    if clusters:
        _people(lake, [face["face_id"] for face in faces])
        _duplicates(lake, [row["image_id"] for row in images])
    return lake


RUN = {
    "run_id": f"r{SCRIPT}", "status": "finished", "seconds": 2.0, "images": 4, "faces": 6,
    "passed_over": {SCRIPT: 3}, "notices": [SCRIPT], "damaged": None,
    "performance": {
        "phases": {"work": 1.5}, "bottleneck": "detect", "cores_busy": 0.5,
        "stages": {"detect": {"workers": 2, "images": 4, "seconds": 1.0, "cpu_seconds": None}},
    },
}  # fmt: skip


def _people(lake, faces):
    owners = {face: ANN if face.endswith("-0") else OTHERS[n // 2] for n, face in enumerate(faces)}
    members = [
        {"face_id": face, "image_id": face[:32], "person_id": owner, "confirmed": False,
         "tier": "attach" if n == 0 else "core", "reason": SCRIPT if n == 0 or not owner else None,
         "similarity": 0.5 + n / 100, "confidence": 0.3 if n == 0 else 0.95, "run_id": "r"}
        for n, (face, owner) in enumerate(owners.items())
    ]  # fmt: skip
    persons = []
    for person in dict.fromkeys(filter(None, owners.values())):
        face_ids = [row["face_id"] for row in members if row["person_id"] == person]
        persons.append(
            {"person_id": person, "hidden": False, "faces": len(face_ids),
             "core_faces": len(face_ids),
             "images": len(face_ids), "cover_face_id": face_ids[0], "exemplars": face_ids[:8],
             "confidence": 0.9, "mean": [0.0] * 4, "run_id": "r"}
        )  # fmt: skip
    of_ann = [row["face_id"] for row in members if row["person_id"] == ANN]
    # her last face is none of those that her name speaks of: nobody has said that it is hers
    suggestions = [
        {"person_a": a, "person_b": b, "face_a": of_ann[0], "face_b": of_ann[-1], "kind": kind,
         "similarity": 0.5, "threshold": 0.5, "doubt": 0.9, "run_id": "r"}
        for a, b, kind in ((ANN, BOB, "apart"), (ANN, ANN, "merged"), (BOB, ALONE, "apart"))
    ]  # fmt: skip
    people = People(lake)
    people.publish(
        "r",
        [pa.Table.from_pylist(members, schema.CLUSTERS)],
        [pa.Table.from_pylist(persons, schema.people_schema(4))],
        pa.Table.from_pylist(suggestions, schema.SUGGESTIONS),
        {},
    )
    actions.name(people, ANN, f"Ann {SCRIPT}", "")
    if any(row["person_id"] == HIDDEN for row in members):
        actions.hide(people, [HIDDEN], "")


def _duplicates(lake, images):
    rows = [
        {"image_id": image, "group_id": "g", "kind": "near" if n else "kept", "run_id": "r",
         "distance": 4 if n else None, "keep": not n, "reason": f"because {SCRIPT}"}
        for n, image in enumerate(images[-4:])
    ]  # fmt: skip
    Duplicates(lake).publish("r", {TABLE: pa.Table.from_pylist(rows, schema.DUPLICATES)}, {})


def evaluation(folder):
    """Write what `facelake evaluate` would, and what it would not."""
    folder.mkdir()
    Image.new("RGB", (80, 60), (250, 250, 250)).save(folder / "roc.png")
    (folder / "roc.svg").write_text("<svg onload='alert(5)'/>")
    (folder / "alone.svg").write_text(
        "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'>"
        "<script>alert(6)</script></svg>"
    )
    (folder / "fake.png").write_text("<script>")
    result = {
        "lake": "/nowhere",
        "accuracy": 0.987654,
        SCRIPT: SCRIPT,
        "intervals": {"accuracy": [0.98, 0.99]},
    }
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "list.json").write_text("[1]")
    (folder / "broken.json").write_text("{")
