"""Arrow schemas of every table: the single source of truth for columns, types and units.

Each field's metadata holds `doc` (what it means) and, where there is one, `unit`. The README's
column tables are generated from here (`facelake schema --markdown`). The columns of `images` that
decoding fills are declared in `imaging.record`.
"""

from collections.abc import Sequence

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.imaging.phash import HASH_BYTES
from pipeline.imaging.record import columns

# Ranks of faces that people marked: detection finds nowhere near as many in a photo.
FIRST_MARKED = 1_000_000
# Marks that a photo ever has, those taken back included.
MOST_MARKED = 1_000
LANDMARK_NAMES = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")


def face_id_of(image_id: str, rank: int) -> str:
    """Return the id of a face by its rank in its image."""
    return f"{image_id}-{rank}"


def image_of(face_id: str) -> str:
    """Return the image_id of the image that a face is on."""
    return face_id.rpartition("-")[0]


def rank_of(face_id: str) -> int:
    """Return the rank of a face in its image, which its id ends with."""
    return int(face_id.rpartition("-")[2])


def is_marked(face_id: str) -> bool:
    """Return whether a person marked the face, where detection found none."""
    rank = face_id.rpartition("-")[2]
    return rank.isdecimal() and int(rank) >= FIRST_MARKED


def field(
    name: str, kind: pa.DataType, doc: str, unit: str = "", required: bool = False
) -> pa.Field:
    """Return an Arrow field that carries its documentation."""
    metadata = {"doc": doc} | ({"unit": unit} if unit else {})
    return pa.field(name, kind, nullable=not required, metadata=metadata)


_DECODED_FIELDS = [
    field(
        name,
        pa.binary(HASH_BYTES) if column.kind == "hash" else pa.type_for_alias(column.kind),
        column.doc,
        column.unit,
    )
    for name, column in columns().items()
    if column.stored
]
IMAGES = pa.schema(
    [
        field(
            "image_id",
            pa.string(),
            "hash of the image's place in its source",
            "32 hex digits",
            True,
        ),
        field(
            "uri", pa.string(), "where the bytes are; `archive#member` inside an archive", "", True
        ),
        field("shard", pa.string(), "the folder, archive or table it was read from"),
        field(
            "sha256",
            pa.string(),
            "of the encoded bytes; null when they could not be read",
            "64 hex digits",
        ),
        field("bytes", pa.int64(), "size of the encoded image", "bytes"),
        field(
            "file_version",
            pa.string(),
            "size and time of change, or ETag, of the file or archive as it was read; when it "
            "differs, it is read again; null when the storage does not say",
        ),
        *_DECODED_FIELDS,
        field(
            "turn",
            pa.int16(),
            "by how much the picture is turned clockwise to be upright, 0, 90, 180 or 270, as its "
            "faces tell; boxes and landmarks are in the picture as it is without",
            "degrees",
        ),
        field("faces", pa.int32(), "number of rows in `faces`; null when there is an error"),
        field("error", pa.string(), "null, or a code from the closed list"),
        field("error_detail", pa.string(), "what went wrong, for people"),
        field("run_id", pa.string(), "the run that wrote the row", "", True),
        field(
            "gone_since",
            pa.timestamp("ms", "UTC"),
            "when it was not found any more; null in `images`, set in `gone/images`",
        ),
    ]
)
# Columns that parts of lakes made before lack; their rows have null there.
ADDED_LATER = frozenset(
    {"taken_from", "taken_offset_min", "damaged_rows", "turn", "file_version", "gone_since"}
)


def is_of_images(found: pa.Schema) -> bool:
    """Whether a part of `images` has the columns of this version, or of one before."""
    fields = [f for f in IMAGES if f.name in found.names or f.name not in ADDED_LATER]
    return bool(found.equals(pa.schema(fields)))


def completed(images: pa.Table) -> pa.Table:
    """Return a part of `images` with the columns that it lacks, as nulls."""
    columns = {
        f.name: images[f.name] if f.name in images.column_names else pa.nulls(len(images), f.type)
        for f in IMAGES
    }
    return pa.table(columns, schema=IMAGES)


# What Detect and Embed know of a face before rows are exploded: one struct a face, in a list
# column of its image. `crop` is raw RGB, dropped once embedded.
BOX = pa.list_(pa.float32(), 4)
LANDMARKS = pa.list_(pa.float32(), 10)
FACE_MEASURES = [
    field(
        "box",
        BOX,
        "x1, y1, x2, y2 in the upright original; may reach past its border",
        "pixels",
        True,
    ),
    field(
        "landmarks",
        LANDMARKS,
        "x, y of left_eye, right_eye, nose, mouth_left, mouth_right",
        "pixels",
        True,
    ),
    field(
        "score",
        pa.float32(),
        "detector probability; 0 where it found nothing in a marked face",
        "0 to 1",
        True,
    ),
    field("size_px", pa.float32(), "shorter side of the box", "pixels", True),
    field(
        "sharpness", pa.float32(), "variance of the Laplacian of the grey aligned face at 112 px"
    ),
    field(
        "yaw",
        pa.float32(),
        "head turn estimated from the landmarks; positive: towards image right",
        "degrees",
    ),
    field(
        "roll", pa.float32(), "head tilt from the eyes; positive: clockwise in the image", "degrees"
    ),
    field("quality", pa.float32(), "score, size, sharpness and yaw in one figure", "0 to 1"),
]


def faces_schema(dimension: int) -> pa.Schema:
    """Return the schema of `faces` for vectors of `dimension` components."""
    return pa.schema(
        [
            field(
                "face_id",
                pa.string(),
                "image_id, a dash, and the face's rank in the image; from 1000000 on: a person "
                "marked it",
                "",
                True,
            ),
            field("image_id", pa.string(), "the row in `images`", "32 hex digits", True),
            field("uri", pa.string(), "where the image's bytes are", "", True),
            *FACE_MEASURES,
            field(
                "embedding", pa.list_(pa.float32(), dimension), "unit vector of the face", "", True
            ),
            field("embedding_norm", pa.float32(), "length of the vector before it was normalised"),
            field(
                "thumbnail", pa.binary(), "small JPEG of the aligned face; null when switched off"
            ),
            field("detector", pa.string(), "name and weights revision", "", True),
            field("embedder", pa.string(), "name and weights revision", "", True),
            field("run_id", pa.string(), "the run that wrote the row", "", True),
        ]
    )


CLUSTERS = pa.schema(
    [
        field("face_id", pa.string(), "the row in `faces`", "", True),
        field("image_id", pa.string(), "the row in `images`", "32 hex digits", True),
        field(
            "person_id",
            pa.string(),
            "the person it was grouped with, stable over runs; null for rejected faces",
            "16 hex digits",
        ),
        field("tier", pa.string(), "core, attach or rejected: what the face may link", "", True),
        field("reason", pa.string(), "why the tier is not core"),
        field(
            "similarity",
            pa.float32(),
            "average cosine to the person's other core faces; null for one alone",
            "-1 to 1",
        ),
        field(
            "confidence",
            pa.float32(),
            "share of such faces that are the person's, for one alone that are nobody else's; null "
            "when rejected",
            "0 to 1",
        ),
        field("confirmed", pa.bool_(), "whether somebody's correction put it there", "", True),
        field("run_id", pa.string(), "the run that wrote the row", "", True),
    ]
)


def people_schema(dimension: int) -> pa.Schema:
    """Return the schema of `people` for vectors of `dimension` components."""
    return pa.schema(
        [
            field("person_id", pa.string(), "opaque, stable over runs", "16 hex digits", True),
            field("name", pa.string(), "given by somebody; null when nobody has"),
            field("hidden", pa.bool_(), "whether somebody hid the person", "", True),
            field("faces", pa.int64(), "rows in `clusters`", "", True),
            field("core_faces", pa.int64(), "those that the mean is made of", "", True),
            field("images", pa.int64(), "different photos", "", True),
            field("cover_face_id", pa.string(), "the most central good face", "", True),
            field(
                "exemplars",
                pa.list_(pa.string()),
                "face ids that show the person's variety, at most 8, the cover first",
                "",
                True,
            ),
            field("first_taken_at", pa.timestamp("ms"), "of the photos with a date"),
            field("last_taken_at", pa.timestamp("ms"), "of the photos with a date"),
            field("confidence", pa.float32(), "mean confidence of the faces", "0 to 1", True),
            field(
                "mean",
                pa.list_(pa.float32(), dimension),
                "average of the core faces' vectors, not normalised",
                "",
                True,
            ),
            field("run_id", pa.string(), "the run that wrote the row", "", True),
        ]
    )


SUGGESTIONS = pa.schema(
    [
        field("person_a", pa.string(), "the larger one", "16 hex digits", True),
        field("person_b", pa.string(), "the other; the same one for a doubtful merge", "", True),
        field("face_a", pa.string(), "a face of the first side", "", True),
        field("face_b", pa.string(), "a face of the second side", "", True),
        field("kind", pa.string(), "apart: might be one person; merged: might be two", "", True),
        field("similarity", pa.float32(), "average cosine of the two sides", "-1 to 1", True),
        field("threshold", pa.float32(), "what sides of these sizes need", "-1 to 1", True),
        field(
            "doubt", pa.float32(), "1 at the threshold, falling with the distance", "0 to 1", True
        ),
        field("run_id", pa.string(), "the run that wrote the row", "", True),
    ]
)

CONSTRAINTS = pa.schema(
    [
        field("constraint_id", pa.string(), "of the correction", "32 hex digits", True),
        field("created_at", pa.timestamp("us", "UTC"), "when it was made", "", True),
        field(
            "kind",
            pa.string(),
            "same, different, name, not-a-face, a-face, hide, show, cover, mark, not-a-copy, "
            "keeper or undo",
            "",
            True,
        ),
        field(
            "faces",
            pa.list_(pa.string()),
            "face ids it speaks of; for `not-a-copy`: image ids",
            "",
            True,
        ),
        field(
            "others",
            pa.list_(pa.string()),
            "for `different`, `not-a-copy`: ids of the other side",
            "",
            True,
        ),
        field("person_id", pa.string(), "the person it was made on; keeps the id"),
        field(
            "value",
            pa.string(),
            "the name; for `undo`: the constraint_id taken back; for `mark`: the box and the size "
            "of the photo, JSON",
        ),
        field("made_by", pa.string(), "who made it, as the system names them"),
        field("note", pa.string(), "the command as it was typed, for people"),
    ]
)


DUPLICATES = pa.schema(
    [
        field("image_id", pa.string(), "the row in `images`", "32 hex digits", True),
        field("group_id", pa.string(), "of the copies of one picture, or of a burst", "", True),
        field(
            "kind",
            pa.string(),
            "kept; or what it is of the kept one: exact, pixels, near, mirrored, rotated, crop, "
            "similar; or burst",
            "",
            True,
        ),
        field(
            "distance",
            pa.int16(),
            "between its hash and the kept one's; null where another evidence speaks",
            "bits",
        ),
        field("keep", pa.bool_(), "whether it stays when copies go", "", True),
        field("reason", pa.string(), "why, for people", "", True),
        field("run_id", pa.string(), "the run that wrote the row", "", True),
    ]
)

PREDICTIONS = pa.schema(
    [
        field("face_id", pa.string(), "the row in `faces`", "", True),
        field("image_id", pa.string(), "the row in `images`", "32 hex digits", True),
        field("person", pa.string(), "as the model calls the person; null for nobody it knows"),
        field(
            "person_id",
            pa.string(),
            "the row in `people`, where the model was learnt from the people of a lake",
            "16 hex digits",
        ),
        field(
            "probability",
            pa.float32(),
            "that the face is the person whom the model finds most likely, named or not",
            "0 to 1",
            True,
        ),
        field("run_id", pa.string(), "the run that wrote the row", "", True),
    ]
)

KEY = pa.binary(16)
FORGOTTEN = pa.schema(
    [
        field("kind", pa.string(), "image, face or person", "", True),
        field("key", KEY, "of its id", "salted hash", True),
        field("address", KEY, "of the photo's uri; null for a person", "salted hash"),
        field("content", KEY, "of the photo's sha256", "salted hash"),
        field("pixels", KEY, "of the photo's pixels_sha256", "salted hash"),
        field("hashes", pa.list_(KEY), "of the photo's perceptual hashes; null for a face"),
        field("vector", KEY, "of the face's embedding", "salted hash"),
        field("thumbnail", KEY, "of the face's thumbnail", "salted hash"),
        field("box", BOX, "x1, y1, x2, y2 of the face", "shares of the photo's sides"),
        field("forgotten_at", pa.timestamp("us", "UTC"), "when", "", True),
    ]
)

# What a later run need not search again; in `duplicates/_pairs` and `_crops`, which readers of
# tables pass by.
HASH_PAIRS = pa.schema(
    [
        field("first", pa.binary(HASH_BYTES), "a PDQ hash", "256 bits", True),
        field("second", pa.binary(HASH_BYTES), "one that is close to it", "256 bits", True),
        field("bits", pa.int16(), "by which they differ", "bits", True),
        field("turn", pa.string(), "what was done to one of them before; null: nothing"),
    ]
)


LOOKS = pa.schema(
    [
        field("first", pa.string(), "image_id of a picture", "32 hex digits", True),
        field("second", pa.string(), "one whose hash is close to its", "32 hex digits", True),
        field("turn", pa.string(), "what was done to one of them before; null: nothing"),
        field("copy", pa.bool_(), "whether a second look found one picture in both", "", True),
    ]
)


FAMILIES = pa.schema(
    [
        field("row", pa.int64(), "a picture's place among all; one alone has none", "", True),
        field("family", pa.int64(), "pictures that hang together", "", True),
        field("spare", pa.int64(), "of a copy, what its file takes", "bytes", True),
        field("refused", pa.int64(), "pairs with later ones that a second look refused", "", True),
        field("unread", pa.bool_(), "whether it could not be read for one", "", True),
    ]
)


CROP_PAIRS = pa.schema(
    [
        field("first", pa.string(), "image_id of a picture", "32 hex digits", True),
        field("second", pa.string(), "one that lies inside it", "32 hex digits", True),
    ]
)


def tables(dimension: int) -> dict[str, pa.Schema]:
    """Return the schema of every table of a lake for vectors of `dimension` components."""
    return {
        "images": IMAGES,
        "faces": faces_schema(dimension),
        "clusters": CLUSTERS,
        "people": people_schema(dimension),
        "suggestions": SUGGESTIONS,
        "constraints": CONSTRAINTS,
        "duplicates": DUPLICATES,
        "predictions": PREDICTIONS,
        "forgotten": FORGOTTEN,
    }


def checked_columns(table: str, whole: pa.Schema, columns: Sequence[str] | None) -> list[str]:
    """Return the columns to read, all without a choice.

    Raises:
        ConfigError: there is no such column.
    """
    unknown = [name for name in columns or () if name not in whole.names]
    if unknown:
        raise ConfigError(
            f"{table} has no column {', '.join(map(repr, unknown))}; choose from "
            f"{', '.join(whole.names)}"
        )
    return list(columns or whole.names)


def markdown(schema: pa.Schema) -> str:
    """Return the schema as a Markdown table of column, type and meaning."""
    lines = ["| column | type | meaning |", "|---|---|---|"]
    for column in schema:
        notes = {key.decode(): value.decode() for key, value in (column.metadata or {}).items()}
        unit = f" ({notes['unit']})" if "unit" in notes else ""
        lines.append(f"| {column.name} | {column.type} | {notes.get('doc', '')}{unit} |")
    return "\n".join(lines)
