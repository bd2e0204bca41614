"""The options of `facelake index`, and the config they make."""

import argparse
from typing import Any, get_args

from pipeline.config import (
    DECODE_SIDE,
    DEFAULT_EMBEDDER,
    DETECTION_SIDE,
    DecodeConfig,
    DetectConfig,
    IndexConfig,
    PoolConfig,
    ReadConfig,
    Selection,
)
from pipeline.storage.folder import parse_options


def add_index_options(parser: argparse.ArgumentParser) -> None:
    """Add every option of the main job."""
    add_inputs(parser)
    parser.add_argument("--output", required=True, metavar="LAKE", help="the lake to add to")
    parser.add_argument("--dry-run", action="store_true", help="only list what would be read")
    parser.add_argument(
        "--retry-errors",
        metavar="CODES",
        help="read images again that had these errors: codes joined by commas, or all; those "
        "with unreadable are always read again",
    )
    parser.add_argument(
        "--wait", action="store_true", help="wait while another run is writing to the lake"
    )
    parser.add_argument("--verbose", action="store_true", help="show details, Ray's included")
    parser.add_argument("--plain", action="store_true", help="print lines, draw no progress bar")
    add_work_options(parser)


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Add the inputs."""
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="folder, glob, image, .tar, .zip or .parquet shard, or .txt list of paths; local "
        "or any fsspec URL such as s3://bucket/photos",
    )


def add_storage_options(
    parser: Any, what: str = "for the storage back end; may be repeated"
) -> None:
    """Add `--storage-option`, which `parse_options` reads."""
    parser.add_argument(
        "--storage-option", action="append", default=[], metavar="KEY=VALUE", help=what
    )


def add_weights_options(parser: Any) -> None:
    """Add where weights are cached and fetched from."""
    parser.add_argument("--weights-dir", metavar="DIR", help="where weights are cached")
    parser.add_argument("--weights-url", metavar="URL", help="folder or URL to fetch weights from")


def add_wait_option(parser: Any) -> None:
    """Add `--wait`, for `RunLock`."""
    parser.add_argument("--wait", action="store_true", help="wait for another run on the lake")


def add_own_embedder_options(parser: Any) -> None:
    """Add what a command needs to embed photos as a lake that is there already does."""
    parser.add_argument(
        "--embedder",
        metavar="PATH",
        help="ONNX file or card of the lake's embedder, if Facelake does not know it by name",
    )
    add_weights_options(parser)
    add_storage_options(parser)


def add_work_options(parser: argparse.ArgumentParser) -> None:
    """Add what says how photos are read and searched, and by how many workers."""
    models = parser.add_argument_group("models")
    models.add_argument("--detector", default="mtcnn", help="default: %(default)s")
    models.add_argument(
        "--embedder",
        default=DEFAULT_EMBEDDER,
        help="name (see `facelake weights list`), or path of an ONNX model with its .toml card; "
        "sface needs no download; default: %(default)s",
    )
    models.add_argument("--device", default="auto", help="auto, cpu or cuda; default: %(default)s")
    models.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="of the embedder; auto takes bfloat16 where the machine has it and real faces keep "
        "their vectors, bfloat16 whether they do or not; default: %(default)s",
    )
    add_weights_options(models)

    faces = parser.add_argument_group("faces")
    faces.add_argument(
        "--min-face-px", type=float, default=20, help="smallest face searched; default: %(default)s"
    )
    faces.add_argument(
        "--thresholds",
        type=float,
        nargs=3,
        default=(0.6, 0.7, 0.7),
        metavar=("P", "R", "O"),
        help="lowest probability in each of MTCNN's networks; default: 0.6 0.7 0.7",
    )
    faces.add_argument("--pyramid-factor", type=float, default=0.709, help="default: %(default)s")
    faces.add_argument(
        "--select",
        choices=get_args(Selection),
        default="all",
        help="which faces of a photo are kept; default: %(default)s",
    )
    faces.add_argument(
        "--detection-side",
        type=int,
        default=DETECTION_SIDE,
        metavar="PX",
        help="search larger photos as if reduced to this longer side, so for faces that take more "
        "of them; 0: as they are; default: %(default)s",
    )
    faces.add_argument(
        "--no-thumbnails", action="store_true", help="keep no small pictures of faces"
    )

    reading = parser.add_argument_group("reading")
    reading.add_argument(
        "--max-pixels",
        type=int,
        default=200_000_000,
        help="larger images get the error too_large; default: %(default)s",
    )
    reading.add_argument(
        "--max-bytes",
        type=int,
        default=512 * 2**20,
        help="larger files get the error too_large; default: %(default)s",
    )
    reading.add_argument(
        "--image-timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="images that take longer to decode get the error timeout; default: %(default)s",
    )
    reading.add_argument(
        "--image-memory",
        type=int,
        default=4 * 2**30,
        metavar="BYTES",
        help="images that need more to decode get the error out_of_memory; default: %(default)s",
    )
    reading.add_argument(
        "--decode-side",
        type=int,
        default=DECODE_SIDE,
        metavar="PX",
        help="decode JPEGs at a half, a quarter or an eighth of their size while the longer side "
        "keeps this many pixels, 0: whole; boxes are of the whole picture; default: %(default)s",
    )
    reading.add_argument(
        "--image-column", default="image", help="of Parquet shards; default: %(default)s"
    )
    reading.add_argument("--key-column", help="of Parquet shards; default: row numbers")
    add_storage_options(
        reading,
        "for the storage back end, for example endpoint_url=http://...; may be repeated",
    )

    pools = parser.add_argument_group("workers (chosen from the cluster when not given)")
    pools.add_argument("--detect-actors", type=int, metavar="N", help="processes that detect")
    pools.add_argument("--embed-actors", type=int, metavar="N", help="processes that embed")
    pools.add_argument("--detect-gpus", type=float, metavar="X", help="GPUs of each detect actor")
    pools.add_argument("--embed-gpus", type=float, metavar="X", help="GPUs of each embed actor")
    pools.add_argument("--detect-batch", type=int, default=32, metavar="N", help="images a call")
    pools.add_argument("--embed-batch", type=int, default=64, metavar="N", help="images a call")
    pools.add_argument("--part-images", type=int, metavar="N", help="images in a part of the lake")


def index_config(options: argparse.Namespace) -> IndexConfig:
    """Return the checked config that the options ask for.

    Raises:
        ConfigError: an option out of its range.
    """
    return IndexConfig(
        inputs=tuple(options.inputs),
        output=options.output,
        detector=options.detector,
        embedder=options.embedder,
        device=options.device,
        precision=options.precision,
        thumbnails=not options.no_thumbnails,
        detect=DetectConfig(
            min_face_px=options.min_face_px,
            thresholds=tuple(options.thresholds),
            factor=options.pyramid_factor,
            selection=options.select,
            detection_side=options.detection_side or None,
        ),
        read=ReadConfig(
            max_bytes=options.max_bytes,
            image_column=options.image_column,
            key_column=options.key_column,
        ),
        decode=DecodeConfig(
            max_pixels=options.max_pixels,
            timeout_s=options.image_timeout,
            memory_bytes=options.image_memory,
            side=options.decode_side or None,
        ),
        pools=PoolConfig(
            detect_actors=options.detect_actors,
            embed_actors=options.embed_actors,
            detect_gpus=options.detect_gpus,
            embed_gpus=options.embed_gpus,
            detect_batch=options.detect_batch,
            embed_batch=options.embed_batch,
            part_images=options.part_images,
        ),
        storage_options=parse_options(options.storage_option),
        weights_dir=options.weights_dir,
        weights_url=options.weights_url,
    )
