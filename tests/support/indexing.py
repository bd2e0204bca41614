"""What integration tests share: running the main job, and comparing lakes."""

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.commands.main import main
from pipeline.lake import schema
from pipeline.lake.store import LakeStore

EXAMPLES = Path(__file__).parents[2] / "examples" / "photos"
# The parts of the tables that do not tell when or where a run took place.
UNSTABLE = ("run_id", "uri", "shard", "file_version")
STABLE_IMAGES = [f.name for f in schema.IMAGES if f.name not in UNSTABLE]
STABLE_FACES = [f.name for f in schema.faces_schema(128) if f.name not in ("run_id", "uri")]


def index(*arguments: object) -> int:
    return main(["index", *map(str, arguments), "--embedder", "sface", "--plain"])


def tables(lake: Path | str, options: dict | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what is stable of `images` and `faces`, in the order of ids."""
    opened = LakeStore(str(lake), options)
    images = opened.read("images", STABLE_IMAGES).to_pandas().sort_values("image_id")
    faces = opened.read("faces", STABLE_FACES).to_pandas().sort_values("face_id")
    return images.reset_index(drop=True), faces.reset_index(drop=True)


def assert_same_tables(left, right) -> None:
    pd.testing.assert_frame_equal(left[0], right[0])
    vectors = [np.stack(side[1].pop("embedding")) for side in (left, right)]
    boxes = [np.stack(side[1].pop("box")) for side in (left, right)]
    points = [np.stack(side[1].pop("landmarks")) for side in (left, right)]
    for actual, expected in (vectors, boxes, points):
        np.testing.assert_allclose(actual, expected, atol=1e-3)
    thumbnails = [side[1].pop("thumbnail").notna() for side in (left, right)]
    assert thumbnails[0].equals(thumbnails[1])
    pd.testing.assert_frame_equal(left[1], right[1], atol=1e-3)
