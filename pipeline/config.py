"""What a run can be told: frozen dataclasses, checked when they are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pipeline.errors import ConfigError

DEFAULT_EMBEDDER = "facenet-vggface2"
# Images in a part: small enough that a crash costs a minute, and that progress is seen; large
# enough that a billion images make a million files, not a billion.
MIN_PART_IMAGES, MAX_PART_IMAGES = 64, 2048

# A day: more is a slip, or no limit by another name.
MAX_TIMEOUT_S = 86_400
# A 12-megapixel photo takes about 100 MiB.
MIN_MEMORY_BYTES = 64 * 2**20
# Crops of faces come from what is decoded: at 4,000 pixels a face that takes 1 % of the width has
# 40, the least that clustering uses.
DECODE_SIDE = 4000
# 1 % of the width of a 12-megapixel photo is searched for, at a tenth of what the whole costs.
DETECTION_SIDE = 2048
MIN_SIDE = 12  # what P-net sees

Selection = Literal["all", "largest", "most-probable", "central"]


def require(holds: bool, message: str) -> None:
    """Raise ConfigError with `message` unless `holds`."""
    if not holds:
        raise ConfigError(message)


@dataclass(frozen=True, slots=True)
class DetectConfig:
    """How faces are searched.

    Attributes:
        min_face_px: side of the smallest face searched, in pixels of the photo, of a larger photo
            than `detection_side` in pixels of what it would be reduced to.
        thresholds: lowest probability that passes P-net, R-net and O-net.
        factor: ratio between levels of the image pyramid.
        selection: which faces of a photo are kept; "central" weighs size against the distance
            from the centre, the others speak for themselves.
        detection_side: a photo whose longer side is larger is searched as if it were reduced to
            this; boxes are in its own pixels, and what is looked at is cut from them. None: every
            photo is searched for faces of `min_face_px`.
        batch_pixels: pixels of all images searched at once; bounds memory at about 20 bytes each.
    """

    min_face_px: float = 20
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    factor: float = 0.709
    selection: Selection = "all"
    detection_side: int | None = DETECTION_SIDE
    batch_pixels: int = 16_000_000

    def __post_init__(self) -> None:
        """Check ranges."""
        require(self.min_face_px >= 1, f"min_face_px is {self.min_face_px}; it must be 1 or more")
        require(
            len(self.thresholds) == 3 and all(0 <= t <= 1 for t in self.thresholds),
            f"thresholds are {self.thresholds}; give three numbers from 0 to 1",
        )
        require(0 < self.factor < 1, f"factor is {self.factor}; it must lie between 0 and 1")
        require(
            self.selection in get_args(Selection),
            f"selection is {self.selection!r}; choose from {', '.join(get_args(Selection))}",
        )
        require(
            self.detection_side is None or self.detection_side >= MIN_SIDE,
            f"detection_side is {self.detection_side}; it must be {MIN_SIDE} or more",
        )
        require(self.batch_pixels > 0, f"batch_pixels is {self.batch_pixels}; it must be positive")


@dataclass(frozen=True, slots=True)
class ReadConfig:
    """How shards are read.

    Attributes:
        max_bytes: encoded size above which an image is an error instead of memory.
        image_column: column of Parquet shards that holds the bytes.
        key_column: column that names the images; None: row numbers.
    """

    max_bytes: int = 512 * 2**20
    image_column: str = "image"
    key_column: str | None = None

    def __post_init__(self) -> None:
        """Check ranges."""
        require(self.max_bytes > 0, f"max_bytes is {self.max_bytes}; it must be positive")


@dataclass(frozen=True, slots=True)
class DecodeConfig:
    """What one image may cost.

    Attributes:
        max_pixels: above it an image is `too_large`, known before memory is taken.
        timeout_s: wall time of decoding, above it an image is a `timeout`.
        memory_bytes: memory of decoding, above it an image is `out_of_memory`.
        side: a JPEG is decoded at a half, a quarter or an eighth of its size while its longer side
            keeps this many pixels; None: always whole. 4,000: photos of 12 megapixels whole, of
            48 megapixels at a half. Boxes are in pixels of the whole picture all the same.
    """

    max_pixels: int = 200_000_000
    timeout_s: float = 60.0
    memory_bytes: int = 4 * 2**30
    side: int | None = DECODE_SIDE

    def __post_init__(self) -> None:
        """Check ranges."""
        require(self.max_pixels > 0, f"max_pixels is {self.max_pixels}; it must be positive")
        require(
            0 < self.timeout_s <= MAX_TIMEOUT_S,
            f"timeout_s is {self.timeout_s}; it must be positive, and at most {MAX_TIMEOUT_S}",
        )
        require(
            self.memory_bytes >= MIN_MEMORY_BYTES,
            f"memory_bytes is {self.memory_bytes}; it must be {MIN_MEMORY_BYTES} or more, or "
            "hardly any photo can be decoded",
        )
        require(
            self.side is None or self.side >= MIN_SIDE,
            f"side is {self.side}; it must be {MIN_SIDE} or more",
        )


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """How many workers each stage gets; None: chosen from the cluster.

    Attributes:
        detect_actors, embed_actors: processes that hold a model.
        detect_gpus, embed_gpus: GPUs of each of them, fractions allowed.
        detect_batch: images that one call of the detector gets.
        embed_batch: images whose faces one call of the embedder gets.
        part_images: images in a part of the lake.
    """

    detect_actors: int | None = None
    embed_actors: int | None = None
    detect_gpus: float | None = None
    embed_gpus: float | None = None
    detect_batch: int = 32
    embed_batch: int = 64
    part_images: int | None = None

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("detect_actors", "embed_actors", "detect_batch", "embed_batch", "part_images"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name} is {value}; it must be 1 or more")
        for name in ("detect_gpus", "embed_gpus"):
            value = getattr(self, name)
            require(value is None or value >= 0, f"{name} is {value}; it must not be negative")


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """Everything that the main job is told.

    Attributes:
        inputs: folders, globs, images, shards, lists; see `sources.plan`.
        output: the lake.
        embedder: name, or path of an ONNX model.
        device: "auto", "cpu" or "cuda".
        precision: of the embedder; "auto" takes bfloat16 where the machine has it and real faces
            keep their vectors.
        thumbnails: whether faces keep a small JPEG.
        storage_options: for fsspec.
        weights_dir, weights_url: where weights are cached and fetched from.
    """

    inputs: tuple[str, ...]
    output: str
    detector: str = "mtcnn"
    embedder: str = DEFAULT_EMBEDDER
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    thumbnails: bool = True
    detect: DetectConfig = field(default_factory=DetectConfig)
    read: ReadConfig = field(default_factory=ReadConfig)
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    pools: PoolConfig = field(default_factory=PoolConfig)
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    weights_dir: str | None = None
    weights_url: str | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without looking at files."""
        require(bool(self.inputs), "no input; name a folder, a glob, shards or a list")
        # An empty one would be the current folder: more likely a shell variable that is not set.
        require(all(self.inputs), "an input is empty; write . for the current folder")
        require(bool(self.output), "no output; name the lake with --output")
        require(
            self.device in ("auto", "cpu", "cuda"),
            f"device is {self.device!r}; choose from auto, cpu, cuda",
        )
        require(
            self.precision in ("auto", "float32", "bfloat16"),
            f"precision is {self.precision!r}; choose from auto, float32, bfloat16",
        )
