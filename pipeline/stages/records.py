"""Schemas of the tables that pass between stages: one row an image until the write.

The columns of `images` grow from stage to stage; an image's faces are a list of structs, and each
stage adds what it spent (`pipeline.timing`).
"""

import pyarrow as pa

from pipeline.imaging.record import columns
from pipeline.lake import schema
from pipeline.timing import STAGES, TIMING

# What each stage before Write spent.
TIMINGS = [pa.field(f"{name}_timing", TIMING) for name in STAGES[:-1]]

_IMAGE = [
    f.remove_metadata().with_nullable(True)
    for f in schema.IMAGES
    if f.name not in ("turn", "faces", "run_id", "gone_since")
]
DECODED = pa.schema(
    [
        *_IMAGE,
        *(
            pa.field(name, pa.type_for_alias(c.kind))
            for name, c in columns().items()
            if not c.stored
        ),
        pa.field("pixels", pa.large_binary()),
        *TIMINGS[:2],
    ]
)

_MEASURES = [f.remove_metadata().with_nullable(True) for f in schema.FACE_MEASURES]
THUMBNAIL = pa.field("thumbnail", pa.binary())
DETECTION_FIELDS = [*_MEASURES, THUMBNAIL, pa.field("crop", pa.large_binary())]
TURN = schema.IMAGES.field("turn").remove_metadata()
DETECTED = pa.schema(
    [
        *_IMAGE,
        TURN,
        *TIMINGS[:3],
        pa.field("detections", pa.list_(pa.struct(DETECTION_FIELDS))),
    ]
)


def embedded_fields(dimension: int) -> list[pa.Field]:
    """Return the fields of a face once it has a vector."""
    return [
        *_MEASURES,
        THUMBNAIL,
        pa.field("embedding", pa.list_(pa.float32(), dimension)),
        pa.field("embedding_norm", pa.float32()),
    ]


def embedded(dimension: int) -> pa.Schema:
    """Return the schema that Embed hands to Write."""
    return pa.schema(
        [
            *_IMAGE,
            TURN,
            *TIMINGS,
            pa.field("detections", pa.list_(pa.struct(embedded_fields(dimension)))),
        ]
    )
